"""Thumbnails are as people see the picture; and whatever a picture is, it ends in a thumbnail or in
none."""

from __future__ import annotations

import asyncio
import io
import os
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from madang.blobs.thumbnails import MAX_CONTENT, PAUSE, PICTURES, Owner, Thumbnails
from madang.clock import SystemClock
from madang.testing import JumpingClock
from tests.conftest import eventually
from tests.files.pictures import (
    endless_scans,
    moving,
    noise,
    picture,
    pixel_bomb,
    text_bomb,
    turned,
)

ANN, BOB = ("default", "ann"), ("default", "bob")


@pytest.fixture
async def thumbnails() -> AsyncIterator[Thumbnails]:
    # Whatever else the machine does: only what never ends is to end by time.
    opened = Thumbnails(SystemClock(), seconds=50)
    yield opened
    await opened.close()


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]


async def made(thumbnails: Thumbnails, content: bytes, owner: Owner = ANN) -> Image.Image | None:
    answer = await thumbnails.make(owner, len(content), pieces(content))
    if answer is None:
        return None
    image = Image.open(io.BytesIO(answer))
    assert image.format == "WEBP"
    image.load()
    return image


def is_like(pixel: object, color: tuple[int, ...]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(a - b) < 30 for a, b in zip(pixel, color, strict=False))


RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 128, 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
async def test_a_picture_fits_into_the_box(thumbnails: Thumbnails, kind: str) -> None:
    small = await made(thumbnails, picture(kind, (1600, 800)))
    assert small is not None and small.size == (320, 160)
    rgb = small.convert("RGB")
    assert is_like(rgb.getpixel((10, 80)), RED) and is_like(rgb.getpixel((310, 80)), BLUE)


async def test_a_small_one_stays_small(thumbnails: Thumbnails) -> None:
    small = await made(thumbnails, picture("PNG", (1, 1)))
    assert small is not None and small.size == (1, 1)


@pytest.mark.parametrize(
    ("orientation", "size", "red", "blue"),
    [
        (1, (320, 160), (10, 80), (310, 80)),
        (2, (320, 160), (310, 80), (10, 80)),
        (3, (320, 160), (310, 80), (10, 80)),
        (4, (320, 160), (10, 80), (310, 80)),
        (5, (160, 320), (80, 10), (80, 310)),
        (6, (160, 320), (80, 10), (80, 310)),
        (7, (160, 320), (80, 310), (80, 10)),
        (8, (160, 320), (80, 310), (80, 10)),
    ],
)
async def test_it_stands_as_its_exif_says(
    thumbnails: Thumbnails,
    orientation: int,
    size: tuple[int, int],
    red: tuple[int, int],
    blue: tuple[int, int],
) -> None:
    small = await made(thumbnails, turned(orientation))
    assert small is not None and small.size == size
    rgb = small.convert("RGB")
    assert is_like(rgb.getpixel(red), RED) and is_like(rgb.getpixel(blue), BLUE)
    assert not small.getexif(), "nothing is told of the camera"


async def test_what_is_transparent_stays_so(thumbnails: Thumbnails) -> None:
    clear = picture("PNG", mode="RGBA", left=(255, 0, 0, 0), right=(0, 0, 255, 255))
    small = await made(thumbnails, clear)
    assert small is not None and small.mode == "RGBA"
    left, right = small.getpixel((10, 80)), small.getpixel((310, 80))
    assert isinstance(left, tuple) and isinstance(right, tuple)
    assert (left[3], right[3]) == (0, 255)
    indexed = io.BytesIO()
    Image.open(io.BytesIO(clear)).quantize().save(indexed, "GIF", transparency=0)
    small = await made(thumbnails, indexed.getvalue())
    assert small is not None and small.mode == "RGBA"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
async def test_of_moving_ones_it_is_the_first_frame(thumbnails: Thumbnails, kind: str) -> None:
    small = await made(thumbnails, moving(kind))
    assert small is not None and getattr(small, "n_frames", 1) == 1
    assert is_like(small.convert("RGB").getpixel((5, 5)), GREEN)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "CMYK", "RGB", "RGBA"])
