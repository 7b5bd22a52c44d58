"""The page about search says what is so: its queries are read, its answer is the server's."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from madang.model.analyzer import fold, phrase, positions
from madang.ports.search import LONGEST_TEXT
from madang.services.search.following import MOST_NAME_TERMS, MOST_TERMS
from madang.services.search.query import MAX_PIECES, MAX_QUERY, read
from madang.services.search.searching import WINDOW
from tests.conftest import Server

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "search.md").read_text("utf-8")
BASE = "/api/v1/messenger"


def test_every_query_of_the_page_can_be_read() -> None:
    table = PAGE.partition("## What can be asked")[2].partition("\n\n")[0]
    rows = [line.partition(" |")[0] for line in table.splitlines() if line.startswith("| `")]
    asked = [each for row in rows for each in re.findall(r"`([^`]+)`", row)]
    assert len(asked) > 8
    for each in asked:
        read(each)
    for name in ("from:", "in:", "has:", "after:", "before:"):
        assert any(each.startswith(name) for each in asked), name


def test_what_finds_what() -> None:
    found = re.findall(r"`([^`]+)` finds \*([^*]+)\*", PAGE)
    assert len(found) >= 4
    for asked, said in found:
        wanted = phrase(asked)
        assert positions(fold(said), {term for term, _ in wanted}).of(wanted), asked
    for asked, said in re.findall(r"`([^`]+)` does not find \*([^*]+)\*", PAGE):
        wanted = phrase(asked)
        assert not positions(fold(said), {term for term, _ in wanted}).of(wanted), asked


def test_numbers() -> None:
    assert f"at most {MAX_QUERY} characters and {MAX_PIECES} words" in PAGE
    assert f"the newest **{WINDOW}** messages" in PAGE
    assert f"first {MOST_TERMS:,} different words within its first {LONGEST_TEXT:,} char" in PAGE
    assert f"the names of a message's files by {MOST_NAME_TERMS};" in PAGE


async def test_the_answer_of_the_page(server: Server) -> None:
    (block,) = re.findall(r"```json answer\n(.*?)```", PAGE, re.DOTALL)
    shown: dict[str, Any] = json.loads(block)
    (example,) = shown["results"]
    async with server.rest("alice") as alice, asyncio.timeout(30):
        body = {"kind": "group", "participant_ids": ["bob"]}
        room = (await alice.post(f"{BASE}/conversations", json=body)).json()["id"]
        path = f"{BASE}/conversations/{room}/messages"
        await alice.post(path, json={"content": example["content"]})
        while True:
            answer = (await alice.get(f"{BASE}/search", params={"q": "회의"})).json()
            if answer["results"]:
                break
    (result,) = answer["results"]
    assert answer.keys() == shown.keys()
    assert result.keys() == example.keys()
    assert result["highlights"] == example["highlights"]
    assert result["relevance"] == example["relevance"]
