"""Phones, a host and a big screen in a real browser, each with a storage of its own.

Whatever a page logged as an error, and every breach of its Content-Security-Policy, fails the test
that opened it, unless the test said to expect it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.conftest import Server
from tests.console.conftest import browser as browser  # the fixture

WAIT_MS = 20_000
"""How long a test waits for anything to appear."""
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 800}
HALL = {"width": 1920, "height": 1080}
LOST = ("WebSocket connection", "ERR_INTERNET_DISCONNECTED", "ERR_CONNECTION_REFUSED")
"""What a browser logs where the server or the network is gone."""


@dataclass(frozen=True)
class Room:
    """A room as `POST /sessions` answered, and REST calls of its host."""

    server: Server
    code: str
    host_token: str

    def page(self, rest: str = "") -> str:
        return f"{self.server.url}/r/{self.code}{rest}"

    async def call(self, method: str, rest: str = "", **body: Any) -> Any:
        """A REST call as the host."""
        async with httpx.AsyncClient(base_url=self.server.url, trust_env=False) as http:
            answer = await http.request(
                method,
                f"/api/v1/sessions/{self.code}{rest}",
                json=body or None,
                headers={"Authorization": f"Bearer {self.host_token}"},
            )
            assert answer.is_success, answer.text
            return answer.json()

    async def set(self, **settings: Any) -> None:
        """Change settings."""
        await self.call("PATCH", settings=settings)


@dataclass
class Phone:
    """One page, in a browser that shares nothing with the others."""

    page: Page
    context: BrowserContext
    expected: tuple[str, ...] = ()
    complaints: list[str] = field(default_factory=list)

    async def ready(self) -> None:
        """The page has the room, and follows it."""
        await expect(self.page.locator("#root")).to_have_attribute("data-ready", "true")

    async def join(self, room: Room, nickname: str) -> None:
        await self.page.goto(room.page())
        await self.page.locator("input[name=nickname]").fill(nickname)
        await self.page.locator("button[type=submit]").click()
        await self.ready()

    async def section(self, name: str) -> None:
        await self.page.locator(f"[data-section={name}]").click()

    async def say(self, text: str) -> None:
        await self.section("chat")
        await self.page.locator(".chat-section textarea").fill(text)
        await self.page.keyboard.press("Enter")

    async def ask(self, text: str) -> None:
        await self.section("questions")
        await self.page.locator(".questions-section textarea").fill(text)
        await self.page.keyboard.press("Enter")

    def message(self, text: str) -> Locator:
        """Messages with exactly this text that the server has."""
        exact = re.compile(f"^{re.escape(text)}$")
        return self.page.locator(".message:not([data-state])").filter(
            has=self.page.locator(".text", has_text=exact)
        )

    def question(self, text: str) -> Locator:
        exact = re.compile(f"^{re.escape(text)}$")
        return self.page.locator(".question").filter(has=self.page.locator(".text", has_text=exact))


OpenPhone = Callable[..., Awaitable[Phone]]
OpenRoom = Callable[..., Awaitable[Room]]


@pytest.fixture
async def open_room(server: Server) -> OpenRoom:
    async def open_room(title: str = "마당 나들이", **settings: Any) -> Room:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            answer = await http.post(
                "/api/v1/sessions",
                json={"title": title, "settings": settings},
                headers={"Authorization": f"Bearer {server.token('host')}"},
            )
            assert answer.status_code == 201, answer.text
            opened = answer.json()
            return Room(server, opened["session_code"], opened["host_token"])

    return open_room


@pytest.fixture
async def open_phone(browser: Browser) -> AsyncIterator[OpenPhone]:
    opened: list[Phone] = []

    async def open_phone(
        size: dict[str, int] | None = None,
        *,
        locale: str = "en-US",
        dark: bool = False,
        expected: tuple[str, ...] = (),
        hosts: Room | None = None,
    ) -> Phone:
        context = await browser.new_context(
            viewport=size or PHONE,  # type: ignore[arg-type]
            locale=locale,
            color_scheme="dark" if dark else "light",
        )
        page = await context.new_page()
        page.set_default_timeout(WAIT_MS)
        phone = Phone(page, context, expected)
        page.on(
            "console",
            lambda line: phone.complaints.append(line.text) if line.type == "error" else None,
        )
        page.on("pageerror", lambda error: phone.complaints.append(str(error)))
        await page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " (e) => console.error(`CSP ${e.violatedDirective} ${e.blockedURI}`))"
        )
        opened.append(phone)
        if hosts is not None:
            # As the page that opens a room leaves it.
            await page.goto(f"{hosts.server.url}/r/")
            await page.evaluate(
                "([code, host_token]) => localStorage.setItem('madang.rooms',"
                " JSON.stringify([{ code, title: '', at: 0, host_token }]))",
                [hosts.code, hosts.host_token],
            )
        return phone

    expect.set_options(timeout=WAIT_MS)
    yield open_phone
    for phone in opened:
        left = [
            complaint
            for complaint in phone.complaints
            if not any(part in complaint for part in phone.expected)
        ]
        assert left == []
