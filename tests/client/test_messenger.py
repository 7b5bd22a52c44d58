"""Sending, asking and closing over connections that break; see test_catching_up for events."""

from __future__ import annotations

import asyncio
import re

import pytest

from madang.client import (
    AuthError,
    Disconnected,
    Invalid,
    NotAParticipant,
    OutboxFull,
    RateLimited,
    Removed,
    State,
    TimedOut,
    TooLarge,
    connect,
)
from tests.client.scripted import Naps, Peer, scripted, take


async def test_send_waits_for_the_confirmation_and_returns_the_message() -> None:
    async def script(peer: Peer) -> None:
        assert peer.path == "/api/v1/messenger/ws"
        assert peer.authorization == "Bearer secret"
        assert peer.socket.subprotocol is None
        await peer.greet()
        sent = await peer.hear()
        assert sent["type"] == "message.send"
        assert re.fullmatch(r"[0-9a-f-]{36}", sent["client_id"])
        await peer.confirm(sent)
        await peer.stay()

    async with scripted(script) as server, connect(server.url, token="secret") as me:
        message = await me.send("c", "안녕, courtyard")
        assert message.content == "안녕, courtyard"
        assert (message.sender_id, me.user_id) == ("7", "7")
        assert message.created_at is not None
        assert message.created_at.microsecond == 678901


@pytest.mark.parametrize("token", ["…", "one two", "", "a\nb"])
async def test_a_token_that_is_none_fails_at_once(token: str) -> None:
    async def never(peer: Peer) -> None:
        raise AssertionError("the server was asked")

    async with scripted(never) as server:
        with pytest.raises(AuthError, match="no token"):
            async with connect(server.url, token=token):
                pass


async def test_unconfirmed_messages_are_sent_again_in_order_with_the_same_ids() -> None:
    seen: list[list[str]] = [[], []]

    async def loses(peer: Peer) -> None:
        await peer.greet()
        first = await peer.hear()
        await peer.confirm(first)
        seen[0] = [(await peer.hear())["client_id"] for _ in range(3)]
        await peer.cut()

    async def keeps(peer: Peer) -> None:
        assert (await peer.hear())["type"] == "resume"
        await peer.greet()
        for seq in range(2, 5):
            sent = await peer.hear()
            seen[1].append(sent["client_id"])
            await peer.confirm(sent, seq)
        await peer.stay()

    naps = Naps()
    async with scripted(loses, keeps) as server:
        async with connect(server.url, token="t", timing=naps.timing) as me:
            await me.send("c", "0")
            posted = [me.post("c", "1"), me.post("c", "2")]
            assert (await me.send("c", "3")).content == "3"
            await me.flush(5)
            assert me.unconfirmed == []
        assert seen[0] == seen[1]
        assert seen[0][:2] == posted
    assert naps.taken == [0.25]


async def test_the_outbox_is_bounded() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.stay()

    async with scripted(script) as server:
        me = connect(server.url, token="t", outbox=2)
        await me.open()
        me.post("c", "1")
        me.post("c", "2")
        with pytest.raises(OutboxFull):
            me.post("c", "3")
        with pytest.raises(TimedOut):
            await me.send("c", "3", timeout=0.05)
        assert [content for _, _, content in me.unconfirmed] == ["1", "2"]
        await me.close()


async def test_a_send_that_was_given_up_is_not_sent_again() -> None:
    async def silent(peer: Peer) -> None:
        await peer.greet()
        await peer.hear()
        assert (await peer.hear())["content"] == "go"
        await peer.cut()

    async def again(peer: Peer) -> None:
        await peer.hear()
        await peer.greet()
        sent = await peer.hear()
        assert sent["content"] == "go"
        await peer.confirm(sent)
        await peer.stay()

    async with (
        scripted(silent, again) as server,
        connect(server.url, token="t", timing=Naps().timing) as me,
    ):
        with pytest.raises(TimedOut) as late:
            await me.send("c", "never confirmed", client_id="mine", timeout=0.05)
        assert late.value.client_id == "mine"
        await me.send("c", "go")


