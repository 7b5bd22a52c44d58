"""Viewers who refresh in the middle of an answer, in a process of its own on the load's core:
`python -m bench.refresh PORT WAY TOKENS MS FILE`. FILE holds the sessions; prints JSON.

A viewer joins what it is sent as it comes, and looks at no offset: what is doubled or lost on the
way shows in the text. Each refreshes at a moment of its own, then all of them at the same moment,
then each at a moment of its own again. `page` forgets everything and connects anew over WebSocket;
`sse` keeps its text and shows the id of the last event that it has had.
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import uvloop
from websockets.asyncio.client import connect

from bench.peers.agents import BASE, Session
from bench.servers.agents import text_of
from bench.straight import quantiles
from bench.tokens import mint

Way = Literal["page", "sse"]
AT_ONCE = 32
"""Questions that are asked at the same time."""
# Moments in lengths of an answer: after one's own question, and after the first one.
FIRST, ALL, LAST = (0.03, 0.12), 0.55, (0.75, 0.95)
PATIENCE_SECONDS = 60


@dataclass(slots=True)
class Viewer:
    """One person with one session, and what is on the screen."""

    port: int
    session: Session
    way: Way
    message_id: str = ""
    text: str = ""
    last_id: str | None = None
    status: str | None = None
    refreshed: asyncio.Event = field(default_factory=asyncio.Event)
    waited: dict[str, float] = field(default_factory=dict)
    """Milliseconds until more of the text was there, by refresh."""

    @property
    def token(self) -> str:
        return mint(self.session.people[0])

    async def watch(self) -> None:
        """Until the answer has ended; anew whenever `refreshed` is set."""
        name, begun, refreshes = "", 0.0, 0
        while self.status is None:
            if self.way == "page":
                self.text = ""
            told = self._pages() if self.way == "page" else self._events()
            reading = asyncio.create_task(self._read(told, name, begun))
            refreshing = asyncio.create_task(self.refreshed.wait())
            await asyncio.wait((reading, refreshing), return_when=asyncio.FIRST_COMPLETED)
            if not name or name in self.waited:
                # Otherwise what is waited for is still what was waited for before.
                name, begun = str(refreshes), time.perf_counter()
            refreshes += 1
            for task in (reading, refreshing):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            self.refreshed.clear()

    async def _read(
        self, told: AsyncIterator[tuple[str | None, dict[str, Any]]], name: str, begun: float
    ) -> None:
        async for event_id, frame in told:
            if event_id is not None:
                self.last_id = event_id
            if frame.get("message_id") != self.message_id:
                continue
            if frame["type"] == "stream_chunk":
                self.text += frame["content"]
                if name and name not in self.waited:
                    self.waited[name] = (time.perf_counter() - begun) * 1e3
            elif frame["type"] == "stream_end":
                self.status = frame["status"]
                return

    async def _pages(self) -> AsyncIterator[tuple[None, dict[str, Any]]]:
        url = f"ws://127.0.0.1:{self.port}{self.session.path(self.session.people[0])}"
        async with connect(url, compression=None, open_timeout=PATIENCE_SECONDS) as socket:
            async for text in socket:
                yield None, json.loads(text)

    async def _events(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            since = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
            writer.write(
                f"GET {BASE}/runs/{self.message_id}/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Authorization: Bearer {self.token}\r\n{since}\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise ConnectionError(head.decode())
            async for event in _events(reader):
                yield event
        finally:
            writer.close()


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The id and the content of each event of an answer in chunks (RFC 9112, 7.1)."""
    unread = b""
    while size := int(await reader.readline(), 16):
        unread += (await reader.readexactly(size + 2))[:-2]
        while (end := unread.find(b"\n\n")) >= 0:
            event, unread = unread[:end], unread[end + 2 :]
            fields = dict(
                line.split(": ", 1) for line in event.decode().split("\n") if line[:1] != ":"
            )
            if "data" in fields:
                yield fields["id"], json.loads(fields["data"])


async def measure(
    port: int, way: Way, tokens: int, interval_ms: int, sessions: list[Session]
) -> dict[str, float]:
    length = tokens * interval_ms / 1000
    dice = random.Random(1)
    viewers = [Viewer(port, session, way) for session in sessions]
    url = f"http://127.0.0.1:{port}{BASE}"
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS, limits=limits) as client:

        async def ask(viewer: Viewer) -> None:
            answer = await client.post(
                f"/sessions/{viewer.session.id}/messages",
                headers={"Authorization": f"Bearer {viewer.token}"},
                json={"content": f"{tokens} {interval_ms}"},
            )
            answer.raise_for_status()
            (viewer.message_id,) = answer.json()["runs"]

        async def kept(viewer: Viewer) -> str:
            answer = await client.get(
                f"/sessions/{viewer.session.id}/messages",
                headers={"Authorization": f"Bearer {viewer.token}"},
            )
            answer.raise_for_status()
            found = answer.json()["messages"]
            return str(next(one["content"] for one in found if one["id"] == viewer.message_id))

        async def go_through(viewer: Viewer) -> None:
            await ask(viewer)
            own = (time.monotonic() - started) / length
            if own + FIRST[1] > ALL:
                raise SystemExit("the questions took too long")
            moments = (own + dice.uniform(*FIRST), ALL, dice.uniform(*LAST))
            watching = asyncio.create_task(viewer.watch())
            for at in moments:
                await asyncio.sleep(max(0.0, started + at * length - time.monotonic()))
                viewer.refreshed.set()
            await watching

        started = time.monotonic()
        cpu, begun = time.process_time(), time.perf_counter()
        async with asyncio.timeout(length + PATIENCE_SECONDS):
            await asyncio.gather(*map(go_through, viewers))
        cpu, seconds = time.process_time() - cpu, time.perf_counter() - begun
        texts = await asyncio.gather(*map(kept, viewers))
    said = [text_of(int(text[1:20]), tokens) for text in texts]
    alone = quantiles([v.waited[name] for v in viewers for name in ("0", "2") if name in v.waited])
    together = quantiles([v.waited["1"] for v in viewers if "1" in v.waited])
    return {
        "viewers": len(viewers),
        "differ": sum(v.text != text for v, text in zip(viewers, said, strict=True)),
        "kept_differ": sum(text != own for text, own in zip(texts, said, strict=True)),
        "incomplete": sum(v.status != "complete" for v in viewers),
        "alone_p50": alone["p50"],
        "alone_p99": alone["p99"],
        "together_p50": together["p50"],
        "together_p99": together["p99"],
        "load_cpu": cpu / seconds,
        "seconds": seconds,
    }


def main(port: str, way: Way, tokens: str, interval_ms: str, path: str) -> None:
    told = json.loads(Path(path).read_text())
    sessions = [Session(one["id"], tuple(one["people"])) for one in told]
    found = uvloop.run(measure(int(port), way, int(tokens), int(interval_ms), sessions))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *sys.argv[3:])  # type: ignore[arg-type]
