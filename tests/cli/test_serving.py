"""The commands that run or watch a server, as real processes."""

from __future__ import annotations

import json
import re
import shlex
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner
from websockets.sync.client import connect

from madang.cli import app
from madang.cli.courtyard import AGENTS, API, ECHO, PEOPLE, SCENES
from madang.clock import SystemClock
from madang.services.keys import dev_secret
from madang.services.trust import token_verifier
from madang.settings import load
from tests.cli.conftest import Running

Start = Callable[..., Running]
EVENTS = sum(1 + len(scene.lines) for scene in SCENES) + sum(
    sender == ECHO for scene in SCENES for sender, _ in scene.lines
)
"""In the demo's log: each conversation's making, its lines, and the end of each agent's answer."""


def token(user: str, data_dir: str, *more: str) -> str:
    made = CliRunner().invoke(app, ["token", user, "--data-dir", data_dir, *more])
    assert made.exit_code == 0, made.output
    return made.stdout.strip()


def get(base: str, path: str, bearer: str) -> Any:
    answer = httpx.get(
        base + path, headers={"Authorization": f"Bearer {bearer}"}, trust_env=False, timeout=30
    )
    return answer.raise_for_status().json()


def contents(base: str, bearer: str) -> dict[str, list[str]]:
    """What every conversation and session of someone holds, by the demo's name of it."""
    conversations = get(base, f"{API}/conversations", bearer)["conversations"]
    sessions = get(base, f"{AGENTS}/sessions", bearer)["sessions"]
    ids = [each["id"] for each in conversations] + [each["session_id"] for each in sessions]
    held = {}
    for each in ids:
        path = f"{API}/conversations/{each}"
        name = get(base, path, bearer)["metadata"]["demo"]
        messages = get(base, f"{path}/messages", bearer)["messages"]
        held[name] = [message["content"] for message in messages]
    return held


def test_demo_twice_holds_everything_once(start: Start, port: int) -> None:
    base = f"http://127.0.0.1:{port}"
    expected = {scene.key: [text for _, text in scene.lines] for scene in SCENES}
    for _ in range(2):
        demo = start("demo", "--port", str(port), "--data-dir", "kept")
        demo.wait_for("/docs")
        assert contents(base, token("minji", "kept")) == expected
        log = get(base, "/api/v1/events?scope=org", token("root", "kept", "--role", "admin"))
        assert len(log["events"]) == EVENTS
        assert demo.interrupt() == 0


def test_the_demo_shows_people_and_an_agent_and_opens_where_all_of_them_talk(
    start: Start, port: int
) -> None:
    start("demo", "--port", str(port), "--data-dir", "kept").wait_for("/docs")
    base, minji = f"http://127.0.0.1:{port}", token("minji", "kept")
    (session,) = get(base, f"{AGENTS}/sessions", minji)["sessions"]
    path = f"{AGENTS}/sessions/{session['session_id']}/messages"
    said = get(base, path, minji)["messages"]
    assert [message["sender_id"] for message in said] == ["minji", ECHO, "jisoo"]
    assert said[1]["metadata"]["status"] == "complete"
    newest = get(base, f"{API}/conversations", minji)["conversations"][0]
    assert newest["metadata"]["demo"] == "launch"
    assert newest["last_message"]["created_at"] > session["last_message_at"]


def test_the_links_of_the_demo_open(start: Start, port: int) -> None:
    demo = start("demo", "--port", str(port), "--fresh")
    demo.wait_for("/docs")
    links = [line.strip() for line in demo.lines if "/console?user=" in line]
    assert len(links) >= 2
    for link in links:
        page = httpx.get(link, follow_redirects=True, trust_env=False, timeout=30)
        assert page.status_code == 200
        assert "text/html" in page.headers["content-type"]
        assert len(link) < 80, "a terminal shows it whole"
    names = [line.strip() for line in demo.lines]
    assert all(person.name in names for person in PEOPLE[: len(links)])
    assert httpx.get(f"http://127.0.0.1:{port}/docs", trust_env=False).status_code == 200
    command = shlex.split(demo.wait_for("madang token").strip())[1:]
    made = CliRunner().invoke(app, command).stdout.strip()
    assert get(f"http://127.0.0.1:{port}", f"{API}/conversations", made)["conversations"] == []


