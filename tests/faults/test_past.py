"""Coming back from further than the log can be given: it is said, with a reason, and not a part of
it is told. Beyond retention, beyond what is replayed to one client, across an epoch: and whoever
comes back from just within gets everything."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable

from tests.conftest import Server
from tests.phone import Frame, calling

EVENTS = 40


async def _talk(server: Server) -> list[int]:
    """The cursors of so many messages in a room of ann's, and of what came before."""
    async with server.rest("ann") as rest:
        body = {"kind": "group", "participant_ids": ["ben"]}
        room = (await rest.post("/api/v1/messenger/conversations", json=body)).json()["id"]
        for number in range(EVENTS):
            path = f"/api/v1/messenger/conversations/{room}/messages"
            assert (await rest.post(path, json={"content": f"m{number}"})).status_code == 201
        log = (await rest.get("/api/v1/events", params={"cursor": 0, "limit": 1000})).json()
    assert len(log["events"]) == EVENTS + 1
    return [event["cursor"] for event in log["events"]]


async def _resumed(server: Server, cursor: int) -> tuple[bool, str | None, list[int]]:
    async with calling(server.ws, server.token("ben")) as phone:
        await phone.until("system")
        await phone.send("resume", cursor=cursor)
        answer: Frame = await phone.until("resumed")
        told = [frame["cursor"] for frame in phone.events()]
        assert answer["events"] == len(told)
        return answer["recovered"], answer.get("reason"), told


async def test_past_retention(server: Server) -> None:
    cursors = await _talk(server)
    oldest = cursors[20]
    server.kill()
    with sqlite3.connect(server.database) as database:
        # The oldest events are no longer kept.
        database.execute("DELETE FROM events WHERE cursor < ?", (oldest,))
        database.execute("UPDATE orgs SET oldest_cursor = ?", (oldest,))
    database.close()
    server.restart()
    for cursor in (1, cursors[0], cursors[19], oldest - 1):
        assert await _resumed(server, cursor) == (False, "expired", [])
    for number in (20, 21, EVENTS):
        expected = (True, None, cursors[number + 1 :])
        assert await _resumed(server, cursors[number]) == expected


async def test_past_what_is_replayed(make_server: Callable[..., Server]) -> None:
    server = make_server(max_replay_events="10")
    cursors = await _talk(server)
    for cursor in (1, cursors[0], cursors[EVENTS - 11]):
        assert await _resumed(server, cursor) == (False, "too_many", [])
    for number in (EVENTS - 10, EVENTS - 9, EVENTS):
        expected = (True, None, cursors[number + 1 :])
        assert await _resumed(server, cursors[number]) == expected


async def test_across_an_epoch(server: Server) -> None:
    cursors = await _talk(server)
    server.kill()
    with sqlite3.connect(server.database) as database:
        # As a backup has it that was made before the last ten.
        database.execute("DELETE FROM events WHERE cursor > ?", (cursors[-11],))
        database.execute("DELETE FROM messages WHERE seq > ?", (EVENTS + 1 - 10,))
        database.execute("UPDATE orgs SET last_cursor = ?", (cursors[-11],))
        database.execute(
            "UPDATE conversations SET last_seq = last_seq - 10, last_cursor = ?", (cursors[-11],)
        )
    database.close()
    command = [sys.executable, "-m", "madang", "db", "new-epoch"]
    command += ["--data-dir", str(server.directory)]
    await asyncio.to_thread(subprocess.run, command, check=True, cwd=server.directory)
    server.restart()
    for cursor in (cursors[-1], cursors[-10]):
        assert await _resumed(server, cursor) == (False, "other_epoch", [])
    assert await _resumed(server, cursors[-13]) == (True, None, cursors[-12:-10])
