"""A real browser for the console's tests.

Each test gets pages through ``open_console``; whatever a page logged as an error, and every
breach of its Content-Security-Policy, fails the test that opened it, unless the test said to
expect it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
import pytest
from playwright.async_api import Browser, Locator, Page, Route, async_playwright

from madang.console import console_directory
from tests.conftest import Server as RealServer
from tests.console.talk import Talk
from tests.surfaces.agents.sessions import Chat
from tests.surfaces.people import House

WAIT_MS = 10_000
"""How long a test waits for anything to appear."""

MESSAGE = """
const message = (seq, more = {}) => ({ id: `m${seq}`, conversation_id: 'c', seq, sender_id: 'bob',
  content: `text ${seq}`, reactions: {}, attachments: [], created_at: '2026-01-01T00:00:00Z',
  ...more });
const about = (last_seq, more = {}) => ({ id: 'c', kind: 'group', title: 'Yard', status: 'active',
  participants: [{ user_id: 'alice', role: 'admin', last_read_seq: 0 },
                 { user_id: 'bob', role: 'member', last_read_seq: 0 }],
  last_message: null, last_seq, unread_count: 0, muted: false, ...more });
const fresh = (seq, more = {}) => ({ type: 'message.new', conversation_id: 'c', seq,
  cursor: 100 + seq, data: message(seq), ...more });
const items = (state) => state.conversations.get('c')?.items.map((item) => item.seq);
const loaded = (seq, messages) => convo.applyPage(convo.applySnapshot(convo.emptyState('alice'),
  [about(seq)]), 'c', { messages, has_more: false }, 'latest');
"""
"""What a script of the fixture `run` finds beside the modules."""

LAUNCH_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)


class Server(Protocol):
    """What these tests need of the ``server`` fixture."""

    url: str

    def token(self, user: str, **claims: Any) -> str: ...


@dataclass
class Console:
    """One browser page with the console in it."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def panel(self, user: str) -> Locator:
        return self.page.locator(f'.panel[aria-label="{user}"]')

    async def live(self, user: str) -> None:
        await self.page.wait_for_selector(
            f'.panel[aria-label="{user}"][data-phase="live"]', state="attached", timeout=WAIT_MS
        )

    async def open(self, user: str, title: str) -> None:
        """Open the conversation called ``title`` in the panel of ``user``."""
        panel = self.panel(user)
        await panel.locator(".conversation", has_text=title).click()
        await panel.locator(".chat-title h2", has_text=title).wait_for()

    async def both_open(self, title: str) -> None:
        """Alice and bob, who are beside each other."""
        for user in ("alice", "bob"):
            await self.open(user, title)

    async def say(self, user: str, text: str) -> None:
        area = self.panel(user).locator(".composer textarea")
        await area.fill(text)
        await area.press("Enter")

    def bubbles(self, user: str, text: str) -> Locator:
        """Bubbles with exactly this text, those still on their way left out."""
        exact = re.compile(f"^{re.escape(text)}$")
        return self.panel(user).locator(".line:not(.letter) .bubble .text").filter(has_text=exact)

    def answer(self, user: str) -> Locator:
        """The newest line."""
        return self.panel(user).locator(".line").last

    async def texts(self, user: str) -> list[str]:
        lines = self.panel(user).locator(".line:not(.letter) .bubble > .text")
        return await lines.all_inner_texts()


OpenConsole = Callable[..., Awaitable[Console]]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=list(LAUNCH_ARGS),
        )
        yield chromium
        await chromium.close()


@pytest.fixture
async def open_console(browser: Browser, server: Server) -> AsyncIterator[OpenConsole]:
    opened: list[Console] = []

    async def open_console(
        *users: str,
        tokens: Sequence[str] = (),
        width: int = 1440,
        height: int = 900,
        locale: str = "en-US",
        dark: bool = False,
        expected: tuple[str, ...] = (),
    ) -> Console:
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            locale=locale,
            color_scheme="dark" if dark else "light",
        )
        page = await context.new_page()
        page.set_default_timeout(WAIT_MS)
        console = Console(page, expected=expected)
        page.on(
            "console",
            lambda line: console.complaints.append(line.text) if line.type == "error" else None,
        )
        page.on("pageerror", lambda error: console.complaints.append(str(error)))
        await page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " (e) => console.error(`CSP ${e.violatedDirective} ${e.blockedURI}`))"
        )
        opened.append(console)
        query = "&".join(f"token={t}" for t in (*tokens, *(server.token(u) for u in users)))
        await page.goto(f"{server.url}/console?{query}")
        for user in users:
            await console.live(user)
        return console

    yield open_console
    for console in opened:
        left = [
            complaint
            for complaint in console.complaints
            if not any(part in complaint for part in console.expected)
        ]
        assert left == []


@pytest.fixture
async def make_group(server: Server) -> Callable[..., Awaitable[str]]:
    """Makes a group conversation over REST and answers its id."""

    async def make_group(title: str, admin: str, *others: str) -> str:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            answer = await http.post(
                "/api/v1/messenger/conversations",
                json={"kind": "group", "title": title, "participant_ids": list(others)},
                headers={"Authorization": f"Bearer {server.token(admin)}"},
            )
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])

    return make_group


@pytest.fixture
async def open_talk(server: RealServer) -> AsyncIterator[Callable[..., Awaitable[Talk]]]:
    """Makes a session of some people with an agent outside, which says what the test has it say."""
    async with House(server, "default") as house:

        async def open_talk(title: str, user: str, *others: str) -> Talk:
            chat = Chat(house)
            session = await chat.session(user, "bot-7", title=title, participant_ids=list(others))
            bot = await chat.join("bot-7", session, roles=["agent"])
            return Talk(chat, session, bot)

        yield open_talk


@pytest.fixture
async def run(browser: Browser) -> Callable[[str], Awaitable[Any]]:
    """Runs JavaScript with the modules at hand and answers what it returns; needs no server."""
    page = await browser.new_page()

    async def serve(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        if name.endswith(".js"):
            await route.fulfill(path=console_directory() / name, content_type="text/javascript")
        else:
            await route.fulfill(body="<!doctype html>", content_type="text/html")

    await page.route("**/*", serve)
    await page.goto("http://modules.test/console/")

    async def run(script: str) -> Any:
        return await page.evaluate(
            f"""async () => {{
              const convo = await import('./conversations.js');
              const wire = await import('./protocol.js');
              const box = await import('./outbox.js');
              const forms = await import('./actions.js');
              const answers = await import('./answers.js');
              const {{ EventLines }} = await import('./event-stream.js');
              const {{ groupsOf }} = await import('./alternatives.js');
              const search = await import('./search.js');
              {MESSAGE}
              {script}
            }}"""
        )

    return run
