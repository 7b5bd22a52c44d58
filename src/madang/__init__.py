"""Madang (마당): a messaging server that loses nothing.

Everything that happens is an event in a conversation; it is written to the log first and then
delivered, once and in order, to everyone who may see it, however often they disconnect.

`create_app(settings)` is an ASGI app to run or to mount into another app; `Settings` is the one
table of everything that can be set. Both are loaded on first use, so that `import madang.client`
does not pull in the server.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from madang.compose import create_app
    from madang.settings import Settings

__version__ = "0.1.0"

__all__ = ["Settings", "__version__", "create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from madang.compose import create_app

        return create_app
    if name == "Settings":
        from madang.settings import Settings

        return Settings
    raise AttributeError(f"module 'madang' has no attribute {name!r}")
