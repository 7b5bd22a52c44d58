"""Polls: single and multiple choice, word clouds; every seat's answer counted once."""

from __future__ import annotations

from typing import Any

import pytest

from madang.model.live import Poll, Room, Seat, poll_of
from madang.model.nouns import Message
from madang.protocol.errors import Conflict, Forbidden, Invalid, NotFound, TooLarge
from madang.services.live import tokens
from madang.services.live.moderation import RemoveMessage
from madang.services.live.polls import MAX_WORDS, ClosePoll, OpenPoll, VotePoll
from tests.services.live.conftest import ORG, SECOND, Hall


async def _open(hall: Hall, room: Room, kind: Any, *options: str, **more: Any) -> Message:
    opened = await hall.writer.write(
        OpenPoll(ORG, room.id, room.host_id, "Which?", kind, options, **more)
    )
    assert opened.event.type == "message.new"
    message: Message = opened.message
    return message


async def _vote(hall: Hall, seat: Seat, poll: Message, *given: Any) -> Poll:
    choices = tuple(each for each in given if isinstance(each, int))
    words = tuple(each for each in given if isinstance(each, str))
    voted = await hall.writer.write(
        VotePoll(ORG, seat.conversation_id, seat.participant_id, poll.id, choices, words)
    )
    found = poll_of(voted.message)
    assert found is not None
    return found


async def test_a_single_choice(hall: Hall) -> None:
    room = await hall.open()
    ann, ben = await hall.seat(room), await hall.seat(room)
    message = await _open(hall, room, "single", "tea", "coffee", client_id="1")
    assert (await _open_again(hall, room)).id == message.id
    poll = await _vote(hall, ann, message, 0)
    assert (poll.counts, poll.voters) == ({"0": 1, "1": 0}, 1)
    await _vote(hall, ann, message, 0)
    await _vote(hall, ben, message, 0)
    poll = await _vote(hall, ann, message, 1)
    assert (poll.counts, poll.voters) == ({"0": 1, "1": 1}, 2)
    for wrong in ((0, 1), (2,), (-1,), ("tea",)):
        with pytest.raises(Invalid):
            await _vote(hall, ann, message, *wrong)
    poll = await _vote(hall, ann, message)
    assert (poll.counts, poll.voters) == ({"0": 1, "1": 0}, 1)
    found = await hall.store.live.votes_of(ORG, ben.participant_id, [message.id])
    assert found == {message.id: ["0"]}
    polls = await hall.store.live.polls(ORG, room.id)
    assert [each.metadata["poll"]["counts"] for each in polls] == [{"0": 1, "1": 0}]


async def _open_again(hall: Hall, room: Room) -> Message:
    again = await hall.writer.write(
        OpenPoll(ORG, room.id, room.host_id, "Which?", "single", ("tea", "coffee"), client_id="1")
    )
    assert again.event is None
    message: Message = again.message
    return message


async def test_multiple_choices(hall: Hall) -> None:
    room = await hall.open()
    ann, ben = await hall.seat(room), await hall.seat(room)
    message = await _open(hall, room, "multiple", "a", "b", "c", most=2)
    outcomes = await hall.all(
        [
            VotePoll(ORG, room.id, seat.participant_id, message.id, choices)
            for seat, choices in ((ann, (0, 1)), (ben, (1, 2)), (ann, (1, 2)), (ben, (0, 1, 2)))
        ]
    )
    assert isinstance(outcomes.pop(), Invalid)
    poll = poll_of(outcomes[-1].message)
    assert poll is not None
    assert (poll.counts, poll.voters) == ({"0": 0, "1": 2, "2": 2}, 2)
    found = await hall.store.live.votes_of(ORG, ann.participant_id, [message.id])
    assert found == {message.id: ["1", "2"]}


async def test_a_word_cloud(hall: Hall) -> None:
    room = await hall.open(blocked_words=["바보"])
    ann, ben = await hall.seat(room), await hall.seat(room)
    message = await _open(hall, room, "cloud")
    await _vote(hall, ann, message, "Seoul ", "ＢＵＳＡＮ", "seoul")
    poll = await _vote(hall, ben, message, "서울", "SEOUL")
    assert poll.counts == {"seoul": 2, "busan": 1, "서울": 1}
    poll = await _vote(hall, ann, message, "busan")
    assert poll.counts == {"seoul": 1, "busan": 1, "서울": 1}
    for wrong in (("a", "b", "c", "d"), ("",), ("\u200b",), ("x" * 31,), ("바보",), (1,)):
        with pytest.raises(Invalid):
            await _vote(hall, ann, message, *wrong)
    poll = await _vote(hall, ann, message)
    assert (poll.counts, poll.voters) == ({"seoul": 1, "서울": 1}, 1)


