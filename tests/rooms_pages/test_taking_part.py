"""People with phones: joining, talking, asking, voting, coming back."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.conftest import Server
from tests.rooms_pages.conftest import LOST, OpenPhone, OpenRoom

pytestmark = [pytest.mark.browser, pytest.mark.slow]

UP = "aria-pressed"


async def test_two_phones_chat_ask_and_vote(open_phone: OpenPhone, open_room: OpenRoom) -> None:
    room = await open_room()
    minji, jisoo = await open_phone(), await open_phone()
    await minji.page.goto(f"{room.server.url}/r")
    code = f"{room.code[:3]} {room.code[3:]}".lower()
    await minji.page.get_by_label("Room code").fill(code)
    await minji.page.keyboard.press("Enter")
    await minji.page.get_by_label("Nickname").fill("민지")
    await minji.page.keyboard.press("Enter")
    await minji.ready()
    await jisoo.join(room, "지수")
    await expect(minji.page.locator(".people")).to_have_text("2 people here")

    await minji.say("안녕, courtyard")
    await jisoo.section("chat")
    await expect(jisoo.message("안녕, courtyard")).to_be_visible()
    await jisoo.say("반가워요")
    await expect(minji.message("반가워요")).to_contain_text("지수")

    await minji.ask("When do we meet next?")
    await minji.page.get_by_label("Ask anonymously").check()
    await minji.ask("Who pays?")
    await jisoo.section("questions")
    await expect(jisoo.question("When do we meet next?")).to_contain_text("민지")
    await expect(jisoo.question("Who pays?")).to_contain_text("익명")
    await expect(jisoo.question("Who pays?")).not_to_contain_text("민지")
    await jisoo.question("Who pays?").get_by_role("button").click()
    await expect(minji.question("Who pays?").locator(".votes")).to_have_text("1")
    await expect(minji.page.locator(".question .text").first).to_have_text("Who pays?")
    await jisoo.question("Who pays?").get_by_role("button").click()
    await expect(minji.question("Who pays?").locator(".votes")).to_have_text("0")


async def test_a_refresh_is_the_same_seat_name_and_vote(
    open_phone: OpenPhone, open_room: OpenRoom
) -> None:
    room = await open_room()
    minji, jisoo = await open_phone(), await open_phone()
    await minji.join(room, "민지")
    await jisoo.join(room, "민지")
    await expect(jisoo.page.locator(".me .name")).to_have_text("민지 2")
    seats = (await room.call("GET", "/status"))["total_participants"]
    await minji.ask("Again?")
    await jisoo.question("Again?").get_by_role("button").click()
    await expect(minji.question("Again?").locator(".votes")).to_have_text("1")

    await jisoo.page.reload()
    await jisoo.ready()
    await expect(jisoo.page.locator(".me .name")).to_have_text("민지 2")
    await expect(jisoo.question("Again?").get_by_role("button")).to_have_attribute(UP, "true")
    # Another tab of the same browser is the same seat too.
    other = await jisoo.context.new_page()
    await other.goto(room.page())
    await expect(other.locator(".me .name")).to_have_text("민지 2")
    await other.close()
    assert (await room.call("GET", "/status"))["total_participants"] == seats
    assert "token" not in jisoo.page.url
    await jisoo.question("Again?").get_by_role("button").click()
    await expect(minji.question("Again?").locator(".votes")).to_have_text("0")


async def test_a_lost_server_is_seen_and_nothing_written_meanwhile_is_lost(
    open_phone: OpenPhone, open_room: OpenRoom, server: Server
) -> None:
    room = await open_room()
    minji = await open_phone(expected=LOST)
    jisoo = await open_phone(expected=LOST)
    await minji.join(room, "민지")
    await jisoo.join(room, "지수")
    await minji.ask("Before?")
    await expect(jisoo.question("Before?")).to_be_visible()

    server.kill()
    line = minji.page.locator(".line")
    await expect(line).to_contain_text("Connection lost")
    await minji.ask("During?")
    await minji.question("Before?").get_by_role("button").click()
    await minji.say("one")
    await minji.say("two")
    await expect(minji.page.locator(".message[data-state]")).to_have_count(2)
    await expect(minji.page.locator(".message .state").first).to_have_text(
        "Waits for the connection"
    )
    server.restart()
    await expect(line).to_be_hidden()
    await expect(jisoo.page.locator(".line")).to_be_hidden()
    await expect(minji.page.locator(".message:not([data-state]) .text")).to_have_text(
        ["one", "two"]
    )
    await jisoo.section("chat")
    await expect(jisoo.page.locator(".message .text")).to_have_text(["one", "two"])
    await jisoo.section("questions")
    await expect(jisoo.question("During?")).to_have_count(1)
    await expect(jisoo.question("Before?").locator(".votes")).to_have_text("1")


async def test_what_was_written_offline_outlives_a_refresh_and_is_sent_once(
    open_phone: OpenPhone, open_room: OpenRoom, server: Server
) -> None:
    room = await open_room()
    minji = await open_phone(expected=LOST)
    await minji.join(room, "민지")
    await minji.section("chat")
    server.kill()
    await expect(minji.page.locator(".line")).to_be_visible()
    await minji.say("kept")
    await expect(minji.page.locator(".message[data-state=waiting]")).to_have_count(1)
    server.restart()
    await minji.page.reload()
    await minji.ready()
    await minji.section("chat")
    await expect(minji.message("kept")).to_have_count(1)
    await expect(minji.page.locator(".message")).to_have_count(1)
    messages = await room.call("GET", "/messages")
    assert [one["content"] for one in messages["messages"]] == ["kept"]


async def test_a_sleeping_phone_gets_what_it_missed(
    open_phone: OpenPhone, open_room: OpenRoom
) -> None:
    room = await open_room()
    minji, jisoo = await open_phone(expected=LOST), await open_phone()
    await minji.join(room, "민지")
    await jisoo.join(room, "지수")
    await minji.section("chat")
    await minji.context.set_offline(True)
    await expect(minji.page.locator(".line")).to_be_visible()
    await jisoo.say("while you slept")
    await expect(jisoo.message("while you slept")).to_be_visible()
    await minji.context.set_offline(False)
    await expect(minji.message("while you slept")).to_have_count(1)
    await expect(minji.page.locator(".line")).to_be_hidden()


async def test_what_people_write_is_never_markup(
    open_phone: OpenPhone, open_room: OpenRoom
) -> None:
    room = await open_room(title="<i>title</i>")
    evil = "<img src=x onerror=\"document.title='owned'\">"
    minji = await open_phone()
    await minji.join(room, "<b>민지</b>")
    await expect(minji.page.locator(".me .name")).to_have_text("<b>민지</b>")
    await expect(minji.page.locator("h1")).to_have_text("<i>title</i>")
    await minji.ask(evil)
    await minji.say(evil)
    await expect(minji.message(evil)).to_contain_text(evil)
    await minji.section("questions")
    await expect(minji.question(evil)).to_contain_text("<b>민지</b>")
    screen = await open_phone(hosts=room)
    await screen.page.goto(room.page("/screen"))
    await expect(screen.page.locator(".screen-top .text")).to_have_text(evil)
    for page in (minji.page, screen.page):
        assert await page.locator("main img[src=x], main b, main i, h1 i").count() == 0
        assert "owned" not in await page.title()


async def test_slow_mode_counts_down_and_sends_no_second_message_meanwhile(
    open_phone: OpenPhone, open_room: OpenRoom
) -> None:
    room = await open_room(slow_mode_seconds=3600)
    minji = await open_phone()
    await minji.join(room, "민지")
    await minji.say("first")
    await expect(minji.message("first")).to_be_visible()
    button = minji.page.locator(".chat-section .composer button")
    await expect(button).to_have_text(re.compile("^3[0-9]{3}$"))
    await minji.page.locator(".chat-section textarea").fill("second")
    await minji.page.keyboard.press("Enter")
    assert await minji.page.locator(".message").count() == 1
    await room.set(slow_mode_seconds=0)
    await expect(button).to_be_enabled()
    await minji.page.keyboard.press("Enter")
    await expect(minji.message("second")).to_be_visible()


async def test_an_unknown_code_a_full_room_and_a_bad_name_are_said_plainly(
    open_phone: OpenPhone, open_room: OpenRoom
) -> None:
    room = await open_room(max_seats=1)
    phone = await open_phone(expected=("404", "409", "422"))
    await phone.page.goto(f"{room.server.url}/r/QQQQQQ")
    await expect(phone.page.locator("h1")).to_have_text("There is no such room")
    await phone.page.goto(room.page())
    await phone.page.get_by_label("Nickname").fill("a\u202eb")
    await phone.page.keyboard.press("Enter")
    await expect(phone.page.get_by_role("alert")).to_contain_text("cannot be used")
    await phone.join(room, "민지")
    late = await open_phone(expected=("409",))
    await late.page.goto(room.page())
    await late.page.get_by_label("Nickname").fill("지수")
    await late.page.keyboard.press("Enter")
    await expect(late.page.get_by_role("alert")).to_have_text("The room is full.")
