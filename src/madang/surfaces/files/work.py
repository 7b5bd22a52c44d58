"""What the routes of files work with."""

from __future__ import annotations

from dataclasses import dataclass

from madang.clock import Clock
from madang.model.identity import Identity
from madang.ports.blobs import Blobs
from madang.ports.store import Store
from madang.services.completing import Completing
from madang.services.limits import RateLimit
from madang.services.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Work:
    """`uploads_limit` counts uploads that begin, `requests_limit` those that go on."""

    store: Store
    blobs: Blobs
    uploads: Uploads
    completing: Completing
    clock: Clock
    messages_limit: RateLimit
    uploads_limit: RateLimit
    requests_limit: RateLimit
    max_content: int

    def check_beginning(self, caller: Identity) -> None:
        """Raises `RateLimited` for one upload, or one message, too many; neither counts then."""
        now = self.clock.monotonic()
        with self.uploads_limit.counting(caller.org, caller.user_id, now):
            self._check(self.messages_limit, caller)

    def check_going_on(self, caller: Identity) -> None:
        """Raises `RateLimited` for one request too many."""
        self._check(self.requests_limit, caller)

    def _check(self, limit: RateLimit, caller: Identity) -> None:
        limit.check(caller.org, caller.user_id, self.clock.monotonic())
