"""A room's end: kept, or erased after a set time, from the log too."""

from __future__ import annotations

from tests.surfaces.live.hall import Hall, id_of, open_hall, seat_of
from tests.surfaces.live.test_talking import everyone
from tests.surfaces.people import House, problem


async def gone(hall: Hall) -> bool:
    return (await hall.ask("GET", token=hall.host_token)).status_code == 404


async def test_a_host_erases_the_room_at_once(house: House, hall: Hall) -> None:
    host, ann, _ = await everyone(hall)
    await ann.ask("chat_message", content="to be forgotten")
    assert (await hall.ask("DELETE", token=hall.host_token)).status_code == 204
    for socket in (host, ann):
        assert await socket.closed() == (1008, "Session not found")
    again = await hall.connect(id_of(ann), ann.connected["token"])
    assert await again.closed() == (1008, "Session not found")
    for token in (None, hall.host_token, ann.connected["token"]):
        problem(await hall.ask("GET", token=token), 404, "NOT_FOUND", "Session not found")
    admin = house.rest("auditor", roles=["admin"]).client
    events = (await admin.get("/api/v1/events?scope=org&limit=1000")).text
    assert "room.erased" in events
    assert "to be forgotten" not in events


async def test_a_room_is_erased_when_its_time_has_come(house: House) -> None:
    hall = await open_hall(house, settings={"keep_days": 0})
    kept = await open_hall(house)
    ann = await hall.guest("ann")
    await ann.ask("question", content="to be forgotten")
    for room in (hall, kept):
        await room.as_host("PATCH", body={"status": "ended"})
    assert await ann.closed() == (1008, "Session not found")
    assert await gone(hall)
    again = await hall.connect(id_of(ann), seat_of(ann)["token"])
    assert await again.closed() == (1008, "Session not found")
    assert (await kept.as_host("GET"))["status"] == "ended"
