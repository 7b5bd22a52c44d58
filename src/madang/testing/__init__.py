"""A test kit for whoever builds on Madang, and what Madang's own tests stand on.

May import anything; nothing in production imports it. Never sleeps: time moves when a test says so.
"""

from __future__ import annotations

from madang.testing.clock import JumpingClock
from madang.testing.events import assert_event, matches

__all__ = ["JumpingClock", "assert_event", "matches"]
