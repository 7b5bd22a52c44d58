"""The hub: one encode an event and dialect, one write a connection and loop turn, in log order."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from madang.hub.frame import Aside, Dialect, Form, Frame
from madang.hub.hub import RECENT_EVENTS, Hub, Member
from madang.model.nouns import Conversation, ConversationView, Event
from madang.protocol.codes import CloseCode
from tests.hub.recording import Counter, Recorder, event, places


async def turn() -> None:
    """Let the loop's turn end: the hub flushes."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


class Yard:
    """A hub with members."""

    def __init__(self) -> None:
        self.encoders = (Counter("messenger"), Counter("events"))
        self.hub = Hub(self.encoders)
        self.cursor = 0

    def member(
        self, name: str, *conversations: str, devices: int = 1, form: int = 0
    ) -> list[Recorder]:
        member = self.hub.members.setdefault(("org", name), Member("org", name, 0))
        for conversation in conversations:
            self.hub.join(member, conversation)
        made = [Recorder(form) for _ in range(devices)]
        for one in made:
            self.hub.attach(member, one)
        return made

    def tell(self, conversation: str, seq: int, text: str | None = None, **fields: object) -> None:
        self.cursor += 1
        self.hub.tell(event(conversation, seq, self.cursor, text=text, **fields))


@pytest.fixture
def yard() -> Yard:
    return Yard()


async def test_one_encode_an_event_and_dialect_one_write_a_connection_and_turn(yard: Yard) -> None:
    plain = [one for n in range(30) for one in yard.member(f"p{n}", "room", devices=2)]
    packed = yard.member("packed", "room", devices=3, form=Form.MESSENGER_DEFLATED)
    others = yard.member("events", "room", devices=2, form=Form.EVENTS)
    for seq in range(1, 11):
        yard.tell("room", seq)
    await turn()
    ten = [("room", seq) for seq in range(1, 11)]
    for encoder in yard.encoders:
        assert encoder.encoded == ten
    for one in (*plain, *packed, *others):
        assert len(one.writes) == 1
        assert places(one) == ten
    # The same bytes for all, not equal ones.
    assert len({id(one.writes[0][0].wire) for one in plain}) == 1
    assert len({id(one.writes[0][0].deflated) for one in packed}) == 1
    assert {frame["dialect"] for frame in others[0].told()} == {"events"}


async def test_nothing_is_encoded_for_nobody(yard: Yard) -> None:
    yard.member("ann", "room")
    yard.tell("elsewhere", 1)
    await turn()
    assert yard.encoders[0].encoded == []
    yard.tell("room", 1)
    await turn()
    assert yard.encoders[0].encoded == [("room", 1)]
    assert yard.encoders[1].encoded == [], "nobody here speaks the other dialect"


async def test_across_conversations_in_the_order_of_the_log_with_one_write(yard: Yard) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    rooms = [f"r{n}" for n in range(5)]
    people = {f"p{n}": chance.sample(rooms, chance.randint(1, 5)) for n in range(12)}
    recorders = {name: yard.member(name, *joined)[0] for name, joined in people.items()}
    seqs = dict.fromkeys(rooms, 0)
    told: list[str] = []
    turns = 0
    for _ in range(40):
        for _ in range(chance.randint(1, 12)):
            room = chance.choice(rooms)
            seqs[room] += 1
            told.append(room)
            yard.tell(room, seqs[room])
        await turn()
        turns += 1
    for name, joined in people.items():
        count = dict.fromkeys(rooms, 0)
        expected = []
        for room in told:
            count[room] += 1
            if room in joined:
                expected.append((room, count[room]))
        assert places(recorders[name]) == expected
        assert len(recorders[name].writes) <= turns
    assert len(yard.encoders[0].encoded) == len(set(yard.encoders[0].encoded))


async def test_a_repeat_is_dropped(yard: Yard) -> None:
    (ann,) = yard.member("ann", "room")
    for seq in (1, 2, 2, 1, 3):
        yard.tell("room", seq)
    await turn()
    assert places(ann) == [("room", 1), ("room", 2), ("room", 3)]


