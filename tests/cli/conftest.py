"""The command line as a shell would run it: in an empty directory, with no setting around."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from madang.settings import TABLE
from tests.ports import free_port

LIMIT = 30.0
"""Seconds for anything a process is waited for."""

# Who runs the tests in the background of a shell has them ignore Ctrl-C, and their children too.
_HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
MADANG = [sys.executable, "-c", f"{_HEARS}from madang.cli import app; app()"]


class Running:
    """A `madang` process and what it prints, line by line."""

    def __init__(self, arguments: tuple[str, ...], directory: Path) -> None:
        self.process = subprocess.Popen(
            [*MADANG, *arguments],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env=os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "120", "PYTHONUTF8": "1"},
        )
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._more.notify_all()

    def wait_for(self, text: str, count: int = 1) -> str:
        """The line with `text` in it, when it was printed `count` times."""
        with self._more:

            def found() -> list[str]:
                return [line for line in self.lines if text in line]

            assert self._more.wait_for(
                lambda: len(found()) >= count or not self._reader.is_alive(), LIMIT
            ), f"no {text!r} in\n" + "\n".join(self.lines)
            assert len(found()) >= count, f"ended without {text!r}:\n" + "\n".join(self.lines)
            return found()[-1]

    def interrupt(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        return code

    def close(self) -> None:
        """End it whatever it is doing."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The current directory: empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for row in TABLE:
        for name in row.names:
            monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def start(directory: Path) -> Iterator[Callable[..., Running]]:
    """Start `madang ARGUMENTS`; it is ended with the test."""
    running: list[Running] = []

    def begin(*arguments: str) -> Running:
        running.append(Running(arguments, directory))
        return running[-1]

    yield begin
    for each in running:
        each.close()


@pytest.fixture
def port() -> int:
    """A port that is free now."""
    return free_port()
