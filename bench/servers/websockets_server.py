"""`websockets.broadcast` under uvloop: what the Python library offers for one room."""

import http
import os

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.http11 import Request, Response

from bench.servers.token_check import valid

_room: set[ServerConnection] = set()


def _check(connection: ServerConnection, request: Request) -> Response | None:
    if valid(request.path):
        return None
    return connection.respond(http.HTTPStatus.UNAUTHORIZED, "unauthorized\n")


async def _serve_one(connection: ServerConnection) -> None:
    assert connection.request is not None
    if not connection.request.path.startswith("/send"):
        _room.add(connection)
    try:
        async for message in connection:
            broadcast(_room, message)
    finally:
        _room.discard(connection)


async def _main() -> None:
    async with serve(
        _serve_one,
        "127.0.0.1",
        int(os.environ["BENCH_PORT"]),
        process_request=_check,
        compression=None,
        backlog=4096,
        ping_interval=25,
        ping_timeout=60,
    ) as server:
        await server.serve_forever()


uvloop.run(_main())