async def test_a_reply_stands_in_the_place_of_the_event(yard: Yard) -> None:
    one, two = yard.member("ann", "room", devices=2)
    (ben,) = yard.member("ben", "room")
    yard.tell("room", 1)
    yard.hub.tell(event("room", 2, 2), {one: lambda _: b'{"reply_to":7}'})
    yard.tell("room", 3)
    await turn()
    assert [frame.get("seq", "reply") for frame in one.told()] == [1, "reply", 3]
    assert [frame["seq"] for frame in two.told()] == [1, 2, 3]
    assert [frame["seq"] for frame in ben.told()] == [1, 2, 3]
    assert [len(recorder.writes) for recorder in (one, two, ben)] == [1, 1, 1]


async def test_a_signal_leaves_someone_out_and_keeps_its_place(yard: Yard) -> None:
    (ann,) = yard.member("ann", "room")
    (ben,) = yard.member("ben", "room")
    (log,) = yard.member("ben", form=Form.EVENTS)
    yard.tell("room", 1)
    member = yard.hub.members["org", "ann"]
    yard.hub.signal("room", Frame(b'{"seq":"typing"}'), omit=(member,))
    yard.tell("room", 2)
    await turn()
    assert [frame["seq"] for frame in ann.told()] == [1, 2]
    assert [frame["seq"] for frame in ben.told()] == [1, "typing", 2]
    assert [frame["seq"] for frame in log.told()] == [1, 2], "signals are the messenger's"


async def test_joining_and_leaving_take_effect_between_two_events(yard: Yard) -> None:
    (ann,) = yard.member("ann", "room")
    (ben,) = yard.member("ben")
    member = yard.hub.members["org", "ben"]
    yard.tell("room", 1)
    await turn()
    yard.hub.join(member, "room")
    yard.tell("room", 2)
    yard.tell("room", 3)
    yard.hub.leave(member, "room")
    yard.tell("room", 4)
    await turn()
    assert places(ben) == [("room", 2), ("room", 3)]
    assert places(ann) == [("room", seq) for seq in (1, 2, 3, 4)]
    assert not yard.hub.is_in(member, "room")


async def test_who_is_connected_and_comes_in_gets_nothing_of_before_in_the_same_turn(
    yard: Yard,
) -> None:
    (ann,) = yard.member("ann", "room")
    (ben,) = yard.member("ben", "elsewhere")
    assert ben.member is not None
    yard.tell("room", 1)
    yard.hub.join(ben.member, "room")
    yard.tell("room", 2)
    await turn()
    assert places(ann) == [("room", 1), ("room", 2)]
    assert places(ben) == [("room", 2)]


async def test_a_device_that_comes_in_the_middle_of_a_turn_gets_what_follows(yard: Yard) -> None:
    yard.member("ann", "room")
    yard.tell("room", 1)
    (late,) = yard.member("ann")
    yard.tell("room", 2)
    await turn()
    assert places(late) == [("room", 2)]
    assert late.floor == 1


async def test_a_device_that_went_gets_nothing(yard: Yard) -> None:
    one, two = yard.member("ann", "room", devices=2)
    yard.hub.detach(one)
    yard.tell("room", 1)
    await turn()
    assert (places(one), places(two)) == ([], [("room", 1)])
    assert yard.hub.connections == 1


async def test_held_events_wait_and_go_out_in_order_with_one_write(yard: Yard) -> None:
    (ann,) = yard.member("ann", "a", "b")
    ann.hold(1000)
    yard.tell("a", 1)
    yard.tell("b", 1)
    await turn()
    yard.hub.signal("a", Frame(b'{"seq":"typing"}'))
    yard.tell("a", 2)
    await turn()
    assert [frame["seq"] for frame in ann.told()] == ["typing"], "signals do not wait"
    ann.release()
    assert [(f["in"], f["seq"]) for f in ann.told()[1:]] == [("a", 1), ("b", 1), ("a", 2)]
    assert len(ann.writes) == 2
    yard.tell("a", 3)
    await turn()
    assert ann.told()[-1]["seq"] == 3
    assert ann.detour is None, "back on the fast path"


async def test_what_is_held_is_bounded_in_bytes(yard: Yard) -> None:
    (ann,) = yard.member("ann", "room")
    (ben,) = yard.member("ben", "room")
    ann.hold(500)
    for seq in range(1, 20):
        yard.tell("room", seq, text="x" * 50)
    await turn()
    assert ann.closings == [CloseCode.TOO_SLOW]
    assert len(ben.events()) == 19, "nobody else's affair"


