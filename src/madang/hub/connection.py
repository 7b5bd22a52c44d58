"""One client's connection as the hub knows it: what a gateway must do, and the hold that keeps
live events back while older ones are being caught up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from madang.hub.frame import Batch, Frame, Outgoing, dialect_of
from madang.protocol.codes import CloseCode

if TYPE_CHECKING:
    from madang.hub.channel import Member
    from madang.model.identity import Identity
    from madang.model.presence import Status


class Detour:
    """What sets a connection apart from the fast path, for as long as something does.

    `held` collects live events while the connection catches up (None: they go out), up to
    `room` bytes more; `muted` are the conversations it unsubscribed from.
    """

    __slots__ = ("held", "muted", "room")

    def __init__(self) -> None:
        self.held: list[Outgoing] | None = None
        self.room = 0
        self.muted: set[str] = set()

    @property
    def needed(self) -> bool:
        return self.held is not None or bool(self.muted)


class Connection(ABC):
    """A gateway's connection, from the hub's side.

    `floor` is the cursor from which on this connection has had every event; catching up moves it
    down, never up. `heard` and `active` are ticks of the hub: when bytes last came, and when
    something other than a ping did. `status` is this device's part of its user's presence.
    """

    gateway = "websocket"
    """The way in, as metrics name it."""
    is_heard = True
    """Whether a client that is there says so from time to time: silence means that it is gone."""

    __slots__ = (
        "active",
        "detour",
        "floor",
        "form",
        "heard",
        "identity",
        "member",
        "open",
        "status",
    )

    def __init__(self) -> None:
        self.member: Member | None = None
        self.identity: Identity | None = None
        self.form = 0
        self.floor = 0
        self.heard = 0
        self.active = 0
        self.open = True
        self.status: Status = "online"
        self.detour: Detour | None = None

    @property
    def dialect(self) -> int:
        """In whose words it is told of events: a `Dialect`."""
        return dialect_of(self.form)

    # A gateway gives these a body.

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Send one frame; never blocks, never raises."""

    @abstractmethod
    def write_batch(self, batch: Batch) -> None:
        """Send a batch with one write."""

    @abstractmethod
    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame after what was written before it, then close."""

    @abstractmethod
    def ping(self) -> None:
        """Send a WebSocket ping."""

    def listen(self, wanted: bool) -> None:  # noqa: B027 - not every gateway can stop reading
        """Take in what the client sends, or leave it where it is for now: what was read with the
        frame before comes yet, one turn's share at most. A connection that is closed listens, for
        the client's own close."""

    def flush(self) -> None:  # noqa: B027 - not every gateway lets something wait
        """Send what waits for the end of the loop's turn, if this gateway lets anything wait."""

    @property
    @abstractmethod
    def unsent(self) -> int:
        """Bytes that were written and have not left yet."""

    # The hub calls these.

    def deliver(self, batch: Batch) -> int:
        """Take a channel's batch: out at once, or aside while a detour says so. How many events
        went out."""
        if self.detour is None:
            if not self.open:
                return 0
            self.write_batch(batch)
            return batch.events
        return self.deliver_each(batch.outgoing)

    def deliver_each(self, outgoing: Iterable[Outgoing]) -> int:
        """Take frames that are for this connection alone, in order. How many events went out."""
        detour = self.detour
        if detour is not None:
            outgoing = [item for item in outgoing if self._passes(detour, item)]
        frames = []
        events = 0
        for item in outgoing:
            frame = item.frame_for(self)
            if frame is not None:
                frames.append(frame)
                events += item.event is not None
        if not frames or not self.open:
            return 0
        self.write_frames(frames)
        return events

    def write_frames(self, frames: list[Frame]) -> None:
        """Send several frames with one write where the gateway can."""
        for frame in frames:
            self.write(frame)

    def hold(self, limit: int) -> None:
        """Keep live events back, `limit` bytes of them at most, until `release`."""
        if self.detour is None:
            self.detour = Detour()
        if self.detour.held is None:
            self.detour.held = []
            self.detour.room = limit

    def release(self) -> int:
        """Send what was held, in order, and go on live. How many events went out."""
        detour = self.detour
        if detour is None or detour.held is None:
            return 0
        held, detour.held = detour.held, None
        self.settle()
        frames = [frame for item in held if (frame := item.frame_for(self)) is not None]
        if not frames or not self.open:
            return 0
        self.write_frames(frames)
        return len(frames)

    def mute(self, conversation_id: str) -> None:
        """Get nothing more of a conversation, until it is subscribed to again."""
        if self.detour is None:
            self.detour = Detour()
        self.detour.muted.add(conversation_id)

    def mutes(self, conversation_id: str) -> bool:
        """Whether it has unsubscribed from the conversation."""
        return self.detour is not None and conversation_id in self.detour.muted

    def unmute(self, conversation_id: str) -> bool:
        """Get what it is told again, after what is missing; whether it had been muted."""
        detour = self.detour
        if detour is None or conversation_id not in detour.muted:
            return False
        detour.muted.discard(conversation_id)
        return True

    def settle(self) -> None:
        """Back to the fast path if nothing keeps the connection off it."""
        if self.detour is not None and not self.detour.needed:
            self.detour = None

    @property
    def holding(self) -> bool:
        return self.detour is not None and self.detour.held is not None

    def _passes(self, detour: Detour, item: Outgoing) -> bool:
        if item.conversation_id in detour.muted:
            return False
        if detour.held is None or item.event is None:
            return True
        detour.held.append(item)
        frame = item.frame_for(self)
        detour.room -= len(frame.text) if frame is not None else 0
        if detour.room < 0:
            self.close(CloseCode.TOO_SLOW, "Too slow: reconnect and resume")
        return False
