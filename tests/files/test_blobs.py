"""One suite over both places that keep blobs, and what is particular to each."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from madang.blobs.buckets import LocalBlobs, S3Blobs
from madang.ports.blobs import BlobMissing, Blobs
from madang.protocol.errors import Unavailable
from tests.files.seaweed import Seaweed


@pytest.fixture(params=["local", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "local":
        return LocalBlobs(tmp_path / "files")
    seaweed: Seaweed = request.getfixturevalue("seaweed")
    return seaweed.blobs()


async def everything(blobs: Blobs, key: str, start: int = 0, end: int = 2**40) -> bytes:
    return b"".join([piece async for piece in blobs.read(key, start, end)])


async def test_what_was_put_is_read(blobs: Blobs) -> None:
    content = bytes(range(256)) * 4096
    await blobs.put("ab/one/000000", content)
    assert await everything(blobs, "ab/one/000000") == content
    assert await everything(blobs, "ab/one/000000", 255, 258) == b"\xff\x00\x01"
    assert await everything(blobs, "ab/one/000000", len(content) - 1) == b"\xff"
    assert await everything(blobs, "ab/one/000000", 7, 7) == b""
    pieces = [piece async for piece in blobs.read("ab/one/000000", 0, len(content))]
    assert len(pieces) > 1, "it comes in pieces"


async def test_the_last_one_put_counts(blobs: Blobs) -> None:
    await blobs.put("ab/two/000000", b"short")
    await blobs.put("ab/two/000000", bytearray(b"short and longer"))
    assert await everything(blobs, "ab/two/000000") == b"short and longer"


async def test_what_is_not_there_is_missing(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing):
        await everything(blobs, "ab/nothing/000000")


async def test_deleting_is_by_whole_names(blobs: Blobs) -> None:
    for key in ("cd/x/000000", "cd/x/000001", "cd/x/thumb", "cd/xy/000000"):
        await blobs.put(key, key.encode())
    await blobs.delete("cd/x")
    for key in ("cd/x/000000", "cd/x/000001", "cd/x/thumb"):
        with pytest.raises(BlobMissing):
            await everything(blobs, key)
    assert await everything(blobs, "cd/xy/000000") == b"cd/xy/000000"
    await blobs.delete("cd/x")
    await blobs.delete("cd/xy")


async def test_many_at_once(blobs: Blobs) -> None:
    async def one(number: int) -> None:
        key = f"ef/{number}/000000"
        await blobs.put(key, str(number).encode())
        assert await everything(blobs, key) == str(number).encode()
        await blobs.delete(f"ef/{number}")

    await asyncio.gather(*(one(number) for number in range(30)))


async def test_checking_leaves_nothing(blobs: Blobs) -> None:
    await asyncio.gather(*(blobs.check() for _ in range(5)))
    if isinstance(blobs, LocalBlobs):
        assert list((blobs._folder / "check").iterdir()) == []


# A folder.


async def test_deleting_leaves_nothing_that_is_half_written(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "files")
    await blobs.put("ab/one/000000", b"x")
    # As a server leaves it that is killed while it writes.
    (tmp_path / "files/ab/one/000001#1").write_bytes(b"half")
    await blobs.delete("ab/one")
    assert list((tmp_path / "files/ab").iterdir()) == []


async def test_a_folder_that_is_full_or_gone_is_unavailable(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "files")
    (tmp_path / "files" / "ab").write_bytes(b"a file where a folder should be")
    with pytest.raises(Unavailable) as refused:
        await blobs.put("ab/one/000000", b"x")
    assert str(tmp_path) not in refused.value.text
    with pytest.raises(Unavailable):
        await blobs.delete("ab")


# A bucket.


@pytest.fixture
def own_seaweed() -> Iterator[Seaweed]:
    with tempfile.TemporaryDirectory(prefix="madang-seaweed-") as directory:
        server = Seaweed(Path(directory))
        server.start()
        yield server
        server.stop()


@pytest.mark.timeout(180)
async def test_a_bucket_that_is_away_is_unavailable_and_comes_back(own_seaweed: Seaweed) -> None:
    blobs = own_seaweed.blobs()
    await blobs.put("ab/one/000000", b"x")
    own_seaweed.stop()
    with pytest.raises(Unavailable) as refused:
        await blobs.put("ab/one/000001", b"x")
    assert "127.0.0.1" not in refused.value.text
    with pytest.raises(Unavailable):
        await everything(blobs, "ab/one/000000")
    with pytest.raises(Unavailable):
        await blobs.delete("ab/one")
    await asyncio.to_thread(own_seaweed.start)
    await blobs.put("ab/one/000001", b"y")
    assert await everything(blobs, "ab/one/000001") == b"y"


async def test_the_wrong_key_is_refused(seaweed: Seaweed) -> None:
    blobs: S3Blobs = seaweed.blobs(secret_access_key="another")
    with pytest.raises(Unavailable):
        await blobs.check()
