"""An answer is given again, and one of several counts: on every screen, and after a reload."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Locator, expect

from tests.console.conftest import Console, OpenConsole
from tests.console.talk import Talk
from tests.surfaces.agents.sessions import Api

OpenTalk = Callable[..., Awaitable[Talk]]


async def answered(api: Api, session: str, question: str) -> str:
    """Ask, and wait for the end of the answer: its id."""
    asked = await api.post(f"/sessions/{session}/messages", {"content": question})
    run = str(asked.json()["runs"][0])
    async with api.stream("GET", f"/runs/{run}/stream") as events:
        await events.all()
    return run


async def both_see(console: Console, which: str, counts: bool = True) -> None:
    for user in ("alice", "bob"):
        panel = console.panel(user)
        await expect(panel.locator(".line.other .which")).to_have_text(which)
        await expect(panel.locator(".counts")).to_have_count(int(counts))


async def test_another_answer_stands_in_the_place_of_the_first_and_one_counts(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("Beside", "alice")
    session = await talk.chat.session("alice", "echo", title="Again", participant_ids=["bob"])
    api = talk.chat.rest("alice")
    first = await answered(api, session, "say it")
    console = await open_console("alice", "bob")
    await console.both_open("Again")
    alice, bob = console.panel("alice"), console.panel("bob")
    await alice.get_by_role("button", name="Answer again").click()
    await both_see(console, "2 / 2")
    answers = alice.locator(".line", has=alice.page.locator(".tag", has_text="agent"))
    await expect(answers).to_have_count(1)

    # Who looks at another one changes nothing for others.
    await bob.get_by_role("button", name="The answer before").click()
    await expect(bob.locator(".which")).to_have_text("1 / 2")
    await expect(alice.locator(".which")).to_have_text("2 / 2")
    await expect(bob.get_by_role("button", name="The answer before")).to_be_disabled()
    await bob.get_by_role("button", name="Use this").click()
    await both_see(console, "1 / 2")
    told = (await api.get(f"/sessions/{session}")).json()
    assert list(told["choices"].values()) == [first]
    for user in ("alice", "bob"):
        notice = console.panel(user).locator(".timeline .notice")
        await expect(notice).to_have_text("bob chose the answer that counts")

    await console.page.reload()
    await both_see(console, "1 / 2")
    await alice.get_by_role("button", name="Answer again").click()
    await both_see(console, "3 / 3")

    # What is deleted is none of them, and counts no more.
    third = (await api.get(f"/sessions/{session}")).json()["choices"]
    (newest,) = third.values()
    messenger = talk.chat.house.rest("alice")
    assert (await messenger.delete(f"/messages/{newest}")).status_code in (200, 204)
    await both_see(console, "2 / 2")


async def test_another_answer_to_an_older_question_leaves_the_end_where_it_is(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("Older", "alice")
    session = await talk.chat.session("alice", "echo", title="Two questions")
    api = talk.chat.rest("alice")
    for question in ("one", "two"):
        await answered(api, session, question)
    console = await open_console("alice")
    await console.open("alice", "Two questions")
    panel = console.panel("alice")
    lines = panel.locator(".line")
    await expect(lines).to_have_count(4)
    await lines.nth(1).hover()
    await panel.locator(".message-tools").get_by_role("button", name="Answer again").click()
    await expect(lines.nth(1).locator(".which")).to_have_text("2 / 2")
    await expect(lines).to_have_count(4)
    assert await console.texts("alice") == ["one", "one", "two", "two"]
    # Under the newest it is offered without asking for the tools.
    await expect(lines.nth(3).get_by_role("button", name="Answer again")).to_have_count(1)


async def test_an_answer_joins_the_first_when_that_is_read(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("Long", "alice")
    session = await talk.chat.session("alice", "echo", title="Long ago")
    api = talk.chat.rest("alice")
    first = await answered(api, session, "the question")
    await api.patch(f"/sessions/{session}", {"answers": "mentioned"})
    for number in range(50):
        await api.post(f"/sessions/{session}/messages", {"content": f"line {number}"})
    again = (await api.post(f"/runs/{first}/regenerate")).json()["message_id"]
    async with api.stream("GET", f"/runs/{again}/stream") as events:
        await events.all()
    console = await open_console("alice")
    await console.open("alice", "Long ago")
    panel = console.panel("alice")
    await expect(panel.locator(".line")).to_have_count(50)
    await expect(console.answer("alice").locator(".by")).to_contain_text("another answer")
    await expect(panel.locator(".which")).to_have_count(0)
    await panel.locator(".scroller").evaluate("(one) => { one.scrollTop = 0; }")
    await expect(panel.locator(".line")).to_have_count(52)
    await expect(panel.locator(".line").nth(1).locator(".which")).to_have_text("2 / 2")
    await expect(console.answer("alice").locator(".text")).to_have_text("line 49")


async def test_with_the_keyboard_alone(open_console: OpenConsole, open_talk: OpenTalk) -> None:
    talk = await open_talk("Keys", "alice")
    session = await talk.chat.session("alice", "echo", title="By keyboard")
    await answered(talk.chat.rest("alice"), session, "well?")
    console = await open_console("alice")
    await console.open("alice", "By keyboard")
    panel, keyboard = console.panel("alice"), console.page.keyboard
    await panel.locator(".scroller").focus()
    await keyboard.press("ArrowUp")

    async def tab_to(button: Locator) -> None:
        for _ in range(12):
            if await button.evaluate("(one) => one === document.activeElement"):
                return
            await keyboard.press("Tab")
        raise AssertionError("no way there with the keyboard")

    await tab_to(panel.get_by_role("button", name="Answer again"))
    await keyboard.press("Enter")
    await expect(panel.locator(".which")).to_have_text("2 / 2")
    # The line that was drawn anew has the focus that was in it.
    await expect(panel.locator(".line.other")).to_be_focused()
    before = panel.get_by_role("button", name="The answer before")
    await tab_to(before)
    await keyboard.press("Enter")
    await expect(panel.locator(".which")).to_have_text("1 / 2")
    await expect(panel.get_by_role("button", name="The next answer")).to_be_focused()
    await tab_to(panel.get_by_role("button", name="Use this"))
    await keyboard.press("Enter")
    await expect(panel.locator(".counts")).to_have_text("In use")


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_only_the_servers_agents_answer_again_and_a_refusal_is_told(
    open_console: OpenConsole, open_talk: OpenTalk, locale: str
) -> None:
    talk = await open_talk("Outside", "alice")
    run = await talk.begin()
    await talk.say(run, "mine")
    await talk.end(run)
    session = await talk.chat.session("alice", "echo", title="Inside")
    api = talk.chat.rest("alice")
    await answered(api, session, "well?")
    console = await open_console("alice", locale=locale, expected=("Failed to load resource",))
    panel = console.panel("alice")
    again = panel.locator(".under-button.again")
    await console.open("alice", "Outside")
    await expect(panel.locator(".line.other")).to_have_count(1)
    await expect(again).to_have_count(0)
    await console.open("alice", "Inside")
    await expect(again).to_have_count(1)
    await console.page.route(
        "**/regenerate",
        lambda route: route.fulfill(status=409, json={"detail": "The run has not ended"}),
    )
    await again.click()
    words = "하지 못했어요" if locale == "ko-KR" else "That did not work"
    await expect(panel.locator(".under-answer .problem")).to_have_text(
        f"{words}: The run has not ended"
    )
    await console.page.unroute_all()
    await again.click()
    await expect(panel.locator(".which")).to_have_text("2 / 2")
