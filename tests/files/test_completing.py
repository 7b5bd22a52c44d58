"""The end of an upload, whoever deletes it, sends it or works on it at the same moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from madang.bus.memory import MemoryBus
from madang.protocol.errors import Conflict, NotFound
from madang.services import parts
from madang.services.asking import RunLimits
from madang.services.completing import Completing, MakeThumbnail
from madang.services.file_types import Allowed
from madang.services.files import DropUpload
from madang.services.uploads import LEASE_SECONDS, Bounds, UploadProgress, Uploads
from madang.store.writer import GroupWriter
from madang.testing import JumpingClock
from tests.bus.conftest import Heard
from tests.conftest import eventually
from tests.files.pictures import picture
from tests.files.test_sweeping import Yard
from tests.store.conftest import AnyStore, SteppedClock

BOUNDS = Bounds(1_000_000, Allowed.of(["*"]), 30.0, 86_400.0)
Told = list[UploadProgress]


@pytest.fixture
async def yard(store: AnyStore, writer: GroupWriter, clock: SteppedClock, tmp_path: Path) -> Yard:
    return await Yard(store, writer, clock, tmp_path / "files").open()


def completing(yard: Yard, make: MakeThumbnail, told: Told | None = None) -> Completing:
    tell = ([] if told is None else told).append
    return Completing(
        yard.writer, yard.blobs, yard.sweeper, BOUNDS, make, RunLimits(None, None), tell
    )


async def test_what_is_deleted_while_its_thumbnail_is_made_leaves_nothing(yard: Yard) -> None:
    file = await yard.upload(content=picture())

    async def make(owner: tuple[str, str], size: int, content: AsyncIterator[bytes]) -> bytes:
        assert owner == ("default", "ann")
        await yard.writer.write(DropUpload("default", file.id, "ann"))
        await yard.sweeper.sweep("default")
        assert yard.kept() == set()
        return b"small"

    told: Told = []
    with pytest.raises(NotFound):
        await completing(yard, make, told).finish(file)
    assert yard.kept() == set()
    assert [each.state for each in told] == ["processing"]


async def test_what_is_swept_while_it_is_read_is_not_found(yard: Yard) -> None:
    file = await yard.upload(content=picture())
    await yard.blobs.delete(parts.folder(file.id))

    async def make(owner: tuple[str, str], size: int, content: AsyncIterator[bytes]) -> None:
        raise AssertionError

    with pytest.raises(NotFound):
        await completing(yard, make).finish(file)


async def test_giving_up_says_what_dropping_does_not(yard: Yard) -> None:
    async def make(owner: tuple[str, str], size: int, content: AsyncIterator[bytes]) -> None:
        raise AssertionError

    ends = completing(yard, make)
    file = await yard.upload(finish=True)
    await yard.send(file)
    await ends.drop(file)
    with pytest.raises(Conflict, match="sent already"):
        await ends.give_up(file)
    assert yard.kept() == {file.id}
    other = await yard.upload(4)
    await ends.give_up(other)
    await ends.drop(other)
    with pytest.raises(NotFound):
        await ends.give_up(other)


async def test_other_nodes_wait_however_long_it_takes(yard: Yard) -> None:
    """For a picture, or for a bucket that is slow."""
    clock = JumpingClock()
    bus = MemoryBus(clock)
    ends = [bus.end(), bus.end()]
    for end in ends:
        await end.start(Heard())
    told: Told = []
    mine, other = (
        Uploads(yard.store, yard.writer, yard.blobs, end, clock, BOUNDS, told.append)
        for end in ends
    )
    file = await yard.upload()
    async with mine.alone(file.id):
        for _ in range(20):
            clock.jump(LEASE_SECONDS / 3)
            await eventually(lambda: clock.waiting == 1)
            with pytest.raises(Conflict):
                async with other.alone(file.id):
                    pass
    async with other.alone(file.id):
        pass
