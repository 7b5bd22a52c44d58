"""A backup takes the log's place: whoever has seen what is lost is told so, by the cursor alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.phone import Frame, calling
from tests.surfaces.events.conftest import EVENTS, Desk, numbers


class Archive:
    """Backups of a server's database, and bringing one back."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def back_up(self, name: str) -> None:
        """Stop the server, keep a copy, start it again."""
        self.server.terminate()
        shutil.copyfile(self.server.database, self._file(name))
        self.server.restart()

    def restore(self, name: str) -> None:
        """The plug is pulled; the backup takes the database's place, with a new epoch."""
        self.server.kill()
        for leftover in self.server.directory.glob("madang.sqlite3*"):
            leftover.unlink()
        shutil.copyfile(self._file(name), self.server.database)
        command = [sys.executable, "-m", "madang", "db", "new-epoch"]
        done = subprocess.run(
            [*command, "--data-dir", str(self.server.directory)],
            cwd=self.server.directory,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "epoch is now" in done.stdout
        self.server.restart()

    def _file(self, name: str) -> Path:
        return self.server.directory.parent / name


async def resumed(server: Server, cursor: int, **fields: object) -> Frame:
    """What ann's messenger is answered."""
    async with calling(server.ws, server.token("ann")) as phone:
        await phone.until("system")
        await phone.send("resume", cursor=cursor, **fields)
        answer = await phone.until("resumed")
        assert answer["events"] == len(phone.events())
        return answer


async def everywhere(desk: Desk, cursor: int) -> list[tuple[bool, str | None, list[int]]]:
    """What ann is told by each way of coming back with a cursor."""
    found = []
    answer = await resumed(desk.server, cursor)
    async with desk.phone(cursor=cursor) as phone:
        done = await phone.until("replay_complete")
        found.append((done["recovered"], done.get("reason"), numbers(phone.events())))
        assert (answer["recovered"], answer.get("reason")) == found[0][:2]
    async with desk.stream(last_event_id=cursor) as events:
        got = [(await anext(events))[1]]
        while got[-1]["type"] != "replay_complete":
            got.append((await anext(events))[1])
        found.append((got[-1]["recovered"], got[-1].get("reason"), numbers(got)))
    page = (await desk.rest("ann").get(EVENTS, params={"cursor": cursor})).json()
    found.append((page["recovered"], page.get("reason"), numbers(page["events"])))
    return found


LOST: list[tuple[bool, str | None, list[int]]] = [(False, "other_epoch", [])] * 3


def whole(*expected: int) -> list[tuple[bool, None, list[int]]]:
    return [(True, None, list(expected))] * 3


@pytest.mark.timeout(120)
async def test_a_cursor_of_lost_events_is_told_so(server: Server) -> None:
    archive = Archive(server)
    async with AsyncExitStack() as stack:
        desk = Desk(server, "default", stack)
        new_org = Desk(server, "founded-later", stack)
        kept = [(await desk.publish(number))["cursor"] for number in (1, 2)]
        async with calling(server.ws, server.token("ann")) as phone:
            old_epoch = (await phone.until("system"))["epoch"]
        archive.back_up("first")
        lost = [(await desk.publish(number))["cursor"] for number in (3, 4)]
        lost_elsewhere = (await new_org.publish(5))["cursor"]
        archive.restore("first")

        # Nothing has happened since: what was lost is lost, and what was seen before is good.
        assert await everywhere(desk, lost[0]) == LOST
        assert await everywhere(desk, kept[1]) == whole()
        async with calling(server.ws, server.token("ann")) as phone:
            hello = await phone.until("system")
            assert hello["epoch"] != old_epoch
            assert (await resumed(server, hello["cursor"]))["recovered"]

        # Nor does a new event that comes after it make the gap look whole.
        await desk.publish(6)
        await new_org.publish(7)
        for cursor in lost:
            assert await everywhere(desk, cursor) == LOST
        assert await everywhere(desk, kept[0]) == whole(2, 6)
        assert await everywhere(desk, kept[1]) == whole(6)
        assert await everywhere(desk, hello["cursor"]) == whole(6)
        page = await new_org.rest("ann").get(EVENTS, params={"cursor": lost_elsewhere})
        assert page.json()["reason"] == "other_epoch"
        page = await new_org.rest("ann").get(EVENTS, params={"cursor": 0})
        assert numbers(page.json()["events"]) == [7]

        # Where the client says its epoch, that alone is enough.
        for cursor in (kept[1], hello["cursor"]):
            told = await resumed(server, cursor, epoch=old_epoch)
            assert (told["recovered"], told["reason"]) == (False, "other_epoch")
            assert (await resumed(server, cursor, epoch=hello["epoch"]))["recovered"]

        # One conversation may be caught up from a cursor too.
        inbox = (await desk.rest("ann").get(EVENTS)).json()["events"][0]["conversation_id"]
        async with calling(server.ws, server.token("ann")) as phone:
            for cursor, expected in ((lost[0], (False, "other_epoch")), (kept[1], (True, None))):
                await phone.send("subscribe", conversation_id=inbox, after=cursor)
                told = await phone.until("subscribed")
                assert (told["recovered"], told.get("reason")) == expected

        # A second backup and a second loss.
        archive.back_up("second")
        again = (await desk.publish(8))["cursor"]
        archive.restore("second")
        await desk.publish(9)
        assert await everywhere(desk, again) == LOST
        assert await everywhere(desk, lost[1]) == LOST
        assert await everywhere(desk, kept[1]) == whole(6, 9)
