"""The process that reads pictures: `python -m madang.blobs.thumbnail_worker`.

It gets pictures on its standard input and answers with thumbnails on its standard output, one after
the other, each as a length (four bytes, big-endian) and so many bytes; no bytes are "none". What a
picture can do here is bounded: pixels, memory, processor time, and no file that it could write.
Whoever started it ends it when an answer takes too long.

Imports nothing of Madang: it is the one place that reads what strangers have made.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import sys
import warnings

from PIL import Image, ImageFile, ImageOps, PngImagePlugin

MAX_PIXELS = 50_000_000
"""Of a picture: what telephones make; 200 MB when it is read."""
MAX_MEMORY = 768 * 1024 * 1024
"""Bytes of address space: such a picture, turned round and with an alpha channel."""
MAX_CPU_SECONDS = 10
"""For one picture; whoever waits gives up a little later."""
IDLE_SECONDS = 60
"""After so long without a picture the process ends."""

BOX = (320, 320)
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")


def thumbnail(content: bytes) -> bytes:
    """A WebP of the picture's first frame that fits into `BOX`, as people see it: turned as its
    EXIF says, transparent where it is. Nothing else of it is kept, so no place or camera.

    Raises:
        Exception: whatever is wrong with it.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError("too many pixels")
        # JPEG: read at a half, a quarter or an eighth of its size, at that much of the cost.
        image.draft("RGB", (BOX[0] * 2, BOX[1] * 2))
        image.seek(0)
        alpha = image.has_transparency_data
        if image.mode.startswith("I;16"):
            image.load()
            picture = image.point(lambda value: value / 256).convert("L").convert("RGB")
        else:
            picture = image.convert("RGBA" if alpha else "RGB")
        ImageOps.exif_transpose(image=_with_orientation(picture, image), in_place=True)
        picture.thumbnail(BOX, Image.Resampling.LANCZOS, reducing_gap=2.0)
        clean = Image.new(picture.mode, picture.size)
        clean.paste(picture)
        out = io.BytesIO()
        clean.save(out, "WEBP", quality=80, method=4)
        return out.getvalue()


def _with_orientation(picture: Image.Image, original: Image.Image) -> Image.Image:
    """The picture says how it is turned, and nothing else of the original's."""
    turned = original.getexif().get(0x0112)
    picture.info.clear()
    picture.getexif().clear()
    if turned in range(2, 9):
        picture.getexif()[0x0112] = turned
    return picture


def _read(length: int) -> bytes:
    content = sys.stdin.buffer.read(length)
    if len(content) < length:
        raise SystemExit(0)
    return content


def limit() -> None:
    """Bound this process, for good."""
    with contextlib.suppress(OSError):
        os.nice(10)
    for kind, most in (
        (resource.RLIMIT_AS, MAX_MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 16),
    ):
        # Not every system bounds everything; pixels and time are bounded on all.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    PngImagePlugin.MAX_TEXT_CHUNK = 64 * 1024
    PngImagePlugin.MAX_TEXT_MEMORY = 1024 * 1024


def _allow_some_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + MAX_CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def main() -> None:
    """Answer until there is nothing more to read, or nothing comes."""
    Image.init()
    limit()
    while True:
        length = int.from_bytes(_read(4), "big")
        _allow_some_time()
        try:
            answer = thumbnail(_read(length))
        except Exception:
            answer = b""
        sys.stdout.buffer.write(len(answer).to_bytes(4, "big") + answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
