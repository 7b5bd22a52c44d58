"""What goes over the bus comes back as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.bus import wire
from madang.model.nouns import (
    Conversation,
    ConversationView,
    Event,
    Message,
    Participant,
)
from madang.ports.bus import Note, PresenceTold, SignalTold

ORG, CONVERSATION = "org", "c1"
MARK = wire.mark_of("node-1")

# What JSON and UTF-8 can hold: no lone surrogates, whole numbers of 64 bits.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
whole = st.integers(0, 2**53)
maybe_text, maybe_whole = st.none() | texts, st.none() | whole
json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | whole | texts | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
objects: st.SearchStrategy[Mapping[str, Any]] = st.dictionaries(texts, json, max_size=3)

messages = st.builds(
    Message,
    id=texts,
    org_id=st.just(ORG),
    conversation_id=st.just(CONVERSATION),
    seq=whole,
    sender_id=texts,
    sender_type=st.sampled_from(["user", "agent", "system"]),
    message_type=st.sampled_from(["text", "file", "system", "question", "stream"]),
    content=texts,
    metadata=objects,
    reply_to_id=maybe_text,
    attachments=st.lists(objects, max_size=3).map(tuple),
    client_id=maybe_text,
    created_at=whole,
    edited_at=maybe_whole,
    deleted_at=maybe_whole,
    reactions=st.dictionaries(texts, st.lists(texts, max_size=3).map(tuple), max_size=3),
)
views = st.builds(
    ConversationView,
    conversation=st.builds(
        Conversation,
        id=st.just(CONVERSATION),
        org_id=st.just(ORG),
        kind=st.sampled_from(["direct", "group", "live", "agent", "inbox"]),
        title=maybe_text,
        metadata=objects,
        status=st.sampled_from(["active", "archived"]),
        direct_key=maybe_text,
        last_seq=whole,
        last_message_id=maybe_text,
        created_by=texts,
        created_at=whole,
        updated_at=whole,
    ),
    participants=st.lists(
        st.builds(
            Participant,
            conversation_id=st.just(CONVERSATION),
            user_id=texts,
            role=st.sampled_from(["admin", "member"]),
            nickname=maybe_text,
            last_read_seq=whole,
            joined_at=whole,
            notification_level=st.sampled_from(["all", "mentions", "none"]),
            muted_until=maybe_whole,
        ),
        max_size=3,
    ).map(tuple),
    last_message=st.none() | messages,
    unread_count=whole,
    muted=st.booleans(),
    participant_count=whole,
)
events = st.builds(
    Event,
    org_id=st.just(ORG),
    cursor=whole,
    conversation_id=st.just(CONVERSATION),
    seq=whole,
    type=texts,
    actor_id=texts,
    user_id=maybe_text,
    message=st.none() | messages,
    data=objects,
    created_at=whole,
    conversation=st.none() | views,
)


@given(st.lists(events, max_size=3), whole)
def test_events_come_back_as_they_were(told: list[Event], at: int) -> None:
    payload = wire.encode_events(MARK, at, ORG, told)
    assert payload.startswith(MARK)
    assert wire.decode(payload) == ("events", ORG, at, told)


@given(
    st.builds(
        Note,
        org_id=texts,
        after=whole,
        until=whole,
        conversations=st.lists(st.tuples(texts, whole), max_size=3),
        users=st.lists(st.tuples(texts, whole), max_size=3),
    )
)
def test_notes_come_back_as_they_were(note: Note) -> None:
    assert wire.decode(wire.encode_note(MARK, 1, note)) == ("note", note.org_id, 1, note)


@given(st.builds(SignalTold, texts, texts.map(str.encode), maybe_text))
def test_signals_come_back_as_they_were(signal: SignalTold) -> None:
    payload = wire.encode_signal(MARK, 1, ORG, signal)
    assert wire.decode(payload) == ("signal", ORG, 1, signal)


@given(
    st.lists(
        st.builds(
            PresenceTold,
            texts,
            texts.map(str.encode),
            st.lists(texts, max_size=3),
            st.integers(0, 2**53),
        ),
        max_size=3,
    )
)
def test_presence_comes_back_as_it_was(changes: list[PresenceTold]) -> None:
    payload = wire.encode_presence(MARK, 1, ORG, changes)
    assert wire.decode(payload) == ("presence", ORG, 1, changes)


def test_the_outer_object_is_readable() -> None:
    told = orjson.loads(wire.encode_note(MARK, 7, Note("org", 1, 2, [("c1", 1)], [("ann", 2)])))
    assert told == {
        "node": "node-1",
        "v": 1,
        "at": 7,
        "org": "org",
        "note": {"after": 1, "until": 2, "conversations": [["c1", 1]], "users": [["ann", 2]]},
    }


def test_fields_added_at_the_end_are_passed_over() -> None:
    event = Event("org", 1, "c1", 1, "message.new", "ann", None, None, {}, 1)
    told = orjson.loads(wire.encode_events(MARK, 1, "org", [event]))
    told["events"][0].append("new")
    told["new"] = True
    assert wire.decode(orjson.dumps(told)) == ("events", "org", 1, [event])


def _mutations(value: Any) -> list[Any]:
    """The value with each of its parts, one at a time, replaced by one of another type."""
    found: list[Any] = []
    if isinstance(value, list):
        for index, one in enumerate(value):
            for other in _mutations(one):
                found.append([*value[:index], other, *value[index + 1 :]])
            found.append(value[:index])
    elif isinstance(value, dict):
        for key, one in value.items():
            found += [{**value, key: other} for other in _mutations(one)]
            found.append({other: kept for other, kept in value.items() if other != key})
    return [*found, 1.5, [[]], {"a": [1]}, "x", None, True]


@given(events)
def test_any_field_of_another_type_is_read_or_refused_and_nothing_else(event: Event) -> None:
    told = orjson.loads(wire.encode_events(MARK, 1, ORG, [event]))
    for mutation in _mutations(told)[:500]:
        try:
            kind, _, _, content = wire.decode(orjson.dumps(mutation))
        except wire.Unreadable:
            continue
        assert kind == "events"
        for one in content:
            assert type(one.cursor) is int and type(one.seq) is int and type(one.data) is dict


@given(st.binary(max_size=100))
def test_any_bytes_are_refused_and_nothing_else(payload: bytes) -> None:
    with pytest.raises(wire.Unreadable):
        wire.decode(payload)
