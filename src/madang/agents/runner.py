"""Running agents: whoever commits a run runs it, here, to its one durable end.

While it runs, `keeping` has its text so far on disk and its lease on the bus; a run whose node is
gone is ended as `interrupted` by whichever node notices first. A node that goes away leaves what it
would have to begin: whichever notices first runs it. What it asks people is `people`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Any

import structlog

from madang import logs
from madang.agents.catalog import Catalog
from madang.agents.fit import MOST_ERROR, MOST_NOTE, fit_count, fit_text
from madang.agents.given import given
from madang.agents.keeping import Keeping
from madang.agents.moving import Moving
from madang.agents.patience import Patience
from madang.agents.people import People
from madang.agents.protocol import AgentFailed, AskPerson, Said, Step, Usage
from madang.agents.running import SILENT, Running
from madang.agents.speech import Speech, TooLong
from madang.agents.stopping import STOP_SECONDS, Stopping
from madang.agents.tracing import SPAN, Told, opened, span
from madang.clock import Clock
from madang.delivery.stream import Stream
from madang.delivery.streams import Streams
from madang.metrics import SECONDS, Histogram, Tally
from madang.model.nouns import Batch, Message
from madang.model.runs import ANYBODY, RunEnd, agent_name, is_own_agent
from madang.ports.bus import Bus
from madang.ports.store import Store, Writer
from madang.protocol.errors import MadangError, Unavailable
from madang.services.runs import Ended, EndRun, LeaveRun
from madang.services.sessions import HandOver
from madang.tasks import Tasks

log = logs.get_logger(__name__)

MOST_TRIES = 3
LONGEST_RETRY = 20.0
"""Seconds that a busy agent is waited for."""
SAYS_A_TURN = 64
"""Pieces of text taken from one agent before others get their turn."""
END_SECONDS = 60.0
"""How long it is tried to write an end while the store is away."""
RETRY_SECONDS = 0.5


class Runner:
    """The runs of this node.

    Args:
        most_text: characters of one answer.
        run_seconds, idle_seconds: how long an agent may take in all, and say nothing; waiting for
            a person does not count.
        grace: seconds that an agent outside whose connection has ended has to come back.
        history: messages of a session that its agent is given.
        streams: where what agents say is told.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        writer: Writer,
        bus: Bus,
        clock: Clock,
        streams: Streams,
        *,
        most_text: int,
        run_seconds: float,
        idle_seconds: float,
        grace: float,
        history: int,
    ) -> None:
        self.catalog = catalog
        self._store = store
        self._writer = writer
        self._bus = bus
        self._clock = clock
        self._streams = streams
        self._most_text = most_text
        self._run_seconds = run_seconds
        self._idle_seconds = idle_seconds
        self._history = history
        self._running: dict[str, Running] = {}
        self._tasks = Tasks()
        self._closing = False
        self.ended = Tally()
        """Runs that ended here, by status."""
        self.people = People(self._running, store, writer, bus, clock, streams)
        self.keeping = Keeping(
            self._running,
            store,
            writer,
            bus,
            clock,
            self.cancel,
            self._take_up,
            self.ended,
            streams,
            run_seconds,
            idle_seconds,
            grace,
        )
        self.moving = Moving(
            self._running,
            store,
            writer,
            bus,
            clock,
            streams,
            self.keeping,
            self._hold_outside,
            self.cancel,
            grace=grace,
            most_text=most_text,
        )
        self.stopping = Stopping(self._running, writer, bus, clock, self.cancel)
        self.stop = self.stopping.stop
        self.first_seconds = Histogram(SECONDS)
        """From a run's start until its agent said the first of it."""

    def __len__(self) -> int:
        return len(self._running)

    def get(self, message_id: str) -> Running | None:
        return self._running.get(message_id)

    # What was committed here.

    def committed(self, batch: Batch) -> None:
        """This node has committed these events: what they start is run here, what they stop is
        stopped wherever it is."""
        for event in batch.events:
            for message_id in event.data.get("stop") or ():
                self._tasks.start(self.stopping.stop_quietly(event.org_id, message_id))
            message = event.message
            if message is None or message.message_type != "stream":
                continue
            if event.type == "message.new" and message.metadata.get("status") == "streaming":
                if not is_own_agent(message.sender_id):
                    continue
                if self._closing:
                    self._writer.submit(LeaveRun(event.org_id, message.id), _left)
                else:
                    self._start(message)
            elif event.type == "message.deleted":
                self._tasks.start(self.stopping.stop_quietly(event.org_id, message.id))
            elif event.type == "approval_answer":
                self._tasks.start(self.people.pass_on(message, event.data["request_id"]))

    def _hold(self, message: Message, stream: Stream, speech: Speech) -> Running:
        running = Running(
            message.org_id,
            message.conversation_id,
            message.id,
            message.sender_id,
            str(message.metadata.get("trace_id", "")),
            stream,
            speech,
            self._clock.monotonic(),
            asyncio.get_running_loop().create_future(),
        )
        running.spoke = running.begun
        self._running[message.id] = running
        return running

    def _hold_outside(self, message: Message, stream: Stream, speech: Speech) -> Running:
        running = self._hold(message, stream, speech)
        running.traced = opened(SPAN, running.trace_id, running.attributes)
        return running

    def _take_up(self, message: Message) -> None:
        """A run that another node had to leave. Its beginning was told then."""
        if self._closing:
            self._writer.submit(LeaveRun(message.org_id, message.id), _left)
            return
        self._start(message)
        self._streams.own(message).begun = True

    def _start(self, message: Message) -> None:
        if message.id in self._running:
            return
        running = self._hold(message, self._streams.own(message), Speech(self._most_text))
        running.task = self._tasks.start(self._run(running, message), f"run {message.id}")

    def adopt(self, message: Message) -> Running:
        """A run of an agent outside, which is connected here."""
        running = self._running.get(message.id)
        if running is None:
            running = self._hold_outside(
                message, self._streams.own(message), Speech(self._most_text)
            )
            self._tasks.start(self.keeping.hold(running))
        return running

    # One run.

    async def _run(self, running: Running, message: Message) -> None:
        with _logged(running), span(SPAN, running.trace_id, running.attributes) as told:
            running.entered = True
            lease = self._tasks.start(self.keeping.hold(running))
            status: RunEnd
            try:
                status = running.end or await self._answer(running, message)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
                status = running.end or "interrupted"
            _tell_end(running, status, told)
            await self.finish(running, status)
            await lease

    async def _answer(self, running: Running, message: Message) -> RunEnd:
        offered = self.catalog.get(agent_name(running.agent_id))
        if offered is None or offered.agent is None:
            return self._fail(running, "The agent is not on offer any more")
        try:
            asking = self.people.asking(running)
            run = await given(self._store, running, message, self._history, asking)
            for tries in range(1, MOST_TRIES + 1):
                try:
                    async with aclosing(offered.agent(run)) as said:  # type: ignore[type-var]
                        return await self._listen(running, said)
                except AgentFailed as failure:
                    wait = failure.retry_after
                    soon = wait is not None and 0 <= wait <= LONGEST_RETRY
                    if not soon or running.told or tries == MOST_TRIES:
                        return self._fail(running, failure.text)
                    await self._clock.sleep(wait or 0.0)
        except TooLong:
            return self._fail(running, "The answer is too long")
        except TimeoutError:
            return self._fail(running, SILENT)
        except Unavailable as error:
            return self._fail(running, error.text)
        except Exception:
            log.exception("an agent failed", agent=running.agent_id)
            return self._fail(running, "The agent failed")
        return "complete"

    async def _listen(self, running: Running, said: AsyncIterator[Said]) -> RunEnd:
        count = 0
        async with asyncio.timeout(None) as limit:
            patience = running.patience = Patience(limit, self._idle_seconds, self._run_seconds)
            try:
                async for one in said:
                    patience.heard()
                    if type(one) is str:
                        self.say(running, one)
                    else:
                        await self._take(running, one)
                    count += 1
                    if count % SAYS_A_TURN == 0:
                        await asyncio.sleep(0)
            finally:
                running.patience = None
                patience.end()
        return "complete"

    async def _take(self, running: Running, one: Said) -> None:
        match one:
            case str():
                self.say(running, one)
            case Step():
                self.step(running, one)
            case Usage():
                running.tokens = fit_count(one.tokens)
            case AskPerson():
                running.told = True
                write = HandOver(
                    running.org_id,
                    running.session_id,
                    running.agent_id,
                    ANYBODY,
                    None if one.note is None else fit_text(one.note)[:MOST_NOTE],
                )
                with nullcontext() if running.patience is None else running.patience.paused():
                    await self._writer.write(write)
            case _:
                raise TypeError(f"an agent yields text, Step, Usage or AskPerson, not {type(one)}")

    def say(self, running: Running, text: str) -> None:
        """More of the answer.

        Raises:
            TooLong: as much as may be said was said; that much is told.
        """
        running.spoke = self._clock.monotonic()
        if not text:
            return
        running.told = True
        if running.first_ms is None:
            first = self._clock.monotonic() - running.begun
            running.first_ms = round(first * 1000)
            self.first_seconds.observe(first)
        running.said += 1
        try:
            clean = running.speech.take(text)
        except TooLong as error:
            self._streams.write(running.stream, error.fits)
            raise
        self._streams.write(running.stream, clean)

    def step(self, running: Running, step: Step) -> None:
        """A step of the answer.

        Raises:
            TooLong: there are as many, or as many changes of them, as there may be.
        """
        running.told = True
        running.spoke = self._clock.monotonic()
        news = running.speech.step(step)
        if news is not None:
            self._streams.step(running.stream, news)

    def _fail(self, running: Running, text: str) -> RunEnd:
        running.metadata["error"] = fit_text(str(text))[:MOST_ERROR]
        return "failed"

    # Ends.

    async def finish(self, running: Running, status: RunEnd) -> Ended | None:
        """The one durable end of a run of this node; None where it could not be written, and
        somebody ends it later."""
        # From here on it has an end: whoever stops it now changes nothing, and waits for it.
        running.end = running.end or status
        self._streams.flush(running.stream)
        rest = running.speech.rest()
        if rest:
            self._streams.write(running.stream, rest)
            self._streams.flush(running.stream)
        stream = running.stream
        metadata = {**running.metadata, **running.beside}
        write = EndRun(
            running.org_id,
            running.message_id,
            status,
            stream.whole,
            stream.whole_ends,
            running.tokens_used,
            round((self._clock.monotonic() - running.begun) * 1000)
            if running.latency_ms is None
            else running.latency_ms,
            metadata,
        )
        ended: Ended | None = None
        begun = self._clock.monotonic()
        try:
            while True:
                try:
                    ended = await self._writer.write(write)
                    self.ended.add(status)
                    break
                except Unavailable:
                    if self._closing or self._clock.monotonic() - begun > END_SECONDS:
                        log.warning("a run's end could not be written", run=running.message_id)
                        break
                    await self._clock.sleep(RETRY_SECONDS)
        except MadangError as error:
            log.warning("a run's end was refused", run=running.message_id, why=error.text)
        finally:
            self._running.pop(running.message_id, None)
            self._streams.drop(running.message_id)
            if not running.done.done():
                running.done.set_result(ended)
            self._tasks.start(self.keeping.let_go(running.message_id))
        return ended

    async def _finish_outside(self, running: Running, end: RunEnd) -> None:
        with _logged(running):
            if running.traced is not None:
                _tell_end(running, end, running.traced)
            await self.finish(running, end)

    def cancel(self, running: Running, end: RunEnd) -> None:
        """End it soon, so."""
        if running.end is None:
            running.end = end
            if running.task is None:
                self._tasks.start(self._finish_outside(running, end))
            elif running.entered:
                running.task.cancel()
            # Else it finds its end when it begins: a task that is cancelled before is never run.

    async def close(self) -> None:
        """End the runs of this node as `interrupted`, with all they have said. Those of agents
        outside are left to them."""
        self._closing = self.keeping.closing = True
        await self.moving.leave_all(STOP_SECONDS)
        running = list(self._running.values())
        for one in running:
            self.cancel(one, "interrupted")
        if running:
            await asyncio.wait([one.done for one in running], timeout=STOP_SECONDS)
        await self._tasks.close()


def _logged(running: Running) -> AbstractContextManager[Any]:
    """Log lines say which run they are about."""
    return structlog.contextvars.bound_contextvars(
        trace_id=running.trace_id, run=running.message_id
    )


def _tell_end(running: Running, status: RunEnd, told: Told) -> None:
    """In the log, and to the run's span."""
    tokens = running.said if running.tokens is None else running.tokens
    why = {"why": running.metadata["error"]} if "error" in running.metadata else {}
    log.info("run ended", agent=agent_name(running.agent_id), status=status, tokens=tokens, **why)
    told({"madang.status": status, "gen_ai.usage.output_tokens": running.tokens or 0})


def _left(_: Any, error: MadangError | None) -> None:
    if error is not None:
        log.warning("a run could not be left to others", why=error.text)
