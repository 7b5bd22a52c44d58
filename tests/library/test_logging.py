"""What Madang logs inside somebody else's process: as its settings say, and nobody's words."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson
import pytest

from tests.conftest import Server

SAID = "my secret words"
APP = """
import structlog
from madang import create_app
{before}
app = create_app()
{after}
@app.agent("broken")
async def broken(run):
    words = run.question
    raise ValueError("it broke")
    yield words
"""
RICH = "structlog.configure(processors=[structlog.dev.ConsoleRenderer()])"
DICTS = """
structlog.configure(processors=[
    structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()
])
"""


class Stock(Server):
    """An app under a stock uvicorn; `before` and `after` it, the host has its way."""

    def __init__(self, directory: Path, before: str, after: str, **settings: str) -> None:
        super().__init__(directory)
        self.settings = {"dev": "true", **settings}
        directory.mkdir()
        (directory / "hosted.py").write_text(APP.format(before=before, after=after), "utf-8")

    def command(self) -> list[str]:
        options = ["--app-dir", str(self.directory), "--port", str(self.port)]
        return [sys.executable, "-m", "uvicorn", *options, "hosted:app"]

    async def log_of_a_failure(self) -> str:
        """What it logs of an agent that fails over `SAID`."""
        self.start()
        try:
            async with self.rest("ann") as rest:
                made = await rest.post("/api/chat/sessions", json={"agent_id": "broken"})
                path = f"/api/chat/sessions/{made.json()['session_id']}/messages"
                asked = await rest.post(path, json={"content": SAID}, params={"wait": "true"})
                assert asked.is_success, asked.text
        finally:
            self.terminate()
        return self.log


async def test_its_log_is_as_its_settings_say(tmp_path: Path) -> None:
    log = await Stock(tmp_path / "json", "", "", log_format="json").log_of_a_failure()
    lines = [orjson.loads(line) for line in log.splitlines() if line.startswith("{")]
    (failure,) = [line for line in lines if line["event"] == "an agent failed"]
    assert failure["level"] == "error" and failure["exception"].endswith("ValueError: it broke")
    assert [line["status"] for line in lines if line["event"] == "run ended"] == ["failed"]
    assert SAID not in log
    log = await Stock(tmp_path / "level", "", "", log_level="error").log_of_a_failure()
    assert "ValueError: it broke" in log and "run ended" not in log
    assert SAID not in log


@pytest.mark.parametrize(
    ("before", "after"), [("", ""), (RICH, ""), ("", RICH), (DICTS, ""), ("", DICTS)]
)
async def test_no_log_shows_what_was_said(tmp_path: Path, before: str, after: str) -> None:
    log = await Stock(tmp_path / "hosted", before, after).log_of_a_failure()
    assert "ValueError: it broke" in log
    assert SAID not in log
