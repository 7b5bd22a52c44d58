"""Answers while they are written: the text so far of each run that this node writes or somebody
here watches, and the telling of it, chunk by chunk.

The node that writes a run merges what its agent says into chunks, at most one in `interval`
seconds, the first at once, and numbers them: every viewer, wherever, gets the same chunks. What is
told carries its offset, and a step the number of its telling, so a node that lost something of it
knows; it asks the writing node for what is missing, and tells that as one chunk. Nothing is left
out and nothing told twice: what the channel was told is always the text up to `length`, and who
comes into the channel is given exactly that. The end is an event of the log with the whole text and
all steps, so what was lost last is told before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from madang.clock import Clock
from madang.delivery import how_far
from madang.delivery.early import Early
from madang.delivery.how_far import HowFar
from madang.delivery.stream import (
    Stream,
    chunk_frame,
    further,
    not_so,
    step_frame,
    stream_of,
    stream_of_run,
)
from madang.hub.frame import Dialect, Frame
from madang.hub.hub import Hub
from madang.model.nouns import Event, Message
from madang.model.runs import Run
from madang.ports.bus import Bus, RunTold
from madang.ports.store import Store
from madang.protocol.errors import Unavailable
from madang.tasks import Tasks

AGAIN_SECONDS = 0.5
"""After which a question that was not answered is asked again."""
MOST_AHEAD = 2_000
"""Chunks and steps of one run that follow something missing."""
WAIT_SECONDS = 0.02
"""Between two looks whether the log is told as far as a chunk needs it, at least."""
LONGEST_INTERVAL = 1.0
"""Between two chunks of one run, however many run beside it in its session."""
LATE_TIMES = 8
"""What a node is late with its chunks, an interval at most, is added to their intervals so many
times: it tells less often, and more each time, before its commits and what people ask starve. At
the usual interval a viewer gets 3 chunks a second then, at the least."""
LATE_SHARE = 1 / 16
"""Of one chunk, in how late all of them are."""


class Log(Protocol):
    """How far this node has told an org's log: `Delivery`."""

    def behind(self, org_id: str) -> bool: ...


