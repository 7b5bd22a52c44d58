"""What everybody can use: weight, labels, contrast, keyboard, widths, languages."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.accessibility import findings
from tests.conftest import Server
from tests.rooms_pages.conftest import DESK, HALL, PHONE, OpenPhone, OpenRoom, Phone, Room

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MOST_BYTES = 100_000
"""Of the join page and all that it loads, as they are without compression."""


async def fill(phone: Phone, room: Room) -> None:
    """Put something of everything into the room."""
    await phone.join(room, "민지")
    await phone.say("안녕하세요")
    await phone.ask("언제 다시 만나나요?")
    await phone.ask("Is it open source?")
    question = phone.question("언제 다시 만나나요?")
    await question.get_by_role("button").click()
    await expect(question.locator(".votes")).to_have_text("1")


async def poll(host: Phone) -> None:
    await host.page.locator("[data-section=polls]").click()
    await host.page.locator(".host-polls .button.wide").click()
    fields = host.page.locator(".poll-form input")
    for number, text in enumerate(("점심은?", "비빔밥", "칼국수")):
        await fields.nth(number).fill(text)
    await host.page.locator(".poll-form button[type=submit]").click()
    await host.page.locator(".host-polls .poll").wait_for()


@pytest.mark.parametrize(
    ("dark", "locale"), [(False, "ko-KR"), (True, "en-US")], ids=["light-ko", "dark-en"]
)
async def test_nothing_on_the_pages_stands_in_anybodys_way(
    open_phone: OpenPhone, open_room: OpenRoom, server: Server, dark: bool, locale: str
) -> None:
    room = await open_room()
    phone = await open_phone(dark=dark, locale=locale)
    for path in ("/r/", "/r/new", f"/r/{room.code}", f"/r/{room.code}/host"):
        await phone.page.goto(server.url + path)
        await phone.page.locator("input").first.wait_for()
        assert await findings(phone.page) == []
    await fill(phone, room)
    host = await open_phone(DESK, dark=dark, locale=locale, hosts=room)
    await host.page.goto(room.page("/host"))
    await host.ready()
    await host.page.locator(".steps .primary").first.click()
    await poll(host)
    for section in ("questions", "chat", "polls"):
        await phone.section(section)
        assert await findings(phone.page) == []
    await host.page.locator(".question .icon-button").first.click()
    await host.page.locator(".top .icon-button").click()
    for section in ("chat", "polls", "people", "settings"):
        await host.section(section)
        assert await findings(host.page) == []
    screen = await open_phone(HALL, dark=dark, locale=locale, hosts=room)
    await screen.page.goto(room.page("/screen"))
    await screen.ready()
    await screen.page.locator(".screen-live").wait_for()
    assert await findings(screen.page) == []


async def test_the_join_page_is_light(open_phone: OpenPhone, open_room: OpenRoom) -> None:
    room = await open_room()
    phone = await open_phone()
    await phone.page.goto(room.page())
    await phone.page.locator("input[name=nickname]").fill("민지")
    await phone.page.keyboard.press("Enter")
    await phone.ready()
    loaded = await phone.page.evaluate(
        """() => [...performance.getEntriesByType('navigation'),
          ...performance.getEntriesByType('resource')].map((one) =>
          ({ name: one.name, plain: one.decodedBodySize, sent: one.transferSize }))"""
    )
    plain = sum(one["plain"] for one in loaded)
    sent = sum(one["sent"] for one in loaded)
    print(f"{len(loaded)} requests, {plain} bytes, {sent} over the network")
    for one in loaded:
        print(one)
    assert 20_000 < plain < MOST_BYTES
    assert 5_000 < sent < MOST_BYTES / 2
    # Once there, a refresh asks for the page and the room only.
    await phone.page.reload()
    await phone.ready()
    files = await phone.page.evaluate(
        """() => performance.getEntriesByType('resource')
          .filter((one) => one.name.includes('/r/files/') && one.transferSize > 0).length"""
    )
    assert files == 0


async def test_everything_is_done_with_the_keyboard_alone(
    open_phone: OpenPhone, open_room: OpenRoom
) -> None:
    room = await open_room()
    host = await open_phone(DESK, hosts=room)
    await host.page.goto(room.page("/host"))
    await host.ready()
    await poll(host)
    phone = await open_phone()
    page = phone.page
    await page.goto(room.page())
    await expect(page.get_by_label("Nickname")).to_be_focused()
    await page.keyboard.type("Minji")
    await page.keyboard.press("Enter")
    await phone.ready()

    async def tab_to(selector: str) -> None:
        for _ in range(40):
            await page.keyboard.press("Tab")
            if await page.evaluate("(s) => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"no way to {selector} with the keyboard")

    await tab_to(".questions-section textarea")
    await page.keyboard.type("By keyboard?")
    await page.keyboard.press("Enter")
    await phone.question("By keyboard?").wait_for()
    await expect(page.locator(".questions-section textarea")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await expect(page.locator(".question .upvote")).to_be_focused()
    await page.keyboard.press("Space")
    await expect(page.locator(".question .upvote")).to_have_attribute("aria-pressed", "true")
    await expect(page.locator(".question .upvote")).to_be_focused()
    await tab_to("[data-section=polls]")
    await page.keyboard.press("Enter")
    await tab_to(".choice input")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator(".bars .share")).to_have_text(["0%", "100%"])
    await tab_to("[data-section=chat]")
    await page.keyboard.press("Enter")
    await tab_to(".chat-section textarea")
    await page.keyboard.type("typed")
    await page.keyboard.press("Enter")
    await expect(phone.message("typed")).to_be_visible()


async def test_what_is_new_is_read_out(open_phone: OpenPhone, open_room: OpenRoom) -> None:
    room = await open_room()
    phone = await open_phone()
    await phone.join(room, "Minji")
    await phone.ask("Heard?")
    host = await open_phone(DESK, hosts=room)
    await host.page.goto(room.page("/host"))
    await host.ready()
    told = phone.page.locator("#announcements[aria-live=polite]")
    await host.question("Heard?").get_by_role("button", name="Bring up").click()
    await expect(told).to_contain_text("Now being answered: Heard?")
    await poll(host)
    await expect(told).to_contain_text("A poll is open: 점심은?")
    await phone.section("chat")
    await expect(phone.page.get_by_role("log")).to_have_count(1)


async def test_no_page_is_wider_than_its_window(open_phone: OpenPhone, open_room: OpenRoom) -> None:
    room = await open_room(title="길고 긴 제목 " * 8 + "x" * 60)
    phone = await open_phone(hosts=room)
    await phone.join(room, "아주아주긴닉네임" * 4)
    await phone.ask("긴질문" * 60 + " " + "w" * 200)
    await phone.page.locator(".question").wait_for()

    async def check(*sections: str) -> None:
        for width in (320, 390, 768, 1280):
            await phone.page.set_viewport_size({"width": width, "height": 800})
            for section in sections:
                await phone.section(section)
            wide = await phone.page.evaluate("document.documentElement.scrollWidth")
            assert wide == width, (phone.page.url, sections)

    await check("questions")
    await check("polls")
    await phone.page.goto(room.page("/host"))
    await phone.ready()
    for section in ("chat", "polls", "people", "settings"):
        await check(section)
    await phone.page.goto(room.page("/screen"))
    await phone.ready()
    await check()


async def test_the_language_is_the_browsers_until_one_chooses(
    open_phone: OpenPhone, open_room: OpenRoom
) -> None:
    room = await open_room()
    phone = await open_phone(PHONE, locale="ko-KR")
    page = phone.page
    await page.goto(room.page())
    await expect(page.locator("html")).to_have_attribute("lang", "ko")
    await expect(page.get_by_role("button", name="입장하기")).to_be_visible()
    await phone.join(room, "민지")
    await page.locator(".questions-section textarea").fill("쓰다 만 질문")
    await page.get_by_role("button", name="Switch to English").click()
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.locator("[data-section=chat]")).to_contain_text("Chat")
    # Another language draws everything anew; what was being written stays.
    await expect(page.locator(".questions-section textarea")).to_have_value("쓰다 만 질문")
    await page.reload()
    await phone.ready()
    await expect(page.locator("[data-section=chat]")).to_contain_text("Chat")
