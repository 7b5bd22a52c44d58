"""The words of all surfaces: how the hub writes down an event for whom."""

from __future__ import annotations

from madang.surfaces.agents import frames as agents_frames
from madang.surfaces.events import frames as events_frames
from madang.surfaces.live.frames import LiveFrames, asides
from madang.surfaces.live.rooms import Rooms
from madang.surfaces.messenger.frames import MessengerFrames


class Wording:
    """`dialects` are in the order of `hub.frame.Dialect`. `rooms` is what those of live rooms are
    written from."""

    def __init__(self) -> None:
        self.messenger = MessengerFrames()
        self.rooms = Rooms()
        self.asides = asides
        live = LiveFrames(self.rooms.here)
        self.dialects = (
            self.messenger.event,
            events_frames.encode_event,
            live.participant,
            live.host,
            agents_frames.encode_event,
        )
