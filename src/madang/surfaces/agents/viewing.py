"""Watching answers over Server-Sent Events: a connection that hears one session and passes on what
is about certain runs, each from where its client left off, until they have ended."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson
import structlog
from sse_starlette import ServerSentEvent

from madang.clock import Clock
from madang.delivery.catchup import ToldLog
from madang.delivery.members import Members
from madang.delivery.stream import chunk_frame, steps_of
from madang.delivery.streams import Streams
from madang.gateways.entrance import Entrance
from madang.gateways.sse import SseConnection, data_of
from madang.hub.frame import Form, Frame
from madang.hub.hub import Hub, Member
from madang.model.identity import Identity
from madang.model.ids import parse_uuid
from madang.model.nouns import Event
from madang.model.runs import Run
from madang.ports.store import Store
from madang.protocol.codes import CloseCode
from madang.protocol.errors import Invalid, MadangError, NotFound
from madang.services.approvals import approvals_of
from madang.surfaces.admission import Admission
from madang.surfaces.agents import frames
from madang.surfaces.agents.seats import PIECE

log = structlog.get_logger(__name__)

TOLD = frozenset({"stream_start", "stream_chunk", "stream_end", "run_step", "approval_request"})
BEFORE_ALL = -1
"""The number before the first chunk's: what `stream_start` is known by."""


class RunViewer(SseConnection):
    """Takes what is about its runs, and of their text what its client has not had."""

    __slots__ = ("_begun_with", "_had", "_started", "left", "runs")

    def __init__(self, entrance: Entrance, limit: int, runs: Sequence[str]) -> None:
        super().__init__(entrance, limit)
        self.form = Form.AGENT
        self.runs = frozenset(runs)
        self.left = set(runs)
        """Those that have not ended."""
        self._begun_with: deque[Iterator[Frame]] = deque()
        self._had: dict[str, int] = {}
        self._started: set[str] = set()

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
        """Frames, as they came wherever nothing of them was had, until the last run has ended or
        the connection was closed."""
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
            if not self.open or not self.left:
                return
            self._wake.clear()
            await self._wake.wait()


