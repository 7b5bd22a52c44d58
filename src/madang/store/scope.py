"""Whose rows a function of a connection may touch."""

from __future__ import annotations

from typing import NamedTuple


class Scope(NamedTuple):
    """Whose rows a function may touch: one org's; and where `user_id` is not empty, of the org's
    conversations those the user is in. Databases that can hold everybody to it, do."""

    org_id: str
    user_id: str = ""


ALL_ORGS = Scope("*")
"""What all orgs share, and numbers of each: heads, codes of rooms, and nothing that is said."""
