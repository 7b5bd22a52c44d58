"""An agent outside: it streams its own answers over its connection, and the server keeps them as
it keeps those of its own. What is out of order, or after the end, is refused and changes nothing.

What carries an `id` is answered: the end, and what people are asked, by the event that tells of it;
the rest by where the answer is then.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from madang.agents.fit import shallow
from madang.agents.protocol import Step
from madang.agents.runner import Runner
from madang.agents.running import Running
from madang.agents.speech import TooLong
from madang.clock import Clock
from madang.delivery.delivery import Delivery
from madang.hub.connection import Connection
from madang.hub.frame import Frame
from madang.model.ids import parse_uuid, uuid7
from madang.model.nouns import Message
from madang.ports.store import Store, Writer
from madang.protocol.errors import Conflict, Invalid, MadangError, NotFound, RateLimited, TooLarge
from madang.services.approvals import AskApproval
from madang.services.asking import RunLimits
from madang.services.runs import StartOutside
from madang.surfaces import objects
from madang.surfaces.agents import commands, frames
from madang.surfaces.agents.seats import Seat
from madang.surfaces.unheard import Unheard

STEP_SIZE = 8_192
"""Characters that a step or a question counts for while it waits."""
MOST_ANSWERS = 200
"""Answers of one connection that are remembered, those that have ended included."""


ReplyTo = str | int | None
Then = tuple[Callable[[], None], ReplyTo]
"""What is to be done for a frame, and what an error about it replies to."""


@dataclass(eq=False, slots=True)
class Answering:
    """One answer of an agent outside. Until it is known here (its beginning is on disk, or the
    node that had it has let go of it), what follows waits."""

    ready: bool = False
    running: Running | None = None
    ended: bool = False
    waiting: Unheard[Then] = field(default_factory=Unheard)

    @property
    def over(self) -> bool:
        """Whether this connection says no more of it."""
        running = self.running
        return self.ended or (self.ready and running is not None and running.voice is not self)


class Outside:
    """What agents outside say.

    Args:
        start: runs what a connection waits for.
        count: counts an answer. Raises `RateLimited`.
        give_back: takes that back.
        max_content: bytes of a message's metadata.
    """

    def __init__(
        self,
        runner: Runner,
        delivery: Delivery,
        store: Store,
        writer: Writer,
        clock: Clock,
        run_limits: RunLimits,
        *,
        start: Callable[[Connection, Coroutine[Any, Any, None]], None],
        count: Callable[[Seat], None],
        give_back: Callable[[Seat], None],
        max_content: int,
    ) -> None:
        self._runner = runner
        self._delivery = delivery
        self._store = store
        self._writer = writer
        self._clock = clock
        self._run_limits = run_limits
        self._start = start
        self._count = count
        self._give_back = give_back
        self._max_content = max_content

    def check(self, seat: Seat, command: commands.OfAgent) -> None:
        """Raises `Invalid` where what a frame says of its sender or its session is not true."""
        if command.session_id is not None and parse_uuid(command.session_id) != seat.session_id:
            raise Invalid("session_id: is another session's")
        if command.sender_type is not None and command.sender_type != "agent":
            raise Invalid("sender_type: must be agent")
        user_id = seat.user.user_id
        if command.sender_id is not None and _text(command.sender_id) != user_id:
            raise Invalid("sender_id: is somebody else's")
        if command.agent_id is not None and _text(command.agent_id) != user_id:
            # Or what it is offered as.
            offered = self._runner.catalog.agents.values()
            if (command.agent_id, user_id) not in [(one.name, one.user_id) for one in offered]:
                raise Invalid("agent_id: is another agent's")

    def start(self, seat: Seat, command: commands.StreamStart) -> None:
        """An answer begins, or one that the agent has begun before goes on here. What it is called
        is the agent's to say; where that is an id, it is the message's."""
        self._count(seat)
        handle = command.message_id or command.client_id or uuid7(self._clock.now())
        if handle in seat.answering:
            raise Conflict("There is a message of this id")
        if command.metadata and len(orjson.dumps(command.metadata)) > self._max_content:
            raise TooLarge("Message too large")
        answering = _remember(seat, handle)
        own = None if command.message_id is None else parse_uuid(command.message_id)
        client_id = command.client_id or (command.message_id if own is None else None)
        write = StartOutside(
            seat.user.org_id,
            seat.session_id,
            seat.user.user_id,
            command.reply_to_id,
            client_id,
            own,
            self._run_limits,
            command.metadata,
        )

        def done(result: Any, error: MadangError | None) -> None:
            if error is not None:
                if isinstance(error, RateLimited):
                    self._give_back(seat)
                self._refused(seat, answering, error, command.id)
                return
            message: Message = result[0]
            seat.answering[message.id] = answering
            if result[1] is not None:
                answering.running = self._runner.adopt(message)
            elif message.metadata.get("status") == "streaming":
                work = self._take(seat, answering, message, command.id)
                self._start(seat.connection, work)
                return
            self._begun(seat, answering, message.id, command.id)

        self._writer.submit(write, done)

    async def _take(
        self, seat: Seat, answering: Answering, message: Message, reply_to: ReplyTo
    ) -> None:
        """It has begun before: on this node, or on another."""
        try:
            answering.running = await self._runner.moving.take(message)
        except MadangError as error:
            self._refused(seat, answering, error, reply_to)
        else:
            self._begun(seat, answering, message.id, reply_to)

    def _refused(
        self, seat: Seat, answering: Answering, error: MadangError, reply_to: ReplyTo
    ) -> None:
        seat.connection.write(Frame(objects.error(error, reply_to)))
        self._forget(seat, answering, NotFound("Message not found"))

    def _forget(self, seat: Seat, answering: Answering, problem: MadangError) -> None:
        """As if it had never been: it can be tried again."""
        for name in [name for name, one in seat.answering.items() if one is answering]:
            del seat.answering[name]
        for _, waiting in answering.waiting.hear(seat.connection):
            seat.connection.write(Frame(objects.error(problem, waiting)))

    def _come_back(self, seat: Seat, handle: str) -> Answering:
        """The agent goes on with an answer that this connection has not begun, as if that went
        without saying. Counts as one that it begins.

        Raises:
            NotFound: that is no message's id.
            RateLimited: it has begun too many.
        """
        message_id = parse_uuid(handle)
        if message_id is None:
            raise NotFound("Message not found")
        self._count(seat)
        answering = _remember(seat, message_id)
        self._start(seat.connection, self._take_left(seat, answering, message_id))
        return answering

    async def _take_left(self, seat: Seat, answering: Answering, message_id: str) -> None:
        """Go on with it where nobody else does: with `stream_start` alone it is taken away from
        another connection."""
        user = seat.user
        try:
            message = await self._store.message(user.org_id, message_id, user.user_id)
            if (
                message is None
                or message.message_type != "stream"
                or message.sender_id != user.user_id
                or message.conversation_id != seat.session_id
            ):
                raise NotFound("Message not found")
            if message.metadata.get("status") == "streaming":
                running = await self._runner.moving.take(message, if_left=True)
                if running is not None and running.voice is not None:
                    raise NotFound("Message not found")
                answering.running = running
        except MadangError as error:
            self._forget(seat, answering, error)
        else:
            self._begun(seat, answering, message_id, None)

    def _begun(self, seat: Seat, answering: Answering, message_id: str, reply_to: ReplyTo) -> None:
        """From here on this connection says it. One that said it before may be gone without this
        node knowing so yet: neither its words nor its end count any more."""
        answering.ready = True
        running = answering.running
        if running is None or running.end is not None:
            answering.ended = True
        else:
            if isinstance(running.voice, Answering):
                running.voice.ended = True
            running.voice = answering
            self._runner.moving.is_back(running)
        if reply_to is not None:
            seat.connection.write(Frame(_started(answering, message_id, reply_to)))
        for then, waiting in answering.waiting.hear(seat.connection):
            try:
                then()
            except MadangError as problem:
                seat.connection.write(Frame(objects.error(problem, waiting)))
        if not seat.connection.open:
            self._leave(answering)

    def _then(
        self,
        seat: Seat,
        command: commands.OfAgent,
        handle: str,
        do: Callable[[Answering, Running], None],
        characters: int = 0,
    ) -> None:
        """Do it as soon as the answer is known here.

        Raises:
            NotFound: the agent has no such answer.
            RateLimited: it goes on with too many.
            Conflict: it has ended.
        """
        answering = seat.answering.get(handle) or seat.answering.get(parse_uuid(handle) or "")
        if answering is None:
            answering = self._come_back(seat, handle)
        known: Answering = answering

        def now() -> None:
            running = known.running
            if running is None or running.end is not None:
                raise Conflict("The run has ended")
            if running.voice is not known:
                raise Conflict("Another connection goes on with it")
            if known.ended:
                raise Conflict("The run has ended")
            do(known, running)

        if answering.ready:
            now()
        else:
            answering.waiting.keep(seat.connection, (now, command.id), characters)

    def chunk(self, seat: Seat, command: commands.StreamChunk) -> None:
        """More of an answer."""

        def say(answering: Answering, running: Running) -> None:
            if command.index is not None and command.index != running.chunks:
                raise Invalid(f"index: {running.chunks} comes next")
            if command.offset is not None and command.offset != running.length:
                raise Invalid(f"offset: {running.length} comes next")
            running.chunks += 1
            try:
                self._runner.say(running, command.content)
            except TooLong:
                answering.ended = True
                running.metadata["error"] = "The answer is too long"
                self._runner.cancel(running, "failed")
                raise TooLarge("The answer is too long") from None
            self._taken(seat, running, command.id)

        self._then(seat, command, command.message_id, say, len(command.content))

    def end(self, seat: Seat, command: commands.StreamEnd) -> None:
        """That was all of it."""

        def end(answering: Answering, running: Running) -> None:
            answering.ended = True
            if command.tokens_used is not None:
                running.tokens = command.tokens_used
            running.latency_ms = command.latency_ms
            if command.error is not None:
                running.metadata["error"] = command.error
            if command.id is not None:
                encode = partial(frames.encode_reply, reply_to=command.id)
                self._delivery.replies.to_end(
                    running.org_id, running.message_id, seat.connection, encode
                )
            self._runner.cancel(running, command.status)

        self._then(seat, command, command.message_id, end)

    def step(self, seat: Seat, command: commands.RunStep) -> None:
        """A step of an answer."""

        def step(_: Answering, running: Running) -> None:
            try:
                self._runner.step(
                    running,
                    Step(
                        command.step_id,
                        command.kind,
                        command.name,
                        command.status,
                        command.content,
                        command.input,
                        command.output,
                    ),
                )
            except TooLong:
                raise TooLarge("Too many steps") from None
            self._taken(seat, running, command.id)

        self._then(seat, command, command.message_id, step, STEP_SIZE)

    def ask(self, seat: Seat, command: commands.ApprovalRequest) -> None:
        """People are asked; their answer comes to the agent as it comes to everybody."""

        def ask(_: Answering, running: Running) -> None:
            request_id = command.request_id or uuid7(self._clock.now())
            if request_id in running.unanswered:
                raise Conflict("This was asked before")
            write = AskApproval(
                running.org_id,
                running.message_id,
                running.agent_id,
                request_id,
                command.question,
                tuple(command.options),
                None if command.details is None else shallow(command.details),
                running.length,
            )

            def done(event: Any, error: MadangError | None) -> None:
                if error is not None:
                    self._runner.people.not_asked(running, request_id)
                    seat.connection.write(Frame(objects.error(error, command.id)))
                elif command.id is not None and seat.connection.open:
                    encode = partial(frames.encode_reply, reply_to=command.id)
                    self._delivery.reply(event, seat.connection, encode)

            self._runner.people.ask_outside(running, request_id)
            self._writer.submit(write, done)

        self._then(seat, command, command.message_id, ask, STEP_SIZE)

    def _taken(self, seat: Seat, running: Running, reply_to: ReplyTo) -> None:
        if reply_to is not None:
            told = _place("stream_taken", running, reply_to)
            seat.connection.write(Frame(told))

    def gone(self, seat: Seat) -> None:
        """The connection ended: what it was saying waits for the agent to come back and go on."""
        for answering in set(seat.answering.values()):
            self._leave(answering)

    def _leave(self, answering: Answering) -> None:
        running = answering.running
        if running is not None and running.voice is answering and not answering.ended:
            answering.ended = True
            self._runner.moving.wait_for(running)


def _text(said: Any) -> Any:
    """A user id of digits may be said as a number."""
    return str(said) if type(said) is int else said


def _remember(seat: Seat, handle: str) -> Answering:
    """One answer more of this connection. Raises `Invalid`: too many are under way."""
    if len(seat.answering) >= MOST_ANSWERS:
        over = [name for name, one in seat.answering.items() if one.over]
        for name in over[: MOST_ANSWERS // 2]:
            del seat.answering[name]
        if not over:
            raise Invalid("Too many answers at once")
    answering = seat.answering[handle] = Answering()
    return answering


def _started(answering: Answering, message_id: str, reply_to: str | int) -> bytes:
    running = answering.running
    if running is None or answering.ended:
        return objects.frame("stream_started", reply_to, message_id=message_id)
    return _place("stream_started", running, reply_to)


def _place(kind: str, running: Running, reply_to: str | int) -> bytes:
    """Where the answer is: what comes next of it."""
    return objects.frame(
        kind,
        reply_to,
        message_id=running.message_id,
        index=running.chunks,
        offset=running.length,
    )
