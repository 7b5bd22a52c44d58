"""`python -m tests` itself: what it prints, its code, and that nothing of it is left when it is
told to end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PASSES = "def test_it():\n    print('said')\n"
FAILS = "def test_it():\n    assert 'said' == ''\n"
WAITS = """
import asyncio, os, pathlib, subprocess, sys
import pytest

HERE = pathlib.Path(__file__)

@pytest.fixture
def child():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.wait()
    HERE.with_suffix(".ended").touch()

async def wait(child):
    HERE.with_name("started").write_text(f"{os.getpid()} {child.pid} ")
    await asyncio.Event().wait()

def test_it(child):
    asyncio.run(wait(child))
"""
"""One that waits for ever, with a process of its own that its fixture ends."""
PATIENCE = 60.0


Start = Callable[[str, str], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Begin a run of two files of tests beside each other."""
    runs: list[subprocess.Popen[str]] = []

    def begin(first: str, beside: str) -> subprocess.Popen[str]:
        settings = "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
        (tmp_path / "pytest.ini").write_text(settings)
        for name, text in (("test_first", first), ("test_beside", beside)):
            (tmp_path / f"{name}.py").write_text(text)
        code = (
            "import sys; from tests.__main__ import both; "
            "sys.exit(both(['-s', 'test_first.py'], ['-s', 'test_beside.py']))"
        )
        run = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        runs.append(run)
        return run

    yield begin
    for run in runs:
        if run.poll() is None:
            run.terminate()
            run.communicate(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("first", "beside", "code"), [(PASSES, PASSES, 0), (FAILS, PASSES, 1), (PASSES, FAILS, 1)]
)
def test_both_are_printed_one_after_the_other_and_a_failure_is_the_code(
    start: Start, first: str, beside: str, code: int
) -> None:
    run = start(first, beside)
    printed, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == code, printed
    before, line, after = printed.partition("Beside them:")
    assert line
    assert "test_first.py" in before and "test_beside.py" not in before
    assert "test_beside.py" in after and "test_first.py" not in after
    assert printed.count("said") >= 2


@pytest.mark.timeout(150)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_a_signal_ends_both_and_what_they_have_started(
    start: Start, tmp_path: Path, number: int
) -> None:
    os.mkfifo(tmp_path / "started")
    run = start(WAITS, WAITS)
    # For writing too: it does not end between the two who write.
    started = os.open(tmp_path / "started", os.O_RDWR)
    told = b""
    while len(told.split()) < 4 or not told.endswith(b" "):
        assert select.select([started], [], [], PATIENCE)[0], told
        told += os.read(started, 100)
    os.close(started)
    pids = [int(pid) for pid in told.split()]
    assert all(is_running(pid) for pid in pids)
    run.send_signal(number)
    printed, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == -number, printed
    for name in ("test_first", "test_beside"):
        assert (tmp_path / f"{name}.ended").exists(), printed
    assert not [pid for pid in pids if is_running(pid)]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
