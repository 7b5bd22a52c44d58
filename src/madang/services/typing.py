"""Who is typing where. Nothing of it is stored; the server ends what a client forgot to end."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from madang.clock import Clock, Timer
from madang.model.nouns import Event

Key = tuple[str, str, str]
"""(org_id, conversation_id, user_id)"""


class Typing:
    """Typists and when each will have stopped.

    Every start has the same duration, so the dictionary's order is the order of ending and one
    timer for the first of it is enough.

    Args:
        seconds: after the last start the typist has stopped.
        tell: called with (org_id, conversation_id, user_id, is_typing).
    """

    def __init__(
        self, clock: Clock, seconds: float, tell: Callable[[str, str, str, bool], None]
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._tell = tell
        self._until: dict[Key, tuple[float, Hashable]] = {}
        self._of: dict[Hashable, set[Key]] = {}
        self._timer: Timer | None = None

    def start(self, key: Key, source: Hashable) -> None:
        """The user types, on the connection `source`; tells the others, each time again."""
        before = self._until.pop(key, None)
        if before is not None and before[1] is not source:
            self._of[before[1]].discard(key)
        self._until[key] = (self._clock.monotonic() + self._seconds, source)
        if before is None or before[1] is not source:
            self._of.setdefault(source, set()).add(key)
        if self._timer is None:
            self._timer = self._clock.call_later(self._seconds, self._expire)
        self._tell(*key, True)

    def stop(self, key: Key) -> None:
        """The user stopped; tells the others if they were told of a start."""
        found = self._until.pop(key, None)
        if found is not None:
            keys = self._of[found[1]]
            keys.discard(key)
            if not keys:
                del self._of[found[1]]
            self._tell(*key, False)

    def landed(self, event: Event) -> None:
        """A message of the typist's has landed: that is the end of typing it."""
        if self._until and event.type == "message.new":
            self.stop((event.org_id, event.conversation_id, event.actor_id))

    def gone(self, source: Hashable) -> None:
        """The typist's connection ended."""
        for key in tuple(self._of.get(source, ())):
            self.stop(key)
        self._of.pop(source, None)

    def _expire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._until:
            key = next(iter(self._until))
            until = self._until[key][0]
            if until > now + 0.001:
                self._timer = self._clock.call_later(until - now, self._expire)
                return
            self.stop(key)
