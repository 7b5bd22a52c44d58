"""Searching: what may be asked, what is found, and the way to a message far back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Locator, Route, expect

from tests.console.conftest import Console, OpenConsole
from tests.console.talk import Talk
from tests.surfaces.test_search import found

OpenTalk = Callable[..., Awaitable[Talk]]
MakeGroup = Callable[..., Awaitable[str]]


async def say(talk: Talk, user: str, conversation: str, *texts: str, **fields: str) -> list[str]:
    """Say all of this: the messages' ids."""
    rest = talk.chat.house.rest(user)
    ids = []
    for text in texts:
        path = f"/conversations/{conversation}/messages"
        answer = await rest.post(path, {"content": text, **fields})
        assert answer.status_code == 201, answer.text
        ids.append(str(answer.json()["id"]))
    return ids


def refusing(status: int) -> Callable[[Route], Awaitable[None]]:
    """What answers in the place of the server."""

    async def refuse(route: Route) -> None:
        await route.fulfill(status=status, json={"retry_after": 11_500})

    return refuse


async def search(console: Console, query: str, user: str = "alice") -> Locator:
    """Type it into the field and press Enter: the results."""
    field = console.panel(user).locator(".search-field input")
    await field.fill(query)
    await field.press("Enter")
    return console.panel(user).locator(".hit")


async def test_messages_files_and_questions_are_found_with_what_was_meant_marked(
    open_console: OpenConsole, open_talk: OpenTalk, make_group: MakeGroup
) -> None:
    talk = await open_talk("Assistant", "alice")
    yard = await make_group("Yard", "alice", "bob")
    secret = await make_group("Elsewhere", "bob", "carol")
    await say(talk, "bob", yard, "지난 <b>회의록</b>을 보냅니다", "nothing of it")
    await say(talk, "bob", yard, "다음 회의는 언제인가요?", message_type="question")
    await say(talk, "bob", secret, "회의 is not for alice")
    sent = await talk.chat.rest("alice").client.post(
        f"/api/chat/sessions/{talk.id}/files",
        files={"file": ("전체회의.txt", b"words", "text/plain")},
    )
    assert sent.status_code == 201, sent.text
    await found(talk.chat.house, "alice", "회의", 3)
    console = await open_console("alice")
    hits = await search(console, "회의")
    panel = console.panel("alice")
    await expect(panel.locator(".search-status")).to_have_text("3 found")
    await expect(hits.locator("mark")).to_have_text(["회의"] * 3)
    message = hits.filter(has_text="보냅니다")
    await expect(message.locator("strong")).to_have_text("Yard")
    # What somebody wrote is text, whatever it looks like.
    await expect(message.locator(".hit-text")).to_have_text("bob: 지난 <b>회의록</b>을 보냅니다")
    await expect(hits.filter(has_text="언제").locator(".tag")).to_have_text("Question")
    await expect(hits.locator(".hit-file")).to_have_text("전체회의.txt")
    await expect(panel.locator(".list-body")).to_be_hidden()

    await expect(await search(console, "회의 from:bob has:file")).to_have_count(0)
    await expect(panel.locator(".search-status")).to_have_text("Nothing was found")
    await expect(await search(console, "has:file")).to_have_count(1)
    await expect(await search(console, f"회의 in:{yard}")).to_have_count(2)
    await expect(panel.locator(".search-status")).to_have_text("2 found · in “Yard”")
    # What is deleted meanwhile is no result any more.
    question = hits.filter(has_text="언제")
    gone = await question.get_attribute("data-id")
    await talk.chat.house.rest("bob").delete(f"/messages/{gone}")
    await expect(hits).to_have_count(1)
    await panel.get_by_role("button", name="Clear the search").click()
    await expect(panel.locator(".list-body")).to_be_visible()
    await expect(panel.locator(".search-field input")).to_be_focused()


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_hints_complete_what_is_being_typed(
    open_console: OpenConsole, open_talk: OpenTalk, make_group: MakeGroup, locale: str
) -> None:
    talk = await open_talk("Assistant", "alice")
    yard = await make_group("Yard", "alice", "bob")
    await say(talk, "bob", yard, "the plan")
    await found(talk.chat.house, "alice", "plan", 1)
    console = await open_console("alice", locale=locale)
    panel, keyboard = console.panel("alice"), console.page.keyboard
    field, hints = panel.locator(".search-field input"), panel.locator(".hint")
    await field.focus()
    await expect(hints.locator("code")).to_have_text(
        ["from:", "in:", "has:file", "after:", "before:"]
    )
    first = "누가 말했는지" if locale == "ko-KR" else "said by somebody"
    await expect(hints.first.locator("span")).to_have_text(first)
    # By keyboard: down to a hint, and Enter puts it into the field.
    await keyboard.press("ArrowDown")
    await keyboard.press("Enter")
    await expect(field).to_be_focused()
    await expect(field).to_have_value("from:")
    await keyboard.type("b")
    await expect(hints.locator("code")).to_have_text(["from:bob", "from:bot-7"])
    await hints.first.click()
    await expect(field).to_have_value("from:bob ")
    # That alone is a whole query, and is looked for when nothing more is typed.
    await expect(panel.locator(".hit")).to_have_count(1)
    await keyboard.type("in:ya")
    await expect(hints.locator("span")).to_have_text(["Yard"])
    await keyboard.press("ArrowDown")
    await keyboard.press("Enter")
    await expect(field).to_have_value(f"from:bob in:{yard} ")
    await keyboard.type("after:")
    await expect(hints).to_have_count(3)
    await hints.last.click()
    await expect(panel.locator(".hit")).to_have_count(1)
    await keyboard.press("ArrowDown")
    await expect(panel.locator(".hit")).to_be_focused()
    await keyboard.press("Enter")
    await expect(panel.locator(".line.found")).to_be_focused()
    await expect(panel.locator(".line.found .text")).to_have_text("the plan")
    # Back to the field, and out of it.
    await field.focus()
    await keyboard.press("Escape")
    await expect(field).to_have_value("")
    await expect(panel.locator(".list-body")).to_be_visible()
    await expect(hints).to_have_count(5)
    await panel.locator(".composer textarea").focus()
    await expect(hints).to_have_count(0)


