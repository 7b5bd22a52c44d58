"""All tests, in two processes beside each other: `python -m tests`. Those that mostly wait, for
browsers, for faults, for uploads and for programs that start, beside the others. With arguments it
is pytest with these, in one process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import BinaryIO

PYTEST = [sys.executable, "-m", "pytest"]
BESIDE = [
    "tests/bench",
    "tests/cli",
    "tests/client",
    "tests/console",
    "tests/faults",
    "tests/files",
    "tests/nodes",
    "tests/rooms_pages",
]
"""They take half of the time: a folder is moved when one of the two has to wait for the other."""
GRACE = 30.0
"""Seconds in which a process that was told to end can stop the servers that it has started."""
LOOK_AGAIN = 0.5
"""Seconds between two looks at what was printed meanwhile."""

Run = subprocess.Popen[bytes]


def main(arguments: Sequence[str]) -> int:
    """Run them; the code is pytest's, of the first that failed."""
    if arguments:
        os.execv(sys.executable, [*PYTEST, *arguments])
    return both([f"--ignore={folder}" for folder in BESIDE], BESIDE)


def both(first: Sequence[str], beside: Sequence[str]) -> int:
    """Pytest with each of these arguments. What those beside print is printed when the first are
    done. SIGINT, SIGTERM and SIGHUP end both, with all that they have started, and then this
    process."""
    runs: list[Run] = []
    told: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        told.append(number)
        signal.setitimer(signal.ITIMER_REAL, GRACE)
        for run in runs:
            _interrupt(run)

    def kill(_number: int, _: FrameType | None) -> None:
        for run in runs:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)

    # SIGINT also where it is ignored, as in the background of a script: what ignores it has
    # children that do, and these are ended by it. SIGHUP not: nohup asks for that.
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, end)
    signal.signal(signal.SIGALRM, kill)
    with tempfile.TemporaryFile() as kept:
        for arguments, printed in ((beside, kept), (first, None)):
            runs.append(_start(arguments, printed))
            if told:
                _interrupt(runs[-1])
        codes = [runs[-1].wait()]
        print("\nBeside them:\n", flush=True)
        codes.append(_follow(runs[0], kept))
    if told:
        # As the signal would have: who started this process asks for its end, not for a code.
        signal.signal(told[0], signal.SIG_DFL)
        os.kill(os.getpid(), told[0])
    return next((code for code in codes if code), 0)


def _start(arguments: Sequence[str], printed: BinaryIO | None) -> Run:
    """In a process group of its own: Ctrl-C in a terminal is for this process, which passes it on
    once. A second one would break off what pytest does at its end."""
    stderr = None if printed is None else subprocess.STDOUT
    return subprocess.Popen(
        [*PYTEST, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=printed,
        stderr=stderr,
        process_group=0,
    )


def _interrupt(run: Run) -> None:
    """As Ctrl-C does: pytest ends the test and its fixtures, and with them the servers."""
    if run.poll() is None:
        run.send_signal(signal.SIGINT)


def _follow(run: Run, kept: BinaryIO) -> int:
    """Print what it has printed and prints, to its end; gives its code."""
    place = 0
    while True:
        code = run.poll()
        # It writes at the end of the file that both have open: its place is not to be moved.
        while piece := os.pread(kept.fileno(), 65_536, place):
            place += len(piece)
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        if code is not None:
            return code
        with suppress(subprocess.TimeoutExpired):
            run.wait(LOOK_AGAIN)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
