"""Chat: slow mode, pause, off, blocked words, and what may be in a message."""

from __future__ import annotations

import pytest

from madang.protocol.errors import Conflict, Forbidden, Invalid, RateLimited, TooLarge
from madang.services.live.moderation import Mute, RemoveMessage, Unmute
from tests.services.live.conftest import ORG, SECOND, Hall, names, texts


async def test_a_message_carries_its_senders_nickname(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room, "민지")
    said = await hall.chat(seat, " 안녕\u202e하세요 ", client_id="1")
    assert said.message.content == "안녕하세요"
    assert said.message.metadata == {"nickname": "민지"}
    assert said.event is not None and said.event.type == "message.new"
    again = await hall.chat(seat, "안녕하세요", client_id="1")
    assert (again.message.id, again.event) == (said.message.id, None)
    await hall.chat(seat, "<b>둘</b>")
    await hall.ask(seat, "질문?")
    page = await hall.store.live.chat(ORG, room.id, before_seq=None, limit=50)
    assert texts(page.items) == ["안녕하세요", "<b>둘</b>"]
    assert names(page.items) == ["민지", "민지"]
    page = await hall.store.live.chat(ORG, room.id, before_seq=page.items[1].seq, limit=50)
    assert texts(page.items) == ["안녕하세요"]


@pytest.mark.parametrize("text", ["", "  \n ", "\u200b\u202e", "\u200d", "\x00\x07"])
async def test_empty_content(hall: Hall, text: str) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    with pytest.raises(Invalid, match=r"^Message content cannot be empty$"):
        await hall.chat(seat, text)
    with pytest.raises(Invalid, match=r"^Question content cannot be empty$"):
        await hall.ask(seat, text)


async def test_content_has_a_limit(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    for say in (hall.chat, hall.ask):
        with pytest.raises(TooLarge, match="content is limited to 2000 characters"):
            await say(seat, "가" * 10_000)
        await say(seat, "가" * 2_000)


async def test_slow_mode_tells_the_seconds_left(hall: Hall) -> None:
    room = await hall.open(slow_mode_seconds=10)
    seat, other = await hall.seat(room), await hall.seat(room)
    await hall.chat(seat)
    hall.clock.time += 3 * SECOND + 200_000
    with pytest.raises(RateLimited, match=r"^Slow mode: wait 7 s$") as refused:
        await hall.chat(seat)
    assert refused.value.retry_after == 6_800
    await hall.chat(other)
    # Questions are counted apart.
    await hall.ask(seat)
    with pytest.raises(RateLimited, match=r"^Slow mode: wait 10 s$"):
        await hall.ask(seat)
    hall.clock.time += 7 * SECOND
    await hall.chat(seat)
    host = await hall.store.live.seat(ORG, room.id, room.host_id)
    assert host is not None
    await hall.chat(host)
    await hall.chat(host)
    # A clock that was put back makes nobody wait longer than the room says.
    hall.clock.time -= 3600 * SECOND
    with pytest.raises(RateLimited, match=r"^Slow mode: wait 10 s$"):
        await hall.chat(other)


async def test_slow_mode_within_a_batch(hall: Hall) -> None:
    from madang.services.live.chat import SendChat

    room = await hall.open(slow_mode_seconds=10)
    seat = await hall.seat(room)
    said = await hall.all([SendChat(ORG, room.id, seat.participant_id, "x") for _ in range(3)])
    assert [type(each) for each in said[1:]] == [RateLimited, RateLimited]


async def test_a_paused_room_and_chat_that_is_off(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    question = await hall.ask(seat)
    host = await hall.store.live.seat(ORG, room.id, room.host_id)
    assert host is not None
    await hall.change(room, chat_enabled=False)
    with pytest.raises(Forbidden, match="Chat is off"):
        await hall.chat(seat)
    await hall.ask(seat)
    await hall.chat(host)
    await hall.change(room, status="paused", chat_enabled=True)
    for say in (hall.chat, hall.ask):
        with pytest.raises(Conflict, match="Session is paused"):
            await say(seat)
        await say(host)
    with pytest.raises(Conflict, match="Session is paused"):
        await hall.vote(seat, question)
    await hall.seat(room)
    await hall.change(room, status="active")
    await hall.chat(seat)


async def test_blocked_words(hall: Hall) -> None:
    room = await hall.open(blocked_words=["바보", "Darn"])
    seat = await hall.seat(room)
    for text in ("이 바보야!", "ＤＡＲＮ it", "da\u200brn"):
        with pytest.raises(Invalid, match="Message contains a blocked word"):
            await hall.chat(seat, text)
        with pytest.raises(Invalid, match="Question contains a blocked word"):
            await hall.ask(seat, text)
    await hall.chat(seat, "바보상자, darning")
    with pytest.raises(Invalid, match="Nickname contains a blocked word"):
        await hall.seat(room, "바보")


async def test_muted(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room, "민지")
    question = await hall.ask(seat)
    muted = await hall.writer.write(Mute(ORG, room.id, room.host_id, seat.participant_id))
    assert muted.event.type == "participant.muted"
    assert (muted.event.data["nickname"], muted.event.data["is_muted"]) == ("민지", True)
    again = await hall.writer.write(Mute(ORG, room.id, room.host_id, seat.participant_id))
    assert again.event is None
    for say in (hall.chat, hall.ask):
        with pytest.raises(Forbidden, match="You are muted"):
            await say(seat)
    assert (await hall.vote(seat, question)).message.metadata["question"]["votes"] == 1
    await hall.writer.write(Unmute(ORG, room.id, room.host_id, seat.participant_id))
    await hall.chat(seat)
    assert len(hall.told("participant.muted", "participant.unmuted")) == 2


async def test_a_removed_message_is_gone(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    said = await hall.chat(seat, "secret words")
    removed = await hall.writer.write(RemoveMessage(ORG, room.id, room.host_id, said.message.id))
    assert removed.event.type == "message.deleted"
    assert (removed.message.content, removed.message.metadata) == ("", {})
    again = await hall.writer.write(RemoveMessage(ORG, room.id, room.host_id, said.message.id))
    assert again.event is None
    page = await hall.store.live.chat(ORG, room.id, before_seq=None, limit=50)
    assert page.items == ()
    events = await hall.store.events_of_conversation(ORG, room.id, 0, None, 100)
    assert all(e.message is None or e.message.content == "" for e in events)
