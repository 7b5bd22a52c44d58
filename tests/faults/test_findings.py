"""The checker of whole histories: nothing is wrong with a good one, and every kind of error that is
written into it is found, in a sentence that names it."""

from __future__ import annotations

import copy
import gc
import random
import time
from collections.abc import Callable

import pytest

from tests.faults.checker import findings
from tests.faults.history import Call, Final, Frame, History, Kind, Seen

ROOM = "room"


class Story:
    """A log that grows event by event, and the calls, connections and lists that belong to it."""

    def __init__(self) -> None:
        self.history = History()
        self.final = Final([])
        self.cursor = 1000
        self.clock = 0.0
        self.seq = 0

    def tell(self, type: str, actor: str, **fields: object) -> Frame:
        """An event in the log, as the events surface has it."""
        self.cursor += 10
        self.seq += 1
        event = {
            "type": type,
            "payload": fields,
            "conversation_id": ROOM,
            "seq": self.seq,
            "cursor": self.cursor,
            "actor_id": actor,
        }
        self.final.log.append(event)
        return event

    def ask(self, user: str, kind: Kind, answer: Frame | None, **arguments: object) -> Call:
        """A call that took a second; without an answer nobody knows what became of it."""
        call = self.history.call(f"{user}.0", user, kind, **arguments)
        call.began = self.clock = self.clock + 1
        call.attempts = 1
        if answer is not None:
            call.ok(answer)
            call.ended = self.clock = self.clock + 1
        return call

    def send(self, user: str, client_id: str) -> str:
        """Send, with its event, its confirmation and its place in the list; the message's id."""
        message: Frame = {
            "id": f"id-{client_id}",
            "client_id": client_id,
            "sender_id": user,
            "content": client_id,
            "deleted_at": None,
            "reactions": {},
        }
        event = self.tell("message.new", user, data=message)
        message["seq"] = event["seq"]
        self.final.messages.setdefault(ROOM, []).append(dict(message))
        answer = {"message_id": message["id"], "seq": event["seq"], "cursor": event["cursor"]}
        self.ask(user, "send", answer, room=ROOM, client_id=client_id, content=client_id)
        return str(message["id"])

    def seen(self, user: str, since: int, caught_up: int, until: int, left: int = 2**62) -> Seen:
        """A connection that was told everything of the log between two cursors."""
        seen = self.history.opened(f"{user}.0", user, "a")
        seen.opened = 0.0
        seen.since, seen.reached = since, since
        seen.events = [
            {**event, **event["payload"]}
            for event in self.final.log
            if since < event["cursor"] <= min(until, left)
        ]
        seen.caught_up = caught_up
        if caught_up:
            seen.reached = seen.events[caught_up - 1]["cursor"]
        seen.until = until
        return seen


def good() -> Story:
    """Ann and Ben talk, Cho comes and goes; everything that can be is confirmed."""
    story = Story()
    creation = story.ask("ann", "create", {"id": ROOM}, people=["ben"])
    story.tell("conversation.created", "ann", data={"metadata": {"call": creation.number}})
    first = story.send("ann", "a1")
    story.send("ben", "b1")
    event = story.tell("message.edited", "ann", message_id=first, data={"id": first})
    answer = {"cursor": event["cursor"], "seq": event["seq"]}
    story.ask("ann", "edit", answer, message=first, content="better")
    story.final.messages[ROOM][0]["content"] = "better"
    event = story.tell("participant.joined", "ann", user_id="cho", role="member")
    story.ask("ann", "join", {"last_seq": event["seq"]}, room=ROOM, who="cho")
    doomed = story.send("cho", "c1")
    event = story.tell(
        "message.read", "ben", message_id=doomed, user_id="ben", last_read_seq=story.seq
    )
    story.ask("ben", "read", {"message_id": doomed}, message=doomed)
    event = story.tell("message.deleted", "cho", message_id=doomed, user_id="cho")
    story.ask("cho", "delete", {"cursor": event["cursor"]}, message=doomed)
    story.final.messages[ROOM][2].update(content="", deleted_at="now")
    event = story.tell("reaction.added", "ben", message_id=first, user_id="ben", emoji="👍")
    story.ask("ben", "react", {"cursor": event["cursor"]}, message=first, emoji="👍")
    left = story.tell("participant.left", "cho", user_id="cho", by="cho")
    story.ask("cho", "leave", {"cursor": left["cursor"]}, room=ROOM, who="cho")
    story.send("ben", "b2")
    story.send("ann", "a2")
    story.ask("ben", "send", None, room=ROOM, client_id="b3", content="b3")
    refused = story.ask("cho", "send", None, room=ROOM, client_id="c2", content="c2")
    refused.refused("NOT_A_PARTICIPANT")
    story.final.people[ROOM] = {"ann": "admin", "ben": "member"}
    begin, end = story.final.log[0]["cursor"] - 1, story.cursor
    story.seen("ann", begin, 0, end)
    story.seen("ben", begin + 20, 3, end)
    joined = story.final.log[4]["cursor"]
    story.seen("cho", joined - 1, 0, end, left=left["cursor"])
    # Who comes back after having been removed is told that, and nothing of what was before.
    again = story.seen("cho", joined + 15, 0, end, left=left["cursor"])
    again.events = again.events[-1:]
    again.caught_up, again.reached = 1, end
    return story


