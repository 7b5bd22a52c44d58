"""An agent outside: it streams its own answers over its connection, and the server keeps them as
it keeps those of its own. What is out of order, or after the end, is refused and changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from madang.agents.fit import shallow
from madang.agents.protocol import Step
from madang.agents.runner import Runner
from madang.agents.running import Running
from madang.agents.speech import TooLong
from madang.clock import Clock
from madang.hub.frame import Frame
from madang.model.ids import parse_uuid, uuid7
from madang.model.nouns import Message
from madang.ports.store import Writer
from madang.protocol.errors import Conflict, Invalid, MadangError, NotFound, TooLarge
from madang.services.approvals import AskApproval
from madang.services.asking import RunLimits
from madang.services.runs import StartOutside
from madang.surfaces import objects
from madang.surfaces.agents import commands
from madang.surfaces.agents.seats import Seat

MOST_WAITING = 1_000
"""Frames of an answer whose beginning is not on disk yet."""
MOST_ANSWERS = 200
"""Answers of one connection that are remembered, those that have ended included."""


@dataclass(eq=False, slots=True)
class Answering:
    """One answer of an agent outside. Until its beginning is on disk, what follows waits."""

    message_id: str | None = None
    running: Running | None = None
    ended: bool = False
    waiting: deque[Callable[[], None]] = field(default_factory=deque)


class Outside:
    """What agents outside say."""

    def __init__(self, runner: Runner, writer: Writer, clock: Clock, run_limits: RunLimits) -> None:
        self._runner = runner
        self._writer = writer
        self._clock = clock
        self._run_limits = run_limits

    def start(self, seat: Seat, command: commands.StreamStart) -> None:
        """An answer begins, or one that the agent has begun before goes on here. What it is called
        is the agent's to say; where that is an id, it is the message's."""
        handle = command.message_id or command.client_id or uuid7(self._clock.now())
        if handle in seat.answering:
            raise Conflict("There is a message of this id")
        if len(seat.answering) >= MOST_ANSWERS:
            over = [name for name, one in seat.answering.items() if one.ended]
            for name in over[: MOST_ANSWERS // 2]:
                del seat.answering[name]
            if not over:
                raise Invalid("Too many answers at once")
        answering = seat.answering[handle] = Answering()
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
        )

        def done(result: Any, error: MadangError | None) -> None:
            if error is not None:
                answering.ended = True
                seat.answering.pop(handle, None)
                seat.connection.write(Frame(objects.error(error, command.id)))
                return
            message: Message = result[0]
            answering.message_id = message.id
            seat.answering[message.id] = answering
            if result[1] is None:
                answering.running = self._runner.get(message.id)
            else:
                answering.running = self._runner.adopt(message)
            self._take_over(seat, answering)
            if command.id is not None:
                seat.connection.write(Frame(_started(answering, message.id, command.id)))
            while answering.waiting:
                try:
                    answering.waiting.popleft()()
                except MadangError as problem:
                    seat.connection.write(Frame(objects.error(problem)))

        self._writer.submit(write, done)

    def _take_over(self, seat: Seat, answering: Answering) -> None:
        """From here on this connection says it. One that said it before may be gone without this
        node knowing so yet: neither its words nor its end count any more."""
        running = answering.running
        if running is None or running.end is not None:
            answering.ended = True
        elif seat.connection.open:
            if isinstance(running.voice, Answering):
                running.voice.ended = True
            running.voice = answering
        elif running.voice is None:
            self._runner.cancel(running, "interrupted")

    def _then(self, seat: Seat, handle: str, do: Callable[[Answering, Running], None]) -> None:
        """Do it as soon as the answer's beginning is on disk.

        Raises:
            NotFound: the agent has no such answer here.
            Conflict: it has ended.
        """
        answering = seat.answering.get(handle) or seat.answering.get(parse_uuid(handle) or "")
        if answering is None:
            raise NotFound("Message not found")

        def now() -> None:
            running = answering.running
            if running is None or running.end is not None:
                raise Conflict("The run has ended")
            if running.voice is not answering:
                raise Conflict("Another connection goes on with it")
            if answering.ended:
                raise Conflict("The run has ended")
            do(answering, running)

        if answering.message_id is None:
            if len(answering.waiting) >= MOST_WAITING:
                raise TooLarge("Too much at once")
            answering.waiting.append(now)
        else:
            now()

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

        self._then(seat, command.message_id, say)

    def end(self, seat: Seat, command: commands.StreamEnd) -> None:
        """That was all of it."""

        def end(answering: Answering, running: Running) -> None:
            answering.ended = True
            if command.tokens_used is not None:
                running.tokens = command.tokens_used
            if command.error is not None:
                running.metadata["error"] = command.error
            self._runner.cancel(running, command.status)

        self._then(seat, command.message_id, end)

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

        self._then(seat, command.message_id, step)

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
            )

            def done(_: Any, error: MadangError | None) -> None:
                if error is not None:
                    self._runner.people.not_asked(running, request_id)
                    seat.connection.write(Frame(objects.error(error, command.id)))

            self._runner.people.ask_outside(running, request_id)
            self._writer.submit(write, done)

        self._then(seat, command.message_id, ask)

    def gone(self, seat: Seat) -> None:
        """The connection ended: what it was saying cannot go on, unless another goes on with
        it."""
        for answering in set(seat.answering.values()):
            running = answering.running
            if running is not None and running.voice is answering and not answering.ended:
                answering.ended = True
                self._runner.cancel(running, "interrupted")


def _started(answering: Answering, message_id: str, reply_to: str | int) -> bytes:
    """Where the answer is: what comes next of it."""
    running = answering.running
    if running is None or answering.ended:
        return objects.frame("stream_started", reply_to, message_id=message_id)
    return objects.frame(
        "stream_started",
        reply_to,
        message_id=message_id,
        index=running.chunks,
        offset=running.length,
    )
