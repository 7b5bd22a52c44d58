"""A person takes over from the agent and gives back, and everybody sees who answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from tests.console.conftest import Console, OpenConsole
from tests.console.talk import Talk

OpenTalk = Callable[..., Awaitable[Talk]]


async def echo_session(talk: Talk, title: str) -> str:
    return await talk.chat.session("alice", "echo", title=title, participant_ids=["bob"])


async def says(console: Console, alice: str, bob: str) -> None:
    """What the strip below the head tells each of them."""
    for user, words in (("alice", alice), ("bob", bob)):
        await expect(console.panel(user).locator(".handler p")).to_have_text(words)


async def test_a_person_takes_over_and_gives_back(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("Outside", "alice")
    await echo_session(talk, "Handing")
    console = await open_console("alice", "bob")
    await console.both_open("Handing")
    alice, bob = console.panel("alice"), console.panel("bob")
    for panel in (alice, bob):
        await expect(panel.locator(".chat-title p")).to_contain_text("Echo answers")
        await expect(panel.locator(".handler")).to_be_hidden()
    await bob.get_by_role("button", name="Take over").click()
    await says(console, "bob answers in place of Echo", "You answer in place of Echo")
    # Who has taken over writes next.
    await expect(bob.locator(".composer textarea")).to_be_focused()
    for panel in (alice, bob):
        await expect(panel.locator(".chat-title p")).not_to_contain_text("Echo answers")
    await expect(bob.get_by_role("button", name="Take over")).to_have_count(0)

    await console.page.reload()
    await says(console, "bob answers in place of Echo", "You answer in place of Echo")
    await console.say("alice", "is anybody there?")
    await console.bubbles("bob", "is anybody there?").wait_for()
    await console.say("bob", "yes, I am")
    await console.bubbles("alice", "yes, I am").wait_for()
    await alice.get_by_role("button", name="Take over").click()
    await says(console, "You answer in place of Echo", "alice answers in place of Echo")

    await bob.get_by_role("button", name="Give back").click()
    for panel in (alice, bob):
        await expect(panel.locator(".handler")).to_be_hidden()
        await expect(panel.locator(".chat-title p")).to_contain_text("Echo answers")
    await console.say("alice", "and now?")
    await expect(console.bubbles("bob", "and now?")).to_have_count(2)
    # What was said in between asked the agent nothing: it would have answered that first.
    said = ["is anybody there?", "yes, I am", "and now?", "and now?"]
    assert await console.texts("bob") == said


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_an_agent_asks_for_whoever_comes_first(
    open_console: OpenConsole, open_talk: OpenTalk, locale: str
) -> None:
    talk = await open_talk("Giving up", "alice", "bob")
    console = await open_console("alice", locale=locale)
    await console.open("alice", "Giving up")
    panel = console.panel("alice")
    words = panel.locator(".handler p")
    await talk.bot.send("handover", to="*", note="too hard")
    korean = locale == "ko-KR"
    asks = (
        "bot-7 쪽에서 답해 줄 사람을 기다려요" if korean else "bot-7 waits for a person to answer"
    )
    await expect(words).to_have_text(asks)
    await panel.locator(".handler .takeOver").focus()
    await console.page.keyboard.press("Enter")
    mine = "bot-7 대신 내가 답하고 있어요" if korean else "You answer in place of bot-7"
    await expect(words).to_have_text(mine)
    # Whoever has taken over and is sent out makes room for the next.
    handed = await talk.chat.rest("alice").post(f"/sessions/{talk.id}/handover", {"to": "bob"})
    assert handed.status_code == 200, handed.text
    theirs = "bot-7 대신 bob님이 답하고 있어요" if korean else "bob answers in place of bot-7"
    await expect(words).to_have_text(theirs)
    await talk.chat.rest("alice").delete(f"/sessions/{talk.id}/participants/bob")
    await expect(words).to_have_text(asks)


async def test_a_handover_that_is_refused_is_told(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("Outside", "alice")
    session = await echo_session(talk, "Sent out")
    console = await open_console("bob", expected=("Failed to load resource",))
    await console.open("bob", "Sent out")
    take = console.panel("bob").get_by_role("button", name="Take over")
    await take.wait_for()
    await console.page.route(
        f"**/sessions/{session}/handover",
        lambda route: route.fulfill(status=429, json={"detail": "Too many changes"}),
    )
    await take.click()
    await expect(console.page.locator(".toast")).to_have_text("That did not work: Too many changes")
    await console.page.unroute_all()
    await take.click()
    await expect(console.panel("bob").locator(".handler p")).to_have_text(
        "You answer in place of Echo"
    )
