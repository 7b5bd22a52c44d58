"""Who comes into a vote hears how it stands, once; everything else is left as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from madang.delivery.overtaken import without_overtaken
from madang.hub.connection import Connection
from madang.hub.frame import Dialect, Outgoing, form_of
from madang.model.nouns import Event, Message
from tests.hub.recording import Recorder


def _message(message_id: str) -> Message:
    return Message(
        id=message_id,
        org_id="default",
        conversation_id="room",
        seq=1,
        sender_id="ann",
        sender_type="user",
        message_type="question",
        content="?",
        metadata={},
        reply_to_id=None,
        attachments=(),
        client_id=None,
        created_at=1,
    )


def _told(
    number: int,
    kind: str,
    about: str | None,
    data: Mapping[str, Any] | None = None,
    answers: Connection | None = None,
) -> Outgoing:
    event = Event(
        org_id="default",
        conversation_id="room",
        seq=number,
        cursor=number,
        type=kind,
        actor_id="ann",
        user_id=None,
        created_at=number,
        message=None if about is None else _message(about),
        data=data or {},
    )
    instead = None if answers is None else {answers: lambda _: b"{}"}
    return Outgoing(number, "room", event=event, instead=instead)


def _left(given: list[Outgoing], connection: Connection) -> list[int]:
    return [item.order for item in without_overtaken(given, connection)]


def test_of_several_counts_of_one_question_the_last_is_told() -> None:
    phone = Recorder(form_of(Dialect.LIVE, deflated=False))
    given = [
        _told(1, "question.changed", "a"),
        _told(2, "message.new", "b"),
        _told(3, "question.changed", "b"),
        _told(4, "question.changed", "a"),
        _told(5, "poll.changed", "c"),
        _told(6, "participant.online", None),
        _told(7, "poll.changed", "c"),
        _told(8, "poll.closed", "c"),
        _told(9, "question.changed", "a"),
    ]
    assert _left(given, phone) == [2, 3, 6, 7, 8, 9]


def test_what_only_some_hear_does_not_stand_for_what_all_hear() -> None:
    phone = Recorder(form_of(Dialect.LIVE, deflated=False))
    given = [
        _told(1, "question.changed", "a"),
        _told(2, "question.changed", "a", {"hidden": True}),
        _told(3, "question.changed", "a", {"hidden": True}),
    ]
    assert _left(given, phone) == [1, 3]


def test_an_answer_stays_and_stands_for_nothing_else() -> None:
    phone = Recorder(form_of(Dialect.LIVE, deflated=False))
    other = Recorder(form_of(Dialect.LIVE_HOST, deflated=False))
    given = [
        _told(1, "question.changed", "a"),
        _told(2, "question.changed", "a", answers=phone),
        _told(3, "question.changed", "a"),
        _told(4, "question.changed", "a", answers=phone),
    ]
    assert _left(given, phone) == [2, 3, 4]
    assert _left(given, other) == [4]


def test_who_reads_the_log_is_told_all_of_it() -> None:
    reader = Recorder(form_of(Dialect.EVENTS, deflated=False))
    given = [_told(number, "question.changed", "a") for number in (1, 2, 3)]
    assert _left(given, reader) == [1, 2, 3]
