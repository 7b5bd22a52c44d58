"""Agents outside whose connection ends: they come back, to whichever node, and go on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.postgres import Postgres
from tests.surfaces.agents.conftest import Program, TwoPrograms
from tests.surfaces.agents.sessions import LONG, Chat, answer_of, two
from tests.surfaces.conftest import SHORT
from tests.surfaces.people import House, error
from tests.valkey import Valkey


async def test_one_that_goes_is_interrupted(make_program: Callable[..., Program]) -> None:
    async with House(make_program(run_grace_seconds="0.2")) as house:
        chat = Chat(house)
        session, ann, bot = await two(chat)
        run = (await bot.ask("stream_start", client_id="a1"))["message_id"]
        await bot.send("stream_chunk", message_id=run, content="and then")
        await ann.next("stream_chunk", message_id=run, patience=LONG)
        await bot.close()
        end = await ann.next("stream_end", message_id=run, patience=LONG)
        assert (end["status"], end["tokens_used"]) == ("interrupted", 1)
        kept = (await chat.rest("ann").messages(session))[-1]
        assert kept["content"] == "and then"
        # It has come too late.
        back = await chat.join("bot-7", session, roles=["agent"])
        started = await back.ask("stream_start", client_id="a1")
        assert started["message_id"] == run and "index" not in started
        error = await back.ask("stream_chunk", message_id=run, content="late")
        assert (error["code"], error["message"]) == ("CONFLICT", "The run has ended")


async def test_one_that_is_sent_away_is_not_waited_for(
    make_program: Callable[..., Program],
) -> None:
    async with House(make_program(run_grace_seconds="3600")) as house:
        chat = Chat(house)
        session, ann, bot = await two(chat)
        run = (await bot.ask("stream_start"))["message_id"]
        path = f"/sessions/{session}/participants/bot-7"
        assert (await chat.rest("ann").delete(path)).is_success
        end = await ann.next("stream_end", message_id=run, patience=LONG)
        assert end["status"] == "cancelled"


async def test_one_that_comes_back_goes_on_where_it_was(one: Chat) -> None:
    """Also while the server takes its first connection for alive, and after that is gone."""
    session, ann, bot = await two(one)
    await bot.send("stream_start", message_id="answer", client_id="a1")
    await bot.send("stream_chunk", message_id="answer", content="안녕 ", index=0, offset=0)
    await bot.send("stream_chunk", message_id="answer", content="🌊 ", index=1, offset=3)
    start = await ann.next("stream_start", patience=LONG)
    again = await one.join("bot-7", session, roles=["agent"])
    started = await again.ask("stream_start", message_id="answer", client_id="a1")
    assert started["message_id"] == start["message_id"]
    assert (started["index"], started["offset"]) == (2, 5)
    # It repeats what it does not know to have arrived, and is told what comes next.
    error = await again.ask("stream_chunk", message_id="answer", content="안녕 ", index=0)
    assert (error["code"], error["message"]) == ("VALIDATION", "index: 2 comes next")
    error = await again.ask("stream_chunk", message_id="answer", content="안녕 ", offset=3)
    assert (error["code"], error["message"]) == ("VALIDATION", "offset: 5 comes next")
    await again.send("stream_chunk", message_id="answer", content="x", index=2, offset=5)
    # The one before says no more, and its end is not the answer's.
    error = await bot.ask("stream_chunk", message_id="answer", content="late", index=3)
    assert (error["code"], error["message"]) == ("CONFLICT", "Another connection goes on with it")
    await bot.close()
    await again.send("stream_chunk", message_id="answer", content="y", index=3, offset=6)
    await again.send("stream_end", message_id="answer")
    ann.waiting.insert(0, start)
    _, text, end = await answer_of(ann)
    assert (text, end["status"]) == ("안녕 🌊 xy", "complete")
    third = await one.join("bot-7", session, roles=["agent"])
    over = await third.ask("stream_start", message_id="answer", client_id="a1")
    assert over["message_id"] == start["message_id"] and "index" not in over
    error = await third.ask("stream_chunk", message_id="answer", content="z")
    assert (error["code"], error["message"]) == ("CONFLICT", "The run has ended")


async def test_one_that_comes_back_need_not_begin_anew(program: Chat) -> None:
    """Whatever it says first; with many words at once; on whichever node."""
    session, ann, bot = await two(program)
    for number, first in enumerate(("stream_chunk", "run_step", "approval_request", "stream_end")):
        run = (await bot.ask("stream_start"))["message_id"]
        await bot.send("stream_chunk", message_id=run, content="안녕 ", index=0, offset=0)
        await bot.ask("ping")
        await bot.close()
        await ann.next("system", event="user_left", user_id="bot-7", patience=LONG)
        bot = await program.join("bot-7", session, roles=["agent"])
        text = "안녕 "
        match first:
            case "stream_chunk":
                for index in range(1, 200):
                    await bot.send("stream_chunk", message_id=run, content="🌊", index=index)
                text += "🌊" * 199
            case "run_step":
                await bot.send("run_step", message_id=run, step_id="s", status="complete")
            case "approval_request":
                await bot.send("approval_request", message_id=run, question="May I?")
        await bot.send("stream_end", message_id=run, tokens_used=number)
        _, said, end = await answer_of(ann, run)
        assert (said, end["status"], end["tokens_used"]) == (text, "complete", number)
        assert not [frame for frame in await bot.so_far() if frame["type"] == "error"]


async def test_what_is_said_elsewhere_or_over_is_not_gone_on_with(program: Chat) -> None:
    session, ann, bot = await two(program)
    run = (await bot.ask("stream_start"))["message_id"]
    beside = await program.join("bot-7", session, roles=["agent"])
    told = await beside.ask("stream_chunk", message_id=run, content="x")
    error(told, "NOT_FOUND", "Message not found")
    # By saying that it begins it is: it is the agent's to know that its other connection is dead.
    assert (await beside.ask("stream_start", message_id=run))["type"] == "stream_started"
    await beside.send("stream_chunk", message_id=run, content="back")
    await beside.send("stream_end", message_id=run)
    assert (await answer_of(ann, run))[1] == "back"
    late = await program.join("bot-7", session, roles=["agent"])
    told = await late.ask("stream_chunk", message_id=run, content="x")
    error(told, "CONFLICT", "The run has ended")


async def test_what_is_not_its_own_is_not_gone_on_with(
    make_program: Callable[..., Program],
) -> None:
    async with House(make_program(run_grace_seconds="600")) as house:
        chat = Chat(house)
        session, ann, bot = await two(chat)
        api = chat.rest("ann")
        run = (await bot.ask("stream_start"))["message_id"]
        await bot.close()
        await ann.next("system", event="user_left", user_id="bot-7", patience=LONG)
        others = {"user_ids": ["bot-9"]}
        assert (await api.post(f"/sessions/{session}/participants", others)).is_success
        question = (await ann.ask("message", content="well?"))["message_id"]
        for user, room in (("bot-9", session), ("bot-7", await chat.session("ann", "bot-7"))):
            other = await chat.join(user, room, roles=["agent"])
            for unknown in (run, question):
                told = await other.ask("stream_chunk", message_id=unknown, content="x")
                error(told, "NOT_FOUND", "Message not found")
        assert (await api.get(f"/runs/{run}")).json()["status"] == "streaming"


async def test_going_on_without_beginning_counts_as_beginning(
    make_program: Callable[..., Program],
) -> None:
    limits = {"rate_limit_enabled": "true", "rate_limit_messages_per_minute": "2"}
    async with House(make_program(**limits)) as house:
        _, _, bot = await two(Chat(house))
        for code in ("NOT_FOUND", "NOT_FOUND", "RATE_LIMIT"):
            run = str(uuid.uuid4())
            assert (await bot.ask("stream_chunk", message_id=run, content="x"))["code"] == code


async def test_who_talks_before_it_is_told_that_it_may_is_heard(program: Chat) -> None:
    """More than may wait anywhere: on the way in, and for the answer's beginning; and it has gone
    when it is heard."""
    session = await program.session("ann", "bot-7")
    ann = await program.join("ann", session)
    bot = await program.open("bot-7", session, roles=["agent"])
    run = str(uuid.uuid4())
    await bot.send("stream_start", message_id=run)
    for index in range(3_000):
        await bot.send("stream_chunk", message_id=run, content=f"{index} ", index=index)
    await bot.send("stream_end", message_id=run)
    _, text, end = await answer_of(ann)
    assert (text, end["status"]) == ("".join(f"{n} " for n in range(3_000)), "complete")
    assert not [frame for frame in bot.waiting if frame["type"] == "error"]


@pytest.fixture
async def nodes(
    tmp_path: Path, postgres: Postgres, valkey_session: Valkey
) -> AsyncIterator[TwoPrograms]:
    """Two nodes of the test's own."""
    cluster = TwoPrograms(tmp_path / "two", postgres, valkey_session, **SHORT)
    cluster.start()
    yield cluster
    cluster.stop()


