"""`madang bench`: run the bench of a checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer

from madang.cli.refusal import refuse


def bench(context: typer.Context) -> None:
    """Measure this machine: Madang beside its peers.

    Works in a checkout of the source, where `make bench` is the same; all options are passed on.
    """
    if not Path("bench", "__main__.py").is_file():
        refuse(
            "The bench is not part of the installed package: run this in a checkout of Madang's "
            "source, or `make bench` there."
        )
    raise typer.Exit(subprocess.call([sys.executable, "-m", "bench", *context.args]))
