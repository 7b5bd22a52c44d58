"""Sessions are put away and opened again, and say how much in them is unread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from tests.console.conftest import OpenConsole
from tests.console.talk import Talk

OpenTalk = Callable[..., Awaitable[Talk]]


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_an_archived_session_is_read_only_until_it_is_open_again(
    open_console: OpenConsole, open_talk: OpenTalk, locale: str
) -> None:
    talk = await open_talk("Put away", "alice", "bob")
    console = await open_console("alice", "bob", locale=locale)
    await console.both_open("Put away")
    alice, bob = console.panel("alice"), console.panel("bob")
    run = await talk.begin()
    await expect(alice.locator(".stop")).to_have_count(1)
    korean = locale == "ko-KR"
    archive = alice.locator(".chat-head").get_by_role(
        "button", name="보관하기" if korean else "Archive"
    )
    await archive.focus()
    await console.page.keyboard.press("Enter")
    # What the agent was saying ends.
    await talk.bot.next("stream_end", message_id=run, status="cancelled")
    restore = alice.locator(".restore")
    await expect(restore).to_be_focused()
    for panel in (alice, bob):
        await expect(panel.locator(".composer-form")).to_be_hidden()
        await expect(panel.locator(".shelf .conversation")).to_have_count(1)
        await expect(panel.locator(".archived summary")).to_have_text(
            "보관함 · 1" if korean else "Archived · 1"
        )
        await expect(panel.locator(".chat-head .tag")).to_have_count(1)
        await expect(panel.locator(".takeOver")).to_have_count(0)
    # Only an admin of the session opens it again.
    await expect(bob.locator(".restore")).to_be_hidden()
    await console.page.reload()
    # Where the open conversation lies is in sight.
    await expect(alice.locator(".shelf .conversation")).to_be_visible()
    await restore.focus()
    await console.page.keyboard.press("Enter")
    await expect(alice.locator(".composer textarea")).to_be_focused()
    for panel in (alice, bob):
        await expect(panel.locator(".archived")).to_be_hidden()
        await expect(panel.locator(".timeline .notice").last).to_have_text(
            "대화를 다시 열었어요" if korean else "The conversation was opened again"
        )
    await console.say("bob", "still here")
    await console.bubbles("alice", "still here").wait_for()


async def test_a_session_says_how_much_is_unread(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("Busy", "alice", "bob")
    await talk.chat.session("alice", "echo", title="Elsewhere")
    console = await open_console("alice")
    await console.open("alice", "Elsewhere")
    busy = console.panel("alice").locator(".conversation", has_text="Busy")
    bob = talk.chat.rest("bob")
    for text in ("one", "two"):
        await bob.post(f"/sessions/{talk.id}/messages", {"content": text})
    await talk.end(await talk.begin())
    await expect(busy.locator(".unread")).to_have_text("3")
    await console.page.reload()
    await expect(busy.locator(".unread")).to_have_text("3")
    await console.open("alice", "Busy")
    await expect(busy.locator(".unread")).to_have_count(0)
    await console.page.reload()
    await console.panel("alice").locator(".conversation").first.wait_for()
    await expect(busy.locator(".unread")).to_have_count(0)
