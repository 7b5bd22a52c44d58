"""Whether a history is what it was promised to be: every acknowledged effect there once and in
order, numbers without gaps, and every client told exactly what it may see.

Two checks. `findings` takes everything that clients asked, were answered and were told, of every
kind; its parts are `effects` (calls against the log) and `views` (connections against the log).
`problems` takes lists of messages alone, for tests that only send.

Pure: it is given what happened and says what is wrong with it, in time linear in the history.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults import history as recorded
from tests.faults.effects import effects
from tests.faults.log import Log
from tests.faults.views import deleted_text, views


def findings(history: recorded.History, final: recorded.Final) -> list[str]:
    """Everything that is wrong with a recorded history, in sentences; empty where all is right."""
    log = Log(final.log, (call for call in history.calls if call.kind == "create"))
    deleted = {
        call.arguments["message"]: call.ended
        for call in history.calls
        if call.kind == "delete" and call.outcome == "ok" and call.ended is not None
    }
    return [
        *history.troubles,
        *effects(history.calls, final, log),
        *views(history.connections, log),
        *deleted_text(history.connections, deleted),
    ]


@dataclass(frozen=True, slots=True)
class Listed:
    """A message as somebody lists it."""

    conversation_id: str
    seq: int
    id: str
    sender: str
    client_id: str


@dataclass(slots=True)
class History:
    """What senders did, what they were told, and what the server and each client say happened.

    `attempted` holds, for each sender, the `client_id`s in the order in which they were first sent.
    `acked` maps (sender, client_id) to the (message id, seq) of the acknowledgements, all of them.
    """

    attempted: Mapping[str, Sequence[str]]
    acked: Mapping[tuple[str, str], Sequence[tuple[str, int]]]
    listed: Sequence[Listed]
    views: Mapping[str, Sequence[Listed]] = field(default_factory=dict)


def problems(history: History, *, first_seq: int = 2) -> list[str]:
    """Everything that is wrong, in words; empty where all is right.

    Args:
        first_seq: of the first message in a conversation (1 is its creation).
    """
    return [
        *_acks(history),
        *_doubled(history.listed),
        *_strangers(history),
        *_order(history),
        *_numbers(history.listed, first_seq),
        *_views(history),
    ]


def _acks(history: History) -> Iterable[str]:
    places = {(one.sender, one.client_id): (one.id, one.seq) for one in history.listed}
    for key, acks in history.acked.items():
        if len(set(acks)) > 1:
            yield f"{key} was acknowledged as different messages: {sorted(set(acks))}"
        if key not in places:
            yield f"lost: {key} was acknowledged as {acks[0]} and is not there"
        elif places[key] != acks[0]:
            yield f"{key} was acknowledged as {acks[0]} and is there as {places[key]}"


def _doubled(listed: Sequence[Listed]) -> Iterable[str]:
    for key, count in Counter((one.sender, one.client_id) for one in listed).items():
        if count > 1:
            yield f"doubled: {key} is there {count} times"
    for message_id, count in Counter(one.id for one in listed).items():
        if count > 1:
            yield f"doubled: message {message_id} is listed {count} times"


def _strangers(history: History) -> Iterable[str]:
    known = {(sender, one) for sender, sent in history.attempted.items() for one in sent}
    for one in history.listed:
        if (one.sender, one.client_id) not in known:
            yield f"nobody sent {(one.sender, one.client_id)}"


def _order(history: History) -> Iterable[str]:
    for sender, attempted in history.attempted.items():
        place = {client_id: number for number, client_id in enumerate(attempted)}
        last: dict[str, int] = {}
        for one in history.listed:
            if one.sender != sender or one.client_id not in place:
                continue
            number = place[one.client_id]
            if number < last.get(one.conversation_id, -1):
                yield f"reordered: {sender} sent {one.client_id} earlier than it is listed"
            last[one.conversation_id] = number


def _numbers(listed: Sequence[Listed], first_seq: int) -> Iterable[str]:
    seqs: dict[str, list[int]] = defaultdict(list)
    for one in listed:
        seqs[one.conversation_id].append(one.seq)
    for conversation_id, found in seqs.items():
        expected = first_seq
        for seq in found:
            if seq != expected:
                yield f"gap: {conversation_id} has seq {seq} where {expected} belongs"
                break
            expected += 1


def _views(history: History) -> Iterable[str]:
    truth: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for one in history.listed:
        truth[one.conversation_id].append((one.seq, one.id))
    for who, view in history.views.items():
        seen: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for one in view:
            seen[one.conversation_id].append((one.seq, one.id))
        for conversation_id, found in seen.items():
            if found != truth[conversation_id]:
                difference = _differ(truth[conversation_id], found)
                yield f"{who} sees {conversation_id} otherwise: {difference}"
        for conversation_id in truth.keys() - seen.keys():
            yield f"{who} sees nothing of {conversation_id}"


def _differ(truth: Sequence[tuple[int, str]], found: Sequence[tuple[int, str]]) -> str:
    for number, (wanted, got) in enumerate(zip(truth, found, strict=False)):
        if wanted != got:
            return f"at {number} {got} where {wanted} belongs"
    return f"{len(found)} messages where there are {len(truth)}"
