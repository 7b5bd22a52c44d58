"""Coming back to a session: all of it, in pieces, however long it is and whoever reads slowly."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect

from madang.agents.protocol import AgentRun, Said, Step
from madang.compose import Madang
from madang.hub.frame import Form, Frame
from madang.protocol.codes import CloseCode
from madang.services.messages import DeleteMessage, Done, SendMessage
from madang.services.sessions import CreateSession, SendOut
from madang.settings import Settings
from madang.surfaces.agents.seats import AT_ONCE, ESCAPED, PATIENCE_SECONDS, PIECE
from madang.testing import JumpingClock
from tests.agents.watching import ORG, Typed, ask, come_in, rushed, session, stopped, turns, watch
from tests.conftest import Server, eventually
from tests.gateways.test_slow_readers import resident
from tests.hub.recording import Recorder
from tests.surfaces.agents.sessions import Chat
from tests.surfaces.people import House

PATIENCE = 30.0
MESSAGES = 40
LONG = "\x01" * 60_000
"""Six bytes each, as JSON."""
MOST_UNSENT = PIECE + ESCAPED * PIECE + 1_000


class Reader(Recorder):
    """Takes what it is sent at the end of the turn, or as it is told to: `stuck`, nothing."""

    __slots__ = ("most_a_turn", "stuck", "taken", "turns", "written")

    def __init__(self, turns: list[int] | None = None, *, stuck: bool = False) -> None:
        super().__init__(Form.AGENT)
        self.stuck = stuck
        self.written = self.taken = 0
        self.turns = [] if turns is None else turns
        """Bytes that were written in each turn of the loop to all that share this."""

    def write(self, frame: Frame) -> None:
        if not self.open:
            return
        super().write(frame)
        if not self.turns or self.turns[-1] == 0:
            self.turns[-1:] = [0]
            asyncio.get_running_loop().call_soon(lambda: self.turns.append(0))
        self.turns[-1] += len(frame.text)
        self.written += len(frame.text)
        if not self.stuck and self.unsent == len(frame.text):
            asyncio.get_running_loop().call_soon(self.take)

    def take(self, most: int = 2**62) -> None:
        self.taken += min(most, self.unsent)

    @property
    def unsent(self) -> int:
        return self.written - self.taken


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Madang]:
    made = Madang(Settings(dev=True, data_dir=tmp_path))
    await made.start()
    yield made
    await made.stop()


async def talked(app: Madang, content: str = LONG, count: int = MESSAGES) -> str:
    """A session in which much was said, and no agent was asked."""
    write = CreateSession(ORG, "ann", "agent:echo", answers="mentioned", others=("bob",))
    room = str((await app.writer.write(write)).conversation.id)
    await asyncio.gather(
        *(app.writer.write(SendMessage(ORG, room, "ann", content)) for _ in range(count))
    )
    return room


async def test_slow_returners_hold_little_and_hold_up_nobody(app: Madang) -> None:
    room = await talked(app)
    turned: list[int] = []
    slow = [Reader(turned, stuck=True) for _ in range(20)]
    coming = [asyncio.ensure_future(come_in(app, one, room, after=0)) for one in slow]
    await eventually(lambda: all(one.unsent > PIECE for one in slow), PATIENCE)
    quick = [Reader(turned) for _ in range(20)]
    async with asyncio.timeout(PATIENCE):
        seated = await asyncio.gather(*(come_in(app, one, room, "bob", after=0) for one in quick))
    assert all(seated)
    for one in quick:
        told = one.told()
        assert [frame["seq"] for frame in told] == list(range(2, MESSAGES + 3))
        assert sum(frame.get("content") == LONG for frame in told) == MESSAGES
    assert max(one.unsent for one in slow) <= MOST_UNSENT
    # However many come back, the loop writes for so many of them in a turn.
    assert max(turned) <= AT_ONCE * MOST_UNSENT
    assert not any(task.done() for task in coming)
    for one in slow:
        one.stuck = False
        one.take()
    async with asyncio.timeout(PATIENCE):
        assert all(await asyncio.gather(*coming))
    assert all(one.told() == quick[0].told() for one in slow)
    for one in (*slow, *quick):
        app.hub.detach(one)


async def test_a_long_answer_that_has_ended_comes_in_pieces(app: Madang) -> None:
    typed, room = Typed(app), await session(app)
    viewer = await watch(app, room)
    await ask(app, room)
    text = "".join(f"{number} 안녕 \x01🌊" for number in range(12_000))
    typed.type(text, None)
    await eventually(lambda: viewer.ended, PATIENCE)
    back = Reader(stuck=True)
    coming = asyncio.ensure_future(come_in(app, back, room, after=0))
    most = 0
    async with asyncio.timeout(PATIENCE):
        while not coming.done():
            most = max(most, back.unsent)
            back.take()
            await asyncio.sleep(0)
    assert await coming
    assert most <= MOST_UNSENT
    chunks = [frame for frame in back.told() if frame["type"] == "stream_chunk"]
    assert len(chunks) >= len(text) // PIECE
    assert "".join(chunk["content"] for chunk in chunks) == text
    offset = 0
    for chunk in chunks:
        assert chunk["offset"] == offset
        offset += len(chunk["content"])
    kinds = [frame["type"] for frame in back.told()]
    assert (kinds.count("stream_start"), kinds.count("stream_end")) == (1, 1)


async def test_what_is_deleted_meanwhile_is_not_told(app: Madang) -> None:
    """Neither what was read and not sent, nor the rest of an answer that was begun."""
    typed = Typed(app)
    room = await session(app)
    viewer = await watch(app, room)
    run = await ask(app, room)
    typed.type("x" * 90_000 + "the secret" + "x" * 90_000, None)
    await eventually(lambda: viewer.ended, PATIENCE)
    done: Done = await app.writer.write(SendMessage(ORG, room, "ann", "another secret"))
    back = Reader(stuck=True)
    coming = asyncio.ensure_future(come_in(app, back, room, after=0))
    await eventually(lambda: back.unsent > PIECE, PATIENCE)
    assert "secret" not in str(back.told())
    for message_id in (run, done.message.id):
        await app.writer.write(DeleteMessage(ORG, message_id, "ann"))
    back.stuck = False
    back.take()
    async with asyncio.timeout(PATIENCE):
        assert await coming
    assert "secret" not in str(back.told())
    (end,) = [frame for frame in back.told() if frame["type"] == "stream_end"]
    assert end["length"] == 0
    assert [frame["type"] for frame in back.told()].count("message_deleted") == 2
    typed.type(None)


async def test_who_is_sent_out_meanwhile_is_told_no_more(app: Madang) -> None:
    room = await talked(app)
    back = Reader(stuck=True)
    coming = asyncio.ensure_future(come_in(app, back, room, "bob", after=0))
    await eventually(lambda: back.unsent > PIECE, PATIENCE)
    await app.writer.write(SendOut(ORG, room, "ann", "bob"))
    written = back.written
    back.stuck = False
    back.take()
    async with asyncio.timeout(PATIENCE):
        assert not await coming
    assert back.closings and back.written == written


async def test_an_answer_that_ends_meanwhile_is_told_once(app: Madang) -> None:
    """What it was told so far of it is not told again with its end; its steps are as they are."""
    typed, room = Typed(app), await session(app)
    viewer = await watch(app, room)
    await ask(app, room)
    typed.type("y" * 150_000)
    await eventually(lambda: len(viewer.text) == 150_000, PATIENCE)
    back = Reader(stuck=True)
    coming = asyncio.ensure_future(come_in(app, back, room))
    await eventually(lambda: back.unsent > PIECE, PATIENCE)
    typed.type("the end", None)
    await eventually(lambda: viewer.ended, PATIENCE)
    back.stuck = False
    back.take()
    async with asyncio.timeout(PATIENCE):
        assert await coming
    told = [frame for frame in back.told() if "message_id" in frame]
    assert [frame["type"] for frame in told].count("stream_start") == 1
    text = ""
    for frame in told:
        if frame["type"] == "stream_chunk":
            assert frame["offset"] == len(text)
            text += frame["content"]
    assert text == "y" * 150_000 + "the end"
    assert told[-1]["type"] == "stream_end"


async def test_a_step_that_goes_on_meanwhile_is_told_as_it_is(app: Madang) -> None:
    said: asyncio.Queue[Said | None] = asyncio.Queue()

    @app.agent("typed")
    async def typed(_: AgentRun) -> AsyncIterator[Said]:
        while (one := await said.get()) is not None:
            yield one

    room = await session(app)
    viewer = await watch(app, room)
    await ask(app, room)
    for one in (Step("t", "thinking", content="one"), "z" * 150_000):
        said.put_nowait(one)
    await eventually(lambda: len(viewer.text) == 150_000, PATIENCE)
    back = Reader(stuck=True)
    coming = asyncio.ensure_future(come_in(app, back, room))
    await eventually(lambda: back.unsent > PIECE, PATIENCE)
    said.put_nowait(Step("t", "thinking", status="complete", content=" and two"))
    await eventually(lambda: viewer.steps["t"]["content"] == "one and two", PATIENCE)
    assert not coming.done()
    back.stuck = False
    back.take()
    async with asyncio.timeout(PATIENCE):
        assert await coming
    steps = [frame for frame in back.told() if frame["type"] == "run_step"]
    assert [step["content"] for step in steps] == ["one", "one and two"]
    assert all(step["so_far"] for step in steps) and steps[-1]["status"] == "complete"
    said.put_nowait(None)
    await eventually(lambda: viewer.ended, PATIENCE)


async def test_who_takes_nothing_is_sent_away_and_who_takes_little_is_not(tmp_path: Path) -> None:
    clock = JumpingClock()
    app = Madang(Settings(dev=True, data_dir=tmp_path), clock=clock)
    await app.start()
    room = await talked(app, count=3)
    quiet, little = Reader(stuck=True), Reader(stuck=True)
    coming = [asyncio.ensure_future(come_in(app, one, room, after=0)) for one in (quiet, little)]
    await eventually(lambda: quiet.unsent > PIECE and little.unsent > PIECE, PATIENCE)
    passed = 0.0
    while not quiet.closings:
        clock.jump(0.5)
        passed += 0.5
        little.take(1)
        await turns(5)
        assert passed < PATIENCE_SECONDS + 5
    assert passed >= PATIENCE_SECONDS
    assert quiet.closings == [CloseCode.TOO_SLOW]
    assert await coming[0] is False
    for _ in range(200):
        clock.jump(0.5)
        little.take(1)
        await turns(5)
    assert little.open
    little.stuck = False
    little.take()
    assert await rushed(clock, coming[1], 0.5)
    assert [frame["seq"] for frame in little.told()][-1] == 5
    await stopped(app, clock)


async def test_real_ones_that_do_not_read_and_then_do(
    make_server: Callable[..., Server],
) -> None:
    """On sockets: little memory, everybody else served, and all of it in the end."""
    # Without the index: what it keeps in memory of so many words has nothing to do with readers.
    server = make_server(rate_limit_enabled="false", search_enabled="false")
    async with House(server) as house:
        chat = Chat(house)
        room = await chat.session("ann", answers="mentioned")
        api = chat.rest("ann")
        for _ in range(MESSAGES):
            answer = await api.post(f"/sessions/{room}/messages", {"content": LONG})
            assert answer.status_code == 201, answer.text
        async with asyncio.timeout(PATIENCE):
            assert await everything(await chat.open("ann", room, after=0)) == MESSAGES
        memory = resident(server)
        address = f"ws://127.0.0.1:{server.port}/api/chat/ws/{room}?token={house.token('ann')}"
        slow = []
        for _ in range(12):
            quiet = socket.socket()
            quiet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            quiet.setblocking(False)
            await asyncio.get_running_loop().sock_connect(quiet, ("127.0.0.1", server.port))
            one = await connect(
                f"{address}&after=0", sock=quiet, max_size=None, compression=None, max_queue=1
            )
            one.transport.pause_reading()
            slow.append(one)
        async with asyncio.timeout(PATIENCE):
            assert await everything(await chat.open("ann", room, after=0)) == MESSAGES
        # Each is still to be sent 14 MB; of what was read for it and not sent there is a page.
        assert resident(server) - memory < 12 * MESSAGES * ESCAPED * len(LONG) / 2
        for one in slow:
            one.transport.resume_reading()
        async with asyncio.timeout(PATIENCE):
            assert await asyncio.gather(*map(everything, slow)) == [MESSAGES] * 12
        for one in slow:
            await one.close()


async def everything(reader: Any) -> int:
    """How many messages it is told up to the last."""
    connection = getattr(reader, "connection", reader)
    last = told = 0
    while last < MESSAGES + 2:
        frame = orjson.loads(await connection.recv())
        told += frame.get("content") == LONG
        if frame.get("event") != "connected":
            last = frame.get("seq", last)
    return told


async def test_history_comes_in_pages_that_can_be_read(chat: Chat) -> None:
    """Fewer than were asked for, where they are long; the next page goes on with the rest."""
    room = await chat.session("ann", answers="mentioned")
    api = chat.rest("ann")
    sent = []
    for number in range(12):
        content = f"{number} " + "안" * 20_000
        answer = await api.post(f"/sessions/{room}/messages", {"content": content})
        sent.append(answer.json()["message_id"])
    found: list[str] = []
    query: dict[str, Any] = {"limit": 100}
    sizes = []
    while True:
        answer = await api.get(f"/sessions/{room}/messages", **query)
        page = answer.json()
        assert page["total"] == 12
        found = [message["message_id"] for message in page["messages"]] + found
        sizes.append(len(page["messages"]))
        if not page["has_more"]:
            break
        query["before"] = page["messages"][0]["seq"]
    assert found == sent
    assert sizes == [9, 3]
    listed = (await api.get("/sessions")).json()["sessions"]
    assert listed[0]["last_message"] == content[:1_000]
    rest = chat.house.rest("ann")
    page = (await rest.get(f"/conversations/{room}/messages", limit="100")).json()
    assert (len(page["messages"]), page["has_more"]) == (9, True)
