"""Two people at one console: what one says the other sees, also after reloads and crashes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from playwright.async_api import expect

from tests.console.conftest import OpenConsole, Server

MakeGroup = Callable[..., Awaitable[str]]


async def test_two_tokens_open_two_panels_and_leave_the_address(
    server: Server, open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice", "bob")
    console = await open_console("alice", "bob")
    assert "token" not in console.page.url
    await console.both_open("Yard")
    await console.say("alice", "hello from alice")
    await console.bubbles("bob", "hello from alice").wait_for()
    await console.say("bob", "hello from bob")
    await console.bubbles("alice", "hello from bob").wait_for()
    await expect(console.panel("alice").locator(".letter")).to_have_count(0)
    assert await console.texts("alice") == ["hello from alice", "hello from bob"]
    assert await console.texts("bob") == ["hello from alice", "hello from bob"]
    # Bob sees the conversation, so alice learns that he has read it.
    await console.panel("alice").locator(".readers").wait_for()


async def test_typing_shows_and_goes(open_console: OpenConsole, make_group: MakeGroup) -> None:
    await make_group("Yard", "alice", "bob")
    console = await open_console("alice", "bob")
    await console.both_open("Yard")
    area = console.panel("alice").locator(".composer textarea")
    await area.press_sequentially("hm")
    typing = console.panel("bob").locator("p.typing")
    await expect(typing).to_have_text("alice is typing")
    await area.fill("")
    await expect(typing).to_have_text("")


async def test_reactions_replies_edits_and_deletions(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice", "bob")
    console = await open_console("alice", "bob")
    await console.both_open("Yard")
    alice, bob = console.panel("alice"), console.panel("bob")
    await console.say("alice", "first")
    await console.bubbles("bob", "first").hover()
    await bob.get_by_role("button", name="React", exact=True).click()
    await bob.get_by_role("button", name="React with 🎉").click()
    await alice.locator(".reaction", has_text="🎉").wait_for()
    await bob.locator('.reaction[aria-pressed="true"]').click()
    await expect(alice.locator(".reaction")).to_have_count(0)

    await bob.get_by_role("button", name="Reply").click()
    await console.say("bob", "an answer")
    await expect(alice.locator(".quoted")).to_contain_text("first")

    await console.bubbles("alice", "first").hover()
    await alice.get_by_role("button", name="Edit", exact=True).click()
    await console.say("alice", "first, mended")
    await console.bubbles("bob", "first, mended").wait_for()
    await console.bubbles("alice", "first, mended").hover()
    await alice.get_by_role("button", name="Delete", exact=True).click()
    await bob.locator(".bubble.gone").wait_for()
    assert "first, mended" not in await bob.locator(".chat").inner_text()


async def test_unread_counts_until_it_is_opened(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice", "bob")
    console = await open_console("alice", "bob")
    await console.open("alice", "Yard")
    await console.say("alice", "one")
    await console.say("alice", "two")
    unread = console.panel("bob").locator(".unread")
    await expect(unread).to_have_text("2")
    await console.open("bob", "Yard")
    await expect(unread).to_have_count(0)


async def test_reload_keeps_the_users_and_resumes(
    server: Server, open_console: OpenConsole, make_group: MakeGroup
) -> None:
    yard = await make_group("Yard", "alice", "bob")
    console = await open_console("alice")
    await console.open("alice", "Yard")
    await console.say("alice", "before")
    await console.bubbles("alice", "before").wait_for()
    await console.page.goto("about:blank")
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        answer = await http.post(
            f"/api/v1/messenger/conversations/{yard}/messages",
            json={"content": "while away"},
            headers={"Authorization": f"Bearer {server.token('bob')}"},
        )
    assert answer.status_code == 201
    await console.page.goto(f"{server.url}/console")
    await console.live("alice")
    await console.bubbles("alice", "while away").wait_for()
    assert await console.texts("alice") == ["before", "while away"]
    rows = console.panel("alice").locator(".row")
    await rows.filter(has_text='"type":"resume"').wait_for()
    await rows.filter(has_text='"type":"resumed"').filter(has_text='"recovered":true').wait_for()


async def test_a_killed_server_costs_nothing(
    server: Any, open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice", "bob")
    lost = ("WebSocket connection", "ERR_CONNECTION", "Failed to load resource")
    console = await open_console("alice", "bob", expected=lost)
    await console.both_open("Yard")
    await console.say("alice", "acked before")
    await console.bubbles("bob", "acked before").wait_for()
    server.kill()
    await console.page.wait_for_selector('.panel[data-phase="waiting"]')
    await console.say("alice", "written in the dark")
    await console.say("bob", "me too")
    await expect(console.panel("alice").locator(".letter")).to_have_count(1)
    server.start()
    for user in ("alice", "bob"):
        await console.live(user)
        await console.bubbles(user, "written in the dark").wait_for()
        await console.bubbles(user, "me too").wait_for()
        await expect(console.panel(user).locator(".letter")).to_have_count(0)
    texts = await console.texts("alice")
    assert sorted(texts) == sorted(["acked before", "written in the dark", "me too"])
    assert texts == await console.texts("bob")


async def test_korean_composition_is_not_sent(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("마당", "alice")
    console = await open_console("alice", locale="ko-KR")
    await console.open("alice", "마당")
    panel = console.panel("alice")
    area = panel.locator(".composer textarea")
    await area.click()
    devtools = await console.page.context.new_cdp_session(console.page)
    await devtools.send(
        "Input.imeSetComposition", {"text": "안녕", "selectionStart": 2, "selectionEnd": 2}
    )
    await expect(area).to_have_value("안녕")
    # Enter while composing belongs to the input method: with its own key code in most browsers,
    # with 229 in the others.
    for key_code in (13, 229):
        await devtools.send(
            "Input.dispatchKeyEvent",
            {"type": "rawKeyDown", "key": "Enter", "windowsVirtualKeyCode": key_code},
        )
    await expect(area).to_have_value("안녕")
    await expect(panel.locator(".line")).to_have_count(0)
    await expect(panel.locator(".row").filter(has_text='"message.send"')).to_have_count(0)
    await devtools.send("Input.insertText", {"text": "안녕"})
    await expect(area).to_have_value("안녕")
    await area.press("Shift+Enter")
    await area.press_sequentially("반가워요")
    await area.press("Enter")
    await expect(panel.locator(".line:not(.letter)")).to_have_count(1)
    assert await console.texts("alice") == ["안녕\n반가워요"]


async def test_markup_in_messages_and_titles_is_text(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    evil = '<img src="x" onerror="document.title=1"><b>bold</b>'
    await make_group(evil, "alice", "bob")
    console = await open_console("alice", "bob")
    await console.both_open(evil)
    await console.say("alice", evil)
    await console.bubbles("bob", evil).wait_for()
    assert await console.page.locator(".panel :is(.list, .timeline, .chat-head) img").count() == 0
    assert await console.page.locator(".bubble b").count() == 0
    assert await console.page.title() == "Madang console"


async def test_a_bad_token_is_refused_and_not_tried_again(
    server: Server, open_console: OpenConsole
) -> None:
    header, payload, _ = server.token("alice").split(".")
    console = await open_console(
        tokens=[f"{header}.{payload}.AAAA"],
        expected=("WebSocket connection", "Failed to load resource"),
    )
    await console.page.wait_for_selector('.panel[data-phase="refused"]')
    # The panel offers to go on with another token.
    await console.page.get_by_text("Use another token").click()
    await console.page.locator(".trouble textarea").fill(server.token("alice"))
    await console.page.get_by_role("button", name="Connect with a token").click()
    await console.live("alice")


async def test_dev_mode_lets_a_name_in_and_makes_a_conversation(
    open_console: OpenConsole,
) -> None:
    console = await open_console()
    page = console.page
    await page.get_by_label("User name").fill("carol")
    await page.get_by_role("button", name="Connect", exact=True).click()
    await console.live("carol")
    panel = console.panel("carol")
    await panel.get_by_role("button", name="New conversation").click()
    await panel.get_by_label("People").fill("dave")
    await panel.get_by_role("button", name="Create").click()
    await expect(panel.locator(".chat-title h2")).to_have_text("dave")
    await console.say("carol", "hello, dave")
    await console.bubbles("carol", "hello, dave").wait_for()


async def test_a_restart_is_named_and_an_offline_user_stays_offline(
    server: Any, open_console: OpenConsole
) -> None:
    lost = ("WebSocket connection", "ERR_CONNECTION", "Failed to load resource")
    console = await open_console("alice", "bob", expected=lost)
    bob = console.panel("bob")
    await bob.get_by_role("button", name="Disconnect").click()
    await expect(bob.locator(".state")).to_have_text("Offline")
    server.terminate()
    trouble = console.panel("alice").locator(".trouble")
    await expect(trouble).to_contain_text("The server is restarting.")
    server.start()
    await console.live("alice")
    await expect(bob.locator(".state")).to_have_text("Offline")
    await bob.get_by_role("button", name="Reconnect").first.click()
    await console.live("bob")


async def test_who_is_removed_is_told_and_sees_no_more(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice", "bob")
    console = await open_console("alice", "bob")
    await console.both_open("Yard")
    await console.say("alice", "still together")
    await console.bubbles("bob", "still together").wait_for()
    alice, bob = console.panel("alice"), console.panel("bob")
    await alice.get_by_role("tab", name="Actions").click()
    await alice.locator('[data-action$="participants/:user_id"]').click()
    await alice.locator('.action-form [name="user_id"]').fill("bob")
    await alice.locator(".action-form button[type=submit]").click()
    await expect(bob.locator(".conversation")).to_have_count(0)
    await expect(console.page.locator(".toast")).to_contain_text("no longer in “Yard”")
    await expect(bob.locator(".chat").get_by_text("still together")).to_have_count(0)


async def test_older_messages_come_when_scrolling_up(
    server: Server, open_console: OpenConsole, make_group: MakeGroup
) -> None:
    yard = await make_group("Yard", "alice")
    wanted = [f"message {n}" for n in range(120)]
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        for text in wanted:
            await http.post(
                f"/api/v1/messenger/conversations/{yard}/messages",
                json={"content": text},
                headers={"Authorization": f"Bearer {server.token('alice')}"},
            )
    console = await open_console("alice")
    await console.open("alice", "Yard")
    panel = console.panel("alice")
    await expect(panel.locator(".line")).to_have_count(50)
    for lines in (100, 120):
        await panel.locator(".scroller").evaluate("(one) => { one.scrollTop = 0; }")
        await expect(panel.locator(".line")).to_have_count(lines)
    assert await console.texts("alice") == wanted
    await expect(panel.locator(".older")).to_have_text("The beginning of this conversation")
