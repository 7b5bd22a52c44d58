"""A connection that keeps what is written to it: the hub's port to a gateway, without a socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from madang.hub.connection import Connection
from madang.hub.frame import Batch, Frame
from madang.model.nouns import NO_REACTIONS, Event, Message


class Recorder(Connection):
    """Each write as the list of frames that went out with it; closings as codes."""

    __slots__ = ("_read", "_told", "closings", "writes")

    def __init__(self, form: int = 0) -> None:
        super().__init__()
        self.form = form
        self.writes: list[list[Frame]] = []
        self.closings: list[int] = []
        self._read = 0
        self._told: list[dict[str, Any]] = []

    def write(self, frame: Frame) -> None:
        if self.open:
            self.writes.append([frame])

    def write_frames(self, frames: list[Frame]) -> None:
        if self.open:
            self.writes.append(list(frames))

    def write_batch(self, batch: Batch) -> None:
        if self.open:
            frames = batch.frames(self.form >> 1)
            joined = b"".join(f.deflated if self.form & 1 else f.wire for f in frames)
            assert batch.wire(self.form) == joined
            self.writes.append(frames)

    def close(self, code: int, reason: str = "") -> None:
        if self.open:
            self.open = False
            self.closings.append(code)

    def ping(self) -> None:
        """Nobody is at the other end."""

    @property
    def unsent(self) -> int:
        return 0

    def told(self) -> list[dict[str, Any]]:
        """Every frame so far; each is read once, however often who waits for one asks."""
        for frames in self.writes[self._read :]:
            self._told += [orjson.loads(frame.text) for frame in frames]
        self._read = len(self.writes)
        return list(self._told)

    def forget(self) -> None:
        """As if nothing had been written so far."""
        self.writes.clear()
        self._told.clear()
        self._read = 0

    def events(self) -> list[dict[str, Any]]:
        return [frame for frame in self.told() if "seq" in frame and "cursor" in frame]


def event(conversation_id: str, seq: int, cursor: int, **fields: Any) -> Event:
    """An event as a commit makes it; `text` gives it a message."""
    text = fields.pop("text", None)
    message = None
    if text is not None:
        message_id = fields.pop("message_id", f"{conversation_id}-{seq}")
        message = Message(
            message_id,
            "org",
            conversation_id,
            seq,
            "ann",
            "user",
            "text",
            text,
            {},
            None,
            (),
            None,
            cursor,
            reactions=NO_REACTIONS,
        )
    kind = fields.pop("type", "message.new")
    return Event("org", cursor, conversation_id, seq, kind, "ann", None, message, {}, cursor)


class Counter:
    """An encoder that counts: `{seq, cursor, text}` in the words of a dialect."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.encoded: list[tuple[str, int]] = []

    def __call__(self, of: Event) -> bytes:
        self.encoded.append((of.conversation_id, of.seq))
        text = None if of.message is None else of.message.content
        fields = {"in": of.conversation_id, "seq": of.seq, "cursor": of.cursor, "text": text}
        return orjson.dumps({"dialect": self.dialect, **fields})


def places(recorder: Recorder) -> Sequence[tuple[str, int]]:
    """(conversation, seq) of every event, in the order it was told."""
    return [(frame["in"], frame["seq"]) for frame in recorder.events()]
