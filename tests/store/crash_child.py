"""Run by test_faults: sends without end and prints the id of each message that was acked."""

from __future__ import annotations

import asyncio
import os
import sys

from madang.clock import SystemClock
from madang.protocol.errors import MadangError
from madang.store.sqlite import SqliteStore
from madang.store.writer import GroupWriter
from tests.store.writes import Send


async def main(url: str, room: str, attempt: str) -> None:
    store = SqliteStore(url, SystemClock())
    writer = GroupWriter(store, SystemClock(), lambda batch: None)
    number = 0

    def send() -> None:
        nonlocal number
        number += 1
        client_id = f"{attempt}-{number}"

        def done(result: object, error: MadangError | None) -> None:
            assert error is None
            # Unbuffered: what was printed was acked, whatever happens next.
            os.write(1, f"{client_id}\n".encode())
            send()

        writer.submit(Send(room, "ann", client_id, client_id=client_id), done)

    for _ in range(50):
        send()
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