async def test_a_muted_conversation_says_nothing(yard: Yard) -> None:
    one, two = yard.member("ann", "a", "b", devices=2)
    one.mute("a")
    yard.tell("a", 1)
    yard.tell("b", 1)
    yard.hub.signal("a", Frame(b'{"seq":"typing"}'))
    await turn()
    assert [(f["in"], f["seq"]) for f in one.told()] == [("b", 1)]
    assert len(two.told()) == 3


# What is kept in memory for those who come back soon.


def remembered(yard: Yard, room: str = "room") -> list[tuple[int, str | None]]:
    kept = yard.hub.channels[room].recent or ()
    found = []
    for item in kept:
        assert item.event is not None
        text = None if item.event.message is None else item.event.message.content
        found.append((item.event.seq, text))
    return found


async def test_memory_tells_messages_as_they_are_now(yard: Yard) -> None:
    (ann,) = yard.member("ann", "room")
    (slow,) = yard.member("ben", "room")
    slow.hold(100_000)
    yard.tell("room", 1, "first", message_id="m1")
    yard.tell("room", 2, "secret", message_id="m2")
    await turn()
    yard.tell("room", 3, "better", message_id="m1", type="message.edited")
    yard.tell("room", 4, "", message_id="m2", type="message.deleted")
    await turn()
    assert [frame["text"] for frame in ann.told()] == ["first", "secret", "better", ""]
    assert remembered(yard) == [(1, "better"), (2, ""), (3, "better"), (4, "")]
    for item in yard.hub.channels["room"].recent or ():
        for dialect in (0, 1):
            frame = item.frame(dialect)
            assert frame is not None
            assert b"secret" not in frame.text
            assert b"secret" not in frame.wire
    slow.release()
    assert "secret" not in str(slow.told()), "nor does it come out of what was held"


async def test_a_deletion_reaches_a_message_that_was_told_in_the_same_turn(yard: Yard) -> None:
    (ann,) = yard.member("ann", "room")
    yard.tell("room", 1, "secret", message_id="m1")
    yard.tell("room", 2, "", message_id="m1", type="message.deleted")
    await turn()
    assert "secret" not in str(ann.told())


async def test_a_reply_that_is_kept_forgets_the_old_text_too(yard: Yard) -> None:
    (ann,) = yard.member("ann", "room")
    yard.cursor += 1

    def reply(of: Event) -> bytes:
        return b'{"reply":"%s"}' % (of.message.content if of.message else "").encode()

    sent = event("room", 1, yard.cursor, text="secret", message_id="m1")
    outgoing = yard.hub.tell(sent, {ann: reply})
    await turn()
    assert ann.told() == [{"reply": "secret"}]
    yard.tell("room", 2, "", message_id="m1", type="message.deleted")
    assert outgoing is not None
    frame = outgoing.frame_for(ann)
    assert frame is not None
    assert b"secret" not in frame.text


async def test_memory_has_a_size_and_since_says_from_where_on_it_is_whole(yard: Yard) -> None:
    yard.member("ann", "room", "other")
    channel = yard.hub.channels["room"]
    assert channel.since == 0
    for seq in range(1, RECENT_EVENTS + 11):
        yard.tell("room", seq)
    assert len(channel.recent or ()) == RECENT_EVENTS
    assert remembered(yard)[0][0] == 11
    assert channel.since == 10, "the cursor of the last one that was forgotten"
    yard.tell("other", 1)
    assert yard.hub.channels["other"].since == 0


