"""Files of a room: safe to open in a spreadsheet, and whole."""

from __future__ import annotations

import csv
import io
import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.surfaces.live.export import csv_rows, safe_cell
from tests.surfaces.live.hall import Hall
from tests.surfaces.live.test_talking import everyone

BEGINNINGS = ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
FORMULA = '1+cmd|"/C calc"!A0'


@pytest.mark.parametrize("sign", [*BEGINNINGS, "\t", "\r"])
@pytest.mark.parametrize("before", ["", " ", "\u3000", "\n", "x;", "x; ", "x\n", 'x";'])
def test_no_cell_begins_a_formula(sign: str, before: str) -> None:
    cell = safe_cell(f"{before}{sign}{FORMULA}")
    for part in cell.replace("\r", "\n").replace(";", "\n").split("\n"):
        assert not part.strip().startswith(tuple(BEGINNINGS)), repr(cell)


@given(st.text(alphabet=[*BEGINNINGS, *"ab ;,'\"\t\r\n1"], max_size=30))
def test_whatever_is_in_it(text: str) -> None:
    cell = safe_cell(text)
    assert not cell.startswith((*BEGINNINGS, "\t", "\r"))
    for piece in cell.replace("\r", ";").replace("\n", ";").replace("\t", ";").split(";"):
        assert not piece.lstrip().startswith(tuple(BEGINNINGS)), repr(cell)
    assert [char for char in cell if char != "'"] == [char for char in text if char != "'"]


@given(st.lists(st.lists(st.text(max_size=20), min_size=2, max_size=2), max_size=5))
def test_rows_are_read_as_they_were_written(rows: list[list[str]]) -> None:
    text = csv_rows(rows).decode()
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        [safe_cell(cell) for cell in row] for row in rows
    ]


@pytest.mark.parametrize("plain", ["why?", "2-1", "a = b", "e-mail me@x.org", "1;2", "5 % - 3"])
def test_what_is_no_formula_stays(plain: str) -> None:
    assert safe_cell(plain) == plain


async def test_the_spreadsheet_has_the_questions(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    texts = ["=1+1", "plain, with comma", 'and "quotes"', "@SUM(A1)", "두 줄\n-둘째", "hidden"]
    ids = [await hall.question(ann, text, anonymous=text == "hidden") for text in texts]
    await ben.ask("question_vote", message_id=ids[1], up=True)
    await host.ask("question_state", message_id=ids[2], state="answered")
    await ann.ask("chat_message", content="no question")
    answer = await hall.ask("GET", "/export.csv", token=hall.host_token)
    assert answer.content.startswith(b"\xef\xbb\xbf"), "Excel would take it for another encoding"
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert rows[0] == ["question", "votes", "state", "asker", "time"]
    assert [row[0] for row in rows[1:]] == [safe_cell(text) for text in texts]
    assert [row[1] for row in rows[1:]] == ["0", "1", "0", "0", "0", "0"]
    assert rows[3][2] == "answered"
    assert {row[3] for row in rows[1:]} == {"ann"}
    assert all(row[4].endswith("Z") for row in rows[1:])


async def test_json_has_everything_in_order(hall: Hall) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    host, ann, _ = await everyone(hall)
    said = []
    for number in range(30):
        kind = chance.choice(["chat_message", "question"])
        await ann.ask(kind, content=f"{kind} {number}")
        said.append((kind, f"{kind} {number}"))
    poll = await host.ask("poll_open", question="Tea?", kind="single", options=["yes", "no"])
    await ann.ask("poll_vote", message_id=poll["message_id"], choices=[0])
    content = orjson.loads((await hall.ask("GET", "/export.json", token=hall.host_token)).content)
    assert content["session"]["session_code"] == hall.code
    assert content["exported_at"].endswith("Z")
    messages = content["messages"]
    assert [(one["type"], one["content"]) for one in messages[:-1]] == said
    assert (messages[-1]["type"], messages[-1]["counts"]) == ("poll_open", [1, 0])
    assert [one["seq"] for one in messages] == sorted(one["seq"] for one in messages)
