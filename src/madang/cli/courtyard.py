"""The demo's people and what they say, written through the public REST API like any client would.

Repeatable: a conversation is looked for before it is made, and every message carries a key that
makes a second sending return the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

API = "/api/v1/messenger"
AGENTS = "/api/chat"
ECHO = "agent:echo"
"""The user id of the agent that is built in."""
MARK = "demo"
"""The metadata field that says which of our conversations one is."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user id and the name to show."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A conversation: its first person makes it, lines are (user id, text).

    One of the kind `agent` is a session with the echo, who says its lines itself, as answers to
    those before them.
    """

    key: str
    kind: str
    title: str | None
    people: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]


PEOPLE = (
    Person("minji", "김민지"),
    Person("jisoo", "Jisoo Park"),
    Person("alex", "Alex Meyer"),
    Person("sara", "Sara Lindqvist"),
)

SCENES = (
    Scene(
        "courtyard",
        "group",
        "마당 나들이",
        ("minji", "jisoo", "sara"),
        (
            ("minji", "이번 주 토요일에 다들 시간 괜찮아요?"),
            ("jisoo", "네! 오후 두 시 이후면 좋아요 🙂"),
            ("sara", "I can come at three. 세 시에 도착할게요!"),
            ("minji", "좋아요, 그럼 세 시에 마당에서 만나요."),
            ("jisoo", "김밥은 제가 싸 갈게요."),
        ),
    ),
    Scene(
        "pair",
        "direct",
        None,
        ("minji", "alex"),
        (
            ("minji", "Alex, do you have ten minutes after lunch?"),
            ("alex", "Sure. At half past one in the courtyard?"),
            ("minji", "네, 그때 봐요 👋"),
        ),
    ),
    Scene(
        "echo",
        "agent",
        "메아리에게 · Ask the echo",
        ("minji", "jisoo"),
        (
            ("minji", "마당에 누구 있어요? Is anybody in the courtyard?"),
            (ECHO, "마당에 누구 있어요? Is anybody in the courtyard?"),
            # Whoever speaks to a person asks no agent.
            ("jisoo", "@minji 정말 메아리네요! Word for word 😄"),
        ),
    ),
    # Last, so that it is on top of everybody's list: all of them are in it.
    Scene(
        "launch",
        "group",
        "Launch week",
        ("alex", "minji", "jisoo", "sara"),
        (
            ("alex", "Morning! Release branch is cut, please only fixes from here."),
            ("sara", "The docs are read through. Two typos, both mended."),
            ("minji", "한국어 번역도 끝났어요. Korean strings are in."),
            ("alex", "감사합니다! Then we go on Thursday."),
            ("jisoo", "I will watch the dashboards from nine."),
        ),
    ),
)


def furnish(base: str, tokens: Mapping[str, str]) -> int:
    """Make what is missing of the scenes on the server at `base`; `tokens` by user id.

    Returns:
        How many messages were new.

    Raises:
        httpx.HTTPError: the server is not there or refused.
    """
    fresh = 0
    with httpx.Client(base_url=base, timeout=10.0, trust_env=False) as http:
        for scene in SCENES:
            conversation = _find(http, scene, tokens) or _make(http, scene, tokens)
            for number, (sender, text) in enumerate(scene.lines, start=1):
                if sender == ECHO:
                    continue
                answer = http.post(
                    _messages(scene, conversation),
                    json={"content": text},
                    headers=_as(tokens[sender]) | {"Idempotency-Key": f"{scene.key}-{number}"},
                )
                # Somebody who plays with the demo may have left a group: then its line is not said.
                if answer.status_code not in (403, 404, 409):
                    answer.raise_for_status()
                    for run in answer.json().get("runs", ()):
                        _hear_out(http, run, tokens[sender])
                fresh += answer.status_code == 201
    return fresh


def _messages(scene: Scene, conversation: str) -> str:
    if scene.kind == "agent":
        return f"{AGENTS}/sessions/{conversation}/messages"
    return f"{API}/conversations/{conversation}/messages"


def _hear_out(http: httpx.Client, run: str, token: str) -> None:
    """Wait for an answer's end: what is said next comes after it."""
    with http.stream("GET", f"{AGENTS}/runs/{run}/stream", headers=_as(token)) as events:
        for _ in events.iter_bytes():
            pass


def _find(http: httpx.Client, scene: Scene, tokens: Mapping[str, str]) -> str | None:
    headers = _as(tokens[scene.people[0]])
    if scene.kind == "agent":
        return _find_session(http, scene, headers)
    page: str | None = None
    while True:
        answer = http.get(
            f"{API}/conversations",
            params={"page": page} if page else {},
            headers=headers,
        )
        listed = answer.raise_for_status().json()
        for conversation in listed["conversations"]:
            if (conversation.get("metadata") or {}).get(MARK) == scene.key:
                return str(conversation["id"])
        page = listed.get("next") if listed.get("has_more") else None
        if page is None:
            return None


def _find_session(http: httpx.Client, scene: Scene, headers: Mapping[str, str]) -> str | None:
    offset, more = 0, True
    while more:
        answer = http.get(f"{AGENTS}/sessions", params={"offset": offset}, headers=headers)
        listed = answer.raise_for_status().json()
        for line in listed["sessions"]:
            # What a list says of a session leaves its metadata out.
            session = http.get(f"{AGENTS}/sessions/{line['session_id']}", headers=headers)
            if (session.raise_for_status().json()["metadata"] or {}).get(MARK) == scene.key:
                return str(line["session_id"])
        offset, more = offset + len(listed["sessions"]), listed["has_more"]
    return None


def _make(http: httpx.Client, scene: Scene, tokens: Mapping[str, str]) -> str:
    body = {"participant_ids": list(scene.people[1:]), "metadata": {MARK: scene.key}}
    if scene.title is not None:
        body["title"] = scene.title
    headers = _as(tokens[scene.people[0]])
    if scene.kind == "agent":
        asked = {**body, "agent_id": ECHO.removeprefix("agent:")}
        answer = http.post(f"{AGENTS}/sessions", json=asked, headers=headers)
        return str(answer.raise_for_status().json()["session_id"])
    answer = http.post(f"{API}/conversations", json={**body, "kind": scene.kind}, headers=headers)
    return str(answer.raise_for_status().json()["id"])


def _as(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