async def test_it_comes_back_to_another_node(nodes: TwoPrograms) -> None:
    """By its `client_id` or by its id, after its connection has ended or before. Whoever watches,
    on either node, is told all of it once."""
    one, other = nodes.nodes
    async with House(one) as here, House(other, here.org) as there:
        chats = [Chat(here), Chat(there)]
        session = await chats[0].session("ann", "bot-7")
        viewers = [await chat.join("ann", session) for chat in chats]
        run, text = str(uuid.uuid4()), ""
        bot = await chats[0].join("bot-7", session, roles=["agent"])
        await bot.ask("stream_start", message_id=run, client_id="a1")
        for turn in range(1, 7):
            for number in range(10):
                word = f"{turn}.{number} 안🌊 "
                index = (turn - 1) * 10 + number
                await bot.send(
                    "stream_chunk", message_id=run, content=word, index=index, offset=len(text)
                )
                text += word
            await bot.ask("ping")
            before = bot
            if turn % 2:
                await before.close()
            bot = await chats[turn % 2].join("bot-7", session, roles=["agent"])
            named = {"client_id": "a1"} if turn % 3 else {}
            started = await bot.ask("stream_start", message_id=run, **named)
            assert (started["type"], started["message_id"]) == ("stream_started", run)
            assert (started["index"], started["offset"]) == (turn * 10, len(text))
            if not turn % 2:
                error = await before.ask("stream_chunk", message_id=run, content="late")
                assert (error["code"], error["message"]) == (
                    "CONFLICT",
                    "Another connection goes on with it",
                )
                await before.close()
            viewers.append(await chats[turn % 2].join("ann", session))
        await bot.send("stream_end", message_id=run, tokens_used=60)
        for viewer in viewers:
            found, said, end = await answer_of(viewer)
            assert (found, said, end["status"]) == (run, text, "complete")
            assert end["tokens_used"] == 60


