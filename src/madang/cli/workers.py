"""`madang serve --workers N`: N nodes in processes of their own that listen on one port together.

The kernel spreads the connections over them (SO_REUSEPORT). Each is a node like any other: they
meet in the database and on the bus. The parent serves nothing. It holds the port, passes signals
on, and starts a worker anew that has died.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

import typer

from madang.cli import words
from madang.cli.listening import bound
from madang.cli.refusal import FAILED, UNUSABLE, refuse
from madang.settings import Settings

RESTART_SECONDS = 1.0
"""Between a worker's death and its successor, so that one that cannot live does not spin."""


def check_workers(settings: Settings) -> None:
    """End the command where several processes could not serve together."""
    if settings.workers == 1:
        return
    asked = f"--workers {settings.workers}"
    if not settings.database_url.startswith("postgresql"):
        refuse(
            f"{asked} needs PostgreSQL, because SQLite serves one process: give --database "
            "postgresql://…, or leave --workers out."
        )
    if settings.redis_url is None:
        refuse(
            f"{asked} needs a bus that the workers share: give --bus redis://…, or leave "
            "--workers out."
        )


def run_workers(settings: Settings, held: Sequence[socket.socket]) -> None:
    """Run the workers until they are told to stop, on the port that `held` keeps for them. Exits
    with the code of a worker that was refused its start."""
    port = held[0].getsockname()[1]
    words.opening(settings, held)
    raise typer.Exit(_Workers(settings.model_copy(update={"port": port})).run())


class _Workers:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[int, SpawnProcess] = {}
        self._stopping = False
        self._code = 0

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)
        for place in range(self._settings.workers):
            self._start(place)
        while self._running:
            wait([process.sentinel for process in self._running.values()])
            for place, process in list(self._running.items()):
                if process.exitcode is not None:
                    self._ended(place, process.exitcode)
        return self._code

    def _start(self, place: int) -> None:
        process = self._context.Process(
            target=_work, args=(self._settings, place), name=f"madang worker {place}"
        )
        process.start()
        self._running[place] = process
        words.say(self._settings, f"Worker {place} is process {process.pid}.")

    def _ended(self, place: int, code: int) -> None:
        del self._running[place]
        if self._stopping:
            self._code = self._code or (FAILED if code else 0)
        elif code == UNUSABLE:
            # It has said why; the others would say the same.
            self._code = code
            self._stop(signal.SIGTERM)
        else:
            sentence = f"Worker {place} ended with {code}; another begins."
            words.warn(self._settings, sentence, loud=True)
            # The pause itself is wanted. Signals are heard in it, other ends after it.
            time.sleep(RESTART_SECONDS)
            if not self._stopping:
                self._start(place)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._stop(signal.SIGTERM)

    def _stop(self, number: int) -> None:
        self._stopping = True
        for process in self._running.values():
            if process.pid is not None:
                os.kill(process.pid, number)


def _work(settings: Settings, place: int) -> None:
    """A worker's process."""
    # Its own group: Ctrl-C in a terminal reaches all of a group, and would count twice here.
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    from madang.cli.serve import run_one

    name = f"{settings.node_name or socket.gethostname()}:{settings.port}/{place}"
    with bound(settings.host, settings.port, shared=True) as sockets:
        try:
            run_one(settings.model_copy(update={"node_name": name}), sockets, worker=True)
        except typer.Exit as ended:
            raise SystemExit(ended.exit_code) from None


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
