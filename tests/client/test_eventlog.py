"""The reader of the event log, against a server that breaks."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from madang.client import EventLog, Gap
from tests.client.scripted import Frame, Naps, Peer, scripted, take


def published(cursor: int, **more: Any) -> Frame:
    return {
        "type": "invoice.paid",
        "payload": {"number": cursor},
        "cursor": cursor,
        "timestamp": "2026-01-02T03:04:05Z",
        **more,
    }


def query(peer: Peer) -> dict[str, list[str]]:
    return parse_qs(urlsplit(peer.path).query)


async def test_it_comes_back_with_its_cursor_and_sees_each_event_once() -> None:
    async def cuts(peer: Peer) -> None:
        assert urlsplit(peer.path).path == "/api/v1/events/ws"
        assert query(peer) == {"client_id": ["worker"]}
        await peer.tell(published(5), {"type": "replay_complete", "cursor": 6, "events": 1})
        await peer.tell(published(7), published(7))
        assert await peer.hear() == {"type": "ack", "cursor": 7}
        await peer.cut()

    async def tells(peer: Peer) -> None:
        assert query(peer) == {"client_id": ["worker"], "cursor": ["7"]}
        assert await peer.hear() == {"type": "ack", "cursor": 7}
        await peer.tell(published(7), published(8), published(9, seq=2, conversation_id="c"))
        await peer.stay()

    async with (
        scripted(cuts, tells) as server,
        EventLog(server.url, token="t", client_id="worker", timing=Naps().timing) as log,
    ):
        events = log.events()
        first = await take(events, 2)
        assert [one.cursor for one in first] == [5, 7]
        assert first[0].payload == {"number": 5}
        log.ack()
        rest = await take(events, 2)
        assert [(one.cursor, one.seq) for one in rest] == [(8, None), (9, 2)]
        assert log.cursor == 9


async def test_what_cannot_be_replayed_is_an_explicit_gap() -> None:
    async def script(peer: Peer) -> None:
        assert query(peer)["cursor"] == ["3"]
        done = {"type": "replay_complete", "cursor": 9, "events": 0}
        await peer.tell({**done, "recovered": False, "reason": "too old"}, published(10))
        await peer.stay()

    async with scripted(script) as server, EventLog(server.url, token="t", cursor=3) as log:
        gap, event = await take(log.events(), 2)
        assert gap == Gap("too old", 9)
        assert event.cursor == 10