async def test_errors_are_raised_where_they_belong() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        refusals = [
            ("NOT_A_PARTICIPANT", "Not a participant of this conversation", None),
            ("RATE_LIMIT", "Too many messages", 1500),
            ("SOMETHING_NEW", "No", None),
        ]
        for code, text, retry_after in refusals:
            asked = await peer.hear()
            frame = {"type": "error", "code": code, "message": text, "retry_after": retry_after}
            await peer.tell({**frame, "reply_to": asked["id"]})
        await peer.stay()

    async with scripted(script) as server, connect(server.url, token="t") as me:
        with pytest.raises(NotAParticipant, match="Not a participant of this conversation"):
            await me.send("c", "hello")
        with pytest.raises(RateLimited) as limited:
            await me.send("c", "hello")
        assert limited.value.retry_after == 1.5
        with pytest.raises(Exception, match="No") as unknown:
            await me.edit("m1", "other")
        assert getattr(unknown.value, "code", None) == "SOMETHING_NEW"


async def test_a_posted_message_is_tried_again_when_the_server_is_busy() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        sent = await peer.hear()
        await peer.tell(
            {"type": "error", "code": "UNAVAILABLE", "message": "Temporarily unavailable"}
            | {"retry_after": 2000, "reply_to": sent["id"]}
        )
        again = await peer.hear()
        assert again == sent
        await peer.confirm(again)
        await peer.stay()

    naps = Naps()
    async with (
        scripted(script) as server,
        connect(server.url, token="t", timing=naps.timing) as me,
    ):
        me.post("c", "patience")
        await me.flush(5)
    assert naps.taken == [2.0]


async def test_a_refused_post_is_told_as_a_signal() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        sent = await peer.hear()
        await peer.tell(
            {"type": "error", "code": "VALIDATION", "message": "Message content cannot be empty"}
            | {"reply_to": sent["id"]}
        )
        await peer.stay()

    async with scripted(script) as server, connect(server.url, token="t") as me:
        events = me.events(signals=True)
        client_id = me.post("c", "")
        [signal] = await take(events, 1)
        assert signal.type == "send.refused"
        assert signal.data["client_id"] == client_id
        assert signal.data["code"] == "VALIDATION"


async def test_what_the_server_would_refuse_by_closing_is_refused_here() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.stay()

    async with scripted(script) as server, connect(server.url, token="t") as me:
        with pytest.raises(TooLarge):
            await me.send("c", "x" * 65_537)
        with pytest.raises(Invalid):
            me.post("c", "\ud800")
        assert me.unconfirmed == []


async def test_a_message_that_ends_its_connection_is_not_sent_for_ever() -> None:
    async def strict(peer: Peer) -> None:
        await peer.greet()
        for _ in range(2):
            await peer.hear()
        await peer.close(1009)

    async def calm(peer: Peer) -> None:
        await peer.hear()
        await peer.greet()
        await peer.confirm(await peer.hear())
        await peer.stay()

    async with (
        scripted(strict, calm) as server,
        connect(server.url, token="t", timing=Naps().timing) as me,
    ):
        me.post("c", "small")
        with pytest.raises(TooLarge):
            await me.send("c", "large" * 1000)
        await me.flush(5)


async def test_requests_are_made_again_and_an_event_may_answer_them() -> None:
    async def loses(peer: Peer) -> None:
        await peer.greet()
        assert (await peer.hear())["type"] == "message.delete"
        await peer.cut()

    async def tells(peer: Peer) -> None:
        await peer.hear()
        deleted = {"type": "message.deleted", "message_id": "m1", "conversation_id": "c"}
        await peer.tell({**deleted, "seq": 2, "cursor": 1001})
        await peer.greet(1001)
        asked = await peer.hear()
        assert (asked["type"], asked["emoji"]) == ("reaction.add", "👍")
        added = {"type": "reaction.added", "message_id": "m1", "conversation_id": "c"}
        await peer.tell(
            {
                **added,
                "emoji": "👍",
                "user_id": 7,
                "seq": 3,
                "cursor": 1002,
                "reply_to": asked["id"],
            }
        )
        await peer.stay()

    async with (
        scripted(loses, tells) as server,
        connect(server.url, token="t", timing=Naps().timing) as me,
    ):
        await me.delete("m1")
        await me.react("m1", "👍")
        seen = await take(me.events(), 1)
        assert [one.type for one in seen] == ["message.deleted"]
        assert seen[0].message_id == "m1"


