"""What was said in a room, as files: questions for a spreadsheet, and everything as JSON.

A spreadsheet takes a cell that begins with `=` and the like for a formula, whoever wrote it
(CWE-1236). So no cell begins so here: an apostrophe stands before it, which spreadsheets read as
"this is text". And since some split cells at semicolons, whatever is quoted, what follows one
inside a text is treated alike.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import orjson

from madang.model.live import Room, question_of
from madang.model.nouns import Message
from madang.model.times import iso
from madang.ports.store import Page
from madang.surfaces.live import frames

COLUMNS = ("question", "votes", "state", "asker", "time")
BYTE_ORDER_MARK = "\ufeff"
"""Without it Excel takes UTF-8 for the system's old encoding."""
PAGE = 500

_FORMULA = re.compile(r"(^|[;\t\r\n])(\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r])")
"""What begins a formula, in full width too, where a cell begins or may be taken to."""

ReadPage = Callable[[int], Awaitable[Page]]
"""From a seq to the `Message`s after it."""


def safe_cell(text: str) -> str:
    """The text as a cell that no spreadsheet computes."""
    while (found := _FORMULA.search(text)) is not None:
        at = found.end(1)
        text = f"{text[:at]}'{text[at:]}"
    return text


def csv_rows(rows: Iterable[Iterable[str]]) -> bytes:
    """Rows as CSV (RFC 4180), every cell quoted."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(map(safe_cell, row) for row in rows)
    return text.getvalue().encode()


async def as_csv(room: Room, read: ReadPage) -> AsyncIterator[bytes]:
    """The questions, in the order they were asked, as the room's host may see them."""
    yield BYTE_ORDER_MARK.encode() + csv_rows([COLUMNS])
    async for message in _messages(read):
        about = question_of(message)
        if about is not None:
            told = frames.question(room, message, about, True)
            yield csv_rows(
                [
                    (
                        message.content,
                        str(about.votes),
                        about.state,
                        told["participant_nickname"],
                        iso(message.created_at),
                    )
                ]
            )


async def as_json(room: Room, read: ReadPage, now: int) -> AsyncIterator[bytes]:
    """The room and all that was said, asked and voted in it, in order: an object of `session`,
    `exported_at` and `messages`, in which each is as its frame."""
    session = orjson.dumps(frames.session(room, True))
    exported_at = orjson.dumps(iso(now))
    yield b'{"session":%b,"exported_at":%b,"messages":[' % (session, exported_at)
    between = b""
    async for message in _messages(read):
        told = frames.message_as_is(room, message, True)
        if told is not None:
            yield between + orjson.dumps({**told, "seq": message.seq})
            between = b","
    yield b"]}"


async def _messages(read: ReadPage) -> AsyncIterator[Message]:
    after, has_more = 0, True
    while has_more:
        page = await read(after)
        for message in page.items:
            yield message
            after = message.seq
        has_more = page.has_more
