"""The package itself: its version, what importing it costs, and that it says what it needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import madang

ROOT = Path(__file__).parents[1]


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


def test_version_is_the_installed_one() -> None:
    assert madang.__version__ == version("madang")


def test_the_client_does_not_pull_in_the_server() -> None:
    heavy = "fastapi sqlalchemy uvicorn pydantic alembic madang.settings madang.compose"
    loaded = python(
        f"import sys, madang.client; print(*[n for n in '{heavy}'.split() if n in sys.modules])"
    )
    assert loaded == ""


def test_the_public_names_are_there() -> None:
    printed = python("import madang; print(madang.Settings.__name__, callable(madang.create_app))")
    assert printed == "Settings True"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        madang.nothing  # noqa: B018


def test_everything_declared_is_pinned_and_nothing_names_an_address() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    shape = re.compile(
        r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*(; [a-z_]+ [!=]= '\w+'( (and|or) .+)?)?"
    )
    assert [line for line in lines if not shape.fullmatch(line)] == []
    pinned = {re.split("[=;]", line)[0].lower().replace("_", "-") for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[<>=;]", each)[0].lower().replace("_", "-") for each in declared}
    assert names - pinned == set()
