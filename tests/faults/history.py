"""What many clients asked, what they were answered and what they were told, in order of arrival.

A record and nothing more: clients write it while they talk, the checker reads it afterwards.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Frame = dict[str, Any]
Outcome = Literal["ok", "refused", "unknown"]
Kind = Literal[
    "create", "send", "edit", "delete", "read", "react", "unreact", "join", "leave", "update"
]


@dataclass(slots=True)
class Call:
    """One thing that a client asked for.

    `began` and `ended` are monotonic seconds of the recording process. What was sent again after
    a lost connection (a `send` with its `client_id`) is one call with several `attempts`.
    An `unknown` call may have had its effect, may have it later, or never.
    """

    number: int
    client: str
    user: str
    kind: Kind
    arguments: dict[str, Any]
    began: float
    ended: float | None = None
    attempts: int = 0
    outcome: Outcome = "unknown"
    code: str | None = None
    answer: Frame = field(default_factory=dict)

    def ok(self, answer: Frame) -> None:
        """It was confirmed; the first confirmation counts as its end."""
        if self.ended is None:
            self.ended = time.monotonic()
        self.outcome, self.answer = "ok", answer

    def refused(self, code: str) -> None:
        """It was refused, with a code that says that it had no effect."""
        self.ended = time.monotonic()
        self.outcome, self.code = "refused", code

    @property
    def certainly_without_effect(self) -> bool:
        """Refused, and no attempt of it is unaccounted for."""
        return self.outcome == "refused" and self.attempts == 1


@dataclass(slots=True)
class Seen:
    """What one connection was told.

    It resumed from `since` (the cursor it showed) and was answered that it stands at `reached`,
    after the first `caught_up` of its `events`; until that answer came, `reached` is None. Where
    the answer was `recovered: false`, it begins anew at `reached`. `until` is the end of the log
    where the client waited for all of it, else None: it was cut off somewhere.
    """

    number: int
    client: str
    user: str
    node: str
    opened: float
    since: int = 0
    reached: int | None = None
    recovered: bool = True
    reason: str | None = None
    caught_up: int = 0
    events: list[Frame] = field(default_factory=list)
    until: int | None = None

    @property
    def name(self) -> str:
        """As sentences call it."""
        return f"{self.client} (connection {self.number}, on {self.node})"

    def told(self, frame: Frame) -> None:
        """A frame came: keep it if it is an event or the answer to `resume`."""
        if frame["type"] == "resumed":
            self.reached, self.recovered = frame["cursor"], frame["recovered"]
            self.reason, self.caught_up = frame.get("reason"), len(self.events)
        elif "seq" in frame and "cursor" in frame and frame["type"] != "message.sent":
            self.events.append(frame)


@dataclass(slots=True)
class Final:
    """How it all ended, read when everything was whole again.

    `log` is the whole org's, as the events surface gives it. `messages` and `people` are what
    REST lists of each conversation that still has somebody in it: {conversation_id: MESSAGEs by
    seq}, {conversation_id: {user_id: role}}.
    """

    log: list[Frame]
    messages: dict[str, list[Frame]] = field(default_factory=dict)
    people: dict[str, dict[str, str]] = field(default_factory=dict)


class History:
    """Calls and connections, numbered in the order in which they began."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.connections: list[Seen] = []
        self.faults: list[tuple[float, str]] = []
        self.troubles: list[str] = []
        """What was found wrong already while it was recorded."""

    def call(self, client: str, user: str, kind: Kind, **arguments: Any) -> Call:
        """Something is about to be asked."""
        made = Call(len(self.calls), client, user, kind, arguments, time.monotonic())
        self.calls.append(made)
        return made

    def opened(self, client: str, user: str, node: str) -> Seen:
        """A connection was made."""
        made = Seen(len(self.connections), client, user, node, time.monotonic())
        self.connections.append(made)
        return made

    def fault(self, text: str) -> None:
        """Something was done to the servers or the wires between them."""
        self.faults.append((time.monotonic(), text))

    def count(self, outcome: Outcome) -> int:
        """How many calls ended so."""
        return sum(call.outcome == outcome for call in self.calls)

    def lines(self) -> Iterable[str]:
        """The whole history in the order of time, a JSON object a line, for whoever has to look."""
        found: list[tuple[float, dict[str, Any]]] = [
            (at, {"fault": text}) for at, text in self.faults
        ]
        for call in self.calls:
            found.append((call.began, {"call": call.number, "by": call.client, "kind": call.kind}))
            found[-1][1].update(call.arguments, attempts=call.attempts)
            if call.ended is not None:
                answer = {"answer": call.number, "outcome": call.outcome, "code": call.code}
                found.append((call.ended, {**answer, "frame": call.answer}))
        for seen in self.connections:
            told = [_short(event) for event in seen.events]
            place = {"since": seen.since, "reached": seen.reached, "recovered": seen.recovered}
            found.append((seen.opened, {"connection": seen.name, **place, "events": told}))
        for at, what in sorted(found, key=lambda one: one[0]):
            yield json.dumps({"at": round(at, 4), **what}, ensure_ascii=False)


def _short(event: Frame) -> list[Any]:
    return [event["cursor"], event["conversation_id"][-6:], event["seq"], event["type"]]
