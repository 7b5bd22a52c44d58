"""Who is here, whatever becomes of the nodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import TwoNodes
from tests.conftest import Server
from tests.postgres import Postgres
from tests.surfaces.live.hall import Hall, id_of, open_hall, seat_of
from tests.surfaces.people import House
from tests.valkey import Valkey

PATIENT = 70.0
"""Seconds: leases end, and rolls are called, when nobody can have been away by chance."""


async def online(hall: Hall) -> set[str]:
    return set((await hall.ask("GET", "/status")).json()["online_participants"])


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_who_does_not_come_back_after_a_crash_has_left(
    make_server: Callable[..., Server],
) -> None:
    server = make_server(offline_grace="0.2")
    async with House(server, "default") as house:
        hall = await open_hall(house)
        ann, ben = await hall.guest("ann"), await hall.guest("ben")
        await ann.next("participant_joined", participant_id=id_of(ben))
        cursor = (await ann.ask("chat_message", content="before"))["cursor"]
        server.kill()
        server.restart()
        back = await hall.enter(seat_of(ann), live=False, query=f"cursor={cursor}")
        assert (await back.next("resumed"))["recovered"] is True
        assert await online(hall) == {id_of(ann)}, "the log is not asked who is connected"
        told = await back.next("participant_left", patience=PATIENT)
        assert told["participant_id"] == id_of(ben)
        await hall.enter(seat_of(ben))
        assert (await back.next("participant_joined"))["participant_id"] == id_of(ben)
        assert await online(hall) == {id_of(ann), id_of(ben)}


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_who_was_on_a_node_that_died_has_left(
    tmp_path: Path, postgres: Postgres, valkey_session: Valkey
) -> None:
    settings: dict[str, Any] = {"offline_grace": "0.2"}
    nodes = TwoNodes(tmp_path / "dying", postgres, valkey_session, **settings)
    nodes.start()
    try:
        first, second = nodes.nodes
        async with House(first, "default") as here, House(second, "default") as there:
            hall = await open_hall(here)
            over = Hall(there, hall.room)
            ann = await hall.guest("ann")
            ben = await over.guest("ben")
            await ann.next("participant_joined", participant_id=id_of(ben))
            assert await online(hall) == {id_of(ann), id_of(ben)}
            # Two devices on two nodes are one participant.
            more = await hall.enter(seat_of(ben))
            await more.close()
            second.kill()
            told = await ann.next("participant_left", patience=PATIENT)
            assert told["participant_id"] == id_of(ben)
            assert await online(hall) == {id_of(ann)}
            assert [f for f in ann.waiting if f.get("participant_id") == id_of(ben)] == []
    finally:
        nodes.stop()
