"""python-socketio on uvicorn: one room, `emit(room=...)`, WebSocket transport only."""

import os
from importlib import import_module
from typing import Any

import uvicorn

from bench.servers.token_check import valid

# Installed only where this server runs, not where the bench is type-checked.
socketio: Any = import_module("socketio")
_server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


async def connect(sid: str, environ: dict[str, Any]) -> bool:
    query = environ["QUERY_STRING"]
    if not valid(f"/?{query}"):
        return False
    if "role=send" not in query:
        await _server.enter_room(sid, "room")
    return True


async def relay(sid: str, text: str) -> None:
    await _server.emit("m", text, room="room")


_server.on("connect", connect)
_server.on("m", relay)
uvicorn.run(
    socketio.ASGIApp(_server),
    host="127.0.0.1",
    port=int(os.environ["BENCH_PORT"]),
    loop="uvloop",
    ws="websockets-sansio",
    ws_per_message_deflate=False,
    backlog=4096,
    log_level="warning",
)