async def test_every_kind_of_pixel(thumbnails: Thumbnails, mode: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (400, 100)).save(out, "JPEG" if mode == "CMYK" else "PNG")
    small = await made(thumbnails, out.getvalue())
    assert small is not None and small.size == (320, 80)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing of the kind",
        b"\x89PNG\r\n\x1a\n",
        picture("PNG")[:300],
        noise((800, 800), "JPEG")[:20_000],
        picture("BMP"),
        picture("TIFF"),
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        pixel_bomb(),
        pixel_bomb(7_100),
        text_bomb(),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
    ids=lambda content: f"{content[:8]!r}-{len(content)}",
)
async def test_a_bad_one_has_none_and_the_next_one_has(
    thumbnails: Thumbnails, content: bytes
) -> None:
    assert await made(thumbnails, content) is None
    assert await made(thumbnails, picture()) is not None


async def test_what_is_too_large_is_not_even_read(thumbnails: Thumbnails) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        raise AssertionError
        yield b""

    assert await thumbnails.make(ANN, MAX_CONTENT + 1, nothing()) is None
    assert thumbnails._process is None


async def test_what_takes_too_long_is_ended() -> None:
    thumbnails = Thumbnails(SystemClock(), seconds=0.05)
    content = endless_scans()
    assert len(content) > 1_000_000
    assert await made(thumbnails, content) is None
    assert thumbnails._process is None, "whatever it does now, it does no more"
    await thumbnails.close()


class Held:
    """A picture that comes when the test says so."""

    def __init__(self, order: list[str], name: str, *, comes: bool = False) -> None:
        self.content = picture()
        self.asked = asyncio.Event()
        self.comes = asyncio.Event()
        if comes:
            self.comes.set()
        self._order = order
        self._name = name

    async def pieces(self) -> AsyncIterator[bytes]:
        self._order.append(self._name)
        self.asked.set()
        await self.comes.wait()
        yield self.content

    def make(self, thumbnails: Thumbnails, owner: Owner) -> asyncio.Task[bytes | None]:
        making = thumbnails.make(owner, len(self.content), self.pieces())
        return asyncio.create_task(making)


async def test_nobody_waits_long_for_others() -> None:
    thumbnails = Thumbnails(SystemClock(), seconds=50, turn_seconds=0.1)
    order: list[str] = []
    slow, other = Held(order, "slow"), Held(order, "other", comes=True)
    first = slow.make(thumbnails, ANN)
    await slow.asked.wait()
    assert await asyncio.gather(*(other.make(thumbnails, who) for who in (ANN, BOB))) == [None] * 2
    assert order == ["slow"], "what has no turn is not read"
    slow.comes.set()
    assert await first is not None, "its own time is not bounded by the wait for it"
    assert await other.make(thumbnails, BOB) is not None
    await thumbnails.close()


async def test_who_sends_many_does_not_stand_before_others() -> None:
    thumbnails = Thumbnails(SystemClock(), seconds=50, turn_seconds=50)
    order: list[str] = []
    first = Held(order, "ann 1")
    making = [first.make(thumbnails, ANN)]
    await first.asked.wait()
    making += [Held(order, f"ann {n}", comes=True).make(thumbnails, ANN) for n in (2, 3)]
    making += [Held(order, "bob", comes=True).make(thumbnails, BOB)]
    # All of them wait now: none has anything else to wait for.
    await asyncio.sleep(0)
    first.comes.set()
    assert all(await asyncio.gather(*making))
    assert order == ["ann 1", "bob", "ann 2", "ann 3"]
    await thumbnails.close()


async def test_after_one_that_took_too_long_its_owner_has_none_for_a_while() -> None:
    clock = JumpingClock()
    thumbnails = Thumbnails(clock, seconds=1)
    never = Held([], "never")
    assert await never.make(thumbnails, ANN) is None
    order: list[str] = []
    assert await Held(order, "next", comes=True).make(thumbnails, ANN) is None
    assert order == []
    clock.jump(PAUSE + 0.1)
    await Held(order, "later", comes=True).make(thumbnails, ANN)
    assert order == ["later"], "it was read, however long that took"
    await thumbnails.close()