class Streams:
    """The runs that this node writes, and those it hears of.

    Args:
        interval: seconds between two chunks of a run, at least.
        chunk: characters of a chunk, at most. What catches up is one chunk, however long.
    """

    def __init__(
        self,
        hub: Hub,
        log: Log,
        bus: Bus,
        store: Store,
        clock: Clock,
        *,
        interval: float,
        chunk: int,
    ) -> None:
        self.chunks = 0
        """Chunks told here."""
        self.asked = 0
        """Questions to other nodes for what was missing."""
        self._hub = hub
        self._log = log
        self._bus = bus
        self._store = store
        self._clock = clock
        self._interval = interval
        self._chunk = chunk
        self._streams: dict[str, Stream] = {}
        self._of: dict[str, int] = {}
        self._late = 0.0
        self.early = Early()
        """What is kept of runs whose beginning has not been told here."""
        self._tasks = Tasks()

    def __len__(self) -> int:
        return len(self._streams)

    def get(self, message_id: str) -> Stream | None:
        """The run, if this node knows it and it has not ended."""
        return self._streams.get(message_id)

    def of(self, conversation_id: str) -> list[Stream]:
        """The runs of a session that this node knows and that have not ended, oldest first."""
        if conversation_id not in self._of:
            return []
        found = [s for s in self._streams.values() if s.conversation_id == conversation_id]
        return sorted(found, key=lambda stream: stream.message_id)

    async def close(self) -> None:
        for stream in self._streams.values():
            stream.stop_timer()
        await self._tasks.close()

    # Writing one.

    def own(self, message: Message) -> Stream:
        """A run that this node writes, by its message."""
        stream = self._streams.get(message.id)
        if stream is None:
            stream = self._add(stream_of(message, own=True))
        stream.own = True
        return stream

    def write(self, stream: Stream, text: str) -> None:
        """The agent has said more. The first of it goes out at once."""
        if not text:
            return
        stream.waiting.append(text)
        stream.waiting_length += len(text)
        self._tell_soon(stream)

    def step(self, stream: Stream, step: Mapping[str, Any]) -> None:
        """What is new of a step of the run: told behind what the agent said before it, and with
        what becomes of it meanwhile."""
        place = stream.waiting_steps.setdefault(step["step"], len(stream.waiting))
        if place == len(stream.waiting):
            stream.waiting.append(step)
        else:
            before = stream.waiting[place]
            assert isinstance(before, Mapping)
            stream.waiting[place] = further(before, step)
        self._tell_soon(stream)

    def _is_over(self, stream: Stream) -> bool:
        """Whether it has ended: where another node has ended it, more words change nothing."""
        return self._streams.get(stream.message_id) is not stream

    def _tell_soon(self, stream: Stream) -> None:
        if stream.timer is None and not self._is_over(stream):
            due = stream.told_at + self._pause(stream) - self._clock.monotonic()
            if due <= 0:
                self._tell_waiting(stream)
            else:
                self._wake(stream, due)

    def flush(self, stream: Stream) -> None:
        """Tell what waits, if it may be told now. The end tells it otherwise."""
        self._tell_waiting(stream)

    def let_go(self, stream: Stream, steps: Sequence[Mapping[str, Any]]) -> HowFar:
        """Another node goes on writing it, from here on: all of it, with its steps as they are."""
        self._tell_waiting(stream)
        news = sum(not isinstance(said, str) for said in stream.waiting)
        steps_told = stream.steps_told + news
        ends = [*stream.ends, *stream.waiting_ends]
        far = HowFar(0, stream.whole, ends, list(steps), steps_told)
        stream.hand_on()
        self.give_up(stream)
        if not self._is_over(stream):
            self._go_on(stream)
        return far

    def give_up(self, stream: Stream) -> None:
        """This node does not write it any more: it hears of it, where anybody here does."""
        stream.own = False
        if stream.conversation_id not in self._hub.channels:
            self.drop(stream.message_id)

    async def take(self, message: Message, far: HowFar) -> Stream:
        """Go on writing a run that was so far where another node wrote it. What nobody was told
        here of it is told first. It may be over by then: see `get`."""
        stream = self._streams.get(message.id)
        if stream is None:
            stream = self._add(stream_of(message, own=True))
        stream.own = True
        self._caught_up(stream, far)
        while stream.lacks and not self._is_over(stream):
            await self._clock.sleep(WAIT_SECONDS)
        if len(far.ends) > len(stream.ends):
            stream.ends[:] = far.ends
        if far.steps_told is None:
            stream.skip()
        return stream

    def drop(self, message_id: str) -> None:
        """The run is over."""
        stream = self._streams.pop(message_id, None)
        if stream is None:
            return
        stream.stop_timer()
        left = self._of[stream.conversation_id] - 1
        if left:
            self._of[stream.conversation_id] = left
        else:
            del self._of[stream.conversation_id]

    def _add(self, stream: Stream) -> Stream:
        self._streams[stream.message_id] = stream
        self._of[stream.conversation_id] = self._of.get(stream.conversation_id, 0) + 1
        return stream

    def _pause(self, stream: Stream) -> float:
        """Those who watch a session get so many frames a second, however many runs are in it, and
        fewer while this node is late with them."""
        own = self._interval * self._of[stream.conversation_id]
        return min(own + LATE_TIMES * self._late, LONGEST_INTERVAL)

    def _wake(self, stream: Stream, seconds: float) -> None:
        due = self._clock.monotonic() + seconds

        def wake() -> None:
            stream.timer = None
            late = min(self._clock.monotonic() - due, self._interval)
            self._late += (late - self._late) * LATE_SHARE
            if not self._is_over(stream):
                self._go_on(stream)
                if stream.own:
                    self._tell_waiting(stream)

        if stream.timer is None:
            stream.timer = self._clock.call_later(max(0.0, seconds), wake)

    def _may_tell(self, stream: Stream) -> bool:
        if self._log.behind(stream.org_id):
            return False
        return stream.begun or self._hub.channels.get(stream.conversation_id) is None

    def _tell_waiting(self, stream: Stream) -> None:
        if not stream.waiting or self._is_over(stream):
            return
        if not self._may_tell(stream):
            self._wake(stream, max(self._interval, WAIT_SECONDS))
            return
        waiting, stream.waiting, stream.waiting_length = stream.waiting, [], 0
        stream.waiting_steps.clear()
        texts: list[str] = []
        for said in waiting:
            if isinstance(said, str):
                texts.append(said)
                continue
            self._tell_own("".join(texts), stream)
            texts.clear()
            number, offset = stream.steps_told, stream.length
            stream.steps_told += 1
            self._tell_step(stream, said)
            self._share(stream, number, offset, "", said)
        self._tell_own("".join(texts), stream)

    def _tell_own(self, text: str, stream: Stream) -> None:
        for start in range(0, len(text), self._chunk):
            part = text[start : start + self._chunk]
            index, offset = len(stream.ends), stream.length
            self._tell(stream, part, index)
            self._share(stream, index, offset, part)

    def _share(self, stream: Stream, *told: Any) -> None:
        if self._bus.shared:
            run = RunTold(stream.conversation_id, stream.message_id, *told)
            self._bus.tell_run(stream.org_id, run)

    def _tell(self, stream: Stream, text: str, index: int) -> None:
        """Tell the channel here what comes next, as the chunk with this number."""
        offset = stream.length
        stream.append(text)
        stream.told_at = self._clock.monotonic()
        if len(stream.ends) <= index:
            stream.ends.extend([stream.length] * (index + 1 - len(stream.ends)))
        if self._hub.channels.get(stream.conversation_id) is not None:
            self.chunks += 1
            frame = Frame(chunk_frame(stream.message_id, text, index, offset))
            self._hub.signal(stream.conversation_id, frame, dialect=Dialect.AGENT)

    def _tell_step(self, stream: Stream, step: Mapping[str, Any], *, so_far: bool = False) -> None:
        before = stream.steps.get(step["step"])
        stream.steps[step["step"]] = step if before is None else further(before, step)
        stream.told_at = self._clock.monotonic()
        if stream.begun and self._hub.channels.get(stream.conversation_id) is not None:
            frame = Frame(step_frame(stream.message_id, step, so_far=so_far))
            self._hub.signal(stream.conversation_id, frame, dialect=Dialect.AGENT)

    def _settle_steps(self, stream: Stream, steps: Sequence[Mapping[str, Any]]) -> None:
        for whole in not_so(stream, steps):
            self._tell_step(stream, whole, so_far=True)

    # Hearing of one.

    def watched(self, event: Event) -> None:
        """An event, before it is told here."""
        message = event.message
        if message is None or message.message_type != "stream":
            return
        if event.type == "message.new":  # Where the log is read late, it may be over by now.
            self._begin(event)
        elif event.type == "run.ended":
            self._end(event)
        elif event.type == "message.deleted":
            stream = self._streams.get(message.id)
            if stream is not None and not stream.own:
                self.drop(message.id)

    def _begin(self, event: Event) -> None:
        message = event.message
        assert message is not None
        stream = self._streams.get(message.id)
        if stream is None:
            if event.conversation_id not in self._hub.channels:
                return
            stream = self._add(stream_of(message, own=False))
        # After this event, and after what this turn still has to say.
        stream.begun = True
        for told in self.early.take(event.conversation_id, message.id):
            self._put(stream, told)
        if stream.lacks or stream.waiting:
            self._wake(stream, 0)

    def _end(self, event: Event) -> None:
        message = event.message
        assert message is not None
        stream = self._streams.get(message.id)
        self.early.take(event.conversation_id, message.id)
        if stream is None:
            return
        if stream.begun:
            self._settle_steps(stream, message.metadata.get("steps", ()))
        rest = message.content[stream.length :]
        if rest and stream.begun:
            last = event.data.get("index")
            index = last if isinstance(last, int) else len(stream.ends)
            self._tell(stream, rest, max(index, len(stream.ends)))
        self.drop(message.id)

    def heard(self, org_id: str, told: RunTold) -> None:
        """Another node writes."""
        stream = self._streams.get(told.message_id)
        if stream is None:
            if told.conversation_id in self._hub.channels:
                self.early.keep(told)
            return
        if stream.own or stream.org_id != org_id:
            return
        self._put(stream, told)
        self._go_on(stream)

    def left(self, conversation_id: str) -> None:
        """Nobody here is in the session any more: nothing is heard of what other nodes write
        there, not even its end."""
        for stream in self.of(conversation_id):
            if not stream.own:
                self.drop(stream.message_id)
        self.early.forget(conversation_id)

    def _put(self, stream: Stream, told: RunTold) -> None:
        if len(stream.ahead) + len(stream.ahead_steps) >= MOST_AHEAD:
            return  # More is missing already, and is asked for.
        if told.step is not None:
            stream.ahead_steps[told.index] = told.step
        elif told.offset + len(told.text) > stream.length:
            stream.ahead[told.offset] = told

    def _go_on(self, stream: Stream) -> None:
        """Tell what follows what was told; ask for what is missing before the rest."""
        if not stream.lacks:
            return
        if not self._may_tell(stream):
            self._wake(stream, max(self._interval, WAIT_SECONDS))
            return
        for offset in sorted(stream.ahead):
            if offset > stream.length:
                break
            told = stream.ahead.pop(offset)
            rest = told.text[stream.length - offset :]
            if rest:
                self._tell(stream, rest, told.index)
        found, stream.found = stream.found, ()
        self._settle_steps(stream, found)
        for number in sorted(stream.ahead_steps):
            if number > stream.steps_told:
                break
            step = stream.ahead_steps.pop(number)
            if number == stream.steps_told:
                self._tell_step(stream, step)
                stream.steps_told += 1
        if stream.lacks and not stream.own:
            self._ask_soon(stream)

    # Coming late.

    async def join(self, run: Run) -> None:
        """A run that is under way, for somebody who came late to it: known here as soon as its node
        has said how far it is, as long as somebody here is in its session. Where that node is
        silent, as far as it is on disk."""
        stream = self._streams.get(run.message_id)
        if stream is None:
            if run.conversation_id not in self._hub.channels:
                return
            stream = self._add(stream_of_run(run))
            stream.begun = True
            self.early.take(run.conversation_id, run.message_id)
            await self._catch_up(stream)
        stream.begun = True

    def _ask_soon(self, stream: Stream) -> None:
        if not stream.asking:
            stream.asking = True
            self._tasks.start(self._ask(stream), "streams: what is missing")

    async def _ask(self, stream: Stream) -> None:
        try:
            while stream.lacks and not self._is_over(stream):
                if self._log.behind(stream.org_id):
                    self._go_on(stream)  # When the log is told.
                    return
                if not await self._catch_up(stream):
                    await self._clock.sleep(AGAIN_SECONDS)
        finally:
            stream.asking = False

    async def _catch_up(self, stream: Stream) -> bool:
        """Bring it to where its node is. Whether that answered."""
        self.asked += 1
        try:
            self._caught_up(stream, await how_far.asked_for(self._bus, stream))
            return True
        except Unavailable:
            self._caught_up(stream, await how_far.on_disk(self._store, stream))
            return False

    def _caught_up(self, stream: Stream, found: HowFar | None) -> None:
        if found is None or self._is_over(stream):
            return
        offset = stream.length
        rest = found.text[offset - found.offset :] if found.offset <= offset else ""
        if rest:
            if len(found.ends) >= len(stream.ends):
                stream.ends[:] = found.ends
            index = max(0, len(stream.ends) - 1)
            room, run = stream.conversation_id, stream.message_id
            stream.ahead[offset] = RunTold(room, run, index, offset, rest)
        if found.steps_told is None:  # Those on disk may be older than what was told.
            stream.found = [step for step in found.steps if step["step"] not in stream.steps]
        elif found.steps_told >= stream.steps_told:
            stream.steps_told, stream.found = found.steps_told, found.steps
        self._go_on(stream)

    def text_of(self, asked: Any) -> Mapping[str, Any]:
        """What another node is answered that asks how far a run is. Raises `NotFound`."""
        return how_far.answer(self._streams.get(asked["message_id"]), asked)
