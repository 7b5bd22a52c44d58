"""`docs/live.md` says what is so: its frames are sent to a running server, its tables compared with
the code."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from madang import create_app
from madang.model.live import RoomSettings
from madang.settings import Settings
from madang.surfaces.live import commands
from tests.conftest import Server
from tests.surfaces.live.hall import Hall, id_of, open_hall
from tests.surfaces.people import Frame, House, Socket
from tests.test_docs import DOCS, frames

PAGE = (DOCS / "live.md").read_text("utf-8")
MODELS: dict[str, type[commands.Command]] = {
    "chat_message": commands.Chat,
    "question": commands.Question,
    "question_vote": commands.QuestionVote,
    "question_state": commands.QuestionState,
    "participant_update": commands.ParticipantUpdate,
    "typing": commands.Typing,
    "moderate": commands.Moderate,
    "poll_open": commands.PollOpen,
    "poll_vote": commands.PollVote,
    "poll_close": commands.PollClose,
    "resume": commands.Resume,
    "ping": commands.Ping,
}


def test_every_command_is_documented_with_all_its_fields(tmp_path: Path) -> None:
    app = create_app(Settings(dev=True, data_dir=tmp_path))
    assert set(MODELS) == set(app.live.session._handlers)
    shown: dict[type[commands.Command], set[str]] = {}
    for frame in frames(PAGE, "json guest"):
        model = MODELS[frame["type"]]
        model.model_validate(frame)
        shown.setdefault(model, {"id"}).update(frame)
    assert shown == {model: set(model.model_fields) for model in MODELS.values()}


def test_every_setting_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert rows == [(field.name, json.dumps(field.default)) for field in fields(RoomSettings)]


@pytest.fixture
async def house(make_server: Callable[..., Server]) -> AsyncIterator[House]:
    async with House(make_server(offline_grace="0.1", rate_limit_enabled="false")) as house:
        yield house


async def test_the_server_says_what_the_page_says(house: House) -> None:
    """Every client frame of the page is sent, about what exists here; what comes back has the types
    and fields that the page shows, and no type that it does not."""
    hall = await open_hall(house)
    host, minji = await hall.host(), await hall.guest("민지")
    witness = await hall.guest("witness")
    sockets = [host, minji, witness]
    for socket in sockets:
        socket.waiting.append(socket.connected)
    heard: list[Frame] = []
    for frame in frames(PAGE, "json guest"):
        about = await prepared(hall, host, minji, frame)
        hosts = frame["type"] in ("question_state", "poll_open", "poll_close", "moderate")
        sender = host if hosts else minji
        if frame["type"] == "typing":
            await sender.send(**about)
            heard.append(await witness.next("typing"))
            continue
        answer = await sender.ask(**about)
        assert answer["type"] != "error", (frame, answer)
        heard.append(answer)
        if about.get("action") == "kick":
            heard.append(await minji.next("moderated"))
            assert (await minji.closed())[0] == 4009
            minji = await hall.guest("민지")
            sockets.append(minji)
    await hall.as_host("PATCH", body={"status": "paused"})
    await witness.close()
    await host.next("participant_left", participant_id=id_of(witness))
    heard.append(await host.ask("chat_message", content=""))
    heard += [frame for socket in sockets for frame in await rest_of(socket)]
    shown = frames(PAGE, "json room")
    assert {frame["type"] for frame in heard} == {frame["type"] for frame in shown}
    for frame in shown:
        alike = {shape(other) for other in heard if other["type"] == frame["type"]}
        assert shape(frame) in alike, (frame, alike)


def shape(frame: Frame) -> frozenset[str]:
    return frozenset(frame) - {"reply_to", "own", "voted", "mine", "retry_after"}


async def rest_of(socket: Socket) -> list[Frame]:
    if (
        socket.connection.protocol.close_rcvd is None
        and socket.connection.protocol.state.value == 1
    ):
        return await socket.so_far()
    frames, socket.waiting = socket.waiting, []
    return frames


async def prepared(hall: Hall, host: Socket, minji: Socket, frame: Frame) -> dict[str, Any]:
    """The frame about things that exist here; a question or a poll of its own for each."""
    sent = {name: frame[name] for name in frame if name != "id"}
    if "message_id" in sent:
        if sent["type"].startswith("poll"):
            kind = "cloud" if "words" in sent else "single"
            options = [] if kind == "cloud" else ["네", "아니요"]
            made = await host.ask("poll_open", question="차 한 잔?", kind=kind, options=options)
        elif sent["type"] == "moderate":
            made = await minji.ask("chat_message", content="rude")
        else:
            made = await minji.ask("question", content="왜 마당인가요?")
        sent["message_id"] = made["message_id"]
    if "participant_id" in sent:
        sent["participant_id"] = id_of(minji)
    if "cursor" in sent:
        sent["cursor"] = minji.connected["cursor"]
        sent["epoch"] = minji.connected["epoch"]
    return sent
