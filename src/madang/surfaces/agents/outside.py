"""An agent outside: it streams its own answers over its connection, and the server keeps them as
it keeps those of its own. What is out of order, or after the end, is refused and changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from madang.agents.protocol import Step
from madang.agents.runner import Runner
from madang.agents.running import Running
from madang.agents.speech import TooLong
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
    chunks: int = 0
    ended: bool = False
    waiting: deque[Callable[[], None]] = field(default_factory=deque)


class Outside:
    """What agents outside say."""

    def __init__(self, runner: Runner, writer: Writer, run_limits: RunLimits) -> None:
        self._runner = runner
        self._writer = writer
        self._run_limits = run_limits

    def start(self, seat: Seat, command: commands.StreamStart) -> None:
        """An answer begins. What it is called is the agent's to say; where that is an id, it is
        the message's."""
        handle = command.message_id or command.client_id or f"unnamed {len(seat.answering)}"
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
                self._again(answering, message)
            else:
                answering.running = self._runner.adopt(message)
                if not seat.connection.open:
                    self._runner.cancel(answering.running, "interrupted")
            if command.id is not None:
                told = objects.frame("stream_started", command.id, message_id=message.id)
                seat.connection.write(Frame(told))
            while answering.waiting:
                try:
                    answering.waiting.popleft()()
                except MadangError as problem:
                    seat.connection.write(Frame(objects.error(problem)))

        self._writer.submit(write, done)

    def _again(self, answering: Answering, message: Message) -> None:
        """The agent began this one before, on this connection or one that is gone."""
        answering.running = self._runner.get(message.id)
        answering.ended = answering.running is None

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
            if answering.ended or running is None or running.end is not None:
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
            if command.index is not None and command.index != answering.chunks:
                raise Invalid(f"index: {answering.chunks} comes next")
            answering.chunks += 1
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
            write = AskApproval(
                running.org_id,
                running.message_id,
                running.agent_id,
                command.request_id or uuid7(0),
                command.question,
                tuple(command.options),
                command.details,
            )

            def done(_: Any, error: MadangError | None) -> None:
                if error is not None:
                    seat.connection.write(Frame(objects.error(error, command.id)))

            self._writer.submit(write, done)

        self._then(seat, command.message_id, ask)

    def gone(self, seat: Seat) -> None:
        """The connection ended: what it was saying cannot go on."""
        for answering in set(seat.answering.values()):
            if answering.running is not None and not answering.ended:
                answering.ended = True
                self._runner.cancel(answering.running, "interrupted")