async def test_a_cloud_has_an_end(hall: Hall) -> None:
    room = await hall.open()
    message = await _open(hall, room, "cloud", most=10)
    seats = await hall.all([hall.taking(room) for _ in range(MAX_WORDS // 10 + 1)])
    last = seats.pop().seat
    await hall.all(
        [
            VotePoll(
                ORG,
                room.id,
                each.seat.participant_id,
                message.id,
                words=tuple(f"{n}-{i}" for i in range(10)),
            )
            for n, each in enumerate(seats)
        ]
    )
    with pytest.raises(Conflict, match="The word cloud is full"):
        await _vote(hall, last, message, "one more")
    poll = await _vote(hall, last, message, "0-0")
    assert (len(poll.counts), poll.counts["0-0"]) == (MAX_WORDS, 2)


@pytest.mark.parametrize(
    ("kind", "options", "most", "error"),
    [
        ("single", ("a",), None, Invalid),
        ("single", ("a", "a "), None, Invalid),
        ("single", ("a", "b"), 2, Invalid),
        ("multiple", ("a", "b"), 3, Invalid),
        ("multiple", tuple(map(str, range(21))), None, Invalid),
        ("multiple", ("a", ""), None, Invalid),
        ("multiple", ("a", "b" * 201), None, TooLarge),
        ("cloud", ("a", "b"), None, Invalid),
        ("cloud", (), 11, Invalid),
        ("ranking", ("a", "b"), None, Invalid),
    ],
)
async def test_what_is_no_poll(
    hall: Hall, kind: Any, options: tuple[str, ...], most: int | None, error: type[Exception]
) -> None:
    room = await hall.open()
    with pytest.raises(error):
        await _open(hall, room, kind, *options, most=most)
    assert await hall.store.live.polls(ORG, room.id) == ()


async def test_only_a_host_opens_and_closes(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    with pytest.raises(Forbidden):
        await hall.writer.write(
            OpenPoll(ORG, room.id, seat.participant_id, "Which?", "single", ("a", "b"))
        )
    message = await _open(hall, room, "single", "a", "b")
    with pytest.raises(Forbidden):
        await hall.writer.write(ClosePoll(ORG, room.id, seat.participant_id, message.id))
    await _vote(hall, seat, message, 1)
    closed = await hall.writer.write(ClosePoll(ORG, room.id, room.host_id, message.id))
    assert closed.event.type == "poll.closed"
    poll = poll_of(closed.event.message)
    assert poll is not None and (poll.state, poll.counts) == ("closed", {"0": 0, "1": 1})
    again = await hall.writer.write(ClosePoll(ORG, room.id, room.host_id, message.id))
    assert again.event is None
    with pytest.raises(Conflict, match="Poll is closed"):
        await _vote(hall, seat, message, 0)
    assert await hall.store.live.polls(ORG, room.id, state="open") == ()
    question = await hall.ask(seat)
    other = await hall.open()
    for message_id, conversation in ((question.id, room), (message.id, other)):
        with pytest.raises(NotFound, match="Poll not found"):
            await hall.writer.write(
                ClosePoll(ORG, conversation.id, conversation.host_id, message_id)
            )


async def test_one_answer_of_an_address(hall: Hall) -> None:
    room = await hall.open(one_vote_per="address")
    network = tokens.hashed(room, "203.0.113.7")
    first, second = await hall.seat(room, address=network), await hall.seat(room, address=network)
    message = await _open(hall, room, "multiple", "a", "b")
    await _vote(hall, first, message, 0, 1)
    with pytest.raises(Conflict, match="counted already"):
        await _vote(hall, second, message, 0)
    await _vote(hall, first, message, 1)
    with pytest.raises(Conflict, match="counted already"):
        await _vote(hall, second, message, 0)
    await _vote(hall, first, message)
    assert (await _vote(hall, second, message, 0)).counts == {"0": 1, "1": 0}


async def test_counts_are_told_when_it_is_time(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    message = await _open(hall, room, "single", "a", "b")
    first = await hall.writer.write(VotePoll(ORG, room.id, seat.participant_id, message.id, (0,)))
    assert first.event.type == "poll.changed"
    second = await hall.writer.write(VotePoll(ORG, room.id, seat.participant_id, message.id, (1,)))
    assert (second.event, second.tell_at) == (None, hall.clock.time + SECOND // 10)
    await hall.writer.write(ClosePoll(ORG, room.id, room.host_id, message.id))
    assert (await hall.now(room)).untold == ()


async def test_a_removed_poll(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    message = await _open(hall, room, "single", "a", "b")
    await _vote(hall, seat, message, 0)
    await hall.writer.write(RemoveMessage(ORG, room.id, room.host_id, message.id))
    assert await hall.store.live.polls(ORG, room.id) == ()
    with pytest.raises(NotFound, match="Poll not found"):
        await _vote(hall, seat, message, 1)
