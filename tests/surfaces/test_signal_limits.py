"""What takes work beyond the frame itself is limited per user, on every surface."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from madang.compose.limits import SIGNALS_PER_MESSAGE
from tests.surfaces.events.conftest import Desk
from tests.surfaces.people import House

OpenHouse = Callable[..., House]
LIMITED = {"rate_limit_enabled": "true", "rate_limit_messages_per_minute": "2"}
ALLOWED = 2 * SIGNALS_PER_MESSAGE


async def test_catching_up_and_new_tokens_count_as_signals(open_house: OpenHouse) -> None:
    async with open_house(**LIMITED) as house:
        conversation = await house.group("ann", "bob")
        ann = await house.device("ann", live=False)
        frames: list[tuple[str, dict[str, Any]]] = [
            ("subscribe", {"conversation_id": conversation, "after": 0}),
            ("resume", {"cursor": 0}),
            ("token.refresh", {"token": house.token("ann")}),
        ]
        told = []
        for number in range(ALLOWED + 4):
            kind, fields = frames[number % len(frames)]
            told.append(await ann.ask(kind, **fields))
        kinds = [frame["type"] for frame in told]
        assert "error" not in kinds[:ALLOWED]
        assert {"subscribed", "resumed", "token.refreshed"} <= set(kinds)
        # One more is allowed every three seconds: the last of four too many is refused.
        assert kinds[-1] == "error"
        assert told[-1]["code"] == "RATE_LIMIT"
        assert told[-1]["retry_after"] > 0
        assert (await ann.ask("ping"))["type"] == "pong"
        back = await house.device("ann", live=False, query="cursor=0")
        assert (await back.next("resumed"))["recovered"], "an address is not a frame"


async def test_acknowledgements_and_cursors_count_as_signals(open_house: OpenHouse) -> None:
    async with open_house(**LIMITED) as house, AsyncExitStack() as stack:
        desk = Desk(house.server, house.org, stack)
        told = await desk.publish(1)
        async with desk.phone(client_id="tablet", cursor=0) as phone:
            await phone.until("replay_complete")
            answers = []
            for number in range(ALLOWED + 4):
                kind = "ack" if number % 2 else "cursor"
                await phone.send(kind, cursor=told["cursor"], id=number)
                answers.append(await phone.until(lambda f, n=number: f.get("reply_to") == n))  # type: ignore[misc]
            kinds = [answer["type"] for answer in answers]
            assert set(kinds[:ALLOWED]) == {"acked", "replay_complete"}
            assert kinds[-1] == "error" and answers[-1]["code"] == "RATE_LIMIT"
            assert await phone.rest() == []
