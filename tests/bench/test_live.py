"""What the bench says of live rooms is so, against a real server: joined by the clock, votes told
apart from their answers, the page found as a browser finds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from bench.load.build import compiled
from bench.load.driver import loading
from bench.peers.base import Unavailable
from bench.peers.madang import Madang
from bench.peers.rooms import CHAT, open_room, talk, vote
from bench.processes import Server
from bench.records import Record
from bench.scenarios.base import Effort, served
from bench.scenarios.live import Page, Talk, Votes, load_page
from bench.targets import verdicts

PEOPLE = 20
CAN_JOIN = compiled("counter") is not None
"""Only the load in C joins; that the bench says so is tested everywhere."""


@pytest.fixture(scope="module")
def madang() -> Iterator[Server]:
    with served(Madang()) as one:
        yield one


@pytest.mark.parametrize("as_page", [False, True])
def test_a_crowd_joins_and_votes_by_the_clock(madang: Server, as_page: bool) -> None:
    if not CAN_JOIN:
        return
    room = open_room(madang.port)
    question = room.ask("What first?")
    plan = room.joining(PEOPLE, vote(question), as_page=as_page)
    began: list[bool] = []
    with loading(plan, port=madang.port) as load:
        told = load.command("crowd 1 1 30", limit_seconds=60, on_start=lambda: began.append(True))
        load.command("quiet 10", limit_seconds=20)
        counts = load.command("counts", limit_seconds=10)
    assert began == [True]
    assert told["seconds"] >= 2
    assert (told["wanted"], told["came"], told["answered"]) == (PEOPLE, PEOPLE, PEOPLE)
    assert (told["refused"], told["closed"]) == (0, 0)
    assert 0 < told["join_p50_ms"] <= told["join_p99_ms"] <= told["join_max_ms"]
    assert 0 < told["answer_p50_ms"] <= told["answer_max_ms"]
    assert 1 <= told["most_counted"] < told["most_heard"]
    # Each heard the last count. Answers are of the same kind, and told apart.
    assert 1 <= counts["least"] <= counts["most"] <= counts["classes"][0]
    assert counts["classes"][0] >= counts["all"] + PEOPLE
    assert room.participants() == PEOPLE
    # Some said it twice.
    assert room.votes(question) == PEOPLE


def test_who_is_refused_did_not_come(madang: Server) -> None:
    if not CAN_JOIN:
        return
    room = open_room(madang.port, max_seats=PEOPLE // 2)
    plan = room.joining(PEOPLE, vote(room.ask("Room for all?")))
    with loading(plan, port=madang.port) as load:
        told = load.command("crowd 0.5 0.5 1", limit_seconds=60)
    assert told["refused"] + told["came"] == PEOPLE
    assert told["came"] == told["answered"] == room.participants() < PEOPLE


def test_chat_by_the_clock_lands_when_everyone_has_it(madang: Server) -> None:
    if not CAN_JOIN:
        return
    plan = open_room(madang.port).joining(PEOPLE, talk())
    plan = replace(plan, count=plan.classes.index(CHAT), answer=None)
    with loading(plan, port=madang.port) as load:
        load.connect(limit_seconds=60)
        told = load.command("chat 20 0.2 2", limit_seconds=30)
        load.command("quiet 10", limit_seconds=20)
        counts = load.command("counts", limit_seconds=10)
    assert told["landed"] > 0
    assert 0 < told["p50_ms"] <= told["p99_ms"]
    assert 0 < counts["least"] == counts["most"] <= 20 * 2.3 + 1
    assert counts["all"] == PEOPLE * counts["least"]


def test_without_a_compiler_it_is_said_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.scenarios.live.compiled", lambda name: None)
    effort = Effort(seconds=0.1, warm=0.1, repeats=1, scale=0.01)
    for scenario in (Votes(), Talk()):
        with pytest.raises(Unavailable, match="no C compiler"):
            list(scenario.run(Madang(), effort))


def test_the_page_is_weighed_with_all_that_it_loads(madang: Server) -> None:
    page = f"http://127.0.0.1:{madang.port}/r/{open_room(madang.port).code}"
    with httpx.Client(headers={"accept-encoding": "gzip"}) as phone:
        found = load_page(phone, page)
        plain = {url: len(phone.get(url).content) for url in found}
    assert page in found
    names = {url.rpartition("/")[2] for url in found}
    assert {"join.js", "join.css", "rooms.css", "seat.js", "room.js", "words.js"} <= names
    assert not {"host.js", "screen.js"} & names
    assert {url: one.unpacked for url, one in found.items()} == plain
    assert sum(one.sent for one in found.values()) < sum(plain.values())
    records = list(Page().run(Madang(), Effort(seconds=0.1, repeats=1)))
    assert [record.metric for record in records] == ["sent", "unpacked", "server CPU per page load"]
    assert records[0].value == pytest.approx(sum(o.sent for o in found.values()) / 1000, abs=0.2)


def _record(scenario: str, metric: str, *runs: float, case: str = "") -> Record:
    return Record(scenario, case, "madang", metric, "", runs, False)


@pytest.mark.parametrize(("runs", "met"), [((0, 0, 0), True), ((0, 0, 1), False)])
@pytest.mark.parametrize(
    ("part", "metric"),
    [
        ("nobody refused", "refused, or without an answer"),
        ("counted once", "votes missed or counted twice"),
    ],
)
def test_nobody_may_be_refused_in_any_run(
    part: str, metric: str, runs: tuple[float, ...], met: bool
) -> None:
    (found,) = [v for v in verdicts([_record("live-votes", metric, *runs)]) if part in v.target]
    assert found.met is met


@pytest.mark.parametrize(
    ("part", "record", "met"),
    [
        ("counts to any phone", ("counts told to a phone, most in a second", 10), True),
        ("counts to any phone", ("counts told to a phone, most in a second", 11), False),
        ("server core below", ("server core, of the planned time", 80), True),
        ("server core below", ("server core, of the planned time", 80.1), False),
    ],
)
def test_votes_are_held_to_their_targets(part: str, record: tuple[str, float], met: bool) -> None:
    metric, value = record
    case = "2000 join in 10 s, and vote in the next 5 s"
    (found,) = [
        v
        for v in verdicts([_record("live-votes", metric, value, case=case)])
        if part in v.target and v.met is not None
    ]
    assert found.met is met