async def test_a_click_leads_to_a_message_far_back_and_from_there_to_the_newest(
    open_console: OpenConsole, open_talk: OpenTalk, make_group: MakeGroup
) -> None:
    talk = await open_talk("Assistant", "alice")
    yard = await make_group("Yard", "alice", "bob")
    texts = [f"line {n}" for n in range(190)]
    texts[30] = "a needle in it"
    await say(talk, "bob", yard, *texts)
    await found(talk.chat.house, "alice", "needle", 1)
    console = await open_console("alice", width=1280, height=800)
    await console.open("alice", "Yard")
    panel = console.panel("alice")
    await expect(panel.locator(".line")).to_have_count(50)
    await (await search(console, "needle")).click()
    line = panel.locator(".line.found")
    await expect(line.locator(".text")).to_have_text("a needle in it")
    await expect(line).to_be_focused()
    await expect(line).to_be_in_viewport()
    await expect(panel.locator(".hit")).to_have_attribute("aria-current", "true")
    seen = await console.texts("alice")
    assert len(seen) == 50
    assert texts[texts.index(seen[0]) :][:50] == seen
    # What is said meanwhile is not put below a hole, and is no longer unread once one is there.
    await say(talk, "bob", yard, "the last word")
    await expect(panel.locator(".jump")).to_have_text("To the newest")
    await expect(panel.locator(".conversation .unread")).to_have_text("1")
    assert "the last word" not in await console.texts("alice")
    # Scrolling down reads on, page by page, without a gap.
    scroller = panel.locator(".scroller")
    for count in (100, 150):
        await scroller.evaluate("(one) => { one.scrollTop = one.scrollHeight; }")
        await expect(panel.locator(".line")).to_have_count(count)
    await scroller.evaluate("(one) => { one.scrollTop = one.scrollHeight; }")
    await console.bubbles("alice", "the last word").wait_for()
    seen = await console.texts("alice")
    assert seen == [*texts, "the last word"][-len(seen) :]
    await scroller.evaluate("(one) => { one.scrollTop = one.scrollHeight; }")
    await expect(panel.locator(".jump")).to_be_hidden()
    await panel.get_by_role("button", name="Clear the search").click()
    await expect(panel.locator(".conversation .unread")).to_have_count(0)

    # And at once, or by writing.
    await (await search(console, "needle")).click()
    await expect(line).to_be_focused()
    await console.page.reload()
    await expect(panel.locator(".line")).to_have_count(50)
    await (await search(console, "needle")).click()
    await expect(line).to_be_focused()
    await panel.get_by_role("button", name="To the newest").click()
    await console.bubbles("alice", "the last word").wait_for()
    await expect(panel.locator(".jump")).to_be_hidden()
    await panel.locator(".hit").click()
    await expect(line).to_be_focused()
    await console.say("alice", "here I am")
    await console.bubbles("alice", "here I am").wait_for()
    assert (await console.texts("alice"))[-2:] == ["the last word", "here I am"]