def test_demo_takes_a_free_port_where_its_own_is_taken(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = start("demo", "--port", str(port), "--fresh")
        address = demo.wait_for("/docs").strip().removesuffix("/docs")
    assert f":{port}" not in address
    assert httpx.get(f"{address}/docs", trust_env=False).status_code == 200


def test_demo_does_not_write_into_the_configured_database(
    start: Start, port: int, directory: Path
) -> None:
    (directory / ".env").write_text("DATABASE_URL=sqlite:///production.sqlite3\n")
    start("demo", "--port", str(port), "--data-dir", "kept").wait_for("/docs")
    assert not (directory / "production.sqlite3").exists()
    assert (directory / "kept" / "madang.sqlite3").exists()


def test_tail_shows_what_was_and_what_comes(start: Start, port: int) -> None:
    base = f"http://127.0.0.1:{port}"
    start("demo", "--port", str(port), "--data-dir", "kept").wait_for("/docs")
    follow = ("tail", "--url", base, "--data-dir", "kept", "--since", "0")
    everything, raw = start(*follow), start(*follow, "--json", "--type", "message.*")
    line = everything.wait_for("김밥은 제가 싸 갈게요.")
    assert "message.new" in line
    assert "jisoo" in line

    raw.wait_for("message.new", count=sum(len(scene.lines) for scene in SCENES))
    minji = token("minji", "kept")
    conversation = next(
        each["id"]
        for each in get(base, f"{API}/conversations", minji)["conversations"]
        if each["metadata"]["demo"] == "courtyard"
    )
    sent = httpx.post(
        f"{base}{API}/conversations/{conversation}/messages",
        json={"content": "방금 온 것\x1b[2J"},
        headers={"Authorization": f"Bearer {minji}"},
        trust_env=False,
    ).raise_for_status()

    line = everything.wait_for("방금 온 것")
    assert f" {sent.json()['seq']} " in line
    assert "\x1b" not in line, "a message must not steer the terminal"
    event = json.loads(raw.wait_for("방금 온 것"))
    assert event["type"] == "message.new"
    assert event["payload"]["data"]["id"] == sent.json()["id"]
    assert not any("conversation.created" in each for each in raw.lines)
    assert everything.interrupt() == 0
    assert everything.lines[-1].count("Traceback") == 0


def test_tail_comes_back_to_where_it_was(start: Start, port: int) -> None:
    base = f"http://127.0.0.1:{port}"
    first = start("demo", "--port", str(port), "--data-dir", "kept")
    first.wait_for("/docs")
    tail = start("tail", "--url", base, "--data-dir", "kept", "--since", "0")
    tail.wait_for("message.new", count=sum(len(scene.lines) for scene in SCENES))
    assert first.interrupt() == 0
    tail.wait_for("trying again")
    start("demo", "--port", str(port), "--data-dir", "kept").wait_for("/docs")
    tail.wait_for("Following", count=2)
    minji = token("minji", "kept")
    conversation = get(base, f"{API}/conversations", minji)["conversations"][0]["id"]
    httpx.post(
        f"{base}{API}/conversations/{conversation}/messages",
        json={"content": "after the pause"},
        headers={"Authorization": f"Bearer {minji}"},
        trust_env=False,
    ).raise_for_status()
    tail.wait_for("after the pause")
    shown = [line for line in tail.lines if "message.new" in line]
    assert len(shown) == len(set(shown)) == sum(len(scene.lines) for scene in SCENES) + 1


def test_tail_gives_up_where_it_is_not_allowed(start: Start, port: int) -> None:
    start("demo", "--port", str(port), "--fresh").wait_for("/docs")
    tail = start("tail", "--url", f"http://127.0.0.1:{port}", "--token", "not.a.token")
    tail.wait_for("The server refused: Invalid token.")
    assert tail.process.wait(30) == 1


def test_tail_shows_its_token_in_no_address(start: Start, port: int, directory: Path) -> None:
    dev_secret(directory / "madang-data")
    with socket.create_server(("127.0.0.1", port)) as server:
        tail = start("tail", "--url", f"http://127.0.0.1:{port}")
        caller, _ = server.accept()
        with caller:
            request = caller.recv(65536).decode()
    address, _, headers = request.partition("\r\n")
    assert "token" not in address
    found = re.search(r"^authorization: bearer (\S+)", headers, re.IGNORECASE | re.MULTILINE)
    assert found is not None
    identity = token_verifier(load(dev=True)).verify(found[1], SystemClock().now())
    assert identity.expires_at - SystemClock().now() / 1_000_000 <= 15 * 60
    line = tail.wait_for("trying again")
    assert "Errno" not in line


def test_tail_of_one_conversation_by_the_end_of_its_id(start: Start, port: int) -> None:
    base = f"http://127.0.0.1:{port}"
    start("demo", "--port", str(port), "--data-dir", "kept").wait_for("/docs")
    minji = token("minji", "kept")
    listed = get(base, f"{API}/conversations", minji)["conversations"]
    chosen = next(each["id"] for each in listed if each["metadata"]["demo"] == "pair")
    follow = ("tail", "--url", base, "--data-dir", "kept", "--since", "0", "--json")
    tail = start(*follow, "--conversation", chosen[-8:], "--type", "message.new")
    tail.wait_for("message.new", count=3)
    headers = {"Authorization": f"Bearer {minji}"}
    for each in listed:
        httpx.post(
            f"{base}{API}/conversations/{each['id']}/messages",
            json={"content": "one more"},
            headers=headers,
            trust_env=False,
        ).raise_for_status()
    tail.wait_for("message.new", count=4)
    events = [json.loads(line) for line in tail.lines if "message.new" in line]
    assert {event["conversation_id"] for event in events} == {chosen}


@pytest.mark.parametrize("style", ["console", "json"])
def test_serve_says_where_it_is_and_that_it_has_stopped(
    start: Start, monkeypatch: pytest.MonkeyPatch, style: str
) -> None:
    monkeypatch.setenv("MADANG_LOG_FORMAT", style)
    monkeypatch.setenv("MADANG_PROT", "1")
    server = start("serve", "--dev", "--port", "0", "--host", "0.0.0.0")
    line = server.wait_for("listens on" if style == "console" else '"listening"')
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found is not None
    base = found[0]
    assert httpx.get(f"{base}/healthz", trust_env=False).status_code == 200
    server.wait_for("SQLite, madang-data/madang.sqlite3")
    server.wait_for("whoever reaches this port can speak as anybody")
    server.wait_for("MADANG_PROT is set, and no setting has that name.")
    address = f"ws://{base.removeprefix('http://')}/api/v1/messenger/ws/alice"
    with connect(address, proxy=None) as alice:
        alice.recv()
        assert server.interrupt() == 0
    if style == "console":
        assert server.lines[-1] == "Stopped; 1 client sent away."
    else:
        told = [json.loads(line) for line in server.lines]
        assert told[-1]["event"] == "stopped"
        assert told[-1]["sent_away"] == 1


def test_serve_names_the_short_secret_as_it_was_set(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADANG_JWT_SECRET_KEY", "short")
    server = start("serve", "--port", "0")
    line = server.wait_for("shorter than 32 bytes")
    assert line.startswith("MADANG_JWT_SECRET_KEY ")
    server.wait_for("listens on")


def test_serve_keeps_what_was_said_over_a_restart(start: Start, port: int) -> None:
    base = f"http://127.0.0.1:{port}"
    serve = ("serve", "--dev", "--port", str(port), "--data-dir", "kept")
    first = start(*serve)
    wait_until_up(first, base)
    alice = token("alice", "kept")
    headers = {"Authorization": f"Bearer {alice}"}
    made = httpx.post(
        f"{base}{API}/conversations",
        json={"kind": "direct", "participant_ids": ["bob"]},
        headers=headers,
        trust_env=False,
    ).raise_for_status()
    path = f"{API}/conversations/{made.json()['id']}/messages"
    httpx.post(base + path, json={"content": "still there?"}, headers=headers, trust_env=False)
    assert first.interrupt() == 0

    second = start(*serve)
    wait_until_up(second, base)
    messages = get(base, path, token("bob", "kept"))["messages"]
    assert [message["content"] for message in messages] == ["still there?"]
    assert second.interrupt() == 0


def wait_until_up(server: Running, base: str) -> None:
    """Ask for health until it answers; connecting is what waits."""
    transport = httpx.HTTPTransport(retries=8)  # connection attempts, with growing pauses
    with httpx.Client(transport=transport, trust_env=False, timeout=30) as http:
        assert http.get(f"{base}/healthz").status_code == 200, server.lines
