"""What the server itself says in a room, in the room's language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from madang.model.live import Language


@dataclass(frozen=True, slots=True)
class Words:
    """The texts of one language. `left` takes the nickname of whoever left."""

    joined: str
    left: str
    anonymous: str


WORDS: Mapping[Language, Words] = {
    "ko": Words(
        joined="새 참가자가 접속했습니다.",
        left="{nickname}님이 떠났습니다.",
        anonymous="익명",
    ),
    "en": Words(
        joined="A new participant has joined.",
        left="{nickname} has left.",
        anonymous="Anonymous",
    ),
}


def left(language: Language, nickname: str) -> str:
    """A nickname may hold braces: it is put in, not formatted."""
    return WORDS[language].left.replace("{nickname}", nickname)
