"""Runs end: stopped, with their session, deleted, broken. What waits can be ended too, and whoever
watches is told."""

from __future__ import annotations

import pytest

from tests.surfaces.agents.sessions import LONG, Api, Chat, answer_of
from tests.surfaces.people import Frame, Socket


async def test_stopping_before_the_first_word_and_while_it_waits(program: Chat) -> None:
    session = await program.session("ann", "forever")
    api = program.rest("ann")
    ann = await program.join("ann", session)
    path = f"/sessions/{session}/messages"
    (first,) = (await api.post(path, {"content": "silent"})).json()["runs"]
    (second,) = (await api.post(path, {"content": "silent"})).json()["runs"]
    (third,) = (await api.post(path, {"content": "silent"})).json()["runs"]
    assert (await api.get(f"/runs/{second}")).json()["status"] == "waiting"
    # From another device; on another node, where there is one.
    other = program.rest("ann")
    assert (await other.post(f"/runs/{second}/stop")).json()["status"] == "cancelled"
    assert (await other.post(f"/runs/{first}/stop")).json()["status"] == "cancelled"
    _, text, end = await answer_of(ann, first)
    assert (text, end["status"], end["tokens_used"]) == ("", "cancelled", 0)
    start = await ann.next("stream_start", patience=LONG)
    assert start["message_id"] == third
    assert (await other.post(f"/runs/{third}/stop")).json()["status"] == "cancelled"


ENDINGS = ["stop", "archive", "handover", "send out"]


async def end_all(api: Api, session: str, waiting: str, how: str) -> None:
    """End what waits, in one of the ways that there are."""
    match how:
        case "stop":
            answer = await api.post(f"/runs/{waiting}/stop")
        case "archive":
            answer = await api.delete(f"/sessions/{session}")
        case "handover":
            answer = await api.post(f"/sessions/{session}/handover", {"to": "bob"})
        case _:
            answer = await api.delete(f"/sessions/{session}/participants/agent:forever")
    assert answer.is_success, answer.text


@pytest.mark.parametrize("how", ENDINGS)
async def test_what_waits_and_is_ended_is_told_to_everybody(program: Chat, how: str) -> None:
    session = await program.session("ann", "forever", participant_ids=["bob"])
    ann, bob = await program.join("ann", session), await program.join("bob", session)
    phone = await program.house.device("bob")
    api = program.rest("ann")
    path = f"/sessions/{session}/messages"
    await api.post(path, {"content": "x"})
    (waiting,) = (await api.post(path, {"content": "y", "client_id": "y"})).json()["runs"]
    async with (
        program.rest("ann").stream(
            "POST", f"{path}/stream", {"content": "y"}, idempotency_key="y"
        ) as asked,
        program.rest("bob").stream("GET", f"/runs/{waiting}/stream") as watched,
    ):
        await end_all(api, session, waiting, how)
        for events in (asked, watched):
            ((identity, end),) = await events.all()
            assert identity == f"{waiting}:0"
            assert (end["type"], end["status"], end["length"]) == ("stream_end", "cancelled", 0)
    for socket in (ann, bob):
        end = await socket.next("stream_end", patience=LONG, message_id=waiting)
        assert (end["status"], end["tokens_used"], end["length"]) == ("cancelled", 0, 0)
    ended = await phone.next("run.ended", patience=LONG, message_id=waiting)
    assert (ended["status"], ended["data"]) == ("cancelled", None)
    found = (await api.get(f"/runs/{waiting}")).json()
    assert (found["status"], found["tokens_used"]) == ("cancelled", 0)
    # Whoever comes back is told too, and whoever asks now.
    back = await program.join("ann", session, after=ann.connected["seq"])
    assert (await back.next("stream_end", message_id=waiting))["seq"] == end["seq"]
    async with program.rest("ann").stream("GET", f"/runs/{waiting}/stream") as events:
        ((_, again),) = await events.all()
    assert again["status"] == "cancelled"