async def test_all_channels_together_have_a_size(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 100_000
    monkeypatch.setattr("madang.hub.hub.RECENT_BYTES", limit)
    yard.member("ann", *(f"r{n}" for n in range(10)))
    for number in range(400):
        yard.tell(f"r{number % 10}", number // 10 + 1, "x" * 500)
        if number % 7 == 0:
            await turn()
    await turn()
    channels = list(yard.hub.channels.values())
    kept = [item for channel in channels for item in channel.recent or ()]
    assert 0.9 * limit < sum(item.size for item in kept) <= limit
    assert len(kept) < 400
    for channel in channels:
        assert channel.recent
        seqs = [item.event.seq for item in channel.recent if item.event is not None]
        # Whole from `since` on: without a gap, and the one before has the cursor `since`.
        assert seqs == list(range(seqs[0], 41))
        first = channel.recent[0].event
        assert first is not None
        assert channel.since == first.cursor - 10


async def test_a_channel_begins_where_the_node_stands(yard: Yard) -> None:
    yard.member("ann", "room")
    for seq in range(1, 6):
        yard.tell("room", seq)
    yard.member("ben", "new")
    assert yard.hub.channels["new"].since == 5


async def test_who_is_forgotten_leaves_nothing_behind(yard: Yard) -> None:
    rooms = [f"r{n}" for n in range(40)]
    (ann,) = yard.member("ann", *rooms)
    member = yard.hub.members["org", "ann"]
    assert isinstance(member.channels, set), "many channels are kept in a set"
    yard.hub.detach(ann)
    yard.hub.forget(member)
    assert (yard.hub.channels, yard.hub.members) == ({}, {})


async def test_following_the_org_is_told_everything_once_and_leaves_the_user_alone(
    yard: Yard,
) -> None:
    (ann,) = yard.member("ann", "room")
    (follower,) = yard.member("ann", form=Form.EVENTS)
    yard.hub.follow_org(follower)
    yard.tell("room", 1)
    yard.tell("elsewhere", 1)
    await turn()
    assert places(ann) == [("room", 1)]
    assert places(follower) == [("room", 1), ("elsewhere", 1)]
    stand_in = follower.member
    assert stand_in is not None
    yard.hub.detach(follower)
    yard.hub.forget(stand_in)
    assert yard.hub.members["org", "ann"] is ann.member, "the user is still known here"
    yard.tell("room", 2)
    await turn()
    assert places(ann) == [("room", 1), ("room", 2)]


async def test_a_conversation_told_of_earlier_forgets_its_deleted_last_message(yard: Yard) -> None:
    yard.member("ann", "room")
    first = event("room", 1, 1, text="secret")
    assert first.message is not None
    row = Conversation("room", "org", "group", None, {}, "active", None, 1, None, "ann", 1, 1)
    view = ConversationView(row, (), first.message, 0, False, 0)
    yard.hub.tell(replace(event("room", 2, 2, type="conversation.updated"), conversation=view))
    gone = replace(first.message, content="", deleted_at=3)
    yard.hub.tell(replace(event("room", 3, 3, type="message.deleted"), message=gone))
    recent = yard.hub.channels["room"].recent
    assert recent is not None
    told = [one.event.conversation for one in recent if one.event and one.event.conversation]
    assert [one.last_message for one in told] == [gone]


async def test_a_connection_beside_its_user_hears_one_conversation(yard: Yard) -> None:
    (phone,) = yard.member("ann", "room", "hall")
    user = yard.hub.members["org", "ann"]
    watching, waiting = Recorder(), Recorder()
    own = yard.hub.attach_beside(user, watching)
    yard.hub.attach_beside(user, waiting)
    yard.hub.join(own, "room")
    assert (yard.hub.beside_in(user, "room"), yard.hub.beside_in(user, "hall")) == ([own], [])
    yard.tell("room", 1)
    yard.tell("hall", 1)
    yard.hub.signal("room", Frame(b'{"type":"for nobody"}'), dialect=Form.EVENTS >> 1)
    await turn()
    assert places(phone) == [("room", 1), ("hall", 1)]
    assert places(watching) == [("room", 1)]
    assert waiting.told() == []
    yard.hub.detach(watching)
    yard.hub.detach(waiting)
    assert user.beside == ()
    yard.tell("room", 2)
    await turn()
    assert len(watching.told()) == 1
    assert yard.hub.members["org", "ann"] is user and yard.hub.is_in(user, "room")


# Dialects that say nothing of some events, and events that one user is told otherwise.


class Court:
    """A hub with a room: participants and hosts hear of it in words of their own."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.hub = Hub(
            (Counter("messenger"), Counter("events"), self.participant, self.host),
            asides=self.asides,
        )

    def participant(self, of: Event) -> bytes | None:
        self.asked.append(("participant", of.seq))
        return None if of.type == "hidden" else b'{"as":"participant","seq":%d}' % of.seq

    def host(self, of: Event) -> bytes:
        self.asked.append(("host", of.seq))
        return b'{"as":"host","seq":%d}' % of.seq

    def asides(self, of: Event) -> Aside | None:
        words: dict[str, dict[int, int | None]] = {
            "hidden": {Dialect.LIVE: Dialect.LIVE_HOST},
            "came": {Dialect.LIVE: None, Dialect.LIVE_HOST: None},
        }
        return Aside("ann", words[of.type]) if of.type in words else None

    def member(self, name: str, form: int, devices: int = 1) -> list[Recorder]:
        member = self.hub.members.setdefault(("org", name), Member("org", name, 0))
        self.hub.join(member, "room")
        made = [Recorder(form) for _ in range(devices)]
        for one in made:
            self.hub.attach(member, one)
        return made

    def tell(self, seq: int, kind: str) -> None:
        self.hub.tell(event("room", seq, seq, type=kind))


def heard(recorder: Recorder) -> list[tuple[str, int]]:
    return [(str(frame.get("as", frame.get("dialect"))), frame["seq"]) for frame in recorder.told()]


async def test_who_an_event_is_not_for_gets_nothing_and_its_owner_the_hosts_words() -> None:
    court = Court()
    ann = court.member("ann", Form.LIVE, devices=2)
    packed = court.member("ann", Form.LIVE_DEFLATED)
    others = [one for n in range(30) for one in court.member(f"p{n}", Form.LIVE)]
    hosts = court.member("kim", Form.LIVE_HOST, devices=2)
    (log,) = court.member("ann", Form.EVENTS)
    for seq, kind in enumerate(("said", "hidden", "came", "said"), 1):
        court.tell(seq, kind)
    await turn()
    plain = [("participant", 1), ("participant", 3), ("participant", 4)]
    for one in others:
        assert heard(one) == plain
        assert len(one.writes) == 1
    for one in (*ann, *packed):
        assert heard(one) == [("participant", 1), ("host", 2), ("participant", 4)]
        assert len(one.writes) == 1
    for one in hosts:
        assert heard(one) == [("host", seq) for seq in (1, 2, 3, 4)]
    assert heard(log) == [("events", seq) for seq in (1, 2, 3, 4)], "the log is told all"
    # Once for all who share the words, also where there are none.
    assert sorted(court.asked) == sorted(
        {(who, n) for who in ("participant", "host") for n in (1, 2, 3, 4)}
    )
    assert len({id(one.writes[0][0].wire) for one in others}) == 1


async def test_an_event_nobody_of_a_dialect_hears_is_encoded_once_and_writes_nothing() -> None:
    court = Court()
    others = [one for n in range(10) for one in court.member(f"p{n}", Form.LIVE)]
    court.tell(1, "hidden")
    await turn()
    assert court.asked == [("participant", 1)]
    assert all(one.told() == [] for one in others)


async def test_what_is_held_or_remembered_is_told_aside_too() -> None:
    court = Court()
    (ann,) = court.member("ann", Form.LIVE)
    (ben,) = court.member("ben", Form.LIVE)
    for one in (ann, ben):
        one.hold(100_000)
    for seq, kind in enumerate(("said", "hidden", "came"), 1):
        court.tell(seq, kind)
    await turn()
    for one in (ann, ben):
        one.release()
    assert heard(ann) == [("participant", 1), ("host", 2)]
    assert heard(ben) == [("participant", 1), ("participant", 3)]
    kept = court.hub.channels["room"].recent or ()
    late = Recorder(Form.LIVE)
    court.hub.attach(court.hub.members["org", "ann"], late)
    assert [frame.text for item in kept if (frame := item.frame_for(late)) is not None] == [
        b'{"as":"participant","seq":1}',
        b'{"as":"host","seq":2}',
    ]


async def test_a_signal_is_told_in_rooms_as_in_conversations() -> None:
    court = Court()
    (ann,) = court.member("ann", Form.LIVE)
    (kim,) = court.member("kim", Form.LIVE_HOST)
    (log,) = court.member("log", Form.EVENTS)
    court.hub.signal("room", Frame(b'{"seq":"typing"}'), omit=(court.hub.members["org", "ann"],))
    await turn()
    assert [frame["seq"] for frame in kim.told()] == ["typing"]
    assert (ann.told(), log.told()) == ([], [])


async def test_a_message_that_is_hidden_by_now_is_not_told_from_memory() -> None:
    told = Court()
    told.member("ben", Form.LIVE)
    told.hub.tell(event("room", 1, 1, text="question", message_id="q"))
    await turn()
    changed = event("room", 2, 2, text="", message_id="q", type="question.changed")
    told.hub.tell(changed)
    kept = told.hub.channels["room"].recent or ()
    assert [item.event.message is changed.message for item in kept if item.event] == [True, True]
