"""What somebody new stumbles over: links, names, the end of a talk, the tools of a message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest
from playwright.async_api import Browser, Locator, expect

from tests.console.conftest import OpenConsole, Server

MakeGroup = Callable[..., Awaitable[str]]

FROM_THE_END = "(one) => one.scrollHeight - one.scrollTop - one.clientHeight"


async def say(server: Server, conversation: str, user: str, *texts: str) -> None:
    headers = {"Authorization": f"Bearer {server.token(user)}"}
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        for text in texts:
            path = f"/api/v1/messenger/conversations/{conversation}/messages"
            answer = await http.post(path, json={"content": text}, headers=headers)
            assert answer.status_code == 201, answer.text


async def test_a_short_link_leads_into_the_newest_conversation(
    browser: Browser, server: Server, make_group: MakeGroup
) -> None:
    await make_group("Older", "alice", "bob")
    newest = await make_group("Newest", "alice", "bob")
    await say(server, newest, "bob", "come in")
    page = await browser.new_page()
    await page.goto(f"{server.url}/console?user=alice")
    await expect(page.locator(".chat-title h2")).to_have_text("Newest")
    await expect(page.locator(".line .text")).to_have_text("come in")
    assert "alice" not in page.url
    await page.reload()
    await expect(page.locator('.panel[aria-label="alice"] .chat-title h2')).to_have_text("Newest")


async def test_nobody_to_talk_to_yet(open_console: OpenConsole) -> None:
    console = await open_console("alone")
    await console.panel("alone").locator(".chat-empty .button").click()
    await expect(console.panel("alone").locator("dialog input[name=people]")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390, 360, 320])
@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_the_first_screen_fits_a_phone(
    open_console: OpenConsole, width: int, locale: str
) -> None:
    page = (await open_console(width=width, height=844, locale=locale)).page
    form = page.locator(".welcome")
    await form.wait_for()
    panels = page.locator("#panels")
    assert await panels.evaluate("(one) => one.scrollWidth <= one.clientWidth")
    box = await form.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


async def test_a_token_with_a_name_is_shown_by_it(
    open_console: OpenConsole, server: Server
) -> None:
    console = await open_console(tokens=[server.token("42", name="김민지")])
    await console.live("42")
    await expect(console.panel("42").locator(".panel-name")).to_have_text("김민지42")


async def test_the_end_stays_in_sight_when_a_panel_becomes_narrow(
    open_console: OpenConsole, server: Server, make_group: MakeGroup
) -> None:
    group = await make_group("Yard", "alice", "bob")
    await say(server, group, "bob", *(f"{n} " + "a few words that wrap " * 8 for n in range(12)))
    console = await open_console("alice", width=1280, height=800)
    await console.open("alice", "Yard")
    await console.panel("alice").locator(".line").nth(11).wait_for()
    scroller = console.panel("alice").locator(".scroller")
    wide = await scroller.evaluate("(one) => one.scrollHeight")
    await console.page.locator(".button.add").click()
    await console.page.locator("dialog textarea[name=token]").fill(server.token("bob"))
    await console.page.get_by_role("button", name="Connect with a token").click()
    await console.live("bob")
    handle = await scroller.element_handle()
    grown = f"(one) => one.scrollHeight > {wide} && ({FROM_THE_END})(one) < 2"
    await console.page.wait_for_function(grown, arg=handle)
    # Who scrolls up is left where they are.
    await scroller.evaluate("(one) => { one.scrollTop -= 300; }")
    await console.page.wait_for_function(f"(one) => ({FROM_THE_END})(one) > 200", arg=handle)
    await say(server, group, "bob", "one more")
    await expect(console.panel("alice").locator(".jump")).to_be_visible()
    assert await scroller.evaluate(FROM_THE_END) > 200


async def box(one: Locator) -> tuple[float, float]:
    """Top and bottom."""
    found = await one.bounding_box()
    assert found is not None
    return found["y"], found["y"] + found["height"]


async def test_the_tools_of_a_message_cover_no_other(
    open_console: OpenConsole, server: Server, make_group: MakeGroup
) -> None:
    group = await make_group("Yard", "alice", "bob")
    await say(server, group, "bob", "first", "second", "third")
    for width in (1280, 390):
        console = await open_console("alice", width=width, height=844)
        await console.open("alice", "Yard")
        panel = console.panel("alice")
        await panel.locator(".line").nth(2).wait_for()
        await panel.locator(".line .bubble").nth(1).click()
        tools = panel.locator(".message-tools")
        top, bottom = await box(tools)
        assert top >= (await box(panel.locator(".line .bubble").nth(0)))[1]
        assert bottom <= (await box(panel.locator(".line .bubble").nth(2)))[0]
        await expect(tools.get_by_role("button", name="Use in actions")).to_have_text("Actions")
        # A press elsewhere puts them away.
        await panel.locator(".composer textarea").click()
        await expect(tools).to_have_count(0)


async def test_the_tools_of_a_message_under_a_finger(
    browser: Browser, server: Server, make_group: MakeGroup
) -> None:
    group = await make_group("Yard", "alice", "bob")
    await say(server, group, "bob", "first", "second")
    page = await browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    await page.goto(f"{server.url}/console?token={server.token('alice')}")
    await page.locator(".conversation").tap()
    await page.locator(".line .bubble").nth(1).tap()
    await page.get_by_role("button", name="React", exact=True).tap()
    await page.locator(".picker button").first.tap()
    await expect(page.locator(".reaction")).to_have_count(1)
    await expect(page.locator(".message-tools")).to_have_count(0)


async def test_a_touch_that_brings_the_tools_out_presses_none_of_them(
    browser: Browser, server: Server, make_group: MakeGroup
) -> None:
    """At the bottom of the list they push it up, under the finger."""
    group = await make_group("Yard", "alice", "bob")
    await say(
        server, group, "alice", *(f"line {n} of several words that fill it" for n in range(20))
    )
    page = await browser.new_page(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    await page.goto(f"{server.url}/console?token={server.token('alice')}")
    await page.locator(".conversation").tap()
    bubble = page.locator(".line .bubble").last
    await bubble.wait_for()
    tools = page.locator(".message-tools")
    shape = await bubble.bounding_box()
    assert shape is not None
    for part in (0.1, 0.3, 0.5, 0.7, 0.9):
        await page.touchscreen.tap(
            shape["x"] + part * shape["width"], shape["y"] + shape["height"] - 4
        )
        await expect(tools).to_have_count(1)
        await expect(page.locator(".bubble.gone")).to_have_count(0)
        await expect(page.get_by_role("tabpanel", name="Actions")).to_have_count(0)
        await expect(page.locator(".composer .context")).to_have_count(0)
        await page.keyboard.press("Escape")
        await page.locator(".composer textarea").tap()
        await expect(tools).to_have_count(0)


async def test_while_away_nothing_is_said_of_others_and_a_letter_waits(
    open_console: OpenConsole, server: Server
) -> None:
    headers = {"Authorization": f"Bearer {server.token('alice')}"}
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        body = {"kind": "direct", "participant_ids": ["bob"]}
        path = "/api/v1/messenger/conversations"
        assert (await http.post(path, json=body, headers=headers)).status_code == 201
    console = await open_console("alice", "bob")
    await console.open("alice", "bob")
    alice = console.panel("alice")
    faces = alice.locator(".avatar[data-status]")
    await expect(faces.first).to_have_attribute("data-status", "online")
    await alice.get_by_role("button", name="Disconnect").click()
    await expect(alice.locator('.avatar[data-status="online"]')).to_have_count(0)
    await expect(alice.locator(".trouble")).to_contain_text("What you write is kept and sent.")
    await console.say("alice", "later then")
    await expect(alice.locator(".conversation .preview")).to_have_text("You: later then")
    await alice.locator(".trouble .button").click()
    await (
        console.bubbles("bob", "later then")
        .or_(console.panel("bob").locator(".preview", has_text="later then"))
        .first.wait_for()
    )
    await expect(faces.first).to_have_attribute("data-status", "online")


async def test_a_phone_chooses_an_action_from_one_control(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice")
    console = await open_console("alice", width=390, height=844)
    await console.open("alice", "Yard")
    alice = console.panel("alice")
    await alice.locator(".toggle-tools").click()
    bar = await alice.locator(".frames-bar").bounding_box()
    assert bar is not None
    assert bar["height"] <= 100, "two rows"
    await alice.get_by_role("tab", name="Actions").click()
    await expect(alice.locator(".action-menu")).to_be_hidden()
    choice = alice.locator(".action-choice")
    await expect(choice).to_have_value("message.send")
    await choice.select_option("ping")
    await expect(alice.locator(".action-form h3")).to_have_text("ping")
    await alice.locator(".action-form .button.primary").click()
    await alice.locator(".action-answer p").wait_for()
