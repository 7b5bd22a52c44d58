"""docs/agents.md says what is so: its frames are sent, and what comes back is as it shows."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from madang.agents.catalog import read_configs
from madang.compose import Madang, create_app
from madang.settings import Settings
from madang.surfaces.agents import commands
from tests.surfaces.agents.sessions import LONG, Chat, answer_of, uploaded
from tests.surfaces.people import Frame, Socket
from tests.test_docs import DOCS, blocks, frames

PAGE = (DOCS / "agents.md").read_text("utf-8")


def models(app: Madang) -> dict[str, Any]:
    """Each frame's model, by its type."""
    found = {
        "message": commands.Message,
        "file": commands.File,
        "typing": commands.Typing,
        "stop": commands.OnMessage,
        "read": commands.OnMessage,
        "regenerate": commands.Regenerate,
        "choose": commands.OnMessage,
        "handover": commands.HandOver,
        "approval_answer": commands.ApprovalAnswer,
        "ping": commands.Ping,
        "stream_start": commands.StreamStart,
        "stream_chunk": commands.StreamChunk,
        "stream_end": commands.StreamEnd,
        "run_step": commands.RunStep,
        "approval_request": commands.ApprovalRequest,
    }
    assert set(found) == set(app.agents.socket._handlers)
    return found


def test_every_frame_that_may_be_sent_is_shown(tmp_path: Path) -> None:
    found = models(create_app(Settings(dev=True, data_dir=tmp_path)))
    shown = [*frames(PAGE, "json said"), *frames(PAGE, "json agent")]
    for frame in shown:
        found[frame["type"]].model_validate(frame)
    assert {frame["type"] for frame in shown} == set(found)


def test_the_configuration_of_the_page_is_one() -> None:
    (page,) = blocks(PAGE, "toml")
    path = Path(str(uuid.uuid4()))
    try:
        path = path.with_suffix(".toml")
        path.write_text(page, "utf-8")
        assert set(read_configs(str(path))) == {"helper", "support", "bot"}
    finally:
        path.unlink()


def shape(frame: Frame, left_out: Iterable[str] = ("reply_to", "client_id", "id")) -> set[str]:
    return {name for name in frame if name not in left_out}


def recorded(socket: Socket, heard: list[Frame]) -> Socket:
    """The socket, and all that it receives from here on."""
    receive = socket.receive

    async def and_keep(patience: float = LONG) -> Frame:
        frame = await receive(patience)
        heard.append(frame)
        return frame

    socket.receive = and_keep  # type: ignore[method-assign]
    heard += [socket.connected, *socket.waiting]
    return socket


async def test_the_server_says_what_the_page_says(program: Chat) -> None:
    session = await program.session("ann", "echo", participant_ids=["bob"])
    heard: list[Frame] = []
    ann = recorded(await program.join("ann", session), heard)
    bob = recorded(await program.join("bob", session), heard)
    said = {frame["type"]: frame for frame in frames(PAGE, "json said")}

    async def say(kind: str, socket: Socket = ann, **instead: Any) -> Frame:
        """Send the page's frame with ids of the day; the reply, where there is one."""
        sent = {**said[kind], **instead}
        await socket.send(**sent)
        if "id" not in sent:
            return {}
        return await socket.next(patience=LONG, reply_to=sent["id"])

    mine = await say("message")
    run, _, _ = await answer_of(bob)
    await say("read", message_id=mine["message_id"])
    await say("ping")
    await say("typing")
    await bob.next("typing")
    file_id = await uploaded(program, "ann", session)
    sent = await say("file", file_id=file_id)
    (shown_file,) = [one for one in frames(PAGE, "json told") if one.get("message_type") == "file"]
    assert sent["attachments"][0].keys() == shown_file["attachments"][0].keys()
    await answer_of(ann)
    await say("regenerate", message_id=run)
    await say("choose", message_id=run)
    await say("handover")
    assert (await say("stop", message_id=run))["type"] == "stream_end"
    other = await program.session("ann", "careful")
    room = recorded(await program.join("ann", other), heard)
    await room.send("message", content="well?")
    asked = await room.next("approval_request", patience=LONG)
    place = {"message_id": asked["message_id"], "request_id": asked["request_id"]}
    await say("approval_answer", room, **place)
    thinking = await program.session("ann", "thinker")
    steps = recorded(await program.join("ann", thinking), heard)
    await steps.send("message", content="life")
    run, _, _ = await answer_of(steps)
    # Whole, as whoever comes late gets them: on the way they may come in parts.
    async with program.rest("ann").stream("GET", f"/runs/{run}/stream") as events:
        heard += [frame for _, frame in await events.all()]
    outside = await program.session("ann", "bot-7")
    bot = recorded(await program.join("bot-7", outside, roles=["agent"]), heard)
    started = await bot.ask("stream_start")
    await bot.ask("stream_chunk", message_id=started["message_id"], content="A courtyard is ")
    await bob.close()
    await ann.next("system", event="user_left", patience=LONG)
    shown = frames(PAGE, "json told")
    for frame in shown:
        alike = [one for one in heard if one["type"] == frame["type"]]
        if frame["type"] == "system":
            alike = [one for one in heard if one.get("event") == frame["event"]]
        if frame["type"] == "run_step":
            alike = [one for one in alike if one["kind"] == frame["kind"]]
        assert any(shape(frame) == shape(one) - {"so_far"} for one in alike), (frame, alike[:2])


async def test_an_agent_outside_may_say_all_that_the_page_shows(program: Chat) -> None:
    session = await program.session("ann", "bot-7")
    ann = await program.join("ann", session)
    bot = await program.join("bot-7", session, roles=["agent"])
    await ann.send("message", content="What is a courtyard?")
    question = (await ann.next("message"))["message_id"]
    run = str(uuid.uuid4())
    for frame in frames(PAGE, "json agent"):
        sent = {**frame, "message_id": run}
        if "reply_to_id" in sent:
            sent["reply_to_id"] = question
        await bot.send(**sent)
    assert (await bot.next("stream_started", patience=LONG))["message_id"] == run
    (shown,) = [one for one in frames(PAGE, "json told") if one["type"] == "stream_taken"]
    assert await bot.next("stream_taken", patience=LONG) == {**shown, "message_id": run}
    _, text, end = await answer_of(ann)
    assert (text, end["status"], end["tokens_used"]) == ("A courtyard is ", "complete", 9)
    assert not [frame for frame in await bot.so_far() if frame["type"] == "error"]


async def test_streams_are_as_the_page_shows_them(program: Chat) -> None:
    """One that is answered, and one that nobody answers."""
    answered, sent = blocks(PAGE, "sse")
    for shown, handler in ((answered, None), (sent, "ann")):
        parts = shown.strip().split("\n\n")
        numbers = [re.search(r"^id: \S+:(-?\d+)$", part, re.MULTILINE) for part in parts]
        session, api = await program.session("ann"), program.rest("ann")
        path = f"/sessions/{session}"
        assert (await api.post(f"{path}/handover", {"to": handler})).is_success
        async with api.stream("POST", f"{path}/messages/stream", {"content": "안녕"}) as events:
            told = await events.all()
        assert [number[1] if number else None for number in numbers] == [
            None if identity is None else identity.rpartition(":")[2] for identity, _ in told
        ]
        for part, (_, frame) in zip(parts, told, strict=True):
            assert set(re.findall(r'"(\w+)":', part)) <= frame.keys()
            assert f'"type":"{frame["type"]}"' in part
