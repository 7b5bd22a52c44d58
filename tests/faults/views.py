"""What each connection was told, against the log: everything, once, in order, and nothing else.

Pure. `seen` on the left, the log on the right; every sentence names the connection and the cursor.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

from tests.faults.history import Frame, Seen
from tests.faults.log import Entry, Log, identity


def views(connections: Iterable[Seen], log: Log) -> Iterable[str]:
    """All that is wrong with what connections were told."""
    for seen in connections:
        cursors = [event["cursor"] for event in seen.events]
        yield from _order(seen, cursors)
        yield from _strangers(seen, log)
        yield from _access(seen, log)
        yield from _whole(seen, set(cursors), log)
        yield from _answer(seen)


def _order(seen: Seen, cursors: list[int]) -> Iterable[str]:
    last = 0
    had: set[int] = set()
    for cursor in cursors:
        if cursor in had:
            yield f"twice: {seen.name} was told cursor {cursor} again"
        elif cursor < last:
            yield f"out of order: {seen.name} was told cursor {cursor} after {last}"
        had.add(cursor)
        last = max(last, cursor)


def _strangers(seen: Seen, log: Log) -> Iterable[str]:
    for event in seen.events:
        known = log.identities.get(event["cursor"])
        told = identity(event["type"], event["conversation_id"], event["seq"], event)
        if known is None:
            yield f"never written: {seen.name} was told {told} at cursor {event['cursor']}"
        elif known != told:
            yield (
                f"not the same for all: {seen.name} was told {told} at cursor {event['cursor']}, "
                f"where the log has {known}"
            )


def _access(seen: Seen, log: Log) -> Iterable[str]:
    """Whoever comes into a conversation may be told of its past; whoever left hears nothing."""
    for number, event in enumerate(seen.events):
        conversation_id, cursor = event["conversation_id"], event["cursor"]
        if log.inside(seen.user, conversation_id, cursor):
            continue
        entering = log.enters_after(seen.user, conversation_id, cursor)
        if entering is not None and number < seen.caught_up:
            continue
        if cursor in log.identities:
            stays = log.stays.get((conversation_id, seen.user), ())
            yield (
                f"after access ended: {seen.name}, at {seen.reached}, was told {event['type']} "
                f"of {conversation_id} at cursor {cursor}; {seen.user} was in it "
                f"{[(stay.entered, stay.left) for stay in stays]}"
            )


def _whole(seen: Seen, had: set[int], log: Log) -> Iterable[str]:
    """No gap: from where it began to the last it was told, or to where it waited for."""
    if seen.reached is None:
        return
    begin = seen.since if seen.recovered else seen.reached
    last = max(had, default=begin)
    end = max(last, seen.reached)
    if seen.until is not None:
        end = max(end, seen.until)
    told: dict[str, list[int]] = defaultdict(list)
    for event in sorted(seen.events, key=itemgetter("cursor")):
        told[event["conversation_id"]].append(event["cursor"])
    missing = [
        log.at[cursor]
        for cursor in log.visible(seen.user, begin, end)
        if cursor not in had and not _given_up(seen, log.at[cursor], told, log)
    ]
    if missing:
        first = missing[0]
        how = "resumed" if first.cursor <= seen.reached else "listened"
        yield (
            f"gap: {seen.name} {how} from cursor {begin} to {end} and was not told of "
            f"{len(missing)} events, first {first.type} {first.conversation_id}#{first.seq} "
            f"at cursor {first.cursor}"
        )


def _given_up(seen: Seen, entry: Entry, told: Mapping[str, Sequence[int]], log: Log) -> bool:
    """Whoever was removed before what they missed was read is told that they were, and nothing of
    what was before: the next that they hear of the conversation is that they left it.

    What came while it was read is held back, and goes with the access too: so beyond `reached` this
    is so where the last that the connection had heard of the conversation, if anything, was that
    they left it before.
    """
    left = log.left_after(seen.user, entry.conversation_id, entry.cursor)
    after = told.get(entry.conversation_id, ())
    following = bisect_right(after, entry.cursor)
    if entry.cursor > (seen.reached or 0) and following:
        before = after[following - 1]
        if log.left_after(seen.user, entry.conversation_id, before) != before:
            return False
    return left != entry.cursor and following < len(after) and after[following] == left


def _answer(seen: Seen) -> Iterable[str]:
    if seen.reached is not None and not seen.recovered:
        if seen.caught_up:
            yield (
                f"a part: {seen.name} was told recovered: false and {seen.caught_up} events "
                "before it"
            )
        if not seen.reason:
            yield f"no reason: {seen.name} was told recovered: false and not why"


def deleted_text(connections: Iterable[Seen], deleted: dict[str, float]) -> Iterable[str]:
    """What was deleted before a connection began is nowhere in what it was told.

    `deleted` are the times at which deletions were confirmed, by message id.
    """
    for seen in connections:
        for event in seen.events:
            data: Frame = event.get("data") or {}
            at = deleted.get(str(data.get("id")))
            if at is not None and at < seen.opened and data.get("content"):
                yield f"deleted text: {seen.name} was told the content of message {data['id']}"