@pytest.mark.parametrize(("code", "error"), [(1008, AuthError), (4001, AuthError), (4009, Removed)])
async def test_it_stops_where_another_attempt_cannot_help(
    code: int, error: type[Exception]
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear()
        await peer.close(code, "because")

    async with scripted(script) as server:
        async with connect(server.url, token="t") as me:
            with pytest.raises(error, match="because"):
                await me.ping()
            with pytest.raises(error, match="because"):
                await anext(me.events())
            with pytest.raises(error, match="because"):
                await me.send("c", "hello")
            assert me.state.name == "closed"
        assert server.connections == 1


async def test_a_refused_token_ends_opening() -> None:
    async def script(peer: Peer) -> None:
        await peer.close(1008, "Token for another user")

    async with scripted(script) as server:
        with pytest.raises(AuthError, match="Token for another user"):
            async with connect(server.url, token="t"):
                pass


async def test_an_expired_token_is_replaced_by_its_function() -> None:
    tokens = iter(["old", "new"])

    async def expired(peer: Peer) -> None:
        assert peer.authorization == "Bearer old"
        await peer.greet()
        await peer.close(4001)

    async def fresh(peer: Peer) -> None:
        assert peer.authorization == "Bearer new"
        await peer.hear()
        await peer.greet()
        await peer.confirm(await peer.hear())
        await peer.stay()

    async def source() -> str:
        return next(tokens)

    naps = Naps()
    async with (
        scripted(expired, fresh) as server,
        connect(server.url, token=source, timing=naps.timing) as me,
    ):
        await me.send("c", "still here")
    assert naps.taken == [0.0]


async def test_a_token_function_is_asked_once_when_its_token_was_refused() -> None:
    tokens = iter(["stale", "fresh", "never asked for"])

    async def refuses(peer: Peer) -> None:
        await peer.close(1008, f"no {peer.authorization}")

    async with scripted(refuses, refuses) as server:
        with pytest.raises(AuthError, match="no Bearer fresh"):
            async with connect(server.url, token=lambda: next(tokens), timing=Naps().timing):
                pass
    assert next(tokens) == "never asked for"


async def test_a_token_function_that_keeps_giving_expired_tokens_is_asked_slowly() -> None:
    async def expired(peer: Peer) -> None:
        await peer.close(4001)

    async def good(peer: Peer) -> None:
        await peer.greet()
        await peer.stay()

    naps = Naps()
    async with (
        scripted(expired, expired, expired, good) as server,
        connect(server.url, token=lambda: "t", timing=naps.timing) as me,
    ):
        assert me.state.name == "live"
    assert naps.taken == [0.0, 0.25, 0.5]


async def test_after_1001_it_comes_back_at_once_but_not_for_ever() -> None:
    async def leaves(peer: Peer) -> None:
        await peer.greet()
        await peer.close(1001)

    async def resumes(peer: Peer) -> None:
        await peer.hear()
        await leaves(peer)

    async def stays(peer: Peer) -> None:
        await peer.hear()
        await peer.greet()
        await peer.hear()
        await peer.tell({"type": "pong", "reply_to": "c1"})
        await peer.stay()

    naps = Naps(draw=0.8)
    async with (
        scripted(leaves, resumes, stays) as server,
        connect(server.url, token="t", timing=naps.timing) as me,
    ):
        await me.ping()
    assert naps.taken == pytest.approx([0.2, 0.4])


async def test_states_are_told_as_they_come() -> None:
    async def leaves(peer: Peer) -> None:
        await peer.greet()
        await peer.hear()
        await peer.close(1011, "restart")

    async def stays(peer: Peer) -> None:
        await peer.hear()
        await peer.greet()
        await peer.hear()
        await peer.tell({"type": "pong", "reply_to": "c1"})
        await peer.stay()

    states: list[State] = []
    async with scripted(leaves, stays) as server:
        me = connect(server.url, token="t", timing=Naps().timing)
        undo = me.watch(states.append)
        async with me:
            await me.ping()
        undo()
    assert [state.name for state in states] == ["live", "waiting", "connecting", "live", "closed"]
    assert (states[1].code, states[1].reason, states[1].retry_in) == (1011, "restart", 0.25)


async def test_opening_gives_up_and_says_why() -> None:
    async with scripted() as server:
        url = server.url
    with pytest.raises(TimedOut, match=r"Not connected after 0\.1 s: .*"):
        async with connect(url, token="t", timeout=0.1):
            pass


async def test_closing_ends_what_waits() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.stay()

    async with scripted(script) as server:
        me = connect(server.url, token="t")
        await me.open()
        waiting = [
            asyncio.create_task(me.send("c", "hello")),
            asyncio.create_task(me.ping()),
        ]
        reading = asyncio.create_task(take(me.events(), 1))
        await asyncio.sleep(0)
        await me.close()
        for one in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(one, Disconnected)
        with pytest.raises(StopAsyncIteration):
            await reading