def found(story: Story) -> list[str]:
    return findings(story.history, story.final)


def test_nothing_is_wrong_with_a_good_history() -> None:
    assert found(good()) == []


def _lose(story: Story) -> None:
    del story.final.log[-1]


def _double(story: Story) -> None:
    story.final.log.append(
        {**story.final.log[-1], "seq": story.seq + 1, "cursor": story.cursor + 9}
    )


def _gap_in_seq(story: Story) -> None:
    story.final.log[-1]["seq"] += 1


def _cursors_back(story: Story) -> None:
    story.final.log[-1]["cursor"] = story.final.log[0]["cursor"]


def _invent(story: Story) -> None:
    story.tell("reaction.added", "ann", message_id="id-a1", user_id="ann", emoji="🎉")


def _lose_an_edit(story: Story) -> None:
    story.final.messages[ROOM][0]["content"] = "a1"


def _keep_deleted_text(story: Story) -> None:
    story.final.messages[ROOM][2]["content"] = "c1"


def _write_what_was_refused(story: Story) -> None:
    message = {"id": "id-c2", "client_id": "c2", "sender_id": "cho"}
    story.tell("message.new", "cho", data=message)


def _confirm_later_before_earlier(story: Story) -> None:
    calls = [call for call in story.history.calls if call.kind == "send" and call.outcome == "ok"]
    last = calls[-1]
    last.began, last.ended = -2.0, -1.0


def _lose_a_reading(story: Story) -> None:
    event = next(event for event in story.final.log if event["type"] == "message.read")
    event["payload"]["last_read_seq"] = 1


def _lose_a_joining(story: Story) -> None:
    call = next(call for call in story.history.calls if call.kind == "join")
    call.answer["last_seq"] -= 1


def _hold_who_left(story: Story) -> None:
    story.final.people[ROOM]["cho"] = "member"


def _tell_twice(story: Story) -> None:
    events = story.history.connections[0].events
    events.append(events[-1])


def _tell_out_of_order(story: Story) -> None:
    events = story.history.connections[0].events
    events[3], events[4] = events[4], events[3]


def _tell_what_is_not_there(story: Story) -> None:
    event = copy.deepcopy(story.history.connections[0].events[1])
    event["cursor"] = story.cursor + 1
    story.history.connections[0].events.append(event)


def _tell_another(story: Story) -> None:
    events = story.history.connections[0].events
    events[1] = {**events[1], "data": {**events[1]["data"], "id": "other"}}


def _skip_live(story: Story) -> None:
    del story.history.connections[0].events[4]


def _skip_in_catching_up(story: Story) -> None:
    del story.history.connections[1].events[1]


def _forget_the_last(story: Story) -> None:
    del story.history.connections[0].events[-1]


def _tell_after_leaving(story: Story) -> None:
    story.history.connections[2].events.append(story.history.connections[0].events[-1])


def _tell_a_part(story: Story) -> None:
    seen = story.history.connections[1]
    seen.recovered, seen.reason = False, "too_many"


def _tell_deleted_text(story: Story) -> None:
    seen = story.history.connections[1]
    seen.opened = story.clock + 1
    assert seen.events[3]["data"]["content"] == "c1"


