"""The pages say what is so: their examples are run, their tables compared with the code, and their
links followed."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

import madang
from madang.compose import Madang
from madang.protocol.codes import HTTP_STATUS, CloseCode, ErrorCode
from madang.settings import Settings
from madang.surfaces.messenger import commands
from tests.conftest import Server
from tests.phone import PATIENCE, Phone, calling

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
MESSENGER = (DOCS / "messenger.md").read_text("utf-8")
OTHERS = ("events.md", "authentication.md", "agents.md", "files.md", "live.md", "search.md")
"""Where the routes are that are not the messenger's."""
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
Frame = dict[str, Any]

COMMANDS: dict[str, type[commands.Command]] = {
    "message.send": commands.MessageSend,
    "message.edit": commands.MessageEdit,
    "message.delete": commands.OnMessage,
    "message.read": commands.OnMessage,
    "typing": commands.Typing,
    "typing.start": commands.Typing,
    "typing.stop": commands.Typing,
    "reaction.add": commands.Reaction,
    "reaction.remove": commands.Reaction,
    "subscribe": commands.Subscribe,
    "unsubscribe": commands.Unsubscribe,
    "resume": commands.Resume,
    "presence.set": commands.PresenceSet,
    "token.refresh": commands.TokenRefresh,
    "ping": commands.Ping,
}


def blocks(text: str, language: str) -> Iterator[str]:
    """The code blocks with exactly this after the fence, those in lists too."""
    for found in re.finditer(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        yield re.sub(rf"^{found[1]}", "", found[2], flags=re.MULTILINE)


def frames(page: str, language: str) -> list[Frame]:
    """The frames of these blocks, one after the other, however their lines are broken."""
    found = []
    for block in blocks(page, language):
        at = 0
        while rest := block[at:].strip():
            frame, length = json.JSONDecoder().raw_decode(rest)
            found.append(frame)
            at = block.index(rest, at) + length
    return found


@pytest.fixture
def app(tmp_path: Path) -> Madang:
    """The app with every route it can have."""
    return madang.create_app(Settings(dev=True, data_dir=tmp_path))


# Links.


def slugs(page: Path) -> set[str]:
    """The anchors that a page's headings make."""
    prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in slugs(file)):
            broken.append(target)
    assert broken == []


def test_every_page_is_reached_from_the_index() -> None:
    index = (DOCS / "index.md").read_text("utf-8")
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"index.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


# The messenger, frame by frame.


def test_every_command_is_documented_with_all_its_fields(
    app: Madang,
) -> None:
    assert set(COMMANDS) == set(app.messenger._handlers)
    shown: dict[type[commands.Command], set[str]] = {}
    for frame in frames(MESSENGER, "json client"):
        model = COMMANDS[frame["type"]]
        model.model_validate(frame)
        shown.setdefault(model, {"id"}).update(frame)
    assert {frame["type"] for frame in frames(MESSENGER, "json client")} == set(COMMANDS)
    assert shown == {model: set(model.model_fields) for model in COMMANDS.values()}


def test_other_pages_show_frames_that_are_valid() -> None:
    for page in PAGES:
        text = page.read_text("utf-8").replace("PASTE-THE-ID", str(uuid.uuid4()))
        for frame in frames(text, "json client"):
            COMMANDS[frame["type"]].model_validate(frame)


async def test_the_server_says_what_the_page_says(make_server: Callable[..., Server]) -> None:
    """Every client frame of the page is sent, with ids of the day; what comes back has the types
    and fields that the page shows, and no type that it does not."""
    server = make_server(offline_grace="0.1", rate_limit_enabled="false")
    tour = Tour(server)
    async with calling(server.ws, server.token("alice")) as alice:
        async with calling(server.ws, server.token("bob")) as bob:
            await tour.take(alice, bob)
        gone = await alice.until("user.offline")
        assert gone["user_id"] == "bob"
    heard = alice.frames + bob.frames
    shown = frames(MESSENGER, "json server")
    assert {frame["type"] for frame in heard} == {frame["type"] for frame in shown}
    for frame in shown:
        alike = {shape(other) for other in heard if other["type"] == frame["type"]}
        assert shape(frame) in alike, frame


