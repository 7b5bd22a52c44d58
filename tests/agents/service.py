"""A real HTTP server that speaks what agents speak, and fails in every way that one can: each path
is a behaviour. It keeps what it was asked."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from madang.guarded import GuardedTransport

Writer = asyncio.StreamWriter
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%b\r\n"


@dataclass
class Asked:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Service:
    """What runs. `gate` holds back answers that wait for it."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """A client has gone in the middle of an answer."""
    writers: set[Writer] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.writers.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            path = first.split(" ")[1]
            self.asked.append(Asked(path, headers, body))
            name = path.strip("/").split("/")[0]
            openai = "chat/completions" in path
            await BEHAVIOURS[name](self, Speaking(writer, openai=openai), reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up.set()
        finally:
            self.writers.discard(writer)
            writer.close()


class Speaking:
    """Writes events in the words of either protocol, as chunks of HTTP."""

    def __init__(self, writer: Writer, *, openai: bool) -> None:
        self.writer = writer
        self.openai = openai

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def begin(self) -> None:
        await self.raw(HEAD % b"transfer-encoding: chunked\r\n")

    async def piece(self, data: bytes) -> None:
        """One chunk of HTTP."""
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    def event(self, text: str) -> bytes:
        content: dict[str, Any] = {"type": "stream_chunk", "content": text}
        if self.openai:
            content = completion({"content": text})
        return b"data: %b\n\n" % json.dumps(content, ensure_ascii=False).encode()

    async def say(self, text: str) -> None:
        await self.piece(self.event(text))

    async def end(self) -> None:
        if self.openai:
            await self.piece(b"data: %b\n\n" % json.dumps(completion({}, "stop")).encode())
            usage = {"prompt_tokens": 5, "completion_tokens": 12, "total_tokens": 17}
            last = {**completion({}), "choices": [], "usage": usage}
            await self.piece(b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(last).encode())
        else:
            await self.piece(b'data: {"type":"stream_end","tokens_used":17}\n\n')
        await self.raw(b"0\r\n\r\n")


def completion(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


async def _works(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    await out.begin()
    for text in ("안녕", " 🌊", " hello"):
        await out.say(text)
    await out.end()


async def _slow(service: Service, out: Speaking, reader: asyncio.StreamReader) -> None:
    """Says nothing until it is let."""
    await out.begin()
    await service.gate.wait()
    await out.say("at last")
    await out.end()


async def _stall(service: Service, out: Speaking, reader: asyncio.StreamReader) -> None:
    """Says something, then nothing any more."""
    await out.begin()
    await out.say("begun")
    if not await reader.read():
        service.hung_up.set()


async def _cut(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """Ends in the middle of a chunk of HTTP."""
    await out.begin()
    await out.say("whole ")
    event = out.event("part")
    await out.raw(b"%x\r\n%b" % (len(event), event[:-8]))


async def _cut_character(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """Sends characters in pieces, and ends in the middle of one."""
    await out.begin()
    event = out.event("안녕 🌊")
    for byte in range(len(event)):
        await out.piece(event[byte : byte + 1])
    half = out.event("🌊").partition("🌊".encode())[0] + "🌊".encode()[:2]
    await out.piece(half)
    await out.raw(b"0\r\n\r\n")


async def _busy(service: Service, out: Speaking, reader: asyncio.StreamReader) -> None:
    """Busy the first time."""
    if sum(one.path.startswith("/busy/") for one in service.asked) == 1:
        await out.raw(
            b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n"
        )
    else:
        await _works(service, out, reader)


async def _busy_until(service: Service, out: Speaking, reader: asyncio.StreamReader) -> None:
    """Busy the first time, until a second from now, by its date."""
    if sum(one.path.startswith("/busy-until/") for one in service.asked) == 1:
        date = formatdate(time.time() + 1, usegmt=True).encode()
        await out.raw(b"HTTP/1.1 503 No\r\nretry-after: %b\r\ncontent-length: 0\r\n\r\n" % date)
    else:
        await _works(service, out, reader)


async def _very_busy(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    await out.raw(b"HTTP/1.1 429 No\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n")


async def _malformed(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    await out.begin()
    await out.say("good ")
    await out.piece(b"data: {not json\n\n")
    await out.say("never")
    await out.end()


async def _error(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """An error after a hundred tokens."""
    await out.begin()
    for number in range(100):
        await out.say(f"{number} ")
    if out.openai:
        await out.piece(b'data: {"error": {"message": "the model is tired"}}\n\n')
    else:
        await out.piece(b'data: {"type": "error", "message": "the model is tired"}\n\n')
    await out.raw(b"0\r\n\r\n")


async def _no_end(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """Ends like one that is done, without having said so."""
    await out.begin()
    await out.say("and then")
    await out.raw(b"0\r\n\r\n")


async def _refuses(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    body = b"a secret of the inside"
    await out.raw(
        b"HTTP/1.1 500 Oh\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body),
    )


async def _page(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """A page where events were expected."""
    body = b"<h1>hello</h1>"
    await out.raw(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )


async def _endless(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """Never ends, in one line."""
    await out.begin()
    await out.piece(b"data: ")
    while True:
        await out.piece(b"x" * 65_536)


async def _flood(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """Never ends, in many events."""
    await out.begin()
    while True:
        await out.piece(out.event("flood 🌊 ") * 100)


async def _compressed(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """Packs its answer, asked for or not."""
    packed = gzip.compress(out.event("a" * 2**20))
    await out.raw(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(packed), packed)
    )


async def _many_lines(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """One event that never ends, line by line."""
    await out.begin()
    await out.say("well")
    while True:
        await out.piece(b"data:\n" * 10_000)


async def _inside(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """Leads to an address inside: its own, so that whoever follows is seen here."""
    await out.raw(
        b"HTTP/1.1 307 Temporary Redirect\r\nlocation: %b/works/v1/chat/completions\r\n"
        b"content-length: 0\r\n\r\n" % service.url.encode()
    )


async def _large_count(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """Counts more tokens than a database can hold."""
    await out.begin()
    await out.say("counted")
    if out.openai:
        usage = {"total_tokens": 2**63}
        last = {**completion({}, "stop"), "usage": usage}
        await out.piece(b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(last).encode())
    else:
        await out.piece(b'data: {"type":"usage","tokens_used":9223372036854775808}\n\n')
        await out.piece(b'data: {"type":"stream_end","tokens_used":18446744073709551615}\n\n')
    await out.raw(b"0\r\n\r\n")


async def _calls(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """A model that calls what it is offered: all tools at once, until each has answered; with
    `again` in the question, the first one for ever. Its ids are the same in every round."""
    asked = service.asked[-1].json
    names = [tool["function"]["name"] for tool in asked["tools"]]
    results = [one["content"] for one in asked["messages"] if one["role"] == "tool"]
    await out.begin()
    question = asked["messages"][1]["content"]
    if results and question != "again":
        await out.say(" | ".join(results))
        await out.end()
        return
    if question == "other":
        names = ["other"]
    said = question.partition(" ")[2] or json.dumps({"q": question})
    await out.say("I look. ")
    for index, name in enumerate(names):
        call = {"index": index, "id": f"c{index}", "function": {"name": name, "arguments": ""}}
        await out.piece(b"data: %b\n\n" % json.dumps(completion({"tool_calls": [call]})).encode())
        for part in (said[:3], said[3:]):
            more = {"tool_calls": [{"index": index, "function": {"arguments": part}}]}
            await out.piece(b"data: %b\n\n" % json.dumps(completion(more)).encode())
    await out.end()


async def _tool(service: Service, out: Speaking, reader: asyncio.StreamReader) -> None:
    """A tool behind HTTP; the rest of its path is how it answers."""
    how = service.asked[-1].path.split("/")[2]
    kind, body, status = b"application/json", b'{"found": ["it"]}', b"200 OK"
    match how:
        case "text":
            kind, body = b"text/plain; charset=utf-8", "찾았다\0".encode()
        case "refuses":
            body, status = b"a secret of the inside", b"500 Oh"
        case "no-json":
            body = b"{no"
        case "no-text":
            kind, body = b"text/plain", b"\xff"
        case "large":
            kind, body = b"text/plain", b"x" * (256 * 1024 + 1)
        case "inside":
            await _inside(service, out, reader)
            return
        case "stalls":
            if not await reader.read():
                service.hung_up.set()
            return
    await out.raw(
        b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
        % (status, kind, len(body), body)
    )


async def _steps(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
    """Thinks and calls a tool."""
    await out.begin()
    if out.openai:
        deltas: list[dict[str, Any]] = [
            {"reasoning_content": "hm"},
            {"reasoning_content": "m"},
            {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
        ]
        for delta in deltas:
            await out.piece(b"data: %b\n\n" % json.dumps(completion(delta)).encode())
    else:
        for step in (
            {"id": "t", "kind": "thinking", "content": "hm"},
            {"id": "t", "kind": "thinking", "content": "m", "status": "complete"},
            {"id": "c1", "name": "f", "input": {"a": 1}, "status": "complete"},
        ):
            content = json.dumps({"type": "run_step", **step})
            await out.piece(b"event: ignored\ndata: %b\n\n" % content.encode())
    await out.say("done")
    await out.end()


def _refuses_with(status: int) -> Behaviour:
    """Says why, with the key it was given and what it was asked."""

    async def behave(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
        asked = service.asked[-1]
        key = asked.headers.get("authorization", "whsec_c2VjcmV0").removeprefix("Bearer ")
        question = asked.json["messages"][-1]["content"]
        body = f"Wrong key {key} for {question}: {'x' * 5000}".encode()
        await out.raw(b"HTTP/1.1 %d No\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))

    return behave


def _thinks(then: str) -> Behaviour:
    """Thinks, and then says something, ends, or is cut."""

    async def behave(service: Service, out: Speaking, _: asyncio.StreamReader) -> None:
        await out.begin()
        thought = completion({"reasoning_content": "hm"})
        await out.piece(b"data: %b\n\n" % json.dumps(thought).encode())
        if then == "is-cut":
            return
        if then == "says":
            await out.say("done")
        await out.end()

    return behave


Behaviour = Callable[[Service, Speaking, asyncio.StreamReader], Awaitable[None]]
BEHAVIOURS: dict[str, Behaviour] = {
    "works": _works,
    "slow": _slow,
    "stall": _stall,
    "cut": _cut,
    "cut-character": _cut_character,
    "busy": _busy,
    "busy-until": _busy_until,
    "very-busy": _very_busy,
    "malformed": _malformed,
    "error": _error,
    "no-end": _no_end,
    "refuses": _refuses,
    "page": _page,
    "endless": _endless,
    "flood": _flood,
    "compressed": _compressed,
    "many-lines": _many_lines,
    "inside": _inside,
    "steps": _steps,
    "large-count": _large_count,
    **{f"refuses-{status}": _refuses_with(status) for status in (400, 401, 403, 404)},
    "thinks-and-says": _thinks("says"),
    "thinks-and-ends": _thinks("ends"),
    "thinks-and-is-cut": _thinks("is-cut"),
    "calls": _calls,
    "tool": _tool,
}


@asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    """The service, on a free port of this machine."""
    service = Service()
    server = await asyncio.start_server(service.handle, "127.0.0.1", 0)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        for writer in list(service.writers):
            writer.transport.abort()
        await server.wait_closed()


def public_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the name `public.example` lead to this machine, as if that were a public address. All
    other names and addresses are looked at as ever."""
    looked_at = GuardedTransport._resolve

    async def resolve(
        self: GuardedTransport, host: str, port: int, request: httpx.Request
    ) -> Sequence[str]:
        if host == "public.example":
            return ["127.0.0.1"]
        return await looked_at(self, host, port, request)

    monkeypatch.setattr(GuardedTransport, "_resolve", resolve)


def configured(url: str, kind: str) -> dict[str, Any]:
    """An agent for each behaviour, of this kind."""
    if kind == "http":
        return {
            name: {"kind": "http", "url": f"{url}/{name}/agent", "secret": "whsec_c2VjcmV0"}
            for name in BEHAVIOURS
        }
    return {
        name: {
            "kind": "openai",
            "url": f"{url}/{name}/v1",
            "key": "sk-secret",
            "model": "m",
            "system": "Be brief.",
            "temperature": 0.5,
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        }
        for name in BEHAVIOURS
    }
