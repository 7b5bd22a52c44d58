"""python-socketio on uvicorn: rooms, `emit(room=...)`, WebSocket transport only. With BENCH_REDIS
several processes share their rooms through its Redis manager."""

import os
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from bench.servers.token_check import valid

# Installed only where this server runs, not where the bench is type-checked.
socketio: Any = import_module("socketio")
_redis = os.environ.get("BENCH_REDIS")
_between = {"client_manager": socketio.AsyncRedisManager(_redis)} if _redis else {}
_server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], **_between)
_rooms: dict[str, str] = {}


async def connect(sid: str, environ: dict[str, Any]) -> bool:
    query = environ["QUERY_STRING"]
    if not valid(f"/?{query}"):
        return False
    _rooms[sid] = parse_qs(query).get("room", ["room"])[0]
    if "role=send" not in query:
        await _server.enter_room(sid, _rooms[sid])
    return True


async def relay(sid: str, text: str) -> None:
    await _server.emit("m", text, room=_rooms[sid])


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
