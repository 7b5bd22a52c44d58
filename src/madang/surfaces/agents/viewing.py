"""Watching answers over Server-Sent Events: a connection that hears one session and passes on what
is about certain runs, each from where its client left off, until they have ended; of an agent
outside also about one that has not begun."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import orjson
from sse_starlette import ServerSentEvent

from madang import logs
from madang.clock import Clock, Timer
from madang.delivery.catchup import ToldLog
from madang.delivery.members import Members
from madang.delivery.stream import steps_of
from madang.delivery.streams import Streams
from madang.gateways.entrance import Entrance
from madang.gateways.sse import data_of
from madang.hub.frame import Frame
from madang.hub.hub import Hub, Member
from madang.model.identity import Identity
from madang.model.ids import parse_uuid
from madang.model.nouns import Event, Message
from madang.model.runs import Run
from madang.ports.store import Store
from madang.protocol.errors import Invalid, MadangError, NotFound
from madang.services.approvals import approvals_of
from madang.surfaces.admission import Admission
from madang.surfaces.agents import frames
from madang.surfaces.agents.awaiting import Awaited, answers_to
from madang.surfaces.agents.ends import end_of
from madang.surfaces.agents.viewer import RunViewer

log = logs.get_logger(__name__)

BEFORE_ALL = -1
"""The number before the first chunk's: what `stream_start` is known by."""


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
    return ServerSentEvent(data_of(frame.text), id=f"{message_id}:{index}", sep="\n")


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


class Watching:
    """Brings viewers in.

    Args:
        patience: seconds that an agent outside is waited for to begin.
    """

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
        patience: float,
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
        self._patience = patience
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

    def viewer(self, caller: Identity) -> RunViewer:
        """Somebody who is going to watch runs, for whom the response makes room."""
        viewer = RunViewer(self._entrance, self._limit)
        viewer.identity = caller
        return viewer

    async def watch(
        self,
        viewer: RunViewer,
        user: Member,
        room: str,
        runs: Sequence[Run],
        places: Mapping[str, int],
        question: Message | None = None,
    ) -> AsyncIterator[Frame]:
        """What is told of these runs of one session: of each from after the chunk of the number in
        `places`, or from the beginning. With a question, also of the answer to it that an agent
        outside gives, as soon as it begins; nothing more where it does not (`viewer.gave_up`)."""
        watched: list[Run] = []
        patience: Timer | None = None
        try:
            self._admission.enter(viewer, user, beside=True)
            for run in runs:
                self._follow(viewer, run, watched)
            try:
                await self._attach(viewer, user, room, watched, places, question)
            except MadangError as error:
                # The answer has begun: its client comes back, and is told why then.
                log.info("a stream could not begin", why=error.text)
                return
            if viewer.awaited is not None:
                patience = self._clock.call_later(self._patience, viewer.give_up)
            async for frame in viewer.told():
                if not self._hub.is_in(user, room):
                    return
                yield frame
        finally:
            viewer.open = False
            if patience is not None:
                patience.cancel()
            for run in watched:
                self._viewers[run.message_id].discard(viewer)
                if not self._viewers[run.message_id]:
                    del self._viewers[run.message_id]
            self._admission.leave(viewer)

    def _follow(self, viewer: RunViewer, run: Run, watched: list[Run]) -> None:
        viewer.add(run.message_id)
        watched.append(run)
        self._viewers.setdefault(run.message_id, set()).add(viewer)

    async def _attach(
        self,
        viewer: RunViewer,
        user: Member,
        room: str,
        runs: list[Run],
        places: Mapping[str, int],
        question: Message | None,
    ) -> None:
        """Have it hear the session from where its runs are told as far as here. What has begun to
        answer the question by then is one of its `runs`."""
        if not self._hub.is_in(user, room):
            await self._log.reach(user.org_id, None)  # They may have come in just now, elsewhere.
        awaited: Awaited | None = None
        while True:
            channel = self._hub.channels.get(room)
            seq = None if channel is None else channel.last_seq
            asked: list[Frame] = []
            over: dict[str, Run] = {}
            if question is not None:
                answers = await answers_to(self._store, question, user.user_id)
                if not self._hub.is_in(user, room):
                    raise NotFound("Session not found")
                awaited = answers.awaited
                for run in answers.runs:
                    if run.message_id not in viewer.runs:
                        self._follow(viewer, run, runs)
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
        if awaited is not None:
            viewer.awaited = awaited
        elif not viewer.runs:
            viewer.give_up()
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
        if left or awaited is not None:
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
        end = await end_of(self._store, run, message)
        if not self._hub.is_in(user, run.conversation_id):
            raise NotFound("Message not found")
        if message is None:
            viewer.begin(Frame(orjson.dumps(end)))  # It never began.
            return
        text = message.content
        offset = _offset(run.ends, place, len(text))
        start = frames.stream_start(message)
        if offset is not None:
            viewer.had(run.message_id, offset)
        viewer.begin(Frame(orjson.dumps(start)))
        viewer.begin_with(steps_of(run.message_id, message.metadata.get("steps", ())))
        viewer.begin_text(run.message_id, text, run.ends, offset or 0)
        viewer.begin(Frame(orjson.dumps(end)))