def numbered(frame: Frame, last: dict[str, int]) -> ServerSentEvent:
    """A frame as an event, with its `MESSAGE_ID:INDEX`. `last` keeps the numbers."""
    content = frame.content
    message_id = content["message_id"]
    match content["type"]:
        case "stream_start":
            index = BEFORE_ALL
        case "stream_chunk":
            index = last[message_id] = content["index"]
        case "stream_end":
            index = last.get(message_id, BEFORE_ALL) + 1
        case _:
            index = last.get(message_id, BEFORE_ALL)
    return ServerSentEvent(data_of(frame.text), id=f"{message_id}:{index}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client was: the last chunk that it had."""

    message_id: str
    index: int


def place_of(last_event_id: str | None) -> Place | None:
    """Where a client was, by its `Last-Event-ID`; None where it comes for the first time.

    Raises:
        Invalid: it is none that was given out.
    """
    if last_event_id is None or not last_event_id.strip():
        return None
    run, _, index = last_event_id.strip().rpartition(":")
    message_id = parse_uuid(run)
    try:
        number = int(index)
    except ValueError:
        number = BEFORE_ALL - 1
    if message_id is None or not BEFORE_ALL <= number < 2**31:
        raise Invalid("Last-Event-ID: not one that was given out")
    return Place(message_id, number)


def places_in(runs: Sequence[Run], place: Place | None) -> dict[str, int]:
    """In which of the runs a client was, and where. The others it gets from the beginning.

    Raises:
        Invalid: in none of them.
    """
    if place is None:
        return {}
    if all(run.message_id != place.message_id for run in runs):
        raise Invalid("Last-Event-ID: not of this run")
    return {place.message_id: place.index}


def has_had_all(run: Run, places: Mapping[str, int]) -> bool:
    """Whether a client in this place has had the end. Of a run that was interrupted nobody knows:
    chunks may have been told that are not kept, and have such numbers."""
    return run.over and run.status != "interrupted" and places.get(run.message_id) == len(run.ends)


def _offset(ends: Sequence[int], place: int | None, length: int) -> int | None:
    """Where the text goes on after the chunk of this number; None from the beginning."""
    if place is None:
        return None
    if place < 0:
        return 0
    return min(ends[place], length) if place < len(ends) else length


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


class Watching:
    """Brings viewers in."""

    def __init__(
        self,
        hub: Hub,
        log: ToldLog,
        store: Store,
        streams: Streams,
        members: Members,
        admission: Admission,
        entrance: Entrance,
        clock: Clock,
        output_limit: int,
    ) -> None:
        self._hub = hub
        self._log = log
        self._store = store
        self._streams = streams
        self._members = members
        self._admission = admission
        self._entrance = entrance
        self._clock = clock
        self._limit = output_limit
        self._viewers: dict[str, set[RunViewer]] = {}
        """By the answers that they watch."""

    def watched(self, event: Event) -> None:
        """An event, before it is told here."""
        if event.type in ("message.edited", "message.deleted") and event.message is not None:
            for viewer in tuple(self._viewers.get(event.message.id, ())):
                viewer.changed(event.message.id)

    async def ready(self, caller: Identity) -> Member:
        """The caller as the hub knows them, where there is room for one more. Raises
        `Unavailable`."""
        self._entrance.check_room()
        return await self._members.get(caller.org, caller.user_id)

    def viewer(self, caller: Identity, runs: Sequence[Run]) -> RunViewer:
        """Somebody who is going to watch these runs, for whom the response makes room."""
        viewer = RunViewer(self._entrance, self._limit, [run.message_id for run in runs])
        viewer.identity = caller
        return viewer

    async def watch(
        self, viewer: RunViewer, user: Member, runs: Sequence[Run], places: Mapping[str, int]
    ) -> AsyncIterator[Frame]:
        """What is told of these runs of one session: of each from after the chunk of the number in
        `places`, or from the beginning."""
        room = runs[0].conversation_id
        for run in runs:
            self._viewers.setdefault(run.message_id, set()).add(viewer)
        try:
            self._admission.enter(viewer, user, beside=True)
            try:
                await self._attach(viewer, user, runs, places)
            except MadangError as error:
                # The answer has begun: its client comes back, and is told why then.
                log.info("a stream could not begin", why=error.text)
                return
            async for frame in viewer.told():
                if not self._hub.is_in(user, room):
                    return
                yield frame
        finally:
            viewer.open = False
            for run in runs:
                self._viewers[run.message_id].discard(viewer)
                if not self._viewers[run.message_id]:
                    del self._viewers[run.message_id]
            self._admission.leave(viewer)

    async def _attach(
        self, viewer: RunViewer, user: Member, runs: Sequence[Run], places: Mapping[str, int]
    ) -> None:
        room = runs[0].conversation_id
        if not self._hub.is_in(user, room):
            await self._log.reach(user.org_id, None)  # They may have come in just now, elsewhere.
        while True:
            channel = self._hub.channels.get(room)
            seq = None if channel is None else channel.last_seq
            asked: list[Frame] = []
            over: dict[str, Run] = {}
            for run in runs:
                now = await self._store.run(run.org_id, run.message_id, user.user_id)
                if now is None or not self._hub.is_in(user, room):
                    raise NotFound("Message not found")
                if now.over:
                    over[run.message_id] = now
                elif now.status == "streaming":
                    await self._streams.join(now)
                    asked += await self._unanswered(now, user)
            for message_id, ended in over.items():
                if message_id in viewer.left:
                    await self._tell_ended(viewer, user, ended, places.get(message_id))
            self._hub.flush()
            left = [run for run in runs if run.message_id in viewer.left]
            channel = self._hub.channels.get(room)
            if (None if channel is None else channel.last_seq) == seq:
                break
            # Something happened meanwhile: what has ended is nowhere but on disk.
        assert viewer.member is not None
        for run in left:
            stream = self._streams.get(run.message_id)
            if stream is None:
                continue
            offset = _offset(stream.ends, places.get(run.message_id), stream.length)
            if offset is not None:
                viewer.had(run.message_id, offset)
            start = frames.start_so_far(stream)
            viewer.begin(Frame(orjson.dumps(start)))
            if not offset:
                viewer.begin_with(steps_of(run.message_id, stream.steps.values()))
            viewer.begin_text(run.message_id, stream.text, tuple(stream.ends), offset or 0)
        for frame in asked:
            viewer.begin(frame)
        if left:
            self._hub.join(viewer.member, room)

    async def _unanswered(self, run: Run, user: Member) -> list[Frame]:
        """What the run asks people, and waits for."""
        message = await self._store.message(run.org_id, run.message_id, user.user_id)
        return (
            []
            if message is None
            else [
                Frame(orjson.dumps(frames.approval_request(message, request_id, asked)))
                for request_id, asked in approvals_of(message).items()
                if "answer" not in asked
            ]
        )

    async def _tell_ended(
        self, viewer: RunViewer, user: Member, run: Run, place: int | None
    ) -> None:
        message = await self._store.message(run.org_id, run.message_id, user.user_id)
        if not self._hub.is_in(user, run.conversation_id):
            raise NotFound("Message not found")
        if message is None:
            viewer.begin(Frame(orjson.dumps(frames.end_of(run, None))))  # It never began.
            return
        text = message.content
        offset = _offset(run.ends, place, len(text))
        start = frames.stream_start(message)
        if offset is not None:
            viewer.had(run.message_id, offset)
        viewer.begin(Frame(orjson.dumps(start)))
        viewer.begin_with(steps_of(run.message_id, message.metadata.get("steps", ())))
        viewer.begin_text(run.message_id, text, run.ends, offset or 0)
        viewer.begin(Frame(orjson.dumps(frames.end_of(run, message))))