async def test_of_two_that_come_back_at_once_one_goes_on(nodes: TwoPrograms) -> None:
    one, other = nodes.nodes
    async with House(one) as here, House(other, here.org) as there:
        session, ann, bot = await two(Chat(here))
        run = (await bot.ask("stream_start", client_id="a1"))["message_id"]
        await bot.send("stream_chunk", message_id=run, content="so far ")
        rivals = [
            await Chat(house).join("bot-7", session, roles=["agent"]) for house in (there, here)
        ]
        await bot.close()
        await asyncio.gather(*(rival.ask("stream_start", client_id="a1") for rival in rivals))
        # The other is told so, at once or with its next frame.
        going_on = []
        for rival in rivals:
            await rival.send("stream_chunk", id="c", message_id=run, content="and on", offset=7)
            told = await rival.next(patience=LONG, reply_to="c")
            assert told.get("code") in (None, "CONFLICT", "NOT_FOUND")
            going_on += [rival] if told["type"] == "stream_taken" else []
        (winner,) = going_on
        await winner.send("stream_end", message_id=run)
        _, text, end = await answer_of(ann)
        assert (text, end["status"]) == ("so far and on", "complete")


async def test_it_comes_back_after_its_node_was_killed(nodes: TwoPrograms) -> None:
    """What was told on the node to which it comes is kept, checked or not."""
    one, other = nodes.nodes
    async with House(one) as here, House(other, here.org) as there:
        session = await Chat(here).session("ann", "bot-7")
        viewer = await Chat(there).join("ann", session)
        bot = await Chat(here).join("bot-7", session, roles=["agent"])
        run = (await bot.ask("stream_start", client_id="a1"))["message_id"]
        text = ""
        for number in range(40):
            text += f"{number} "
            await bot.send("stream_chunk", message_id=run, content=f"{number} ")
        seen = ""
        while seen != text:
            seen += (await viewer.next("stream_chunk", patience=LONG))["content"]
        one.kill()
        back = await Chat(there).join("bot-7", session, roles=["agent"])
        # At once: its first words wait with it for the lease of the node that is gone.
        await back.send("stream_start", id="again", client_id="a1")
        await back.send("stream_chunk", message_id="a1", content="and on", offset=len(text))
        await back.send("stream_end", message_id="a1")
        started = await back.next("stream_started", patience=2 * LONG, reply_to="again")
        assert (started["message_id"], started["offset"]) == (run, len(text))
        end = await viewer.next("stream_end", patience=LONG)
        last = await viewer.next("stream_chunk")
        assert (last["content"], last["offset"], end["status"]) == ("and on", len(text), "complete")
        kept = (await Chat(there).rest("ann").messages(session))[-1]
        assert kept["content"] == text + "and on"


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_it_comes_back_to_a_server_that_was_started_again(
    make_program: Callable[..., Program], how: str
) -> None:
    server = make_program(drain_seconds="0.5", run_grace_seconds="60")
    async with House(server) as house:
        chat = Chat(house)
        session, ann, bot = await two(chat)
        run = (await bot.ask("stream_start", client_id="a1"))["message_id"]
        await bot.send("stream_chunk", message_id=run, content="안녕 ")
        seq = (await ann.next("stream_start", patience=LONG))["seq"]
        while not (await chat.rest("ann").messages(session))[-1]["content"]:
            pass
        if how == "killed":
            server.kill()
        else:
            assert server.terminate() == 0
        server.restart()
        back = await chat.join("bot-7", session, roles=["agent"])
        started = await back.ask("stream_start", client_id="a1")
        assert (started["message_id"], started["offset"]) == (run, 3)
        await back.send("stream_chunk", message_id=run, content="🌊", index=started["index"])
        await back.send("stream_end", message_id=run)
        ann = await chat.join("ann", session, after=seq)
        end = await ann.next("stream_end", patience=LONG)
        assert (end["status"], end["length"]) == ("complete", 4)
        assert (await chat.rest("ann").messages(session))[-1]["content"] == "안녕 🌊"
