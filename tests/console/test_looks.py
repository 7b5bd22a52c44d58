"""What everybody can use: labels, contrast, keyboard, widths, languages."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable

import pytest
from PIL import Image
from playwright.async_api import expect

from tests.accessibility import FAINT, NAMELESS, SAME_IDS, findings
from tests.console.conftest import OpenConsole
from tests.console.talk import Talk

MakeGroup = Callable[..., Awaitable[str]]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_labels_ids_and_contrast(
    open_console: OpenConsole, make_group: MakeGroup, dark: bool
) -> None:
    await make_group("Yard", "alice", "bob")
    console = await open_console("alice", "bob", dark=dark)
    await console.open("alice", "Yard")
    await console.say("alice", "hello")
    await console.bubbles("alice", "hello").hover()
    await console.panel("alice").locator(".message-tools").wait_for()
    await console.panel("bob").locator(".unread").wait_for()
    await console.panel("bob").get_by_role("tab", name="Actions").click()
    assert await console.page.evaluate(NAMELESS) == []
    assert await console.page.evaluate(SAME_IDS) == []
    assert await console.page.evaluate(FAINT) == []


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_a_phone_shows_one_thing_at_a_time(
    open_console: OpenConsole, make_group: MakeGroup, locale: str
) -> None:
    await make_group("Yard", "alice", "bob")
    console = await open_console("alice", "bob", width=390, height=844, locale=locale)
    page = console.page
    alice = console.panel("alice")
    await expect(alice).to_be_visible()
    await expect(console.panel("bob")).to_be_hidden()
    await expect(alice.locator(".chat")).to_be_hidden()
    await console.open("alice", "Yard")
    await expect(alice.locator(".list")).to_be_hidden()
    await console.say("alice", "from a phone, " + "long" * 60)
    await alice.locator(".line:not(.letter)").wait_for()
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    await alice.locator(".toggle-tools").click()
    await expect(alice.locator(".rows-scroller")).to_be_visible()
    await alice.locator(".toggle-tools").click()
    await alice.locator(".back").click()
    await expect(alice.locator(".list")).to_be_visible()
    await page.locator(".switcher button", has_text="bob").click()
    await expect(console.panel("bob")).to_be_visible()
    await expect(alice).to_be_hidden()


async def test_language_and_theme_switch_and_stay(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice")
    console = await open_console("alice", locale="ko-KR")
    page = console.page
    await expect(page.locator("html")).to_have_attribute("lang", "ko")
    await console.open("alice", "Yard")
    await console.panel("alice").locator(".composer textarea").fill("초안")
    await page.get_by_role("button", name="Switch to English").click()
    await expect(page.locator(".list-head h2")).to_have_text("Conversations")
    # Another language draws everything anew; what was being written stays.
    await expect(console.panel("alice").locator(".composer textarea")).to_have_value("초안")
    await page.get_by_role("button", name="Theme: system").click()
    await page.get_by_role("button", name="Theme: light").click()
    await page.get_by_role("button", name="Theme: dark").wait_for()
    await page.reload()
    await console.live("alice")
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


async def test_everything_can_be_reached_with_the_keyboard(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice")
    console = await open_console("alice")
    panel = console.panel("alice")
    await panel.locator(".conversation").focus()
    await console.page.keyboard.press("Enter")
    await expect(panel.locator(".composer textarea")).to_be_focused()
    await console.page.keyboard.type("typed")
    await console.page.keyboard.press("Enter")
    await console.bubbles("alice", "typed").wait_for()
    await panel.locator(".scroller").focus()
    await console.page.keyboard.press("ArrowUp")
    await expect(panel.locator(".line")).to_be_focused()
    await console.page.keyboard.press("Tab")
    await expect(panel.get_by_role("button", name="React", exact=True)).to_be_focused()
    await panel.locator(".rows-scroller").focus()
    await console.page.keyboard.press("ArrowUp")
    await expect(panel.locator(".detail pre")).to_be_visible()
    await console.page.keyboard.press("Escape")
    await expect(panel.locator(".detail")).to_be_hidden()


@pytest.mark.parametrize(
    ("width", "dark", "locale"),
    [(1280, False, "en-US"), (1280, True, "ko-KR"), (390, True, "en-US"), (390, False, "ko-KR")],
    ids=["desk-light-en", "desk-dark-ko", "phone-dark-en", "phone-light-ko"],
)
async def test_answers_and_files_stand_in_nobodys_way(
    open_console: OpenConsole,
    open_talk: Callable[..., Awaitable[Talk]],
    width: int,
    dark: bool,
    locale: str,
) -> None:
    talk = await open_talk("Everything", "alice", "bob")
    content = io.BytesIO()
    Image.new("RGB", (640, 480), "#8fb8a5").save(content, "PNG")
    sent = await talk.chat.rest("bob").client.post(
        f"/api/chat/sessions/{talk.id}/files",
        files={"file": ("a-very-long-name-" * 6 + ".png", content.getvalue(), "image/png")},
    )
    assert sent.status_code == 201, sent.text
    failed = await talk.begin()
    await talk.end(failed, "failed", error="The printer is on fire")
    under_way = await talk.begin()
    await talk.step(under_way, "t", kind="thinking", content="a long thought " * 20)
    await talk.say(under_way, "a_word_without_an_end" * 20)
    await talk.ask(under_way, "May I?", "approve", "deny", "a third way, which is a long one")
    await talk.say(await talk.begin(), "and so on")
    console = await open_console(
        "alice",
        width=width,
        height=1600,
        dark=dark,
        locale=locale,
        expected=("Failed to load resource",),
    )
    page, alice = console.page, console.panel("alice")
    await console.open("alice", "Everything")
    for one in (".ended", ".growing", ".options", ".answering", ".step", ".thumb.there"):
        await alice.locator(one).locator("visible=true").first.wait_for()
    await alice.locator("input[type=file]").set_input_files(
        {"name": "page.html", "mimeType": "text/html", "buffer": b"<!doctype html><p>hi"}
    )
    await alice.locator(".composer .send").click()
    await alice.locator(".upload.failed").wait_for()
    await alice.locator("input[type=file]").set_input_files(
        {"name": "n" * 100, "mimeType": "text/plain", "buffer": b"later"}
    )
    await alice.locator(".chip").wait_for()
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    chat = alice.locator(".scroller")
    assert await chat.evaluate("(one) => one.scrollWidth <= one.clientWidth")
    assert await findings(page) == []
    if width == 390:
        await alice.locator(".back").click()
    await alice.locator(".list-head .icon-button").click()
    await alice.locator("dialog select[name=kind]").select_option("agent")
    await alice.locator("dialog select[name=agent] option").first.wait_for(state="attached")
    assert await findings(page) == []