async def test_time_on_the_processor_is_bounded_too(thumbnails: Thumbnails) -> None:
    """As if nobody waited any more: the process ends itself."""
    process = await thumbnails._running()
    assert process.stdin is not None
    content = endless_scans((4000, 4000), 20_000)
    process.stdin.write(len(content).to_bytes(4, "big") + content)
    process.stdin.write_eof()
    async with asyncio.timeout(50):
        status = await process.wait()
    assert status in (0, -24), "done, or SIGXCPU"


async def test_less_or_more_than_was_announced(thumbnails: Thumbnails) -> None:
    content = picture()
    assert await thumbnails.make(ANN, len(content) + 1, pieces(content)) is None
    assert await thumbnails.make(ANN, len(content) - 1, pieces(content)) is None
    assert await made(thumbnails, content) is not None


async def test_a_process_that_was_killed_is_replaced(thumbnails: Thumbnails) -> None:
    assert await made(thumbnails, picture()) is not None
    first = thumbnails._process
    assert first is not None
    first.kill()
    await first.wait()
    assert await made(thumbnails, picture()) is not None
    thumbnails._made = PICTURES - 1
    assert await made(thumbnails, picture()) is not None
    assert thumbnails._process is None, "after so many, a fresh one"


async def test_a_process_that_does_not_start_makes_none(
    thumbnails: Thumbnails, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("madang.blobs.thumbnails._COMMAND", ("/nowhere/python",))
        assert await made(thumbnails, picture()) is None
    assert await made(thumbnails, picture()) is not None


async def test_memory_is_bounded(thumbnails: Thumbnails) -> None:
    assert await made(thumbnails, picture("PNG", (7000, 7000))) is not None
    assert thumbnails._process is not None
    limits = Path(f"/proc/{thumbnails._process.pid}/limits").read_text()
    assert f"{768 * 1024 * 1024}" in limits
    (seconds,) = re.findall(r"^Max cpu time +(\d+) ", limits, re.MULTILINE)
    assert 10 <= int(seconds) < 60, "so many more than it has used"


UNBOUNDED = """
import sys
from madang.blobs.thumbnail_worker import thumbnail
sys.stdout.buffer.write(thumbnail(sys.stdin.buffer.read()))
"""


async def test_a_picture_that_needs_more_memory_has_none(thumbnails: Thumbnails) -> None:
    # No more pixels than may be, in a form whose reader keeps several of all of them.
    heavy = picture("WEBP", (7000, 7000), mode="RGBA", lossless=True, method=0, quality=0)
    assert await made(thumbnails, picture()) is not None
    process = thumbnails._process
    assert process is not None
    assert await made(thumbnails, heavy) is None
    assert thumbnails._process is process and process.returncode is None, "it goes on"
    assert await made(thumbnails, picture()) is not None
    # Nothing but the bound is in the way of this picture.
    command = [sys.executable, "-c", UNBOUNDED]
    done = await asyncio.to_thread(
        subprocess.run, command, input=heavy, stdout=subprocess.PIPE, check=True, timeout=50
    )
    with Image.open(io.BytesIO(done.stdout)) as small:
        assert small.size == (320, 320)


async def test_an_idle_one_is_ended() -> None:
    clock = JumpingClock()
    thumbnails = Thumbnails(clock, seconds=50)
    assert await made(thumbnails, picture()) is not None
    process = thumbnails._process
    assert process is not None
    clock.jump(61)
    await eventually(lambda: process.returncode is not None, 20)
    assert await made(thumbnails, picture()) is not None
    await thumbnails.close()


async def test_random_damage(thumbnails: Thumbnails) -> None:
    seed = int(os.environ.get("MADANG_SEED", random.randrange(2**32)))
    print("seed", seed)
    dice = random.Random(seed)
    sources = [picture(kind) for kind in ("PNG", "JPEG", "GIF", "WEBP")] + [turned(6)]
    for _ in range(60):
        content = bytearray(dice.choice(sources))
        for _ in range(dice.randrange(1, 20)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        cut = content[: dice.randrange(1, len(content))] if dice.random() < 0.3 else content
        await made(thumbnails, bytes(cut))
    assert await made(thumbnails, picture()) is not None
