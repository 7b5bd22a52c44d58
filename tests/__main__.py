"""All tests, in two processes beside each other: `python -m tests`. Those that mostly wait, for
browsers, for faults and for programs that start, beside the others. With arguments it is pytest
with these, in one process.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

PYTEST = [sys.executable, "-m", "pytest"]
BESIDE = [
    "tests/bench",
    "tests/cli",
    "tests/client",
    "tests/console",
    "tests/faults",
    "tests/nodes",
    "tests/rooms_pages",
]


def main(arguments: list[str]) -> int:
    """Run them. What is printed by those beside is printed when the others are done; the code is
    pytest's, of the first that failed."""
    if arguments:
        return subprocess.call([*PYTEST, *arguments])
    with tempfile.TemporaryFile() as kept:
        beside = subprocess.Popen([*PYTEST, *BESIDE], stdout=kept, stderr=subprocess.STDOUT)
        try:
            code = subprocess.call([*PYTEST, *(f"--ignore={folder}" for folder in BESIDE)])
            print("\nBeside them:\n", flush=True)
            other = beside.wait()
        except BaseException:
            beside.terminate()
            beside.wait()
            raise
        kept.seek(0)
        sys.stdout.buffer.write(kept.read())
        sys.stdout.flush()
    return code or other


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
