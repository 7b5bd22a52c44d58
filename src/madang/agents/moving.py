"""Agents outside that come back: a run is its session's, not its agent's connection's.

Where the connection ends, the run is kept for a while. The agent goes on with it from whichever
node it comes back to: that one asks the node which has the run, which lets go of it without ending
it, and gives along all that it is; who watches it notices nothing. Everything is on disk before the
lease is free, so where the answer is lost, or the node is gone, the run goes on from there. Of
several nodes that take it the last one has it, one at a time, by its lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from madang import logs
from madang.agents.carried import Carried, carried, kept
from madang.agents.keeping import LEASE_SECONDS, Keeping
from madang.agents.running import Running
from madang.agents.speech import Speech
from madang.clock import Clock
from madang.delivery.stream import Stream
from madang.delivery.streams import Streams
from madang.model.nouns import Message
from madang.model.runs import RunEnd, agent_name, lease_name
from madang.ports.bus import Bus
from madang.ports.store import Store, Writer
from madang.protocol.errors import Conflict, MadangError, NotFound, Unavailable
from madang.services.approvals import approvals_of
from madang.services.runs import Checkpoint, Sofar
from madang.tasks import Tasks

log = logs.get_logger(__name__)

MOVE = "run.move"
"""The topic on which a run's node is asked to let go of it."""
ASK_SECONDS = 2.0
ASK_AGAIN_SECONDS = 0.2
LOOK_SECONDS = 0.02
LONGEST_LOOK_SECONDS = 0.25
"""Between two looks whether the lease is free."""
TAKE_SECONDS = LEASE_SECONDS + 4.0
"""How long it is tried to take a run: as long as the lease of a node that is gone lasts, and a
little."""
STAYS = "stays"
"""What a node answers whose run is not let go of."""
SETTLE_SECONDS = 5.0
"""And to tell people here what they lack of it."""


