"""One event of the log as one line for the eye."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

MOST_TEXT = 72
"""Characters of a message that are shown."""
SHOWN_ID = 8
"""Characters of a conversation's id that are shown: its end, which differs, not its time."""

_COLOURS = (
    ("message.new", "green"),
    ("message.deleted", "red"),
    ("message.", "yellow"),
    ("reaction.", "magenta"),
    ("participant.", "cyan"),
    ("conversation.", "blue"),
)


def line(event: Mapping[str, Any]) -> Text:
    """Time, conversation, seq, type, actor, text. Control characters are taken out of the text:
    a message must not be able to move the cursor of whoever is watching."""
    kind = str(event.get("type", "?"))
    colour = next((colour for start, colour in _COLOURS if kind.startswith(start)), "white")
    conversation = str(event.get("conversation_id") or "-")
    return Text.assemble(
        (_clock(event), "dim"),
        "  ",
        (f"{conversation[-SHOWN_ID:]:>{SHOWN_ID}}", "dim"),
        f"{event.get('seq') or '-':>6}  ",
        (f"{_printable(kind):<22}", colour),
        (f"{_printable(_actor(event)):<14}", "bold"),
        " ",
        _printable(_text(event)),
    )


def _clock(event: Mapping[str, Any]) -> str:
    timestamp = str(event.get("timestamp") or "")
    return _printable(timestamp.partition("T")[2].rstrip("Z")[:12] or timestamp or "-")


def _parts(event: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The event, its payload and the message in it: where a field may stand."""
    payload = event.get("payload")
    payload = payload if isinstance(payload, Mapping) else {}
    inner = payload.get("data")
    return event, payload, inner if isinstance(inner, Mapping) else {}


def _first(event: Mapping[str, Any], *names: str) -> object:
    for name in names:
        for part in _parts(event):
            if part.get(name) not in (None, ""):
                return part[name]
    return None


def _actor(event: Mapping[str, Any]) -> str:
    return str(_first(event, "actor_id", "user_id", "sender_id") or "-")


def _text(event: Mapping[str, Any]) -> str:
    found = _first(event, "content", "emoji", "title", "kind")
    if found is not None:
        return str(found)
    payload = event.get("payload")
    if not isinstance(payload, Mapping):
        return ""
    shown = {name: value for name, value in payload.items() if not isinstance(value, Mapping)}
    return " ".join(f"{name}={value}" for name, value in shown.items() if not name.endswith("_id"))


def _printable(text: str) -> str:
    flat = "".join(character if character.isprintable() else " " for character in text)
    return flat if len(flat) <= MOST_TEXT else flat[: MOST_TEXT - 1] + "…"