async def test_results_come_page_by_page_and_from_conversations_not_listed(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("The oldest", "alice")
    await say(talk, "alice", talk.id, "wanted")
    # The console lists the newest sessions: this one is none of them any more.
    for number in range(30):
        session = await talk.chat.session("alice", "bot-7", title=f"Session {number}")
        await say(talk, "alice", session, "wanted")
    await found(talk.chat.house, "alice", "wanted", 31, limit=100)
    console = await open_console("alice")
    panel = console.panel("alice")
    rows = panel.locator(".conversation")
    await expect(rows).to_have_count(30)
    hits = await search(console, "wanted")
    await expect(hits).to_have_count(20)
    await expect(panel.locator(".search-status")).to_have_text("20 so far")
    await panel.get_by_role("button", name="More results").click()
    await expect(hits).to_have_count(31)
    await expect(panel.locator(".search-status")).to_have_text("31 found")
    await expect(panel.get_by_role("button", name="More results")).to_be_hidden()
    await expect(hits.nth(20)).to_be_focused()
    oldest = hits.filter(has_text="The oldest")
    await oldest.click()
    await expect(panel.locator(".chat-title h2")).to_have_text("The oldest")
    await expect(panel.locator(".line.found .text")).to_have_text("wanted")


@pytest.mark.parametrize("width", [1280, 390])
async def test_a_long_list_leaves_the_field_its_place(
    open_console: OpenConsole, open_talk: OpenTalk, width: int
) -> None:
    talk = await open_talk("The oldest", "alice")
    for number in range(44):
        await talk.chat.session("alice", "bot-7", title=f"Session {number}")
    console = await open_console("alice", width=width, height=800)
    panel = console.panel("alice")
    await panel.locator(".conversation").first.wait_for()
    field = await panel.locator(".search-field").bounding_box()
    rows = await panel.locator(".list-body").bounding_box()
    assert field is not None and rows is not None
    assert field["y"] + field["height"] <= rows["y"]


async def test_another_answer_is_found_in_its_place(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("Assistant", "alice")
    session = await talk.chat.session("alice", "echo", title="Twice")
    api = talk.chat.rest("alice")
    asked = await api.post(f"/sessions/{session}/messages", {"content": "a needle"})
    first = asked.json()["runs"][0]
    for run in (first, None):
        if run is None:
            run = (await api.post(f"/runs/{first}/regenerate")).json()["message_id"]
        async with api.stream("GET", f"/runs/{run}/stream") as events:
            await events.all()
    await found(talk.chat.house, "alice", "needle", 3)
    console = await open_console("alice")
    await console.open("alice", "Twice")
    panel = console.panel("alice")
    await expect(panel.locator(".which")).to_have_text("2 / 2")
    await search(console, "needle")
    await panel.locator(f'.hit[data-id="{first}"]').click()
    await expect(panel.locator(".which")).to_have_text("1 / 2")
    await expect(panel.locator(".line.found")).to_have_attribute("data-id", first)


async def test_a_short_conversation_has_nothing_older(
    open_console: OpenConsole, open_talk: OpenTalk, make_group: MakeGroup
) -> None:
    talk = await open_talk("Assistant", "alice")
    yard = await make_group("Yard", "alice", "bob")
    await say(talk, "bob", yard, "a needle in it", *(f"line {n}" for n in range(60)))
    await found(talk.chat.house, "alice", "needle", 1)
    console = await open_console("alice")
    panel = console.panel("alice")
    await (await search(console, "needle")).click()
    await expect(panel.locator(".line.found")).to_be_in_viewport()
    await expect(panel.locator(".scroller .older")).to_have_text(
        "The beginning of this conversation"
    )


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_what_cannot_be_searched_is_said_in_words(
    open_console: OpenConsole, locale: str
) -> None:
    console = await open_console("alice", locale=locale, expected=("Failed to load resource",))
    status = console.panel("alice").locator(".search-status")
    korean = locale == "ko-KR"
    await search(console, "after:soon plan")
    await expect(status).to_have_text(
        ("이렇게는 찾을 수 없어요" if korean else "This cannot be searched for")
        + ": after: must be followed by a day or a time, like 2026-01-31"
    )
    # It says nothing of what is being typed now.
    field = console.panel("alice").locator(".search-field input")
    await field.press("Backspace")
    await expect(status).to_be_hidden()
    await expect(field).to_have_value("after:soon pla")
    for code, words in (
        (429, "12초 뒤에" if korean else "try again in 12 s"),
        (404, "검색이 없어요" if korean else "no search"),
        (503, "다시 해 주세요" if korean else "try again"),
    ):
        await console.page.route("**/api/chat/search*", refusing(code))
        await search(console, f"plan {code}")
        await expect(status).to_contain_text(words)
    await console.page.unroute_all()
    # The same again is asked again.
    await search(console, "plan 503")
    await expect(status).to_have_text("찾은 것이 없어요" if korean else "Nothing was found")
