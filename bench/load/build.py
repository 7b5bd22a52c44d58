"""Compiles the load generator where there is a C compiler; tells where there is none."""

import shutil
import subprocess
import sys
from pathlib import Path

from bench.paths import BENCH, BINARIES

LOAD = BENCH / "load"
SOURCES = {
    "counter": ("counter.c", "conn.c", "plan.c", "modes.c", "crowd.c", "runs.c"),
    "blaster": ("blaster.c",),
}


def compiled(name: str) -> Path | None:
    """The program `name`, compiled if its sources are newer; None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    sources = [LOAD / source for source in SOURCES[name]]
    program = BINARIES / name
    newest = max(path.stat().st_mtime for path in [*sources, LOAD / "counter.h"])
    if not program.exists() or program.stat().st_mtime < newest:
        BINARIES.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-O2", "-o", str(program), *map(str, sources)], check=True)
    return program


def counter_command() -> list[str]:
    """How to start the load generator on this machine."""
    program = compiled("counter")
    return [str(program)] if program else [sys.executable, "-m", "bench.load.fallback"]
