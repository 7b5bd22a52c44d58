"""What a receiver hands out, and the limits it keeps. Plain immutable values."""

from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = ["MAX_SHORT_PAYLOAD", "Close", "Failure", "Incoming", "Limits", "Ping", "Pong"]

MAX_SHORT_PAYLOAD = 125
"""Bytes of the longest payload whose length fits the header's own seven bits."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a receiver accepts. One object is shared by all connections.

    ``max_message``: bytes of one message's payload, after inflating, over all its fragments.
    ``expect_mask``: True reads a client's frames (all masked), False a server's (none masked).
    ``max_fragments``: frames of one message, so that empty fragments cannot go on for ever.
    """

    max_message: int = 65536
    expect_mask: bool = True
    max_fragments: int = 1024
    short_text: int = field(init=False, repr=False, compare=False)
    """Bytes of the longest payload that the receiver's short way takes, -1 for none: worked out
    once here and not for each chunk, where it would be a fifth of a short message's time."""

    def __post_init__(self) -> None:
        short = min(MAX_SHORT_PAYLOAD, self.max_message) if self.expect_mask else -1
        object.__setattr__(self, "short_text", short)


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping; its payload (at most 125 bytes) belongs into the pong."""

    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong, asked for or not."""

    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Close:
    """The other side closes. ``code`` is 1005 where the frame carried none."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """The other side broke the protocol: close with ``code`` (1002, 1007 or 1009).

    ``reason`` is fixed English text of at most 123 bytes, fit for the close frame.
    """

    code: int
    reason: str


Incoming: TypeAlias = str | bytes | Ping | Pong | Close | Failure
"""A text message, a binary message, or one of the above."""
