"""The pages of live rooms: enter a code, take part, host, the big screen, open a room.

Static files beside this module, served as they are: ES modules in the language of 2020, no build
step, no request to any other host, no inline script or style, so that an old phone on a crowded
network has the page at once. They speak the live contract and nothing else. This package may import
nothing of Madang; whoever serves it asks `room_page` and `rooms_directory` where the files are.

`/r/` is the page to enter a code, `/r/new` opens a room, `/r/CODE` takes part, `/r/CODE/host` and
`/r/CODE/screen` are the host's. What the pages load lies under `/r/files/`, where the server also
answers `config.json` with ``{"dev": bool}``. A token never stands in an address: pages keep
participants' and hosts' tokens in the browser's local storage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["CONTENT_SECURITY_POLICY", "PageName", "room_page", "rooms_directory"]

PageName = Literal["enter", "new", "join", "host", "screen"]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the pages are written for; serve every file of them with this header."""


def rooms_directory() -> Path:
    """The directory that holds everything the pages load."""
    return Path(__file__).resolve().parent


def room_page(name: PageName) -> Path:
    """The HTML of a page."""
    return rooms_directory() / f"{name}.html"