def shape(frame: Frame) -> tuple[frozenset[str], frozenset[str]]:
    """A frame's fields and those of its MESSAGE or CONVERSATION."""
    data = frame.get("data", {})
    if isinstance(data, str):
        (data,) = frames(MESSENGER, f"json {data.lower()}")
        if frame["type"] in ("conversation.updated", "conversation.archived"):
            data = {k: v for k, v in data.items() if k not in ("unread_count", "muted")}
    return frozenset(frame) - {"reply_to"}, frozenset(data)


class Tour:
    """Sends what the page shows."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def take(self, alice: Phone, bob: Phone) -> None:
        connected = await alice.until("system")
        await bob.until("system")
        async with self.server.rest("alice") as rest:
            base = "/api/v1/messenger/conversations"
            body = {"kind": "group", "title": "Weekend", "participant_ids": ["bob"]}
            made = (await rest.post(base, json=body)).json()
            # Bob's commands would reach him as somebody else's; alice's reach both.
            for number, frame in enumerate(frames(MESSENGER, "json client")):
                sent = await self.prepared(alice, frame, made["id"], connected)
                sent["id"] = f"tour-{number}"
                await alice.send(sent.pop("type"), **sent)
                if not frame["type"].startswith("typing"):
                    answer = await alice.until(_answers(sent["id"]))
                    assert answer["type"] != "error", (frame, answer)
                if frame["type"] == "unsubscribe":
                    await alice.send("subscribe", id="again", conversation_id=made["id"])
                    await alice.until(_answers("again"))
            await self.the_rest(alice, rest, f"{base}/{made['id']}")
        await bob.send("presence.set", status="away")
        await alice.until("user.away")
        await bob.rest()

    async def prepared(
        self, alice: Phone, frame: Frame, conversation_id: str, connected: Frame
    ) -> Frame:
        """The frame about things that exist here; a message of its own for each."""
        sent = dict(frame)
        if "conversation_id" in sent:
            sent["conversation_id"] = conversation_id
        for field in {"message_id", "reply_to_id"} & sent.keys():
            await alice.send(
                "message.send", id="new", conversation_id=conversation_id, content="new"
            )
            sent[field] = (await alice.until("message.sent"))["message_id"]
        if sent["type"] == "reaction.remove":
            await alice.send(
                "reaction.add", id="first", message_id=sent["message_id"], emoji=sent["emoji"]
            )
            await alice.until(_answers("first"))
        if "cursor" in sent:
            seconds = isinstance(sent["cursor"], float)
            sent["cursor"] = connected["cursor"] / 1e6 if seconds else connected["cursor"]
        if "epoch" in sent:
            sent["epoch"] = connected["epoch"]
        if "token" in sent:
            sent["token"] = self.server.token("alice")
        return sent

    async def the_rest(self, alice: Phone, rest: httpx.AsyncClient, path: str) -> None:
        """What the page shows and no frame of it asks for."""
        await alice.send("resume", id="beyond", cursor=2**61)
        assert (await alice.until(_answers("beyond")))["recovered"] is False
        await alice.send("message.send", id="empty", conversation_id=path[-36:], content="")
        assert (await alice.until(_answers("empty")))["type"] == "error"
        assert (await rest.post(f"{path}/participants", json={"user_ids": [42]})).is_success
        assert (await rest.delete(f"{path}/participants/42")).is_success
        assert (await rest.patch(path, json={"title": "Sunday"})).is_success
        async with self.server.rest("billing", roles=["service"]) as backend:
            event = {"type": "invoice.paid", "payload": {"amount": 12}, "user_id": "alice"}
            assert (await backend.post("/api/v1/events", json=event)).status_code == 201
        await alice.until("invoice.paid")
        assert (await rest.delete(path)).is_success
        await alice.until("conversation.archived")


def _answers(number: str) -> Callable[[Frame], bool]:
    return lambda frame: frame.get("reply_to") == number


async def test_the_event_log_says_what_its_page_says(server: Server) -> None:
    event, complete, ack = frames((DOCS / "events.md").read_text("utf-8"), "json")
    address = server.ws.replace("/messenger/", "/events/")
    async with server.rest("billing", roles=["service"]) as backend:
        body = {"type": event["type"], "payload": event["payload"], "user_id": "alice"}
        published = (await backend.post("/api/v1/events", json=body)).json()
    token = server.token("alice")
    async with calling(address, token, client_id="phone-1", cursor=0) as alice:
        told = await alice.take()
        assert (told.keys(), told["payload"]) == (event.keys(), event["payload"])
        assert told["cursor"] == published["cursor"]
        assert (await alice.take()).keys() == complete.keys()
        await alice.socket.send(json.dumps({**ack, "cursor": told["cursor"]}))
        acked = {"type": "acked", "cursor": told["cursor"], "reply_to": ack["id"]}
        assert await alice.take() == acked


async def test_files_are_as_their_page_says(server: Server) -> None:
    page = (DOCS / "files.md").read_text("utf-8")
    (uploaded,), (kept,) = frames(page, "json uploaded"), frames(page, "json file")
    (progress,) = frames(page, "json server")
    content = io.BytesIO()
    Image.new("RGB", (400, 300)).save(content, "PNG")
    async with server.rest("alice") as rest, calling(server.ws, server.token("alice")) as alice:
        body = {"kind": "group", "participant_ids": ["bob"]}
        made = (await rest.post("/api/v1/messenger/conversations", json=body)).json()
        answer = await rest.post(
            f"/api/chat/sessions/{made['id']}/files",
            files={"file": ("사진.png", content.getvalue())},
            data={"message": "see page 3"},
        )
        told = answer.json()
        assert (answer.status_code, told.keys()) == (201, uploaded.keys())
        assert told["file_info"].keys() == uploaded["file_info"].keys()
        heard = await alice.until("upload.progress")
        while heard["state"] != progress["state"]:
            heard = await alice.until("upload.progress")
        assert heard.keys() == progress.keys()
        message = await alice.until("message.new")
        (attached,) = message["data"]["attachments"]
        assert attached.keys() == kept.keys()
    named = set(re.findall(r"`([A-Z_]+)` \| \d+ \|", page))
    assert named <= {code.value for code in ErrorCode}


async def test_a_stream_says_what_its_page_says(server: Server) -> None:
    (shown,) = (
        block for block in blocks((DOCS / "events.md").read_text("utf-8"), "") if "id: " in block
    )
    fields = [re.findall(r"^(\w+): ", part, re.MULTILINE) for part in shown.strip().split("\n\n")]
    names = [set(re.findall(r'"(\w+)":', part)) for part in shown.strip().split("\n\n")]
    async with server.rest("billing", roles=["service"]) as backend:
        body = {"type": "invoice.paid", "payload": {"amount": 12}, "user_id": "alice"}
        await backend.post("/api/v1/events", json=body)
    told: list[list[str]] = [[]]
    async with (
        asyncio.timeout(PATIENCE),
        server.rest("alice") as alice,
        alice.stream("GET", "/api/v1/events/stream?cursor=0") as answer,
    ):
        async for line in answer.aiter_lines():
            if line:
                told[-1].append(line)
            elif "replay_complete" in told[-1][-1]:
                break
            else:
                told.append([])
    assert [[line.partition(": ")[0] for line in event] for event in told] == fields
    event, complete = (json.loads(event[1].removeprefix("data: ")) for event in told)
    assert names[0] - {"amount"} <= event.keys()
    assert names[1] == complete.keys()


async def test_what_is_to_be_pasted_can_be(server: Server) -> None:
    """A terminal sends each line as it is pasted: so every line is a frame."""
    page = (DOCS / "getting-started.md").read_text("utf-8")
    lines = [line for block in blocks(page, "json client") for line in block.splitlines()]
    assert lines
    async with server.rest("alice") as rest:
        body = {"kind": "group", "title": "마당", "participant_ids": ["bob"]}
        made = (await rest.post("/api/v1/messenger/conversations", json=body)).json()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "websockets", f"{server.ws}?token={server.token('alice')}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            await process.stdout.readuntil(b'"connected"')
            for line in lines:
                process.stdin.write(line.replace("PASTE-THE-ID", made["id"]).encode() + b"\n")
                await process.stdout.readuntil(b'"message.sent"')
    finally:
        process.kill()
        await process.communicate()


# Routes and codes.


def test_every_route_is_documented_and_nothing_else(
    app: Madang,
) -> None:
    routes = {
        f"{method.upper()} {path}"
        for path, methods in app.http.openapi()["paths"].items()
        for method in methods
    }
    told = {
        f"{method} /api/v1/messenger{path}"
        for method, path in re.findall(r"^\| `([A-Z]+) (/[^`?]+)` \|", MESSENGER, re.MULTILINE)
    }
    assert told == {route for route in routes if " /api/v1/messenger/" in route}
    others = "".join((DOCS / page).read_text("utf-8") for page in OTHERS)
    missing = {route for route in routes - told if f"`{route}" not in others}
    assert missing == set()


def test_docs_of_the_server_ask_for_every_path_parameter_and_a_token(app: Madang) -> None:
    for path, methods in app.http.openapi()["paths"].items():
        for route in methods.values():
            asked = {p["name"] for p in route.get("parameters", ()) if p["in"] == "path"}
            assert asked == set(re.findall(r"{(\w+)}", path)), path
            assert bool(route.get("security")) != path.startswith("/api/v1/dev/"), path


def test_every_error_code_is_documented_with_its_status() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", MESSENGER, re.MULTILINE))
    assert rows == {code.value: str(HTTP_STATUS[code]) for code in ErrorCode}


def test_every_close_code_is_documented() -> None:
    rows = re.findall(r"^\| (\d{4}) \|", MESSENGER, re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(CloseCode)


def test_settings_that_pages_name_exist() -> None:
    plain = {name.upper() for name in Settings.model_fields}
    known = plain | {f"MADANG_{name}" for name in plain} | {code.value for code in ErrorCode}
    tests_own = {"MADANG_FUZZ_SECONDS", "MADANG_SEED"}
    named: set[str] = set()
    for page in PAGES:
        named.update(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)\b", page.read_text("utf-8")))
    assert named - known - tests_own <= {"PYTEST_ARGS"}


def test_every_package_has_its_place_in_the_architecture() -> None:
    page = (DOCS / "architecture.md").read_text("utf-8")
    told = {
        name for line in re.findall(r"^### (.+)$", page, re.MULTILINE) for name in line.split(", ")
    }
    packages = {path.parent.name for path in (ROOT / "src/madang").glob("*/__init__.py")}
    assert packages - told == set()
    modules = {path.stem for path in (ROOT / "src/madang").glob("*.py")}
    assert told - packages - modules == set()


# Programs on the pages.


def python_blocks(page: str) -> list[str]:
    return list(blocks((ROOT / page).read_text("utf-8"), "python"))


def test_python_on_the_pages_compiles() -> None:
    for page in PAGES:
        for block in blocks(page.read_text("utf-8"), "python"):
            lines = block.replace("\n", "\n    ")
            compile(f"async def block():\n    {lines}", str(page), "exec")


async def test_the_client_of_the_readme_runs(server: Server, tmp_path: Path) -> None:
    (program,) = (block for block in python_blocks("README.md") if "madang.client" in block)
    file = tmp_path / "hello.py"
    file.write_text(program, "utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(file),
        server.token("alice"),
        server.url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUTF8": "1"},
        # Who runs the tests in the background of a shell has them ignore Ctrl-C.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            lines = [(await process.stdout.readline()).decode() for _ in range(2)]
            process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, errors) == (0, b""), "Ctrl-C is how it ends"
    assert lines[0].startswith("1 conversation.created ")
    assert lines[1].startswith("2 message.new ")
    assert "안녕, courtyard!" in lines[1]


def test_agents_and_files_as_the_readme_tells_them(server: Server, tmp_path: Path) -> None:
    page = (ROOT / "README.md").read_text("utf-8")
    said, sent = (block for block in blocks(page, "sh") if "$CHAT" in block)
    # In one shell, as somebody would; the search is asked until the index has followed.
    sent, search = sent.rsplit("\n", 2)[:2]
    until = f"until {search} | tee found | grep -q relevance; do :; done"
    script = f"{said}\necho ---\n{sent}\n{until}".replace("http://127.0.0.1:8000", server.url)
    script = script.replace("$(madang token alice)", server.token("alice"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env={"PATH": path, "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=True,
        text=True,
        encoding="utf-8",
    )
    stream, _, file = done.stdout.partition("---")
    told = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    (asked,) = re.findall(r'"content": "(.*?)"', said)
    assert "".join(frame.get("content", "") for frame in told) == asked
    assert (told[0]["type"], told[-1]["status"]) == ("stream_start", "complete")
    assert json.loads(file)["file_info"]["name"] == "plan.txt"
    found = json.loads((tmp_path / "found").read_text("utf-8"))["results"]
    assert [message["content"] for message in found] == ["회의록, for the courtyard"]


def test_an_answer_is_resumed_in_a_shell_as_the_page_tells_it(
    server: Server, tmp_path: Path
) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    page = (DOCS / "agents.md").read_text("utf-8")
    begun = next(block for block in blocks(readme, "sh") if "$CHAT" in block).rsplit("curl", 1)[0]
    (resumed,) = (block for block in blocks(page, "sh") if "Last-Event-ID" in block)
    # Cut off behind the first chunk.
    cut = resumed.replace("| tee heard", "| head -n 5 | tee heard")
    assert cut != resumed
    script = f"{begun}\n{cut}".replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(
        ["bash", "-euc", script.replace("$(madang token alice)", server.token("alice"))],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=True,
        encoding="utf-8",
    )
    told = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("data: ")]
    (asked,) = re.findall(r'"content": "(.*?)"', resumed)
    assert "".join(frame.get("content", "") for frame in told) == asked
    assert [frame["type"] for frame in told].count("stream_start") == 1
    assert (told[-1]["type"], told[-1]["status"]) == ("stream_end", "complete")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[int]:
    """The app of the README under uvicorn; its port."""
    (program,) = (block for block in python_blocks("README.md") if "FastAPI" in block)
    (tmp_path / "shop.py").write_text(program, "utf-8")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "shop:app", "--fd", str(listening.fileno())],
            cwd=tmp_path,
            env={**os.environ, "MADANG_DATA_DIR": str(tmp_path)},
            pass_fds=[listening.fileno()],
        )
        port: int = listening.getsockname()[1]
    yield port
    process.terminate()
    process.wait()


async def test_the_mounted_app_of_the_readme_runs(shop: int) -> None:
    address = f"ws://127.0.0.1:{shop}/chat/api/v1/messenger/ws/alice"
    async with calling(address) as alice, httpx.AsyncClient(timeout=PATIENCE) as http:
        await alice.until("system")
        answer = await http.post(f"http://127.0.0.1:{shop}/orders/alice")
        event = await alice.until("order.placed")
    assert event["payload"] == {"by": "alice"}
    assert event["cursor"] == answer.json()["cursor"]


async def test_backup_and_restore_as_the_page_tells_them(server: Server) -> None:
    """A cursor from after the backup is not silently taken for one of the restored log."""
    page = (DOCS / "operations.md").read_text("utf-8")
    backup, restore = (block for block in blocks(page, "sh") if "backup.sqlite3" in block)
    work = server.directory.parent
    (work / "madang-data").symlink_to(server.directory)

    def shell(script: str) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["sh", "-e", "-c", script], cwd=work, check=True, env={"PATH": path})

    async with server.rest("alice") as rest:
        body = {"kind": "direct", "participant_ids": ["bob"]}
        made = (await rest.post("/api/v1/messenger/conversations", json=body)).json()
        path = f"/api/v1/messenger/conversations/{made['id']}/messages"
        await rest.post(path, json={"content": "before"})
        shell(backup)
        await rest.post(path, json={"content": "after"})
    async with calling(server.ws, server.token("alice")) as alice:
        cursor = (await alice.until("system"))["cursor"]
    server.terminate()
    shell(restore)
    server.restart()
    async with server.rest("alice") as rest:
        listed = (await rest.get(path)).json()
        assert [message["content"] for message in listed["messages"]] == ["before"]
        await rest.post(path, json={"content": "later"})
    async with calling(server.ws, server.token("alice"), cursor=cursor) as alice:
        resumed = await alice.until("resumed")
    assert (resumed["recovered"], resumed["reason"]) == (False, "other_epoch")
