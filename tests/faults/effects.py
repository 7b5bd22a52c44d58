"""What was asked and confirmed, against the log: every confirmed effect is there once, nothing is
there that nobody asked for, and what ended before another began stands before it.

Pure, and linear in the history.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from tests.faults.history import Call, Final, Frame
from tests.faults.log import Entry, Log

_TOLD_BY = {
    "edit": "message.edited",
    "delete": "message.deleted",
    "react": "reaction.added",
    "unreact": "reaction.removed",
    "leave": "participant.left",
    "send": "message.new",
}


def effects(calls: Sequence[Call], final: Final, log: Log) -> Iterable[str]:
    """All that is wrong with the log, given what was asked and answered."""
    yield from _numbers(log)
    yield from _once(log)
    yield from _asked_for(calls, log)
    for call in calls:
        if call.outcome == "ok":
            yield from _kept(call, log)
    yield from _refused(calls, log)
    yield from _real_time(calls, log)
    yield from _contents(calls, final, log)
    yield from _people(final, log)


def _numbers(log: Log) -> Iterable[str]:
    last = 0
    seqs: dict[str, int] = defaultdict(int)
    for entry in log.entries:
        if entry.cursor <= last:
            yield f"the log has cursor {entry.cursor} after {last}"
        last = entry.cursor
        expected = seqs[entry.conversation_id] + 1
        if entry.seq != expected:
            yield f"seq: {entry.conversation_id} has {entry.seq} where {expected} belongs"
        seqs[entry.conversation_id] = entry.seq


def _once(log: Log) -> Iterable[str]:
    """What can happen only once did."""
    yield from log.wrong_stays
    seen: Counter[tuple[Any, ...]] = Counter()
    reacting: set[tuple[Any, ...]] = set()
    read: dict[tuple[str, str], int] = defaultdict(int)
    for entry in log.entries:
        match entry.type:
            case "message.new":
                data = entry.fields["data"]
                seen["message", data["id"]] += 1
                if data["client_id"] is not None:
                    place = (entry.conversation_id, data["sender_id"], data["client_id"])
                    seen["client_id", *place] += 1
            case "message.deleted" | "conversation.created" | "conversation.archived":
                seen[entry.type, entry.message_id or entry.conversation_id] += 1
            case "reaction.added" | "reaction.removed":
                key = (entry.message_id, entry.user, entry.fields["emoji"])
                if (key in reacting) == (entry.type == "reaction.added"):
                    yield f"twice: {entry.type} {key} at cursor {entry.cursor}"
                (reacting.add if entry.type == "reaction.added" else reacting.discard)(key)
            case "message.read":
                reader = (entry.conversation_id, str(entry.user))
                if entry.fields["last_read_seq"] <= read[reader]:
                    yield f"{reader} read backwards at cursor {entry.cursor}"
                read[reader] = entry.fields["last_read_seq"]
            case "participant.left":
                read.pop((entry.conversation_id, str(entry.user)), None)
    for key, count in seen.items():
        if count > 1:
            yield f"twice: {key} is in the log {count} times"


def _asked_for(calls: Sequence[Call], log: Log) -> Iterable[str]:
    """Nothing is there that nobody asked for, and nothing more often than it was asked for."""
    asked: Counter[tuple[Any, ...]] = Counter()
    for call in calls:
        asked[_key(call)] += max(call.attempts, 1) if call.kind != "send" else 1
    found: Counter[tuple[Any, ...]] = Counter()
    for entry in log.entries:
        key = _key_of(entry)
        if key is None:
            continue
        found[key] += 1
        if key not in asked:
            yield f"nobody asked for {key} at cursor {entry.cursor}"
        elif found[key] == asked[key] + 1:
            yield f"twice: {key} was asked for {asked[key]} times and is there again"


def _key(call: Call) -> tuple[Any, ...]:
    given = call.arguments
    match call.kind:
        case "send":
            return ("message.new", given["room"], call.user, given["client_id"])
        case "edit" | "delete" | "read":
            return (f"message.{call.kind}", given["message"], call.user)
        case "react" | "unreact":
            return (call.kind, given["message"], call.user, given["emoji"])
        case "create":
            return ("create", call.number)
        case "join" | "leave":
            return (call.kind, given["room"], given["who"], call.user)
        case _:
            return (call.kind, given["room"], call.user)


def _key_of(entry: Entry) -> tuple[Any, ...] | None:
    room, actor = entry.conversation_id, entry.actor
    match entry.type:
        case "message.new":
            data = entry.fields["data"]
            return ("message.new", room, data["sender_id"], data["client_id"])
        case "message.edited":
            return ("message.edit", entry.message_id, actor)
        case "message.deleted":
            return ("message.delete", entry.message_id, actor)
        case "message.read":
            return ("message.read", entry.message_id, actor)
        case "reaction.added":
            return ("react", entry.message_id, actor, entry.fields["emoji"])
        case "reaction.removed":
            return ("unreact", entry.message_id, actor, entry.fields["emoji"])
        case "conversation.created":
            return ("create", entry.fields["data"]["metadata"].get("call"))
        case "participant.left":
            return ("leave", room, entry.user, actor)
        case "conversation.updated":
            return ("update", room, actor)
        case _:
            # Who joins may also be the heir of the last admin, whom nobody asked for.
            return None


def _kept(call: Call, log: Log) -> Iterable[str]:
    """A confirmed effect is in the log, where the confirmation said."""
    answer = call.answer
    name = f"{call.kind} {call.number} by {call.client}"
    match call.kind:
        case "send":
            found = log.messages.get(answer["message_id"])
            if found is None:
                yield f"lost: {name} was confirmed as message {answer['message_id']}"
            else:
                said = (call.arguments["room"], answer["seq"], call.arguments["client_id"])
                data = found.fields["data"]
                stands = (found.conversation_id, found.seq, data["client_id"])
                if said != stands:
                    yield f"{name} was confirmed as {said} and is there as {stands}"
        case "create":
            if answer["id"] not in log.created:
                yield f"lost: {name} was confirmed as conversation {answer['id']}"
        case "read":
            message = log.messages.get(call.arguments["message"])
            if message is not None and not _has_read(call.user, message, log):
                yield f"lost: {name} was confirmed, and {call.user} has not read so far"
        case "join":
            room, who = call.arguments["room"], call.arguments["who"]
            entries = log.in_conversation.get(room, [])
            at = answer["last_seq"]
            # Read after the commit: somebody may have taken them out again in between.
            stays = log.stays.get((room, who), ())
            if at > len(entries) or all(stay.entered > entries[at - 1].cursor for stay in stays):
                yield f"lost: {name} was confirmed, and {who} is not in {room} by seq {at}"
        case "update":
            pass  # Its title is in `_contents`, where nobody changed it since.
        case _:
            if answer.get("cursor") is not None:
                entry = log.at.get(answer["cursor"])
                if entry is None or entry.type != _TOLD_BY[call.kind]:
                    yield f"lost: {name} was confirmed at cursor {answer['cursor']}"
                elif _key_of(entry) != _key(call):
                    yield f"{name} was confirmed at cursor {entry.cursor}: {_key_of(entry)}"


def _has_read(user: str, message: Entry, log: Log) -> bool:
    place = (message.conversation_id, user)
    return place in log.stays and log.furthest_read(*place) >= message.seq


def _refused(calls: Sequence[Call], log: Log) -> Iterable[str]:
    """A refusal that says no effect was had tells the truth."""
    sent = {
        (room, str(entry.fields["data"]["sender_id"]), entry.fields["data"]["client_id"])
        for room, entries in log.in_conversation.items()
        for entry in entries
        if entry.type == "message.new"
    }
    for call in calls:
        if call.kind == "send" and call.certainly_without_effect:
            key = (call.arguments["room"], call.user, call.arguments["client_id"])
            if key in sent:
                yield f"send {call.number} was refused with {call.code} and is there"


def _real_time(calls: Sequence[Call], log: Log) -> Iterable[str]:
    """What had ended before another thing began stands before it, whoever did them and where."""
    placed = []
    for call in calls:
        cursor = call.answer.get("cursor") if call.outcome == "ok" else None
        if call.kind == "send" and call.outcome == "ok":
            entry = log.messages.get(call.answer["message_id"])
            cursor = None if entry is None else entry.cursor
        if cursor is not None and call.ended is not None and cursor in log.at:
            placed.append((call, cursor))
    by_end = sorted(placed, key=lambda one: one[0].ended or 0.0)
    latest, at = 0, 0
    before: Call | None = None
    for call, cursor in sorted(placed, key=lambda one: one[0].began):
        while at < len(by_end) and (by_end[at][0].ended or 0.0) < call.began:
            if by_end[at][1] > latest:
                before, latest = by_end[at]
            at += 1
        if cursor < latest and before is not None:
            yield (
                f"out of order: {call.kind} {call.number} began after {before.kind} "
                f"{before.number} was confirmed and stands before it"
            )


def _contents(calls: Sequence[Call], final: Final, log: Log) -> Iterable[str]:
    """The messages that are listed are those of the log, with the last content they were given."""
    words: dict[str, set[str]] = defaultdict(set)
    unsure: set[str] = set()
    last_edit: dict[str, tuple[int, str]] = {}
    deleted: set[str] = set()
    for call in calls:
        if call.kind == "send":
            words[call.arguments["client_id"]].add(call.arguments["content"])
        elif call.kind == "edit":
            message, content = call.arguments["message"], call.arguments["content"]
            words[message].add(content)
            if call.outcome == "unknown":
                unsure.add(message)
            elif call.outcome == "ok" and call.answer.get("cursor") is not None:
                edit = (call.answer["cursor"], content)
                last_edit[message] = max(last_edit.get(message, (0, "")), edit)
        elif call.kind == "delete" and call.outcome == "ok":
            deleted.add(call.arguments["message"])
    for entry in log.entries:
        if entry.type == "message.deleted":
            deleted.add(str(entry.message_id))
    for room, messages in final.messages.items():
        written = [
            (entry.seq, str(entry.message_id))
            for entry in log.in_conversation.get(room, ())
            if entry.type == "message.new"
        ]
        listed = [(message["seq"], message["id"]) for message in messages]
        if written != listed:
            yield f"{room} lists {len(listed)} messages and its log has {len(written)}, or others"
        for message in messages:
            yield from _content(message, words, unsure, last_edit, deleted)


def _content(
    message: Frame,
    words: dict[str, set[str]],
    unsure: set[str],
    last_edit: dict[str, tuple[int, str]],
    deleted: set[str],
) -> Iterable[str]:
    message_id, content = message["id"], message["content"]
    if message_id in deleted:
        if content or message["deleted_at"] is None or message["reactions"]:
            yield f"lost: message {message_id} was deleted and has its content or reactions"
        return
    if message["deleted_at"] is not None:
        yield f"nobody deleted message {message_id}, and it is"
    allowed = words[message_id] | words[str(message["client_id"])]
    edited = last_edit.get(message_id)
    if content not in allowed:
        yield f"message {message_id} reads {content!r}, which nobody wrote"
    elif edited is not None and message_id not in unsure and content != edited[1]:
        yield f"lost: message {message_id} reads {content!r} after it was edited to {edited[1]!r}"


def _people(final: Final, log: Log) -> Iterable[str]:
    for room, people in final.people.items():
        if room not in log.created:
            continue
        inside = {user for (where, user) in log.stays if where == room}
        inside = {user for user in inside if log.inside(user, room, log.head + 1)}
        if inside != people.keys():
            yield f"{room} lists {sorted(people)}, by its log it holds {sorted(inside)}"