class Moving:
    """Runs of agents outside that come to this node, and that leave it.

    Args:
        running: the runs of this node.
        hold: makes one of them of a message, what is known of it being put on it after that.
        cancel: ends one of them soon, so.
        grace: seconds that an agent has to come back.
    """

    def __init__(
        self,
        running: dict[str, Running],
        store: Store,
        writer: Writer,
        bus: Bus,
        clock: Clock,
        streams: Streams,
        keeping: Keeping,
        hold: Callable[[Message, Stream, Speech], Running],
        cancel: Callable[[Running, RunEnd], None],
        *,
        grace: float,
        most_text: int,
    ) -> None:
        self._running = running
        self._store = store
        self._writer = writer
        self._bus = bus
        self._clock = clock
        self._streams = streams
        self._keeping = keeping
        self._hold = hold
        self._cancel = cancel
        self._grace = grace
        self._most_text = most_text
        self._leaving: dict[str, Carried] = {}
        self._leaving_tasks: set[asyncio.Task[None]] = set()
        self._taking: dict[str, asyncio.Task[Running | MadangError | None]] = {}
        self._tasks = Tasks()

    # Waiting.

    def wait_for(self, running: Running) -> None:
        """Its agent is gone, and may come back."""
        running.voice = None
        self.is_back(running)
        if self._grace > 0:
            running.absence = self._clock.call_later(
                self._grace, partial(self._has_waited, running)
            )
        else:
            self._has_waited(running)

    def is_back(self, running: Running) -> None:
        """It has come."""
        absence, running.absence = running.absence, None
        if absence is not None:
            absence.cancel()

    def _has_waited(self, running: Running) -> None:
        running.absence = None
        if self._running.get(running.message_id) is running and running.end is None:
            running.latency_ms = round((running.spoke - running.begun) * 1000)
            self._cancel(running, "interrupted")

    # Leaving.

    def let_go_here(self, asked: Any) -> Any:
        """Another node asks this one to let go of a run, whose agent has come there: what the run
        takes along, as `Carried.as_json` has it; `STAYS` where it is asked for only if its agent
        has left it (`if_left`), and that is here.

        Raises:
            NotFound: it does not run here.
            Conflict: it does, and stays.
        """
        message_id = str(asked["message_id"])
        leaving = self._leaving.get(message_id)
        if leaving is None:
            running = self._running.get(message_id)
            if running is None:
                if message_id not in self._keeping.busy:
                    # Its lease may have been renewed while it left.
                    self._tasks.start(self._keeping.let_go(message_id))
                raise NotFound("Not run here")
            if running.task is not None or running.end is not None:
                raise Conflict("It does not move")
            if asked.get("if_left") and running.voice is not None:
                return STAYS
            leaving = self._leave(running)
        return leaving.as_json()

    async def leave_all(self, seconds: float) -> None:
        """This node goes away: let their agents go on elsewhere, or here when it is back."""
        for running in list(self._running.values()):
            if running.task is None and running.end is None:
                self._leave(running)
        if self._leaving_tasks:
            await asyncio.wait(self._leaving_tasks, timeout=seconds)
        await self._tasks.close()

    def _leave(self, running: Running) -> Carried:
        message_id = running.message_id
        del self._running[message_id]
        running.voice = None
        if running.traced is not None:
            tokens = {"gen_ai.usage.output_tokens": running.tokens or 0}
            running.traced({"madang.status": "moved", **tokens})
        log.info(
            "run moved",
            run=message_id,
            trace_id=running.trace_id,
            agent=agent_name(running.agent_id),
            status="moved",
            tokens=running.tokens_used,
        )
        self.is_back(running)
        far = self._streams.let_go(running.stream, list(running.speech.told.values()))
        leaving = carried(running, far, self._clock.monotonic())
        self._leaving[message_id] = leaving
        sofar = Sofar(message_id, far.text, tuple(far.ends), running.beside, running.tokens_used)
        task = self._tasks.start(self._set_free(Checkpoint(running.org_id, [sofar]), message_id))
        self._leaving_tasks.add(task)
        task.add_done_callback(self._leaving_tasks.discard)
        return leaving

    async def _set_free(self, checkpoint: Checkpoint, message_id: str) -> None:
        """First all of it is on disk: whoever gets the lease may have heard nothing else of it."""
        try:
            await self._writer.write(checkpoint)
        except MadangError as error:
            log.warning("a run that leaves was not checked", run=message_id, why=error.text)
        await self._keeping.let_go(message_id)
        del self._leaving[message_id]

    # Coming.

    async def take(self, message: Message, *, if_left: bool = False) -> Running | None:
        """Go on here with a run under way; None where it is over. With `if_left`, one that its
        agent is connected for on another node stays there.

        Raises:
            NotFound: it stays there.
            Conflict: another node has taken it meanwhile.
            Unavailable: its node neither lets go of it nor is gone, or the store or the bus is
                away.
        """
        running = self._running.get(message.id)
        if running is not None:
            return running
        taking = self._taking.get(message.id)
        if taking is not None:
            taken = await asyncio.shield(taking)
            if isinstance(taken, NotFound) and not if_left:
                return await self.take(message)  # That one gave way, this one does not.
        else:
            taking = self._taking[message.id] = self._tasks.start(self._take(message, if_left))
            taking.add_done_callback(lambda _: self._taking.pop(message.id))
            taken = await asyncio.shield(taking)
        if isinstance(taken, MadangError):
            raise taken
        if taken is not None and taken.end is None and self._running.get(message.id) is not taken:
            raise Conflict("Another connection goes on with it")
        return taken

    async def _take(self, message: Message, if_left: bool) -> Running | MadangError | None:
        try:
            had = await self._until_free(message.id, if_left)
        except MadangError as error:
            return error
        try:
            return await self._go_on(message, had)
        except MadangError as error:
            return error
        finally:
            self._keeping.busy.discard(message.id)
            if message.id not in self._running:
                await self._keeping.let_go(message.id)

    async def _until_free(self, message_id: str, if_left: bool) -> Carried | None:
        """Get its lease, and what its node says of it. From then on nobody here ends it because
        nobody goes on with it."""
        name, busy = lease_name(message_id), self._keeping.busy
        asked: str | None = None
        had: Carried | None = None
        pause, ask_at = LOOK_SECONDS, 0.0
        until = self._clock.monotonic() + TAKE_SECONDS
        while not self._keeping.closing:
            owner = await self._bus.owner(name)
            now = self._clock.monotonic()
            if owner is None or owner == self._bus.node:
                if message_id not in busy and await self._has_it(name, message_id):
                    return had
            elif owner != asked or now >= ask_at:
                # Again where it has let go: its lease may have been renewed meanwhile, or another
                # was faster, which lets go of it in its turn.
                asked, ask_at = owner, now + ASK_AGAIN_SECONDS
                had = await self._asked(owner, message_id, if_left) or had
            if now >= until:
                break
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK_SECONDS)
        raise Unavailable("Another node goes on with it")

    async def _has_it(self, name: str, message_id: str) -> bool:
        busy, has = self._keeping.busy, False
        busy.add(message_id)
        try:
            has = await self._bus.acquire(name, LEASE_SECONDS)
        finally:
            if not has:
                busy.discard(message_id)
        return has

    async def _asked(self, owner: str, message_id: str, if_left: bool) -> Carried | None:
        about = {"message_id": message_id, "if_left": if_left}
        try:
            told = await self._bus.ask(owner, MOVE, about, ASK_SECONDS)
        except Unavailable:
            return None  # It ends it, or is gone.
        if told == STAYS:
            raise NotFound("Message not found")
        return Carried(**told)

    async def _go_on(self, message: Message, had: Carried | None) -> Running | None:
        org_id, message_id, agent_id = message.org_id, message.id, message.sender_id
        run = await self._store.run(org_id, message_id, agent_id)
        found = await self._store.message(org_id, message_id, agent_id)
        if run is None or run.over or found is None or found.deleted_at is not None:
            return None
        if had is None or len(had.text) < len(found.content):
            # Nobody said, or it has gone on elsewhere since.
            had = kept(run, found, self._streams.get(message_id), self._clock.now())
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                stream = await self._streams.take(found, had.far)
            # That may have taken a while.
            if not await self._bus.acquire(lease_name(message_id), LEASE_SECONDS):
                raise Conflict("Another connection goes on with it")
        except (TimeoutError, MadangError) as error:
            lacking = self._streams.get(message_id)
            if lacking is not None:
                self._streams.give_up(lacking)
            raise error if isinstance(error, MadangError) else Unavailable from error
        if self._streams.get(message_id) is not stream:
            return None  # Its end was told meanwhile.
        running = self._hold(found, stream, had.speech(self._most_text))
        had.put_on(running, self._clock.monotonic())
        if running.unanswered:
            await self._look_for_answers(running)
        return running

    async def _look_for_answers(self, running: Running) -> None:
        """What people answered while it moved was told to nobody who waited for it."""
        try:
            found = await self._store.message(running.org_id, running.message_id, running.agent_id)
        except Unavailable:
            return
        for request_id, asked in ({} if found is None else approvals_of(found)).items():
            if "answer" in asked:
                running.is_answered(request_id, self._clock.monotonic())
