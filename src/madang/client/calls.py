"""Requests waiting for their reply, matched by `id` and `reply_to`. No I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from madang.client.errors import MadangError, error_from_frame
from madang.client.frames import Frame

Match = Callable[[Frame], bool]


@dataclass(slots=True, eq=False)
class Call:
    """A request that can be made again on another connection without a second effect."""

    id: str
    encoded: bytes
    answer: asyncio.Future[Frame]
    match: Match | None
    """Recognises the event that shows it was done, where the reply itself was lost."""


class Calls:
    """Requests under way, in order."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._calls)

    def next_id(self) -> str:
        """An id no other request of this client has."""
        self._count += 1
        return f"c{self._count}"

    def add(self, call: Call) -> None:
        self._calls[call.id] = call

    def discard(self, call: Call) -> None:
        self._calls.pop(call.id, None)

    def under_way(self) -> list[Call]:
        return list(self._calls.values())

    def settle(self, frame: Frame) -> bool:
        """Give a frame to the request it answers; False where it answers none."""
        if not self._calls:
            return False
        call = self._calls.get(str(frame.get("reply_to")))
        if call is None:
            call = next((one for one in self.under_way() if one.match and one.match(frame)), None)
        if call is None:
            return False
        self.discard(call)
        if not call.answer.done():
            if frame["type"] == "error":
                call.answer.set_exception(error_from_frame(frame))
            else:
                call.answer.set_result(frame)
        return True

    def fail_all(self, error: MadangError) -> None:
        """Nothing will be answered any more."""
        for call in self.under_way():
            self.discard(call)
            if not call.answer.done():
                call.answer.set_exception(error)
