"""Live rooms of Madang, spoken to as phones and hosts do."""

import json
from dataclasses import dataclass
from typing import Any

import httpx
from websockets.sync.client import connect

from bench.load.plan import Ask, Conn, Plan
from bench.peers.base import Unavailable
from bench.tokens import mint

BASE = "/api/v1/sessions"
CONNECTED, CHAT, UPDATE, ERROR = (
    '{"type":"connected"',
    '{"type":"chat_message"',
    '{"type":"question_update"',
    '{"type":"error"',
)
# What the page reads when it has a seat: `rooms/seat.js`.
PAGE_READS = ("", "/status", "/messages?limit=100", "/questions?sort=top&limit=100", "/polls")
_TALK = "이 질문은 다음 순서에 다뤄 주실 수 있을까요? Thank you for the walk through the courtyard."


@dataclass(frozen=True, slots=True)
class Room:
    """An open room and what its host knows."""

    port: int
    code: str
    host_token: str

    @property
    def _rest(self) -> str:
        return f"http://127.0.0.1:{self.port}{BASE}/{self.code}"

    def ask(self, text: str) -> str:
        """The host asks a question; its id."""
        url = f"ws://127.0.0.1:{self.port}/api/v1/ws/{self.code}/host?token={self.host_token}"
        with connect(url, open_timeout=30) as host:
            host.send(json.dumps({"type": "question", "content": text, "id": 1}))
            while True:
                frame = json.loads(host.recv(30))
                if frame.get("reply_to") == 1:
                    if frame["type"] != "question":
                        raise Unavailable(f"no question: {frame}")
                    return str(frame["message_id"])

    def votes(self, question: str) -> int:
        """As everyone in the room reads them."""
        asked = self._get("/questions")["questions"]
        return int(next(one["votes"] for one in asked if one["message_id"] == question))

    def participants(self) -> int:
        """Those who took a seat, without the host."""
        return int(self._get("")["total_participants"])

    def _get(self, rest: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.host_token}"}
        answer = httpx.get(self._rest + rest, headers=headers, timeout=60)
        answer.raise_for_status()
        return dict(answer.json())

    def joining(self, people: int, message: str, *, as_page: bool = False) -> Plan:
        """People who take a seat each and connect; `as_page`: and read what the page reads."""
        joins = [Ask("POST", f"{BASE}/{self.code}/participants", '{"nickname":"%a"}')]
        if as_page:
            reads = [Ask("GET", f"{BASE}/{self.code}{rest}") for rest in PAGE_READS]
            joins = [reads[0], *joins, *reads]
        path = f"/api/v1/ws/{self.code}/%p?token=%t"
        return Plan(
            classes=(UPDATE, CHAT, CONNECTED, ERROR),
            count=0,
            ready=2,
            answer='"reply_to":',
            message=message,
            asks=tuple(joins),
            conns=tuple(Conn("RSJ", path, f"참가자 {i + 1}") for i in range(people)),
        )


def open_room(port: int, **settings: object) -> Room:
    """A room with these settings, the others as they are by default."""
    answer = httpx.post(
        f"http://127.0.0.1:{port}{BASE}",
        headers={"Authorization": f"Bearer {mint('speaker')}"},
        json={"title": "The bench's room", "settings": settings},
        timeout=30,
    )
    if answer.status_code != 201:
        raise Unavailable(f"no room: {answer.status_code} {answer.text[:200]}")
    told = answer.json()
    return Room(port, told["session_code"], told["host_token"])


def vote(question: str) -> str:
    """A vote, to be answered."""
    return '{"type":"question_vote","message_id":"' + question + '","up":true,"id":"%n"}'


def talk() -> str:
    """A chat message of a usual length."""
    return json.dumps({"type": "chat_message", "content": _TALK}, ensure_ascii=False)
