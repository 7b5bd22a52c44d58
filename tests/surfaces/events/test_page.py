"""Reading the log page by page: all that the caller may see after a cursor, whatever its unit."""

from __future__ import annotations

import pytest

from tests.surfaces.events.conftest import EVENTS, Desk, numbers
from tests.surfaces.people import House, problem


async def test_pages_follow_each_other(desk: Desk) -> None:
    for number in range(7):
        await desk.publish(number)
    ann = desk.rest("ann")
    cursor, found, pages = 0, [], 0
    while True:
        page = (await ann.get(EVENTS, params={"cursor": cursor, "limit": 3})).json()
        assert page["cursor"] == page["events"][-1]["cursor"]
        found += page["events"]
        cursor, pages = page["cursor"], pages + 1
        if not page["has_more"]:
            break
    assert (numbers(found), pages) == (list(range(7)), 3)
    assert [event["seq"] for event in found] == list(range(1, 8))
    empty = (await ann.get(EVENTS, params={"cursor": cursor})).json()
    assert (empty["events"], empty["cursor"], empty["has_more"]) == ([], cursor, False)


async def test_a_time_is_a_cursor_in_any_unit(desk: Desk) -> None:
    before = await desk.publish(1)
    after = await desk.publish(2)
    ann = desk.rest("ann")

    async def since(cursor: object) -> list[int]:
        answer = await ann.get(EVENTS, params={"cursor": str(cursor)})
        return numbers(answer.json()["events"])

    micros = before["cursor"]
    assert await since(micros) == [2]
    assert await since(after["cursor"]) == []
    # A coarser unit points a little earlier or later than the event: look from a second away.
    for earlier, later in (
        (micros - 1_000_000, micros + 1_000_000),
        ((micros - 1_000_000) // 1000, None),
        ((micros - 1_000_000) / 1_000_000, None),
        (f"{(micros - 1_000_000) // 1_000_000}.5", None),
    ):
        assert await since(earlier) == [1, 2], earlier
        if later is not None:
            answer = (await ann.get(EVENTS, params={"cursor": str(later)})).json()
            assert (answer["recovered"], answer["reason"]) == (False, "unknown_cursor")
    assert await since(micros / 1_000_000) == [2], "seconds with six digits lose nothing"


@pytest.mark.parametrize("cursor", ["now", "-1", "1e", "", "nan", "1.2.3", "9" * 30])
async def test_what_is_no_cursor_is_refused(desk: Desk, cursor: str) -> None:
    problem(await desk.rest("ann").get(EVENTS, params={"cursor": cursor}), 422, "VALIDATION")


@pytest.mark.parametrize("limit", ["0", "1001", "many"])
async def test_a_page_has_a_size(desk: Desk, limit: str) -> None:
    problem(await desk.rest("ann").get(EVENTS, params={"limit": limit}), 422, "VALIDATION")


async def test_what_people_do_is_in_the_same_log(desk: Desk, house: House) -> None:
    room = await house.group("ann", "ben")
    message = await house.say("ben", room, "hello")
    await desk.publish(1, user="ben")
    events = (await desk.rest("ann").get(EVENTS)).json()["events"]
    assert [event["type"] for event in events] == ["conversation.created", "message.new"]
    assert events[1]["payload"]["data"]["id"] == message["id"]
    assert events[1]["payload"]["data"]["content"] == "hello"
    assert events[0]["cursor"] < events[1]["cursor"]


async def test_admins_may_read_the_whole_org(desk: Desk, house: House) -> None:
    await desk.publish(1, user="ann")
    await desk.publish(2, user="ben")
    await house.group("cho", "dan")
    everything = {"scope": "org"}
    for role in ("admin", "service"):
        answer = await desk.rest("boss", roles=[role]).get(EVENTS, params=everything)
        events = answer.json()["events"]
        assert numbers(events) == [1, 2]
        assert len(events) == 3
    problem(await desk.rest("ann").get(EVENTS, params=everything), 403, "FORBIDDEN")
    boss = desk.rest("boss", roles=["admin"])
    problem(await boss.get(EVENTS, params={"scope": "world"}), 422, "VALIDATION")
    assert (await boss.get(EVENTS)).json()["events"] == [], "without being asked for: one's own"


async def test_who_was_removed_reads_nothing_after_it(desk: Desk, house: House) -> None:
    room = await house.group("ann", "ben")
    await house.say("ann", room, "before")
    assert (await house.rest("ann").delete(f"/conversations/{room}/participants/ben")).is_success
    await house.say("ann", room, "after")
    events = (await desk.rest("ben").get(EVENTS)).json()["events"]
    assert events[-1]["type"] == "participant.left"
    assert all("after" not in str(event) for event in events)


async def test_a_cursor_beyond_the_log_answers_where_to_go_on(desk: Desk) -> None:
    """Who polls with it would otherwise ask for the same for ever."""
    first = await desk.publish(1)
    beyond = {"cursor": str(first["cursor"] + 10**9)}
    lost = (await desk.rest("ann").get(EVENTS, params=beyond)).json()
    assert (lost["recovered"], lost["reason"]) == (False, "unknown_cursor")
    assert (lost["events"], lost["cursor"], lost["has_more"]) == ([], first["cursor"], False)
    await desk.publish(2)
    onward = (await desk.rest("ann").get(EVENTS, params={"cursor": lost["cursor"]})).json()
    assert onward["recovered"] is True
    assert numbers(onward["events"]) == [2]
