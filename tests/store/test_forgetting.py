"""Deleted is gone from the disk too, while the server runs: file, write-ahead log and all."""

from __future__ import annotations

from madang.store.opening import open_store
from madang.store.writer import GroupWriter
from tests.conftest import eventually
from tests.store.conftest import SteppedClock, on_disk
from tests.store.writes import Create, Edit, Send

PATIENCE = 20.0


async def test_a_deleted_text_leaves_the_disk_soon(sqlite_url: str, clock: SteppedClock) -> None:
    store = open_store(sqlite_url, clock)
    writer = GroupWriter(store, clock, lambda batch: None)
    await writer.write(Create("room", ["ann"]))
    sent = await writer.write(Send("room", "ann", "nobody may read this any more"))
    kept = await writer.write(Send("room", "ann", "this stays"))
    assert on_disk(sqlite_url, b"nobody may read this")
    await writer.write(Edit(sent.id, "ann", "", delete=True))
    await eventually(lambda: not on_disk(sqlite_url, b"nobody may read this"), PATIENCE)
    assert on_disk(sqlite_url, b"this stays") and kept.content == "this stays"
    # The log goes on as before, and forgets again.
    again = await writer.write(Send("room", "ann", "nor this one"))
    await writer.write(Edit(again.id, "ann", "", delete=True))
    await eventually(lambda: not on_disk(sqlite_url, b"nor this one"), PATIENCE)
    await writer.close()
    await store.close()
