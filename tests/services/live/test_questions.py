"""Questions: votes that cannot be stuffed, states, approval, who sees what, and in which order."""

from __future__ import annotations

import random
from typing import Any

import pytest

from madang.model.live import Seat, private_to
from madang.model.nouns import Event, Message
from madang.protocol.errors import Conflict, Forbidden, Invalid, MadangError, NotFound
from madang.services.live import tokens
from madang.services.live.moderation import RemoveMessage
from madang.services.live.questions import NEXT, SetState, Vote
from tests.services.live.conftest import ORG, SECOND, Hall, shown, texts


async def _page(hall: Hall, seat: Seat | None, room_id: str, **more: Any) -> list[str]:
    seen_by = None if seat is None else seat.participant_id
    page = await hall.store.live.questions(ORG, room_id, seen_by=seen_by, **more)
    return texts(page.items)


async def test_a_vote_counts_once(hall: Hall) -> None:
    room = await hall.open()
    ann, ben = await hall.seat(room), await hall.seat(room)
    question = await hall.ask(ann)
    writes = [
        Vote(ORG, room.id, seat.participant_id, question.id) for seat in (ann, ann, ben, ann, ben)
    ]
    voted = await hall.all(writes)
    assert [v.message.metadata["question"]["votes"] for v in voted] == [1, 1, 2, 2, 2]
    for seat in (ann, ben, ann):
        await hall.vote(seat, question)
    assert (await hall.metadata(room, question))["votes"] == 2
    found = await hall.store.live.votes_of(ORG, ann.participant_id, [question.id, "other"])
    assert found == {question.id: [""]}
    await hall.vote(ann, question, up=False)
    await hall.vote(ann, question, up=False)
    assert (await hall.metadata(room, question))["votes"] == 1
    assert await hall.store.live.votes_of(ORG, ann.participant_id, [question.id]) == {}


async def test_any_number_of_votes_in_any_order_and_batch(hall: Hall) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    room = await hall.open()
    seats = [await hall.seat(room) for _ in range(6)]
    questions = [await hall.ask(seats[0], f"{n}?") for n in range(3)]
    truth: set[tuple[str, str]] = set()
    for _ in range(8):
        writes = []
        for _ in range(dice.randrange(1, 30)):
            seat, question, up = dice.choice(seats), dice.choice(questions), dice.random() < 0.6
            writes.append(Vote(ORG, room.id, seat.participant_id, question.id, up))
            (truth.add if up else truth.discard)((seat.participant_id, question.id))
        outcomes = await hall.all(writes)
        assert not [each for each in outcomes if isinstance(each, MadangError)]
    for question in questions:
        count = sum(message_id == question.id for _, message_id in truth)
        assert (await hall.metadata(room, question))["votes"] == count
    for seat in seats:
        found = await hall.store.live.votes_of(
            ORG, seat.participant_id, [question.id for question in questions]
        )
        assert {(seat.participant_id, message_id) for message_id in found} == {
            each for each in truth if each[0] == seat.participant_id
        }


