"""What the people in a room write: each command becomes a write, and its result an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson

from madang.delivery.delivery import Delivery
from madang.hub.connection import Connection
from madang.hub.frame import Dialect, Frame
from madang.model.live import Asked, Seated, poll_of, question_of
from madang.model.nouns import Message
from madang.ports.store import Write, Writer
from madang.protocol.errors import Invalid, MadangError
from madang.services.limits import RateLimit
from madang.services.live.chat import SendChat
from madang.services.live.counts import CountTeller
from madang.services.live.moderation import Ban, Kick, Mute, RemoveMessage, Unmute
from madang.services.live.polls import ClosePoll, OpenPoll, VotePoll
from madang.services.live.questions import Ask, SetState, Vote
from madang.services.live.seats import Rename
from madang.surfaces import objects
from madang.surfaces.live import commands, frames
from madang.surfaces.live.frames import LiveFrames
from madang.surfaces.live.sitting import Sittings

ReplyTo = str | int | None

_MODERATING: Mapping[str, Callable[[str, str, str, str], Write]] = {
    "mute": Mute,
    "unmute": Unmute,
    "kick": Kick,
    "ban": Ban,
}


class RoomWrites:
    """`handlers` say, by the type of a frame, how it is read and what is done with it."""

    def __init__(
        self,
        sittings: Sittings,
        frames: LiveFrames,
        counts: CountTeller,
        delivery: Delivery,
        writer: Writer,
        *,
        messages_limit: RateLimit,
        signals_limit: RateLimit,
    ) -> None:
        self._sittings = sittings
        self._frames = frames
        self._counts = counts
        self._delivery = delivery
        self._writer = writer
        self._messages_limit = messages_limit
        self._signals_limit = signals_limit
        self.handlers: Mapping[str, tuple[Any, Callable[[Connection, Any], None]]] = {
            "chat_message": (commands.reader(commands.Chat), self._chat),
            "question": (commands.reader(commands.Question), self._ask),
            "question_vote": (commands.reader(commands.QuestionVote), self._vote),
            "question_state": (commands.reader(commands.QuestionState), self._set_state),
            "participant_update": (commands.reader(commands.ParticipantUpdate), self._update),
            "moderate": (commands.reader(commands.Moderate), self._moderate),
            "poll_open": (commands.reader(commands.PollOpen), self._open_poll),
            "poll_vote": (commands.reader(commands.PollVote), self._vote_poll),
            "poll_close": (commands.reader(commands.PollClose), self._close_poll),
        }

    def _submit(
        self,
        connection: Connection,
        write: Write,
        reply_to: ReplyTo,
        unchanged: Callable[[Any, bool], Mapping[str, Any]],
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Hand in a write, and answer it: with its event in the event's place, or, where there is
        none, with what `unchanged(result, as host)` says. `more` are fields of the answer alone.
        Who gave no `id` asks for no answer but that of the room."""

        def done(result: Any, error: MadangError | None) -> None:
            tell_at = getattr(result, "tell_at", None)
            if tell_at is not None:
                self._counts.at(write.org_id, result.message.conversation_id, tell_at)
            if not connection.open:
                return
            if error is not None:
                connection.write(Frame(objects.error(error, reply_to)))
            elif reply_to is not None:
                self._answer(connection, result, reply_to, unchanged, more or {})

        self._writer.submit(write, done)

    def _answer(
        self,
        connection: Connection,
        result: Asked | Seated,
        reply_to: str | int,
        unchanged: Callable[[Any, bool], Mapping[str, Any]],
        more: Mapping[str, Any],
    ) -> None:
        event = result.event
        message = result.message if isinstance(result, Asked) else None
        host = connection.dialect == Dialect.LIVE_HOST
        if message is not None and connection.member is not None:
            host = host or message.sender_id == connection.member.user_id
        if event is not None:
            reply = partial(self._frames.reply, host=host, reply_to=reply_to, more=more)
            self._delivery.reply(event, connection, reply)
        else:
            told = {**unchanged(result, host), **more, "reply_to": reply_to}
            connection.write(Frame(orjson.dumps(told)))

    def _as_is(self, connection: Connection, message: Message, host: bool) -> Mapping[str, Any]:
        told = frames.message_as_is(self._sittings.room(connection), message, host)
        return {**(told or {"type": "message_removed", "message_id": message.id})} | {
            "seq": message.seq
        }

    def _chat(self, connection: Connection, command: commands.Chat) -> None:
        place = self._sittings.at(connection, self._messages_limit)
        write = SendChat(*place, command.content, command.client_id)
        self._submit(connection, write, command.id, self._first(connection))

    def _ask(self, connection: Connection, command: commands.Question) -> None:
        place = self._sittings.at(connection, self._messages_limit)
        write = Ask(*place, command.content, command.anonymous, command.client_id)
        self._submit(connection, write, command.id, self._first(connection), {"own": True})

    def _first(self, connection: Connection) -> Callable[[Asked, bool], Mapping[str, Any]]:
        """The answer to what was sent before: the first message again."""
        return lambda asked, host: self._as_is(connection, asked.message, host)

    def _vote(self, connection: Connection, command: commands.QuestionVote) -> None:
        place = self._sittings.at(connection, self._signals_limit)
        write = Vote(*place, command.message_id, command.up)
        more = {"voted": command.up}
        self._submit(connection, write, command.id, self._question_as_is(connection), more)

    def _set_state(self, connection: Connection, command: commands.QuestionState) -> None:
        place = self._sittings.at(connection, self._signals_limit)
        write = SetState(*place, command.message_id, command.state)
        self._submit(connection, write, command.id, self._question_as_is(connection))

    def _question_as_is(self, connection: Connection) -> Callable[[Asked, bool], Mapping[str, Any]]:
        def told(asked: Asked, host: bool) -> Mapping[str, Any]:
            about = question_of(asked.message)
            if about is None:
                return self._as_is(connection, asked.message, host)
            return frames.question_update(self._sittings.room(connection), asked.message, about)

        return told

    def _open_poll(self, connection: Connection, command: commands.PollOpen) -> None:
        place = self._sittings.at(connection, self._messages_limit)
        options = tuple(command.options)
        write = OpenPoll(
            *place, command.question, command.kind, options, command.most, command.client_id
        )
        self._submit(connection, write, command.id, self._first(connection))

    def _vote_poll(self, connection: Connection, command: commands.PollVote) -> None:
        place = self._sittings.at(connection, self._signals_limit)
        if command.choices is None and command.words is None:
            raise Invalid("Missing field: choices")
        choices, words = tuple(command.choices or ()), tuple(command.words or ())
        write = VotePoll(*place, command.message_id, choices, words)

        def told(asked: Asked, host: bool) -> Mapping[str, Any]:
            about = poll_of(asked.message)
            if about is None:
                return self._as_is(connection, asked.message, host)
            return frames.poll_update(self._sittings.room(connection), asked.message, about)

        self._submit(connection, write, command.id, told, {"mine": write.counted})

    def _close_poll(self, connection: Connection, command: commands.PollClose) -> None:
        place = self._sittings.at(connection, self._signals_limit)
        write = ClosePoll(*place, command.message_id)
        self._submit(connection, write, command.id, self._first(connection))

    def _update(self, connection: Connection, command: commands.ParticipantUpdate) -> None:
        place = self._sittings.at(connection, self._messages_limit)
        if command.nickname is None:
            raise Invalid("Missing field: nickname")
        write = Rename(*place, command.nickname)
        self._submit(connection, write, command.id, self._person(connection))

    def _person(self, connection: Connection) -> Callable[[Seated, bool], Mapping[str, Any]]:
        def told(seated: Seated, _: bool) -> Mapping[str, Any]:
            seat = seated.seat
            about = frames.person(self._sittings.room(connection), seat, seat.online)
            return {"type": "participant_update", **about}

        return told

    def _moderate(self, connection: Connection, command: commands.Moderate) -> None:
        place = self._sittings.at(connection, self._signals_limit)
        if command.action == "remove_message":
            if command.message_id is None:
                raise Invalid("Missing field: message_id")
            remove = RemoveMessage(*place, command.message_id)
            self._submit(connection, remove, command.id, self._first(connection))
            return
        if command.participant_id is None:
            raise Invalid("Missing field: participant_id")
        write = _MODERATING[command.action](*place, command.participant_id)
        self._submit(connection, write, command.id, self._person(connection))
