"""The pages of live rooms: enter a code, take part, host, the big screen, open a room.

Static files beside this module, served without their comments: ES modules in the language of 2020,
no build step, no request to any other host, no inline script or style, so that an old phone on a
crowded network has the page at once. They speak the live contract and nothing else. This package
may import nothing of Madang; whoever serves it mounts `RoomPages` at `/r`.

`/r/` is the page to enter a code, `/r/new` opens a room, `/r/CODE` takes part, `/r/CODE/host` and
`/r/CODE/screen` are the host's. A token never stands in an address: pages keep participants' and
hosts' tokens in the browser's local storage, and offer them as a header or as a subprotocol.
"""

from __future__ import annotations

from madang.rooms.pages import CONTENT_SECURITY_POLICY, RoomPages, rooms_directory

__all__ = ["CONTENT_SECURITY_POLICY", "RoomPages", "rooms_directory"]