@pytest.mark.parametrize("per", ["device", "address"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_one_vote_of_a_device_or_an_address(hall: Hall, per: str, at_once: bool) -> None:
    room = await hall.open(one_vote_per=per)
    network, phone = tokens.hashed(room, "203.0.113.7"), tokens.hashed(room, "phone")
    where: dict[str, str] = {"device": phone} if per == "device" else {"address": network}
    first, second = await hall.seat(room, **where), await hall.seat(room, **where)
    alone = await hall.seat(room)
    question = await hall.ask(alone)
    writes = [
        Vote(ORG, room.id, seat.participant_id, question.id) for seat in (first, second, alone)
    ]
    if at_once:
        outcomes = await hall.all(writes)
    else:
        outcomes = [(await hall.all([write]))[0] for write in writes]
    assert isinstance(outcomes[1], Conflict)
    assert (await hall.metadata(room, question))["votes"] == 2
    # Whoever voted may take it back, and then it is the other's turn.
    back = [
        Vote(ORG, room.id, first.participant_id, question.id, False),
        Vote(ORG, room.id, second.participant_id, question.id),
        Vote(ORG, room.id, first.participant_id, question.id),
    ]
    if at_once:
        outcomes = await hall.all(back)
    else:
        outcomes = [(await hall.all([write]))[0] for write in back]
    assert [isinstance(each, Conflict) for each in outcomes] == [False, False, True]
    assert (await hall.metadata(room, question))["votes"] == 2


async def test_votes_on_what_is_not_there(hall: Hall) -> None:
    room, other = await hall.open(), await hall.open()
    seat, stranger = await hall.seat(room), await hall.seat(other)
    question = await hall.ask(seat)
    said = (await hall.chat(seat)).message
    for who, message_id in (
        (stranger, question.id),
        (seat, said.id),
        (seat, "0" * 36),
        (seat, (await hall.ask(stranger)).id),
    ):
        with pytest.raises(NotFound, match=r"^Question not found$"):
            await hall.writer.write(Vote(ORG, who.conversation_id, who.participant_id, message_id))
    with pytest.raises(NotFound, match="Participant not found"):
        await hall.writer.write(Vote(ORG, room.id, stranger.participant_id, question.id))
    await hall.state(room, question, "answered")
    with pytest.raises(Conflict, match="Question is closed"):
        await hall.vote(seat, question)


@pytest.mark.parametrize("before", [*NEXT])
@pytest.mark.parametrize("after", [*NEXT])
async def test_every_state_from_every_state(hall: Hall, before: Any, after: Any) -> None:
    room = await hall.open()
    question = await hall.ask(await hall.seat(room))
    if before != "open":
        await hall.state(room, question, before)
    told = len(hall.told("question.changed"))
    if before == after:
        assert (await hall.state(room, question, after)).event is None
    elif after in NEXT[before]:
        changed = await hall.state(room, question, after)
        assert changed.event is not None
        assert shown(changed.event)["state"] == after
        told += 1
    else:
        with pytest.raises(Conflict, match="cannot become"):
            await hall.state(room, question, after)
    assert len(hall.told("question.changed")) == told
    found = await hall.now(room)
    is_live = (await hall.metadata(room, question))["state"] == "live"
    assert found.live_question_id == (question.id if is_live else None)
    page = await hall.store.live.questions(ORG, room.id, seen_by=None, state="live")
    assert len(page.items) == is_live


async def test_one_question_is_live_at_a_time(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    first, second = await hall.ask(seat, "1"), await hall.ask(seat, "2")
    await hall.state(room, first, "live")
    await hall.state(room, second, "live")
    changes = hall.told("question.changed")
    told = [(e.message.id, shown(e)["state"]) for e in changes if e.message is not None]
    assert told == [(first.id, "live"), (first.id, "answered"), (second.id, "live")]
    outcomes = await hall.all(
        [SetState(ORG, room.id, room.host_id, each.id, "live") for each in (first, second, first)]
    )
    assert not [each for each in outcomes if isinstance(each, MadangError)]
    assert (await hall.now(room)).live_question_id == first.id
    assert await _page(hall, None, room.id, state="live") == ["1"]


async def test_only_a_host_sets_states(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    question = await hall.ask(seat)
    with pytest.raises(Forbidden, match="Only a host can do this"):
        await hall.writer.write(SetState(ORG, room.id, seat.participant_id, question.id, "live"))
    with pytest.raises(Invalid):
        await hall.state(room, question, "shouted")
    other = await hall.open()
    with pytest.raises(NotFound):
        await hall.writer.write(SetState(ORG, other.id, other.host_id, question.id, "live"))


def _told_to_others(event: Event) -> str | None:
    """What participants but the asker are told of a question by an event."""
    if private_to(event) is not None:
        return None
    return "question" if event.type in ("message.new", "question.shown") else "update"


async def test_questions_that_need_approval(hall: Hall) -> None:
    room = await hall.open(questions_need_approval=True)
    ann, ben = await hall.seat(room, "Ann"), await hall.seat(room, "Ben")
    asked = await hall.ask(ann, "1")
    other = await hall.ask(ann, "2")
    assert await _page(hall, None, room.id) == ["1", "2"]
    assert await _page(hall, ann, room.id) == ["1", "2"]
    assert await _page(hall, ben, room.id) == []
    one = await hall.store.live.question(ORG, room.id, asked.id, seen_by=ben.participant_id)
    assert one is None
    with pytest.raises(NotFound, match="Question not found"):
        await hall.vote(ben, asked)
    await hall.state(room, asked, "approved")
    await hall.state(room, other, "dismissed")
    await hall.vote(ben, asked)
    hall.clock.time += SECOND
    await hall.state(room, asked, "dismissed")
    live = [event for event in hall.events if event.message is not None]
    assert [_told_to_others(event) for event in live] == [
        None,  # asked
        None,  # the other asked
        "question",  # approved: they meet it now,
        "update",  # and hear that it is
        None,  # the other dismissed, which they never saw
        "update",  # a vote
        "update",  # dismissed: it is taken from them, and holds no text
    ]
    assert all(private_to(event) in (None, ann.participant_id) for event in live)
    # Who comes later sees nothing of what is hidden now.
    again = await hall.store.events_of_conversation(ORG, room.id, 0, None, 100)
    replayed = [_told_to_others(event) for event in again if event.message is not None]
    assert replayed == [None, None, None, "update", None, "update", "update"]
    assert await _page(hall, ben, room.id) == []
    # Back to where questions begin, which here is the queue; then seen again, once and whole.
    await hall.state(room, asked, "open")
    assert await _page(hall, ben, room.id) == []
    shows = await hall.state(room, asked, "live")
    assert shows.event is not None
    assert [event.type for event in hall.events[-2:]] == ["question.shown", "question.changed"]
    assert await _page(hall, ben, room.id) == ["1"]


async def test_a_host_need_not_approve_their_own(hall: Hall) -> None:
    room = await hall.open(questions_need_approval=True)
    host = await hall.store.live.seat(ORG, room.id, room.host_id)
    assert host is not None
    await hall.ask(host, "Mine")
    assert await _page(hall, await hall.seat(room), room.id) == ["Mine"]


async def test_questions_for_the_host_only(hall: Hall) -> None:
    room = await hall.open(questions_visible="host")
    ann, ben = await hall.seat(room), await hall.seat(room)
    question = await hall.ask(ann, "1")
    await hall.ask(ann, "2")
    await hall.state(room, question, "live")
    assert await _page(hall, ann, room.id) == ["1", "2"]
    assert await _page(hall, ben, room.id) == []
    assert all(private_to(e) == ann.participant_id for e in hall.events if e.message is not None)
    # For all: each is told whole, after the change itself.
    seen = len(hall.events)
    changed = await hall.change(room, questions_visible="all")
    assert changed.event is not None
    told = hall.events[seen:]
    assert [event.type for event in told] == ["room.changed", "question.shown", "question.shown"]
    assert [e.message.content for e in told if e.message] == ["1", "2"]
    assert all(shown(event)["visible"] and private_to(event) is None for event in told[1:])
    assert await _page(hall, ben, room.id) == ["1", "2"]
    # And back: nobody else hears of them, now or by a replay.
    seen = len(hall.events)
    await hall.change(room, questions_visible="host")
    told = hall.events[seen:]
    assert [event.type for event in told] == ["room.changed", *["question.changed"] * 2]
    assert [private_to(event) for event in told[1:]] == [ann.participant_id] * 2
    assert await _page(hall, ben, room.id) == []
    again = await hall.store.events_of_conversation(ORG, room.id, 0, None, 100)
    for event in again:
        if event.message is not None:
            is_told = private_to(event) is None and shown(event)["visible"]
            assert not is_told, event.type


async def test_anonymous_questions(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room, "민지")
    asked = await hall.ask(seat, "1", anonymous=True)
    told = asked.metadata["question"]
    assert (told["anonymous"], told["anonymous_to_host"]) == (True, False)
    await hall.change(room, anonymous_to_host=True)
    told = (await hall.ask(seat, "2", anonymous=True)).metadata["question"]
    assert (told["anonymous"], told["anonymous_to_host"]) == (True, True)
    # A promise is kept, whatever the settings say later; and is none where a name was given.
    await hall.change(room, anonymous_to_host=False)
    page = await hall.store.live.questions(ORG, room.id, seen_by=None, sort="new")
    assert [m.metadata["question"]["anonymous_to_host"] for m in page.items] == [True, False]
    await hall.change(room, anonymous_allowed=False)
    with pytest.raises(Forbidden, match="Anonymous questions are off"):
        await hall.ask(seat, "3", anonymous=True)
    await hall.ask(seat, "3")
    # Nobody reads in the log whose vote it was.
    hall.clock.time += SECOND
    voted = await hall.vote(seat, asked)
    assert voted.event is not None
    assert seat.participant_id not in (voted.event.actor_id, voted.event.user_id)


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_sorting_is_stable_under_ties(hall: Hall, limit: int) -> None:
    room = await hall.open()
    seats = [await hall.seat(room) for _ in range(3)]
    questions = [await hall.ask(seats[0], str(n)) for n in range(6)]
    for number, votes in enumerate((1, 3, 1, 0, 3, 0)):
        for seat in seats[:votes]:
            await hall.vote(seat, questions[number])

    async def pages(sort: Any, seen_by: str | None) -> list[str]:
        found: list[Message] = []
        after = None
        while True:
            page = await hall.store.live.questions(
                ORG, room.id, seen_by=seen_by, sort=sort, after=after, limit=limit
            )
            found += page.items
            if not page.has_more:
                return texts(found)
            last = found[-1]
            after = (last.metadata["question"]["votes"], last.seq)

    for seen_by in (None, seats[1].participant_id):
        assert await pages("top", seen_by) == ["1", "4", "0", "2", "3", "5"]
        assert await pages("new", seen_by) == ["5", "4", "3", "2", "1", "0"]
    counts = await hall.store.live.room_counts(ORG, room.id)
    assert (counts.questions, counts.seats, counts.by_state) == (6, 4, {"open": 6})


async def test_a_removed_question_takes_its_votes_along(hall: Hall) -> None:
    room = await hall.open(questions_need_approval=True)
    seat = await hall.seat(room)
    hidden, public = await hall.ask(seat, "1"), await hall.ask(seat, "2")
    await hall.state(room, public, "live")
    await hall.vote(seat, public)
    removed = await hall.all(
        [RemoveMessage(ORG, room.id, room.host_id, each.id) for each in (hidden, public)]
    )
    assert [each.event.data for each in removed] == [{"hidden": True}, {}]
    assert [private_to(each.event) for each in removed] == [seat.participant_id, None]
    assert await _page(hall, None, room.id) == []
    assert await hall.store.live.votes_of(ORG, seat.participant_id, [public.id]) == {}
    assert (await hall.now(room)).live_question_id is None
    with pytest.raises(NotFound):
        await hall.vote(seat, public)
    with pytest.raises(NotFound):
        await hall.state(room, public, "live")
    again = await hall.store.events_of_conversation(ORG, room.id, 0, None, 100)
    for event in again:
        assert event.type != "question.shown" or (event.message and event.message.deleted_at)


async def test_asked_and_removed_in_one_batch(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    question = await hall.ask(seat)
    voted, removed, late = await hall.all(
        [
            Vote(ORG, room.id, seat.participant_id, question.id),
            RemoveMessage(ORG, room.id, room.host_id, question.id),
            Vote(ORG, room.id, seat.participant_id, question.id, False),
        ]
    )
    assert voted.message.metadata["question"]["votes"] == 1
    assert removed.event is not None
    assert isinstance(late, NotFound)
    assert await hall.store.live.votes_of(ORG, seat.participant_id, [question.id]) == {}
