"""Madang inside somebody else's app: the example, as a process under a stock uvicorn."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import Server
from tests.phone import calling

EXAMPLES = Path(__file__).parents[2] / "examples"


class Shop(Server):
    """`uvicorn mounted_app:app`, as the example says."""

    def __init__(self, directory: Path, *, root_path: str = "") -> None:
        super().__init__(directory, rate_limit_enabled="false")
        self.settings["dev"] = "true"
        self.root_path = root_path
        self.root = self.url
        self.url = f"{self.root}/chat"

    def command(self) -> list[str]:
        options = ["--app-dir", str(EXAMPLES), "--port", str(self.port)]
        if self.root_path:
            options += ["--root-path", self.root_path]
        return [sys.executable, "-m", "uvicorn", *options, "mounted_app:app"]

    def address(self, surface: str) -> str:
        return f"ws://127.0.0.1:{self.port}/chat/api/v1/{surface}/ws"


@pytest.fixture(params=["", "/behind/a/proxy"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterable[Shop]:
    running = Shop(tmp_path / "shop", root_path=request.param)
    running.start()
    yield running
    running.stop()


async def test_its_own_routes_publish_and_send(shop: Shop) -> None:
    ann = shop.token("ann")
    async with (
        calling(shop.address("messenger"), ann) as phone,
        calling(shop.address("events"), ann, cursor=0) as log,
        shop.rest("ann") as rest,
    ):
        hello = await phone.until("system")
        assert hello["user_id"] == "ann"
        await phone.send("resume", cursor=hello["cursor"])
        await log.until("replay_complete")
        shipped = f"{shop.root}/orders/7/ship"
        first = (await rest.post(shipped, params={"customer": "ann"})).json()
        again = (await rest.post(shipped, params={"customer": "ann"})).json()
        assert first == again
        event = await phone.until("order_shipped")
        assert (event["payload"], event["cursor"]) == ({"order": 7}, first["cursor"])
        assert (await log.until("order_shipped"))["payload"] == {"order": 7}

        body = {"kind": "direct", "participant_ids": ["clerk"]}
        made = await rest.post("/api/v1/messenger/conversations", json=body)
        assert made.status_code == 201
        room = made.json()["id"]
        help_page = f"{shop.root}/help/{room}"
        sent = await rest.post(help_page, params={"clerk": "clerk", "text": "How can I help?"})
        new = await phone.until("message.new")
        assert new["data"]["id"] == sent.json()["message_id"]
        assert new["data"]["sender_id"] == "clerk"
        refused = await rest.post(help_page, params={"clerk": "mallory", "text": "Hi"})
        assert refused.status_code == 403
        assert refused.json()["detail"] == "Not a participant of this conversation"
        await phone.send(
            "message.send", conversation_id=room, content="Where is it?", client_id="c1"
        )
        assert (await phone.until("message.sent"))["client_id"] == "c1"
        assert [frame["type"] for frame in phone.events()].count("order_shipped") == 1


async def test_the_console_and_the_pages_stand_under_the_mount(shop: Shop) -> None:
    async with shop.rest("ann") as rest:
        front = await rest.get(f"{shop.url}/", follow_redirects=False)
        assert front.is_redirect
        where = front.headers["location"].removeprefix(shop.root)
        assert where == f"{shop.root_path}/chat/console/"
        page = await rest.get("/console/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert (await rest.get("/console/main.js")).status_code == 200
        assert (await rest.get("/console/config.json")).json()["dev"] is True
        assert (await rest.get("/console/__init__.py")).status_code == 404
        assert (await rest.get("/openapi.json")).status_code == 200
        assert (await rest.get(f"{shop.root}/openapi.json")).json()["info"]["title"] == "A shop"
        missing = await rest.get("/api/v1/nothing")
        assert missing.headers["content-type"] == "application/problem+json"


async def test_paths_that_lead_nowhere(shop: Shop) -> None:
    for path in ("chat/api/v1/other/ws", "api/v1/messenger/ws", "chat/chat/api/v1/messenger/ws"):
        with pytest.raises(InvalidStatus):
            async with calling(f"ws://127.0.0.1:{shop.port}/{path}", shop.token("ann")):
                """Nothing is there."""


async def test_stopping_the_app_sends_clients_away_and_keeps_what_was_acked(shop: Shop) -> None:
    async with (
        calling(shop.address("messenger"), shop.token("ann")) as phone,
        shop.rest("a") as rest,
    ):
        await phone.until("system")
        shipped = await rest.post(f"{shop.root}/orders/1/ship", params={"customer": "ann"})
        assert shipped.is_success
        assert shop.terminate() in (0, -15)
        assert await phone.closed() in (1001, 1012)
    shop.restart()
    async with calling(shop.address("events"), shop.token("ann"), cursor=0) as log:
        await log.until("replay_complete")
        assert [event["payload"] for event in log.events()] == [{"order": 1}]
    assert "Traceback" not in shop.log


async def test_the_agent_of_the_example_asks_and_answers(tmp_path: Path) -> None:
    class Weather(Server):
        def command(self) -> list[str]:
            options = ["--app-dir", str(EXAMPLES), "--port", str(self.port)]
            return [sys.executable, "-m", "uvicorn", *options, "weather_agent:app"]

    running = Weather(tmp_path / "weather")
    running.settings["dev"] = "true"
    running.start()
    try:
        async with running.rest("ann") as rest:
            made = await rest.post("/api/chat/sessions", json={"agent_id": "weather"})
            session = made.json()["session_id"]
            address = f"ws://127.0.0.1:{running.port}/api/chat/ws/{session}"
            async with calling(address, running.token("ann")) as ann:
                await ann.send("message", content="Rain?")
                asked = await ann.until("approval_request")
                place = {"message_id": asked["message_id"], "request_id": asked["request_id"]}
                await ann.send("approval_answer", **place, answer="yes")
                assert (await ann.until("stream_end"))["status"] == "complete"
            (_, told) = (await rest.get(f"/api/chat/sessions/{session}/messages")).json()[
                "messages"
            ]
        assert told["content"] == "No rain, ann. You asked: Rain? "
    finally:
        running.stop()
