"""The same 2,500 messages on both databases give the same answers, and those that a scan of all of
them with the analyzer gives: Korean, Japanese, Chinese, English, mixed, emoji."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from madang.protocol.errors import Invalid
from madang.services.conversations import CreateConversation
from madang.services.messages import SendMessage
from madang.services.search import query as language
from madang.services.search.matching import Text, relevance
from tests.search.conftest import ORG, Archive, MovingClock, archive_on

COUNT = 2_500
QUERIES = 300
CHUNK = 100
USERS = [f"user-{n}" for n in range(8)]

WORDS = {
    "korean": (
        "회의 회의록 전체회의 의회 회 자료 내일 오후 세시 일정 변경 보고서 확인했습니다 부탁드려요 "
        "점심 드셨어요 ㅋㅋㅋ 네 넵 감사합니다 마당 이야기 한국어 검색"
    ),
    "japanese": (
        "会議 会議室 東京 東京タワー 明日 あした よろしく お願いします ありがとう カタカナ ｶﾀｶﾅ "
        "データ ベース 検索 日本語 です ます の を は"
    ),
    "chinese": "会议 会议记录 明天 开会 北京 中文 搜索 繁體 檢索 謝謝 你好 数据库 的 了 是",
    "english": (
        "the a of to meeting meetings Meeting plan planned café CAFE naïve don't report_final.pdf "
        "https://example.com/x budget 2026 3.14 v2 ok hello world"
    ),
    "other": "Привет мир Straße İstanbul हिन्दी ไทย ﬁle Ｆｕｌｌ ① ² cafe\u0301",
    "emoji": "👍 👍🏽 ❤️ 😀 👨‍👩‍👧 🇰🇷 🎉",
}
VOCABULARY = {name: text.split(" ") for name, text in WORDS.items()}


@dataclass
class Both:
    """Both databases and what stands in them."""

    archives: Mapping[str, Archive]
    dice: random.Random
    members: list[list[str]] = field(default_factory=list)
    texts: dict[int, tuple[int, Text]] = field(default_factory=dict)
    """By number: the room, and the message as it is."""


def sentence(dice: random.Random) -> str:
    kinds = dice.choices([*VOCABULARY, "mixed"], [30, 15, 15, 20, 5, 5, 10])[0]
    words = []
    for _ in range(dice.choice((1, 2, 3, 5, 8, 13))):
        kind = dice.choice([*VOCABULARY]) if kinds == "mixed" else kinds
        words.append(dice.choice(VOCABULARY[kind]))
    glue = dice.choice((" ", " ", " ", "", ", ", "\n"))
    return glue.join(words) or "."


def question(dice: random.Random, both: Both) -> str:
    pieces = []
    for _ in range(dice.choice((1, 1, 1, 2, 2, 3))):
        words = VOCABULARY[dice.choice([*VOCABULARY])]
        word = dice.choice(words)
        if dice.random() < 0.3:
            # A part of a word: a single character, or one that stands in the middle.
            start = dice.randrange(len(word))
            word = word[start : start + dice.choice((1, 2, 3))] or word
        piece = word.replace('"', "")
        if dice.random() < 0.25:
            piece = f'"{piece} {dice.choice(words)}"'
        if dice.random() < 0.1:
            piece = f"-{piece}"
        pieces.append(piece)
    if dice.random() < 0.15:
        pieces.append(f"from:{dice.choice(USERS)}")
    if dice.random() < 0.1:
        pieces.append("has:file")
    if dice.random() < 0.1:
        pieces.append(dice.choice(("after:2026-09-22", "before:2026-09-22T12:00:00Z")))
    return " ".join(pieces)


async def fill(both: Both) -> None:
    """The same messages into both; a tenth of them is edited, a tenth deleted."""
    dice = both.dice
    both.members = [sorted(dice.sample(USERS, dice.randrange(2, 6))) for _ in range(12)]
    rooms: dict[str, list[str]] = {}
    for name, archive in both.archives.items():
        rooms[name] = [
            (
                await archive.writer.write(
                    CreateConversation(ORG, people[0], "group", tuple(people), "R")
                )
            ).view.conversation.id
            for people in both.members
        ]
    sent: dict[str, list[str]] = {name: [] for name in both.archives}
    for start in range(0, COUNT, CHUNK):
        said = []
        for _ in range(CHUNK):
            room = dice.randrange(len(both.members))
            files = ({"name": sentence(dice)},) if dice.random() < 0.1 else ()
            said.append((room, dice.choice(both.members[room]), sentence(dice), files))
        step = dice.randrange(3_000_000_000)
        for name, archive in both.archives.items():
            archive.clock.time += step
            done = await asyncio.gather(
                *(
                    archive.writer.write(
                        SendMessage(
                            ORG,
                            rooms[name][room],
                            who,
                            content,
                            attachments=files,
                            client_id=str(number),
                        )
                    )
                    for number, (room, who, content, files) in enumerate(said, start)
                )
            )
            sent[name] += [each.message.id for each in done]
        for number, (room, who, content, files) in enumerate(said, start):
            text = Text(who, "", archive.clock.time, content, files)
            both.texts[number] = (room, text)
        if dice.random() < 0.3:
            for archive in both.archives.values():
                await archive.follower.look()
        for _ in range(CHUNK // 5):
            await change(both, sent, dice.randrange(start + CHUNK))
    for archive in both.archives.values():
        await archive.follower.look()


async def change(both: Both, sent: Mapping[str, Sequence[str]], number: int) -> None:
    if number not in both.texts:
        return
    room, text = both.texts[number]
    content = sentence(both.dice) if both.dice.random() < 0.5 else None
    for name, archive in both.archives.items():
        message = (await archive.index.found(ORG, text.sender_id, [sent[name][number]]))[
            sent[name][number]
        ]
        if content is None:
            await archive.delete(message)
        else:
            await archive.edit(message, content)
    if content is None:
        del both.texts[number]
    else:
        changed = Text(text.sender_id, "", text.created_at, content, text.attachments)
        both.texts[number] = (room, changed)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_both_databases_answer_as_a_scan_does(
    sqlite_url: str, postgresql_urls: tuple[str, str]
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    archives = {
        "sqlite": archive_on(sqlite_url, MovingClock()),
        "postgresql": archive_on(postgresql_urls[1], MovingClock()),
    }
    both = Both(archives, random.Random(seed))
    await fill(both)
    answered = 0
    for _ in range(QUERIES):
        asked, user = question(both.dice, both), both.dice.choice(USERS)
        try:
            query = language.read(asked)
        except Invalid:
            continue
        scores = {
            number: score
            for number, (room, text) in both.texts.items()
            if user in both.members[room] and (score := relevance(query, text)) is not None
        }
        found = {
            name: [
                (int(result.message.client_id or -1), round(result.relevance, 9))
                for result in await archive.results(user, asked)
            ]
            for name, archive in archives.items()
        }
        assert found["sqlite"] == found["postgresql"], asked
        scanned = {(number, round(score, 9)) for number, score in scores.items()}
        assert set(found["sqlite"]) == scanned, asked
        assert len(found["sqlite"]) == len(scores), asked
        answered += bool(scores)
    print("answered", answered)
    assert answered > QUERIES / 4
    for archive in archives.values():
        await archive.writer.close()
        await archive.store.close()
