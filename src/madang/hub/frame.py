"""Frames, each encoded once for all its receivers, and batches of them, each joined once.

A server-to-client WebSocket frame is not masked (RFC 6455, 5.1), so one `bytes` object serves
every connection; joining the frames of a loop turn leaves one write per connection.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import orjson

from madang.model.nouns import ConversationView, Event, Message
from madang.protocol.websocket import deflated_text_frame, text_frame

if TYPE_CHECKING:
    from madang.hub.channel import Member
    from madang.hub.connection import Connection


class Dialect(IntEnum):
    """In whose words a connection is told of an event: its surface's. A live room has two, for its
    participants and for its hosts, who see more."""

    MESSENGER = 0
    EVENTS = 1
    LIVE = 2
    LIVE_HOST = 3
    AGENT = 4


class Form(IntEnum):
    """A dialect and whether it is compressed: what two connections must share to share bytes."""

    MESSENGER = 0
    MESSENGER_DEFLATED = 1
    EVENTS = 2
    EVENTS_DEFLATED = 3
    LIVE = 4
    LIVE_DEFLATED = 5
    LIVE_HOST = 6
    LIVE_HOST_DEFLATED = 7
    AGENT = 8
    AGENT_DEFLATED = 9


def form_of(dialect: int, *, deflated: bool) -> int:
    """The `Form` of a `Dialect`."""
    return dialect << 1 | deflated


def dialect_of(form: int) -> int:
    """The `Dialect` of a `Form`."""
    return form >> 1


def is_deflated(form: int) -> bool:
    """Whether a `Form` is a compressed one."""
    return bool(form & 1)


Encoder = Callable[[Event], bytes | None]
"""Writes an event as JSON text; None where its dialect has no word for it."""
Reply = Callable[[Event], bytes]
"""Writes an event as the reply to whoever asked for what it tells."""


@dataclass(frozen=True, slots=True)
class Aside:
    """One user who is told of an event otherwise than the others: `words` says, for a dialect that
    a connection of theirs speaks, in which one it is told instead, or (None) that it is not."""

    user_id: str
    words: Mapping[int, int | None]


Asides = Callable[[Event], Aside | None]
"""Whom an event is told otherwise, if anybody. Whatever becomes of its message, the answer stays
the same."""


class Frame:
    """One JSON text and, made when first asked for, its bytes on the wire."""

    __slots__ = ("_content", "_deflated", "_wire", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._content: Mapping[str, Any] | None = None
        self._wire: bytes | None = None
        self._deflated: bytes | None = None

    @property
    def wire(self) -> bytes:
        """The whole WebSocket frame."""
        wire = self._wire
        if wire is None:
            wire = self._wire = text_frame(self.text)
        return wire

    @property
    def content(self) -> Mapping[str, Any]:
        """What it says, read once for all connections that must look into it."""
        content = self._content
        if content is None:
            content = self._content = orjson.loads(self.text)
        return content

    def let_go(self) -> None:
        """Keep only the text."""
        self._wire = self._deflated = self._content = None

    @property
    def deflated(self) -> bytes:
        """The whole WebSocket frame, compressed without context takeover (RFC 7692)."""
        if self._deflated is None:
            self._deflated = deflated_text_frame(self.text)
        return self._deflated


def reply_beside(encode: Reply, event: Event) -> Frame:
    """The reply to who asked for what an event tells, when that is told apart from it or not at
    all: it stands at no place in the log, so the client neither has it twice nor takes it for the
    place up to which it has had everything."""
    told = orjson.loads(encode(event))
    for place in ("cursor", "seq"):
        told.pop(place, None)
    return Frame(orjson.dumps(told))


_SIGNALLED = (Dialect.MESSENGER, Dialect.LIVE, Dialect.LIVE_HOST)
"""Who is told a signal of no dialect in particular: a conversation speaks one of these. Who reads
the log is told no signals."""

_SILENCE = Frame(b"")
"""Stands where an encoder was asked and had no word for the event."""


class Outgoing:
    """Something on its way to the members of a channel: an event or a signal.

    `order` is its place among all that this hub sends. `instead` gives single connections a frame
    of their own (a reply carries `reply_to`), `omit` names members who do not get it at all, and
    `aside` a user who is told it in other words. `size` is the bytes that remembering it takes,
    once that is known.
    """

    __slots__ = (
        "_encoders",
        "_frames",
        "aside",
        "conversation_id",
        "event",
        "instead",
        "omit",
        "order",
        "size",
    )

    def __init__(
        self,
        order: int,
        conversation_id: str,
        *,
        event: Event | None = None,
        encoders: Sequence[Encoder] = (),
        signal: Frame | None = None,
        dialect: int | None = None,
        instead: Mapping[Connection, Reply] | None = None,
        omit: Collection[Member] = (),
        aside: Aside | None = None,
    ) -> None:
        self.order = order
        self.conversation_id = conversation_id
        self.event = event
        self.instead = instead
        self.omit = omit
        self.aside = aside
        self.size = 0
        self._encoders = encoders
        self._frames: list[Frame | None] = [None] * len(Dialect)
        if signal is not None:
            for told in _SIGNALLED if dialect is None else (dialect,):
                self._frames[told] = signal

    def frame(self, dialect: int) -> Frame | None:
        """The frame in a dialect, encoded when first asked for; None where it has no word for
        it."""
        frame = self._frames[dialect]
        if frame is None and self.event is not None:
            text = self._encoders[dialect](self.event)
            frame = self._frames[dialect] = _SILENCE if text is None else Frame(text)
        return None if frame is _SILENCE else frame

    def bring_up(self, changed: Event) -> None:
        """Tell of the message or conversation that this event changed as it is now, if this is
        about it. Nothing of what it was may be told late."""
        if changed.message is not None:
            self._refresh(changed.message)
        if changed.conversation is not None:
            self._retell(changed.conversation)

    def _refresh(self, message: Message) -> None:
        event = self.event
        if event is None:
            return
        told, view = event.message, event.conversation
        if told is not None and told.id == message.id and told is not message:
            self.event = replace(event, message=message)
        elif view is not None and view.last_message and view.last_message.id == message.id:
            self.event = replace(event, conversation=replace(view, last_message=message))
        else:
            return
        self._frames = [None] * len(Dialect)

    def _retell(self, view: ConversationView) -> None:
        event = self.event
        if event is None or event.conversation is None:
            return
        if event.conversation_id == view.conversation.id:
            self.event = replace(event, conversation=view)
            self._frames = [None] * len(Dialect)

    def frame_for(self, connection: Connection) -> Frame | None:
        """The frame that this one connection gets, if any."""
        if self.instead is not None and self.event is not None:
            own = self.instead.get(connection)
            if own is not None:
                return Frame(own(self.event))
        member = connection.member
        if self.omit and member in self.omit:
            return None
        dialect: int | None = connection.dialect
        aside = self.aside
        if aside is not None and member is not None and member.user_id == aside.user_id:
            dialect = aside.words.get(connection.dialect, dialect)
        return None if dialect is None else self.frame(dialect)

    def remembered(self) -> int:
        """Let go of what can be made again and count what stays: the event and its texts."""
        self.size = _EVENT_BYTES
        for frame in self._frames:
            if frame is not None and frame is not _SILENCE:
                self.size += 2 * len(frame.text)
                frame.let_go()
        return self.size


_EVENT_BYTES = 1500
"""What an event and its message take beside their texts, as measured with tracemalloc."""


class Batch:
    """What the members of a channel get in one turn of the loop, joined once per form."""

    __slots__ = ("_wires", "events", "outgoing")

    def __init__(self, outgoing: Sequence[Outgoing]) -> None:
        self.outgoing = outgoing
        self.events = sum([item.event is not None for item in outgoing])
        self._wires: list[bytes | None] = [None] * len(Form)

    def wire(self, form: int) -> bytes:
        """All frames as they go to every connection of this form."""
        wire = self._wires[form]
        if wire is None:
            frames = self.frames(dialect_of(form))
            if is_deflated(form):
                wire = b"".join([frame.deflated for frame in frames])
            else:
                wire = b"".join([frame.wire for frame in frames])
            self._wires[form] = wire
        return wire

    def frames(self, dialect: int) -> list[Frame]:
        """The frames one by one, for a gateway that cannot send them joined."""
        made = [outgoing.frame(dialect) for outgoing in self.outgoing]
        return [frame for frame in made if frame is not None]