@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (_lose, "lost: send"),
        (_double, "twice: ('client_id', 'room', 'ann', 'a2') is in the log 2 times"),
        (_gap_in_seq, "seq: room has 13 where 12 belongs"),
        (_cursors_back, "the log has cursor 1010 after"),
        (_invent, "nobody asked for ('react', 'id-a1', 'ann', '🎉')"),
        (_lose_an_edit, "lost: message id-a1 reads 'a1' after it was edited to 'better'"),
        (_keep_deleted_text, "lost: message id-c1 was deleted"),
        (_write_what_was_refused, "was refused with NOT_A_PARTICIPANT and is there"),
        (_confirm_later_before_earlier, "out of order: send"),
        (_lose_a_reading, "and ben has not read so far"),
        (_lose_a_joining, "and cho is not in room"),
        (_hold_who_left, "room lists ['ann', 'ben', 'cho']"),
        (_tell_twice, "twice: ann.0"),
        (_tell_out_of_order, "out of order: ann.0"),
        (_tell_what_is_not_there, "never written: ann.0"),
        (_tell_another, "not the same for all: ann.0"),
        (_skip_live, "gap: ann.0 (connection 0, on a) listened"),
        (_skip_in_catching_up, "gap: ben.0 (connection 1, on a) resumed"),
        (_forget_the_last, "gap: ann.0"),
        (_tell_after_leaving, "after access ended: cho.0"),
        (_tell_a_part, "a part: ben.0"),
        (_tell_deleted_text, "deleted text: ben.0"),
    ],
)
def test_an_error_written_into_it_is_found(plant: Callable[[Story], None], sentence: str) -> None:
    story = good()
    plant(story)
    assert any(sentence in one for one in found(story)), found(story)


def test_a_stay_that_ended_before_it_was_read_is_given_up_whole() -> None:
    """What was held of it goes with what was read of it, whatever was told of stays before."""
    story = good()
    begin = story.final.log[4]["cursor"] - 1
    joined = story.tell("participant.joined", "ann", user_id="cho", role="member")
    story.ask("ann", "join", {"last_seq": joined["seq"]}, room=ROOM, who="cho")
    story.send("ann", "a3")
    reached = story.cursor
    story.send("ann", "a4")
    left = story.tell("participant.left", "ann", user_id="cho", by="ann")
    story.ask("ann", "leave", {"cursor": left["cursor"]}, room=ROOM, who="cho")
    seen = story.seen("cho", begin, 0, story.cursor)
    first = story.history.connections[2].events
    seen.events = [*first, seen.events[-1]]
    seen.caught_up, seen.reached = len(first), reached
    assert found(story) == []
    seen.events.insert(-1, {**joined, **joined["payload"]})
    assert "gap: cho.0" in "".join(found(story))


def test_any_event_taken_from_the_log_is_found() -> None:
    for number in range(len(good().final.log)):
        story = good()
        del story.final.log[number]
        assert found(story), f"event {number} went unnoticed"


def test_any_event_not_told_is_found() -> None:
    for connection in range(3):
        for number in range(len(good().history.connections[connection].events)):
            story = good()
            del story.history.connections[connection].events[number]
            assert found(story), f"connection {connection}, event {number} went unnoticed"


def test_a_long_history_takes_time_in_proportion() -> None:
    """32 times the history takes some 50 times as long; 1,024 times if all were held against all.

    The collector of rubbish, which goes through all there is, is kept out of it; what lies between
    leaves room for a noisy neighbour.
    """

    def seconds(count: int) -> float:
        story = Story()
        creation = story.ask("ann", "create", {"id": ROOM}, people=["ben"])
        story.tell("conversation.created", "ann", data={"metadata": {"call": creation.number}})
        for number in range(count):
            story.send(random.choice(("ann", "ben")), f"m{number}")
        for user in ("ann", "ben"):
            story.seen(user, 1000, 0, story.cursor)
        gc.collect()
        gc.disable()
        try:
            began = time.process_time()
            assert found(story) == []
            return time.process_time() - began
        finally:
            gc.enable()

    small = min(seconds(1000) for _ in range(3))
    assert min(seconds(32_000) for _ in range(3)) < 300 * small
