"""Pictures for tests, good and bad."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

from PIL import Image


def picture(kind: str = "PNG", size: tuple[int, int] = (640, 480), **options: Any) -> bytes:
    """A picture of this kind, half red and half blue: left and right."""
    image = Image.new(options.pop("mode", "RGB"), size, options.pop("left", "red"))
    image.paste(options.pop("right", "blue"), (size[0] // 2, 0, size[0], size[1]))
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def turned(orientation: int, size: tuple[int, int] = (640, 320)) -> bytes:
    """A JPEG that says how it is turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A camera that nobody need know of"
    return picture("JPEG", size, exif=exif)


def moving(kind: str) -> bytes:
    """Ten frames; the first is green."""
    frames = [Image.new("RGB", (64, 64), color) for color in ("green", *["red"] * 9)]
    out = io.BytesIO()
    frames[0].save(out, kind, save_all=True, append_images=frames[1:], duration=50, loop=0)
    return out.getvalue()


def noise(size: tuple[int, int], kind: str, seed: int = 7) -> bytes:
    """One that cannot be compressed."""
    image = Image.frombytes("RGB", size, random.Random(seed).randbytes(size[0] * size[1] * 3))
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checked = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checked)


def pixel_bomb(side: int = 60_000) -> bytes:
    """A PNG of a few kilobytes that says it has so many pixels to a side, and begins to."""
    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    rows = zlib.compress(b"\0" * (4 * side + 1) * 100, 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", rows)
        + png_chunk(b"IEND", b"")
    )


def text_bomb() -> bytes:
    """A PNG with a compressed remark of a gigabyte."""
    remark = b"Comment\0\0" + zlib.compress(b"\0" * 64_000_000, 9)
    plain = picture()
    after_header = 8 + 25
    return plain[:after_header] + png_chunk(b"zTXt", remark) * 16 + plain[after_header:]


def endless_scans(size: tuple[int, int] = (3000, 3000), scans: int = 3000) -> bytes:
    """A progressive JPEG whose last scan comes again and again: a little work to send, and a
    lot to read."""
    out = io.BytesIO()
    image = Image.frombytes("L", size, random.Random(3).randbytes(size[0]) * size[1])
    image.save(out, "JPEG", progressive=True, quality=90)
    content = out.getvalue()
    last = content.rindex(b"\xff\xda")
    return (
        content[:-2]
        + content[last:-2] * min(scans, 20_000_000 // (len(content) - last))
        + b"\xff\xd9"
    )
