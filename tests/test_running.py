"""`python -m tests` itself: what it prints, its code, and that nothing of it is left when it is
told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PASSES = "def test_it():\n    print('said')\n"
FAILS = "def test_it():\n    assert 'said' == ''\n"
WAITS = """
import os, pathlib, subprocess, sys, threading
import pytest

@pytest.fixture
def started(request):
    here = pathlib.Path(__file__)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (here.parent / "started").write_text(f"{os.getpid()} {child.pid}\n")
    yield
    child.kill()
    child.wait()
    (here.parent / f"{here.stem}.ended").touch()

def test_it(started):
    threading.Event().wait()
"""
"""One that waits for ever, with a process of its own that its fixture ends."""
PATIENCE = 60.0


def start(home: Path, first: str, beside: str) -> subprocess.Popen[str]:
    """A run of two files of tests beside each other."""
    (home / "pytest.ini").write_text("[pytest]\n")
    for name, text in (("test_first", first), ("test_beside", beside)):
        (home / f"{name}.py").write_text(text)
    code = (
        "import sys; from tests.__main__ import both; "
        "sys.exit(both(['-s', 'test_first.py'], ['-s', 'test_beside.py']))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    ("first", "beside", "code"), [(PASSES, PASSES, 0), (FAILS, PASSES, 1), (PASSES, FAILS, 1)]
)
def test_both_are_printed_one_after_the_other_and_a_failure_is_the_code(
    tmp_path: Path, first: str, beside: str, code: int
) -> None:
    run = start(tmp_path, first, beside)
    printed, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == code, printed
    before, line, after = printed.partition("Beside them:")
    assert line
    assert "test_first.py" in before and "test_beside.py" not in before
    assert "test_beside.py" in after and "test_first.py" not in after
    assert printed.count("said") >= 2


@pytest.mark.timeout(150)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both_and_what_they_have_started(tmp_path: Path, number: int) -> None:
    os.mkfifo(tmp_path / "started")
    run = start(tmp_path, WAITS, WAITS)
    # For writing too: it does not end between the two who write.
    with open(os.open(tmp_path / "started", os.O_RDWR)) as started:
        pids = [int(pid) for _ in range(2) for pid in started.readline().split()]
    assert len(pids) == 4
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