async def test_stopping_what_waits_over_the_socket(program: Chat) -> None:
    session = await program.session("ann", "forever")
    ann, other = await program.join("ann", session), await program.join("ann", session)
    path = f"/sessions/{session}/messages"
    runs = []
    for content in "xyz":
        runs += (await program.rest("ann").post(path, {"content": content})).json()["runs"]
    await ann.send("stop", message_id=runs[1])
    for socket in (ann, other):
        end = await socket.next("stream_end", patience=LONG, message_id=runs[1])
        assert end["status"] == "cancelled"
    told = await ann.ask("stop", message_id=runs[2])
    assert (told["type"], told["message_id"]) == ("stream_end", runs[2])
    assert (told["status"], told["length"]) == ("cancelled", 0)
    # One who asks gets the end as the reply, and once; it stands at its place in the log.
    (running,) = await ends_after(ann, runs[0])
    assert running["seq"] > told["seq"] and running["reply_to"]
    assert (await other.next("stream_end", patience=LONG, message_id=runs[2]))["seq"]


async def ends_after(socket: Socket, run: str) -> list[Frame]:
    """The ends that a device is told which asks to stop this run."""
    first = await socket.ask("stop", message_id=run)
    others = [frame for frame in await socket.so_far() if frame.get("message_id") == run]
    return [first, *(frame for frame in others if frame["type"] == "stream_end")]


async def test_what_waits_is_ended_by_the_next_question(program: Chat) -> None:
    session = await program.session("ann", "forever")
    ann = await program.join("ann", session)
    path = f"/sessions/{session}/messages"
    api = program.rest("ann")
    runs = []
    for content in "xy":
        runs += (await api.post(path, {"content": content})).json()["runs"]
    assert (await api.patch(f"/sessions/{session}", {"when_busy": "cancel"})).is_success
    (last,) = (await api.post(path, {"content": "z"})).json()["runs"]
    for run in runs:
        end = await ann.next("stream_end", patience=LONG, message_id=run)
        assert end["status"] == "cancelled"
    assert (await ann.next("stream_start", patience=LONG, message_id=last))["reply_to_id"]


async def test_a_deleted_answer_ends_and_nothing_of_it_stays(program: Chat) -> None:
    session = await program.session("ann", "numbers")
    ann = await program.join("ann", session)
    await ann.send("message", content="100000")
    start = await ann.next("stream_start", patience=LONG)
    await ann.next("stream_chunk", patience=LONG)
    run = start["message_id"]
    deleted = await program.house.rest("ann").delete(f"/messages/{run}")
    assert deleted.is_success
    await ann.next("message_deleted", patience=LONG)
    end = await ann.next("stream_end", patience=LONG)
    assert (end["status"], end["length"]) == ("cancelled", 0)
    (_, kept) = await program.rest("ann").messages(session)
    assert (kept["content"], kept["metadata"]) == ("", {})
    async with program.rest("ann").stream("GET", f"/runs/{run}/stream") as events:
        told = [one for _, one in await events.all()]
    assert "stream_chunk" not in [one["type"] for one in told]


async def test_archiving_stops_what_runs(program: Chat) -> None:
    session = await program.session("ann", "forever")
    ann = await program.join("ann", session)
    await ann.send("message", content="x")
    await ann.send("message", content="y")
    await ann.next("stream_chunk", patience=LONG)
    await program.rest("ann").delete(f"/sessions/{session}")
    end = await ann.next("stream_end", patience=LONG)
    assert end["status"] == "cancelled"
    listed = await program.rest("ann").messages(session)
    assert len(listed) == 3  # What waited never began.


async def test_what_breaks_is_told_without_the_inside(program: Chat) -> None:
    session = await program.session("ann", "broken")
    ann = await program.join("ann", session)
    for question, error in (
        ("public", "The printer is on fire"),
        ("secret", "The agent failed"),
        ("wrong", "The agent failed"),
    ):
        await ann.send("message", content=question)
        _, text, end = await answer_of(ann)
        assert (text, end["status"], end["error"]) == ("so far so good", "failed", error)
    flood = await program.session("ann", "flood")
    socket = await program.join("ann", flood)
    await socket.send("message", content="go")
    _, text, end = await answer_of(socket)
    assert (end["status"], end["error"]) == ("failed", "The answer is too long")
    assert text == ("flood 🌊 " * 10_000)[:50_000]
    halves = await program.session("ann", "halves")
    socket = await program.join("ann", halves)
    await socket.send("message", content="go")
    _, text, end = await answer_of(socket)
    assert (text, end["status"]) == ("a🌊b\ufffdc\ufffd d\ufffd", "complete")
    kept = (await program.rest("ann").messages(halves))[-1]["content"]
    assert kept == text
