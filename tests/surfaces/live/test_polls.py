"""Polls: `poll_open`, `poll_vote`, `poll_update`, `poll_closed`."""

from __future__ import annotations

import pytest

from tests.surfaces.live.hall import Hall, id_of, plain
from tests.surfaces.live.test_talking import everyone
from tests.surfaces.people import Frame, error


async def test_a_single_choice(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    poll = await host.ask("poll_open", question="Tea?", kind="single", options=["yes", "no"])
    expected = {
        "type": "poll_open",
        "question": "Tea?",
        "kind": "single",
        "options": ["yes", "no"],
        "counts": [0, 0],
        "voters": 0,
        "state": "open",
        "most": 1,
        "session_code": hall.code,
    }
    assert expected.items() <= poll.items()
    message_id = poll["message_id"]
    assert plain(await ben.next("poll_open")) == plain(poll)
    for choices, counts in (
        ([0], [1, 0]),
        ([0], [1, 0]),
        ([1], [0, 1]),
        ([], [0, 0]),
        ([1], [0, 1]),
    ):
        answer = await ann.ask("poll_vote", message_id=message_id, choices=choices)
        assert (answer["type"], answer["counts"]) == ("poll_update", counts)
        assert answer["mine"] == choices
    await ben.ask("poll_vote", message_id=message_id, choices=[1])
    told = await host.next("poll_update", counts=[0, 2])
    assert {"message_id": message_id, "voters": 2, "state": "open"}.items() <= told.items()
    listed = (await hall.ask("GET", "/polls", token=ann.connected["token"])).json()["polls"]
    assert (listed[0]["mine"], listed[0]["counts"]) == ([1], [0, 2])
    closed = await host.ask("poll_close", message_id=message_id)
    assert (closed["type"], closed["counts"], closed["state"]) == ("poll_closed", [0, 2], "closed")
    told = await ann.next("poll_closed")
    assert (told["question"], told["counts"], told["voters"]) == ("Tea?", [0, 2], 2)
    answer = await ben.ask("poll_vote", message_id=message_id, choices=[0])
    error(answer, "CONFLICT", "Poll is closed")
    assert (await host.ask("poll_close", message_id=message_id))["type"] == "poll_closed"
    assert (await hall.ask("GET", "/polls?state=open")).json()["polls"] == []
    assert len((await hall.ask("GET", "/polls?state=closed")).json()["polls"]) == 1


async def test_several_choices_and_words(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    poll = await host.ask("poll_open", question="Which?", kind="multiple", options=["a", "b", "c"])
    answer = await ann.ask("poll_vote", message_id=poll["message_id"], choices=[0, 2])
    assert (answer["counts"], answer["voters"]) == ([1, 0, 1], 1)
    cloud = await host.ask("poll_open", question="In a word?", kind="cloud")
    assert (cloud["options"], cloud["words"]) == ([], [])
    await ann.ask("poll_vote", message_id=cloud["message_id"], words=["Calm", "bright"])
    await ben.ask("poll_vote", message_id=cloud["message_id"], words=["calm"])
    told = await host.next("poll_update", message_id=cloud["message_id"], voters=2)
    assert told["words"][0]["count"] == 2
    assert told["words"][0]["word"].lower() == "calm"
    assert {word["word"].lower() for word in told["words"]} == {"calm", "bright"}


@pytest.mark.parametrize(
    "fields",
    [
        {"question": "x", "kind": "single", "options": ["only one"]},
        {"question": "x", "kind": "single", "options": ["a", "a"]},
        {"question": "x", "kind": "single", "options": ["a", " "]},
        {"question": "x", "kind": "single", "options": [f"o{n}" for n in range(21)]},
        {"question": "", "kind": "single", "options": ["a", "b"]},
        {"question": "x", "kind": "cloud", "options": ["a", "b"]},
        {"question": "x", "kind": "ranking", "options": ["a", "b"]},
        {"question": "x" * 10_000, "kind": "cloud"},
    ],
)
async def test_a_poll_that_cannot_be_is_refused(hall: Hall, fields: Frame) -> None:
    host = await hall.host()
    answer = await host.ask("poll_open", **fields)
    assert answer["type"] == "error"
    assert answer["code"] in ("VALIDATION", "TOO_LARGE")
    assert (await hall.ask("GET", "/polls")).json()["polls"] == []


async def test_votes_that_cannot_be_are_refused(hall: Hall) -> None:
    host, ann, _ = await everyone(hall)
    poll = await host.ask("poll_open", question="Tea?", kind="single", options=["yes", "no"])
    for fields in (
        {"choices": [2]},
        {"choices": [-1]},
        {"choices": [0, 1]},
        {"words": ["yes"]},
        {"choices": ["0"]},
        {"choices": [True]},
    ):
        answer = await ann.ask("poll_vote", message_id=poll["message_id"], **fields)
        assert (answer["type"], answer["code"]) == ("error", "VALIDATION"), fields
    found = (await hall.ask("GET", "/polls")).json()["polls"][0]
    assert (found["counts"], found["voters"]) == ([0, 0], 0)
    assert id_of(host) == found["participant_id"]
