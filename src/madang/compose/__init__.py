"""Settings in, a running server out: the only place that names concrete backends.

`app` puts a server together, top to bottom, and is its life: what it stands on (`backends`), the
middle of a node (`core`), the limits of everybody (`limits`), the ways in (`surfaces`), and what
answers HTTP (`http`). May import everything below; the process around it is `madang.serving`'s.
"""

from madang.compose.app import Madang, create_app, websocket_class

__all__ = ["Madang", "create_app", "websocket_class"]
