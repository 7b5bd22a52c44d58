"""Who watches answers over Server-Sent Events: a connection that takes what is about its runs, and
of their text what its client has not had."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence

import orjson

from madang.delivery.stream import chunk_frame
from madang.gateways.entrance import Entrance
from madang.gateways.sse import SseConnection
from madang.hub.frame import Form, Frame
from madang.protocol.codes import CloseCode
from madang.surfaces.agents.awaiting import Awaited
from madang.surfaces.agents.seats import PIECE

TOLD = frozenset({"stream_start", "stream_chunk", "stream_end", "run_step", "approval_request"})


class RunViewer(SseConnection):
    """Takes what is about its runs, and of their text what its client has not had."""

    __slots__ = ("_begun_with", "_had", "_started", "awaited", "gave_up", "left", "runs")

    def __init__(self, entrance: Entrance, limit: int) -> None:
        super().__init__(entrance, limit)
        self.form = Form.AGENT
        self.runs: set[str] = set()
        self.left: set[str] = set()
        """Those that have not ended."""
        self.awaited: Awaited | None = None
        """What is one of its runs as soon as it begins."""
        self.gave_up = False
        self._begun_with: deque[Iterator[Frame]] = deque()
        self._had: dict[str, int] = {}
        self._started: set[str] = set()

    def add(self, message_id: str) -> None:
        """It watches this one from now on, which may be what it has waited for."""
        self.awaited = None
        self.runs.add(message_id)
        self.left.add(message_id)

    def give_up(self) -> None:
        """It waits no longer for anything to begin."""
        self.awaited = None
        self.gave_up = True
        self._wake.set()

    def had(self, message_id: str, offset: int) -> None:
        """Its client has had the text up to this offset, and the beginning."""
        self._had[message_id] = offset
        self._started.add(message_id)

    def begin(self, frame: Frame) -> None:
        """Something of what was told before it came, which comes before all that is written to
        it."""
        taken = self._take(frame)
        if taken is not None:
            self.begin_with(iter((taken,)))

    def begin_with(self, frames: Iterator[Frame]) -> None:
        """The same of what is all for this client, and is made when it takes it. It is as long as
        answers may be and counts towards no limit: nobody who reads it is slow."""
        self._begun_with.append(frames)
        self._wake.set()

    def begin_text(self, message_id: str, text: str, ends: Sequence[int], offset: int) -> None:
        """The same, of a text that was told so far: the rest of it, from `offset` on."""
        self._had[message_id] = len(text)
        self.begin_with(pieces(message_id, text, ends, offset))

    def changed(self, message_id: str) -> None:
        """What was read of an answer and not taken yet is not so any more: its client comes back
        for what is."""
        if message_id in self.runs and self._begun_with:
            self._begun_with.clear()
            self._outbox.clear()
            self.close(CloseCode.TRY_LATER)

    def write(self, frame: Frame) -> None:
        taken = self._take(frame)
        if taken is not None:
            super().write(taken)

    def _take(self, frame: Frame) -> Frame | None:
        """What of it is for this client."""
        content = frame.content
        message_id = content.get("message_id")
        if self.awaited is not None:
            if content.get("type") == "stream_start" and self.awaited.is_begun_by(content):
                self.add(content["message_id"])
            elif self.awaited.is_off_after(content):
                self.give_up()
        if not self.open or message_id not in self.runs or content.get("type") not in TOLD:
            return None
        match content["type"]:
            case "stream_start":
                if message_id in self._started:
                    return None
                self._started.add(message_id)
            case "stream_chunk":
                offset, had = content["offset"], self._had.get(message_id, 0)
                text = content["content"][max(0, had - offset) :]
                if not text or offset > had:
                    return None
                if offset < had:
                    frame = Frame(orjson.dumps({**content, "content": text, "offset": had}))
                self._had[message_id] = had + len(text)
            case "stream_end":
                if message_id not in self.left:
                    return None  # It was told from disk, before its event came here.
                self.left.discard(message_id)
        return frame

    async def told(self) -> AsyncIterator[Frame]:
        """Frames, as they came wherever nothing of them was had, until the last run has ended and
        none is waited for, or the connection was closed."""
        while True:
            while self._begun_with:
                frame = next(self._begun_with[0], None)
                if frame is None:
                    self._begun_with.popleft()
                else:
                    yield frame
            while self._outbox:
                frame = self._outbox.popleft()
                self._unsent -= len(frame.text)
                yield frame
            if not self.open or not (self.left or self.awaited):
                return
            self._wake.clear()
            await self._wake.wait()


def pieces(message_id: str, text: str, ends: Sequence[int], offset: int) -> Iterator[Frame]:
    """A text from `offset` on. Each piece ends where a chunk did, so that its number is a place to
    come back to: `PIECE` characters at most, or one chunk; the last is all the rest."""
    while offset < len(text):
        number = max(bisect_right(ends, offset + PIECE) - 1, bisect_right(ends, offset))
        if number >= len(ends) - 1:
            number, end = max(0, len(ends) - 1), len(text)
        else:
            end = ends[number]
        yield Frame(chunk_frame(message_id, text[offset:end], number, offset))
        offset = end
