"""Who is at the other end: what a verified token says, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

GlobalRole = Literal["admin", "agent", "service"]
"""What a token's `roles` may grant in its whole org; a participant's role is another thing."""

GLOBAL_ROLES: frozenset[str] = frozenset(get_args(GlobalRole))
DEFAULT_ORG = "default"


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified user of one org.

    `expires_at` is in seconds since the epoch, as the token says it; from that second on the
    token is not valid any more. `zone` and `name` are None where the token has none.
    """

    user_id: str
    org: str
    zone: str | None
    name: str | None
    roles: frozenset[str]
    expires_at: int
