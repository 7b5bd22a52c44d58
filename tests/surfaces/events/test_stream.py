"""The events surface as Server-Sent Events, resumed by `Last-Event-ID`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, closing

import pytest

from tests.conftest import Server
from tests.faults.test_cut_off import dial
from tests.surfaces.events.conftest import EVENTS, Desk, numbers
from tests.surfaces.people import problem


async def test_what_was_missed_then_live(desk: Desk) -> None:
    told = [await desk.publish(number) for number in range(4)]
    async with desk.stream(last_event_id=told[1]["cursor"]) as events:
        got = [await anext(events) for _ in range(3)]
        assert numbers([event for _, event in got[:2]]) == [2, 3]
        assert [number for number, _ in got[:2]] == [str(one["cursor"]) for one in told[2:]]
        assert got[2][1]["type"] == "replay_complete"
        assert got[2][1]["events"] == 2
        live = await desk.publish(4)
        number, event = await anext(events)
        assert (number, event["payload"]) == (str(live["cursor"]), {"n": 4})


async def test_any_id_it_was_given_resumes_without_a_gap(desk: Desk) -> None:
    for number in range(3):
        await desk.publish(number)
    async with desk.stream(cursor=0) as events:
        ids = [number for number, _ in [await anext(events) for _ in range(4)]]
    for last, missing in zip(ids, ([1, 2], [2], [], []), strict=True):
        async with desk.stream(last_event_id=last) as events:
            got = []
            while (event := (await anext(events))[1])["type"] != "replay_complete":
                got.append(event)
            assert numbers(got) == missing


async def test_from_now_on_where_nothing_is_said(desk: Desk) -> None:
    await desk.publish("before")
    async with desk.stream() as events:
        assert (await anext(events))[1]["type"] == "replay_complete"
        await desk.publish("after")
        assert (await anext(events))[1]["payload"] == {"n": "after"}


async def test_the_header_goes_before_the_query(desk: Desk) -> None:
    told = [await desk.publish(number) for number in range(3)]
    async with desk.stream(last_event_id=told[1]["cursor"], cursor=0) as events:
        assert numbers([(await anext(events))[1]]) == [2]


async def test_the_whole_org_for_admins(desk: Desk) -> None:
    await desk.publish(1, user="ann")
    async with desk.stream("boss", roles=["admin"], scope="org", cursor=0) as events:
        assert numbers([(await anext(events))[1]]) == [1]
        await anext(events)
        await desk.publish(2, user="ben")
        assert numbers([(await anext(events))[1]]) == [2]
    problem(await desk.rest("ann").get(f"{EVENTS}/stream?scope=org"), 403, "FORBIDDEN")


@pytest.mark.parametrize("number", ["x", "-1"])
async def test_what_is_no_cursor_is_refused(desk: Desk, number: str) -> None:
    answer = await desk.rest("ann").get(f"{EVENTS}/stream", headers={"Last-Event-ID": number})
    problem(answer, 422, "VALIDATION")


async def test_it_needs_a_token(desk: Desk) -> None:
    answer = await desk.backend.get(f"{EVENTS}/stream", headers={"Authorization": ""})
    problem(answer, 401, "UNAUTHORIZED")
    async with desk.rest("x").stream(
        "GET",
        f"{EVENTS}/stream",
        params={"token": desk.token("ann")},
        headers={"Authorization": ""},
    ) as answer:
        assert answer.status_code == 200, "EventSource can set no header: the token may be a query"


async def test_a_quiet_stream_stays_open(make_server: Callable[..., Server]) -> None:
    """Nothing is ever heard from a client of a stream: that is no reason to close it."""
    server = make_server(ws_heartbeat_interval="1", ws_connection_timeout="2")
    async with AsyncExitStack() as stack:
        desk = Desk(server, "default", stack)
        async with desk.stream(cursor=0) as events:
            await anext(events)
            # A socket that answers no ping is given up after a time that the stream outlives.
            await asyncio.to_thread(given_up, server)
            await desk.publish("still there")
            assert numbers([(await anext(events))[1]]) == ["still there"]


def given_up(server: Server) -> None:
    """Connect, say nothing, and wait for the close frame."""
    with closing(dial(server, "ann")) as silent:
        received = b""
        while b"Nothing heard" not in received:
            more = silent.recv(65536)
            assert more, "closed without a close frame"
            received += more
