"""What people do in a session over its WebSocket: each frame of theirs, and its reply."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import orjson

from madang.agents.runner import Runner
from madang.clock import Clock
from madang.delivery.delivery import Delivery
from madang.hub.connection import Connection
from madang.hub.frame import Dialect, Frame
from madang.model.nouns import Event, MessageType
from madang.ports.bus import SignalTold
from madang.ports.store import Store, Write, Writer
from madang.protocol.errors import MadangError, NotFound, RateLimited
from madang.services.alternatives import ChooseAnswer, Regenerate, Regenerated
from madang.services.approvals import AnswerApproval
from madang.services.asking import RunLimits
from madang.services.limits import RateLimit
from madang.services.messages import Done, ReadMessage, SendMessage
from madang.services.sessions import HandOver
from madang.services.typing import Typing
from madang.surfaces import objects
from madang.surfaces.agents import commands, frames
from madang.surfaces.agents.ends import end_of
from madang.surfaces.agents.seats import Seat
from madang.surfaces.content import check_content, sender_type

ReplyTo = str | int | None


class People:
    """What people do. `start` runs something for as long as a connection is open."""

    def __init__(
        self,
        *,
        start: Callable[[Connection, Coroutine[Any, Any, None]], None],
        delivery: Delivery,
        store: Store,
        writer: Writer,
        clock: Clock,
        runner: Runner,
        messages_limit: RateLimit,
        signals_limit: RateLimit,
        run_limits: RunLimits,
        max_content: int,
        typing_seconds: float,
    ) -> None:
        self._start = start
        self._delivery = delivery
        self._store = store
        self._writer = writer
        self._clock = clock
        self._runner = runner
        self._messages_limit = messages_limit
        self._signals_limit = signals_limit
        self._run_limits = run_limits
        self._max_content = max_content
        self.typing = Typing(clock, typing_seconds, self._tell_typing)

    def _submit(
        self,
        seat: Seat,
        write: Write,
        reply_to: ReplyTo,
        answer: Callable[[Any], Event | None],
        same: Callable[[Any], bytes | None] = lambda _: None,
    ) -> None:
        """Hand it in. Its event is the reply (`answer` finds it); where nothing changed, `same` is
        said to this connection alone."""

        def done(result: Any, error: MadangError | None) -> None:
            if isinstance(error, RateLimited):  # Only what asks an agent is, and was counted.
                self._messages_limit.give_back(seat.user.org_id, seat.user.user_id)
            connection = seat.connection
            if not connection.open:
                return
            if error is not None:
                connection.write(Frame(objects.error(error, reply_to)))
                return
            event = answer(result)
            if event is None:
                text = same(result)
                if text is not None:
                    connection.write(Frame(text))
            elif reply_to is not None:
                encode = partial(frames.encode_reply, reply_to=reply_to)
                self._delivery.reply(event, connection, encode)

        self._writer.submit(write, done)

    def message(self, seat: Seat, command: commands.Message) -> None:
        self._send(
            seat,
            command,
            command.content,
            command.message_type,
            tuple(command.attachments or ()),
            command.metadata,
        )

    def file(self, seat: Seat, command: commands.File) -> None:
        self._send(seat, command, command.message, "file", ({"file_id": command.file_id},))

    def _send(
        self,
        seat: Seat,
        command: commands.Message | commands.File,
        content: str,
        message_type: MessageType,
        attachments: tuple[Mapping[str, Any], ...],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        identity, user = seat.connection.identity, seat.user
        check_content(content, message_type, identity, self._max_content, attachments, metadata)
        self._messages_limit.check(user.org_id, user.user_id, self._clock.monotonic())
        write = SendMessage(
            user.org_id,
            seat.session_id,
            user.user_id,
            content,
            sender_type(identity),
            message_type,
            command.client_id,
            command.reply_to_id,
            attachments,
            metadata,
            self._run_limits,
        )

        def again(done: Done) -> bytes:
            told = frames.message_fields(done.message)
            return orjson.dumps(_replied(told, command.id))

        self._submit(seat, write, command.id, lambda done: done.event, again)

    def types(self, seat: Seat, command: commands.Typing) -> None:
        self._signals_limit.check(seat.user.org_id, seat.user.user_id, self._clock.monotonic())
        key = (seat.user.org_id, seat.session_id, seat.user.user_id)
        if command.is_typing:
            self.typing.start(key, seat.connection)
        else:
            self.typing.stop(key)

    def _tell_typing(self, org_id: str, session_id: str, user_id: str, is_typing: bool) -> None:
        text = objects.frame("typing", user_id=user_id, is_typing=is_typing)
        signal = SignalTold(session_id, text, user_id, dialect=Dialect.AGENT)
        self._delivery.signal(org_id, signal)

    def stop(self, seat: Seat, command: commands.OnMessage) -> None:
        self._start(seat.connection, self._stop_run(seat, command))

    async def _stop_run(self, seat: Seat, command: commands.OnMessage) -> None:
        """Everybody hears of the end, who asked as the reply; they are answered alone where there
        is none to come."""
        connection, user = seat.connection, seat.user
        stopping = (user.org_id, command.message_id, connection)
        replies = self._delivery.replies
        try:
            if command.id is not None:
                encode = partial(frames.encode_reply, reply_to=command.id)
                # Before it is looked whether it has ended: an end that comes later is heard.
                replies.to_end(*stopping, encode)
            run = await self._store.run(user.org_id, command.message_id, user.user_id)
            if run is None or run.conversation_id != seat.session_id:
                raise NotFound("Message not found")
            if not run.over:
                await self._runner.stop(run.org_id, run.message_id)
            elif command.id is None or replies.withdraw(*stopping):
                message = await self._store.message(run.org_id, run.message_id, user.user_id)
                end = await end_of(self._store, run, message)
                connection.write(Frame(orjson.dumps(_replied(end, command.id))))
        except MadangError as error:
            replies.withdraw(*stopping)
            connection.write(Frame(objects.error(error, command.id)))

    def read(self, seat: Seat, command: commands.OnMessage) -> None:
        user = seat.user
        write = ReadMessage(user.org_id, command.message_id, user.user_id, seat.session_id)

        def again(_: Done) -> bytes:
            told = {"type": "read", "message_id": command.message_id}
            told["user_id"] = user.user_id
            return orjson.dumps(_replied(told, command.id))

        self._submit(seat, write, command.id, lambda done: done.event, again)

    def regenerate(self, seat: Seat, command: commands.Regenerate) -> None:
        user = seat.user
        self._messages_limit.check(user.org_id, user.user_id, self._clock.monotonic())
        write = Regenerate(
            user.org_id, command.message_id, user.user_id, command.client_id, self._run_limits
        )

        def told_alone(done: Regenerated) -> bytes | None:
            if command.id is None:
                return None
            run = done.run
            told = {"type": "regenerating", "message_id": run.message_id, "status": run.status}
            return orjson.dumps(_replied(told, command.id))

        self._submit(seat, write, command.id, lambda _: None, told_alone)

    def choose(self, seat: Seat, command: commands.OnMessage) -> None:
        user = seat.user
        write = ChooseAnswer(user.org_id, command.message_id, user.user_id)

        def again(_: Any) -> bytes:
            told = {"type": "answer_chosen", "message_id": command.message_id}
            return orjson.dumps(_replied(told, command.id))

        self._submit(seat, write, command.id, lambda event: event, again)

    def hand_over(self, seat: Seat, command: commands.HandOver) -> None:
        user = seat.user
        write = HandOver(user.org_id, seat.session_id, user.user_id, command.to, command.note)

        def again(_: Any) -> bytes:
            told = {"type": "handover", "to": command.to, "by": user.user_id}
            return orjson.dumps(_replied(told, command.id))

        self._submit(seat, write, command.id, lambda event: event, again)

    def answer(self, seat: Seat, command: commands.ApprovalAnswer) -> None:
        user = seat.user
        write = AnswerApproval(
            user.org_id,
            command.message_id,
            command.request_id,
            user.user_id,
            command.answer,
            command.note,
            sender_type(seat.connection.identity),
        )

        def again(_: Any) -> bytes:
            told = {
                "type": "approval_answer",
                "message_id": command.message_id,
                "request_id": command.request_id,
                "answer": command.answer,
            }
            return orjson.dumps(_replied(told, command.id))

        self._submit(seat, write, command.id, lambda result: result[1], again)


def _replied(told: dict[str, Any], reply_to: ReplyTo) -> dict[str, Any]:
    return told if reply_to is None else {**told, "reply_to": reply_to}
