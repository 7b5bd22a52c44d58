"""What one can do in a session, in both languages and themes, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from tests.accessibility import findings
from tests.console.conftest import Console, OpenConsole
from tests.console.talk import Talk
from tests.surfaces.test_search import found

OpenTalk = Callable[..., Awaitable[Talk]]

LONG = "What about the budget review of the second quarter, is it done? " * 3


async def well(console: Console, width: int) -> None:
    """Nothing is wrong with the page as it is now, and nothing sticks out of it."""
    assert await findings(console.page) == []
    assert await console.page.evaluate("document.documentElement.scrollWidth") == width
    for part in (".scroller", ".list", ".handler", ".chat-head", ".search-results"):
        one = console.panel("alice").locator(part)
        if await one.is_visible():
            assert await one.evaluate("(one) => one.scrollWidth <= one.clientWidth"), part


async def session_with_answers(talk: Talk) -> str:
    session = await talk.chat.session("alice", "echo", title="회의 준비", participant_ids=["bob"])
    api = talk.chat.rest("alice")
    for question in ("지난 회의록을 보내 주세요", LONG):
        asked = await api.post(f"/sessions/{session}/messages", {"content": question})
        async with api.stream("GET", f"/runs/{asked.json()['runs'][0]}/stream") as events:
            await events.all()
    put_away = await talk.chat.session("alice", "echo", title="Put away")
    await api.delete(f"/sessions/{put_away}")
    sent = await api.client.post(
        f"/api/chat/sessions/{talk.id}/files",
        files={"file": ("회의-" * 12 + ".txt", b"words", "text/plain")},
    )
    assert sent.status_code == 201, sent.text
    await found(talk.chat.house, "alice", "회의", 3)
    return session


@pytest.mark.parametrize(
    ("width", "dark", "locale"),
    [(1280, False, "en-US"), (1280, True, "ko-KR"), (390, True, "en-US"), (390, False, "ko-KR")],
    ids=["desk-light-en", "desk-dark-ko", "phone-dark-en", "phone-light-ko"],
)
async def test_answers_again_handover_archive_and_search_stand_in_nobodys_way(
    open_console: OpenConsole,
    open_talk: OpenTalk,
    width: int,
    dark: bool,
    locale: str,
) -> None:
    talk = await open_talk("Talk", "alice", "bob")
    session = await session_with_answers(talk)
    bob = talk.chat.rest("bob")
    console = await open_console(
        "alice",
        width=width,
        height=844,
        dark=dark,
        locale=locale,
        expected=("Failed to load resource",),
    )
    panel = console.panel("alice")
    await console.open("alice", "회의 준비")
    line = panel.locator(".line").nth(3)
    await line.hover()
    name = "다시 답하기" if locale == "ko-KR" else "Answer again"
    await line.get_by_role("button", name=name).click()
    await expect(panel.locator(".which")).to_have_text("2 / 2")
    await expect(panel.locator(".stop")).to_have_count(0)
    await well(console, width)
    await panel.locator('[data-way="back"]').click()
    await expect(panel.locator(".choose")).to_be_visible()
    await well(console, width)
    for handler in ("bob", "*", "alice"):
        await bob.post(f"/sessions/{session}/handover", {"to": handler})
        await expect(panel.locator(".handler .takeOver")).to_have_count(int(handler != "alice"))
        await expect(panel.locator(".handler")).to_be_visible()
        await well(console, width)
    await panel.locator(".chat-head .archive").click()
    await panel.locator(".restore").wait_for()
    await well(console, width)
    if width == 390:
        await panel.locator(".back").first.click()
    await panel.locator(".archived summary").wait_for()
    field = panel.locator(".search-field input")
    for typed in ("", "from:", "in:", "after:"):
        await field.fill(typed)
        await field.focus()
        await panel.locator(".hint").first.wait_for()
        await well(console, width)
    await field.fill("회의")
    await expect(panel.locator(".hit")).to_have_count(3)
    await well(console, width)
    await field.fill("plan after:x")
    await field.press("Enter")
    await panel.locator(".search-status.problem").wait_for()
    await well(console, width)
    await field.fill("회의록")
    await field.press("Enter")
    await panel.locator(".hit").first.click()
    await panel.locator(".line.found").wait_for()
    await well(console, width)
