"""Sessions with agents: an answer grows before everybody, survives a reload, and can be stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Locator, Page, expect

from tests.conftest import Server
from tests.console.conftest import Console, OpenConsole
from tests.console.talk import Talk
from tests.surfaces.agents.sessions import LONG

OpenTalk = Callable[..., Awaitable[Talk]]

# Counts what is put into the timeline, and what is taken out of it: a chunk does neither.
COUNT_MOVES = """(list) => {
  list.moves = 0;
  new MutationObserver((seen) => { list.moves += seen.length; }).observe(list, { childList: true });
}"""


def watched(page: Page) -> list[dict[str, str]]:
    """The headers of each request that watches an answer, as they are made from here on."""
    found: list[dict[str, str]] = []
    page.on(
        "request",
        lambda request: found.append(request.headers) if request.url.endswith("/stream") else None,
    )
    return found


def text(answer: Locator) -> Locator:
    return answer.locator(".bubble > .text")


async def test_an_answer_grows_and_is_whole_after_a_refresh_in_its_middle(
    open_console: OpenConsole, open_talk: OpenTalk, server: Server
) -> None:
    talk = await open_talk("Growing", "alice")
    console = await open_console("alice")
    requests = watched(console.page)
    await console.open("alice", "Growing")
    await console.say("alice", "@bot-7 well?")
    await console.bubbles("alice", "@bot-7 well?").wait_for()
    run = await talk.begin()
    answer = console.answer("alice")
    await expect(answer.locator(".answering")).to_have_text("is answering")
    timeline = console.panel("alice").locator(".timeline")
    await timeline.evaluate(COUNT_MOVES)
    said = ""
    # Characters beyond the basic plane are one to the server and two to a browser.
    for word in ("물결 🌊 ", "and 🌊🌊 ", "wind"):
        await talk.say(run, word)
        said += word
        await expect(text(answer)).to_have_text(said)
    await expect(answer.locator(".answering")).to_be_hidden()
    assert await timeline.evaluate("(list) => list.moves") == 0
    assert len(requests) == 1

    await console.page.reload()
    answer = console.answer("alice")
    await expect(text(answer)).to_have_text(said)
    await talk.say(run, " goes ", "on")
    await expect(text(answer)).to_have_text(f"{said} goes on")
    assert len(requests) == 2
    await talk.end(run)
    await expect(answer.locator(".stop")).to_have_count(0)
    await expect(answer.locator(".growing")).to_have_count(0)
    assert await text(answer).text_content() == f"{said} goes on"
    assert len(requests) == 2
    await console.page.reload()
    await expect(text(console.answer("alice"))).to_have_text(f"{said} goes on")


async def test_whoever_was_away_goes_on_where_they_were(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("Away", "alice")
    console = await open_console("alice")
    requests = watched(console.page)
    await console.open("alice", "Away")
    run = await talk.begin()
    await talk.say(run, "one ", "two ")
    answer, alice = console.answer("alice"), console.panel("alice")
    await expect(text(answer)).to_have_text("one two ")
    async with console.page.expect_event("requestfailed"):
        await alice.get_by_role("button", name="Disconnect").click()
    await talk.say(run, "three ")
    await alice.get_by_role("button", name="Reconnect").first.click()
    await expect(text(answer)).to_have_text("one two three ")
    assert [request.get("last-event-id", "").rpartition(":")[0] for request in requests] == [
        "",
        run,
    ]
    # Whoever looks at something else watches nothing.
    async with console.page.expect_event("requestfailed"):
        await alice.locator(".panel-head").evaluate(
            "() => document.querySelector('.chat-head .back').click()"
        )
    await console.open("alice", "Away")
    await expect(text(console.answer("alice"))).to_have_text("one two three ")
    await talk.end(run)
    await expect(answer.locator(".stop")).to_have_count(0)


async def both(console: Console, check: Callable[[Locator], Awaitable[None]]) -> None:
    for user in ("alice", "bob"):
        await check(console.answer(user))


async def test_two_people_see_the_same_and_either_stops_it(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("Together", "alice", "bob")
    console = await open_console("alice", "bob")
    await console.both_open("Together")
    run = await talk.begin()
    await talk.say(run, "so ", "far")
    await both(console, lambda one: expect(text(one)).to_have_text("so far"))
    await console.answer("bob").get_by_role("button", name="Stop").click()
    await both(console, lambda one: expect(one.locator(".ended")).to_have_text("Stopped"))
    await both(console, lambda one: expect(text(one)).to_have_text("so far"))
    await talk.bot.next("stream_end", message_id=run, status="cancelled", patience=LONG)

    await talk.begin()
    await both(console, lambda one: expect(one.locator(".answering")).to_be_visible())
    await console.answer("alice").get_by_role("button", name="Stop").click()
    await both(console, lambda one: expect(one.locator(".ended")).to_have_text("Stopped"))
    await both(console, lambda one: expect(one.locator(".bubble")).to_be_hidden())


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_how_it_failed_is_said_in_words(
    open_console: OpenConsole, open_talk: OpenTalk, locale: str
) -> None:
    talk = await open_talk("Failing", "alice")
    console = await open_console("alice", locale=locale)
    await console.open("alice", "Failing")
    ended = console.answer("alice").locator(".ended")
    run = await talk.begin()
    await talk.say(run, "so far")
    await talk.end(run, "failed", error="The printer is on fire")
    korean = locale == "ko-KR"
    words = "답하지 못했어요" if korean else "The answer failed"
    await expect(ended).to_have_text(f"{words}: The printer is on fire")
    await talk.say(run := await talk.begin(), "and then")
    await expect(text(console.answer("alice"))).to_have_text("and then")
    await talk.bot.send("stream_end", message_id=run, status="interrupted")
    gone = "답하던 서버가 사라져 끊겼어요" if korean else "Interrupted"
    await expect(ended).to_contain_text(gone)


async def test_steps_are_a_quiet_line_each(open_console: OpenConsole, open_talk: OpenTalk) -> None:
    talk = await open_talk("Steps", "alice")
    console = await open_console("alice")
    await console.open("alice", "Steps")
    run = await talk.begin()
    steps = console.answer("alice").locator(".step")
    await talk.step(run, "t", kind="thinking", content="Let me ")
    await expect(steps).to_have_text(["ThinkingLet me "])
    await talk.step(run, "t", kind="thinking", content="see", status="complete")
    await talk.step(run, "c", name="search", input={"q": "rain"})
    await expect(steps).to_have_text(["ThoughtLet me see", 'search{"q":"rain"}'])
    await talk.step(run, "c", name="search", status="failed")
    await talk.end(run)
    await expect(console.answer("alice").locator(".stop")).to_have_count(0)
    await expect(steps).to_have_text(["ThoughtLet me see", 'search{"q":"rain"}failed'])


async def test_what_is_asked_is_answered_by_a_button_and_once(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("Careful", "alice", "bob")
    console = await open_console("alice", "bob")
    await console.both_open("Careful")
    run = await talk.begin()
    await talk.ask(run, "Delete everything?", "approve", "deny")
    await both(console, lambda one: expect(one.locator(".options button")).to_have_count(2))
    # It is still there for whoever comes later.
    await console.page.reload()
    await console.answer("bob").get_by_role("button", name="Deny").click()
    await both(console, lambda one: expect(one.locator(".outcome")).to_have_text("bob: Deny"))
    await both(console, lambda one: expect(one.locator(".options")).to_have_count(0))
    answer = await talk.bot.next("approval_answer", patience=LONG)
    assert (answer["answer"], answer["user_id"]) == ("deny", "bob")
    await expect(console.panel("alice").locator(".event")).to_have_count(0)


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_what_befalls_a_session_is_said_in_words(
    open_console: OpenConsole, open_talk: OpenTalk, locale: str
) -> None:
    talk = await open_talk("Handing over", "alice", "bob")
    console = await open_console("alice", locale=locale)
    await console.open("alice", "Handing over")
    bob = talk.chat.rest("bob")
    notices = console.panel("alice").locator(".timeline .notice")
    english = [
        "bob took over from the agent · let me",
        "bob handed over to alice",
        "bob asks for a person",
        "bob gave back to the agent",
    ]
    korean = [
        "bob님이 에이전트 대신 맡았어요 · let me",
        "bob님이 alice님에게 넘겼어요",
        "bob 쪽에서 사람을 찾고 있어요",
        "bob님이 에이전트에게 돌려줬어요",
    ]
    told = korean if locale == "ko-KR" else english
    for to, note in (("bob", "let me"), ("alice", None), ("*", None), (None, None)):
        body = {"to": to} | ({} if note is None else {"note": note})
        answer = await bob.post(f"/sessions/{talk.id}/handover", body)
        assert answer.status_code == 200, answer.text
    await expect(notices).to_have_text(told)
    assert await console.panel("alice").locator(".event").count() == 0
    # They stand there for whoever comes later, each at its place.
    said = await talk.chat.house.rest("bob").post(
        f"/conversations/{talk.id}/messages", {"content": "and now?"}
    )
    assert said.status_code == 201, said.text
    await console.page.reload()
    lines = console.panel("alice").locator(".timeline :is(.notice, .bubble .text)")
    await expect(lines).to_have_text([*told, "and now?"])


async def test_a_session_begins_in_the_dialog_and_the_echo_answers(
    open_console: OpenConsole,
) -> None:
    console = await open_console("carol", "dave")
    carol = console.panel("carol")
    await carol.get_by_role("button", name="New conversation").click()
    await carol.get_by_label("Kind").select_option("agent")
    await carol.locator("dialog select[name=agent]").select_option("echo")
    await carol.get_by_label("People").fill("dave")
    await carol.get_by_role("button", name="Create").click()
    await expect(carol.locator(".chat-title p")).to_contain_text("Echo")
    await console.say("carol", "안녕, echo!")
    await expect(carol.locator(".line.other .bubble > .text")).to_have_text("안녕, echo!")
    # The first message is its title, where none was given.
    await expect(carol.locator(".chat-title h2")).to_have_text("안녕, echo!")
    await console.open("dave", "안녕, echo!")
    answer = console.answer("dave")
    await expect(text(answer)).to_have_text("안녕, echo!")
    await expect(answer.locator(".name")).to_have_text("Echo")
    await console.page.reload()
    await expect(console.panel("carol").locator(".conversation")).to_have_count(1)


async def test_many_answers_at_once_leave_a_way_for_everything_else(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    # A browser opens six connections to a host: with each of them watching, nothing else goes.
    talk = await open_talk("Many", "alice")
    console = await open_console("alice")
    requests = watched(console.page)
    await console.open("alice", "Many")
    runs = [await talk.begin() for _ in range(7)]
    for number, run in enumerate(runs):
        await talk.say(run, f"answer {number}")
    alice = console.panel("alice")
    growing = alice.locator(".growing").locator("visible=true")
    await expect(growing).to_have_text([f"answer {number}" for number in range(4)])
    assert len(requests) == 4
    # What people do goes on.
    await console.answer("alice").get_by_role("button", name="Stop").click()
    await expect(console.answer("alice").locator(".ended")).to_have_text("Stopped")
    await talk.end(runs[0])
    await talk.end(runs[1])
    await expect(growing).to_have_text([f"answer {number}" for number in range(2, 6)])


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_what_is_asked_stands_where_it_was_asked(
    open_console: OpenConsole, open_talk: OpenTalk, locale: str
) -> None:
    talk = await open_talk("In between", "alice")
    console = await open_console("alice", locale=locale)
    await console.open("alice", "In between")
    korean = locale == "ko-KR"
    answer, alice = console.answer("alice"), console.panel("alice")
    run = await talk.begin()
    await talk.say(run, "마당 before. ")
    await talk.ask(run, "May I?", "approve", "deny")
    # It does not answer now: it waits, and says so here and in the list.
    waits = "허락을 기다리는 중" if korean else "waits for approval"
    await expect(answer.locator(".answering")).to_have_text(waits)
    await expect(alice.locator(".preview")).to_contain_text(waits)
    await answer.locator(".options button").first.click()
    await expect(answer.locator(".outcome")).to_be_visible()
    await expect(answer.locator(".answering")).to_be_hidden()
    await talk.say(run, "And after.")
    order = f"마당 before.|May I?|alice: {'허락' if korean else 'Approve'}|And after."
    parts = answer.locator(".bubble :is(.text, .question, .outcome)").locator("visible=true")
    await expect(parts).to_have_text(order.split("|"))
    await console.page.reload()
    await expect(parts).to_have_text(order.split("|"))
    await talk.end(run)
    await expect(answer.locator(".stop")).to_have_count(0)
    await expect(parts).to_have_text(order.split("|"))

    # What was stopped meanwhile did not run out of time.
    run = await talk.begin()
    await talk.ask(run, "And this?", "approve", "deny")
    await answer.get_by_role("button", name="멈추기" if korean else "Stop").click()
    over = "답하기 전에 끝났어요" if korean else "It ended before anybody answered"
    await expect(answer.locator(".outcome")).to_have_text(over)


async def test_an_answer_stands_below_its_question_whatever_comes_between(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("Outside", "alice")
    await talk.chat.session("alice", "echo")
    console = await open_console("alice")
    panel = console.panel("alice")
    await panel.locator(".conversation", has_text="Echo").click()
    # The first message gives the title: a line between it and its answer.
    await console.say("alice", "What is this?")
    await expect(panel.locator(".notice")).to_have_text("The title is now “What is this?”")
    await expect(panel.locator(".line.other .bubble > .text")).to_have_text("What is this?")
    await expect(panel.locator(".quoted")).to_have_count(0)
    # While a person answers, the agent is not asked again.
    again = panel.get_by_role("button", name="Answer again")
    await expect(again).to_have_count(1)
    await panel.get_by_role("button", name="Take over").click()
    await expect(again).to_have_count(0)
    await panel.locator(".line.other").hover()
    await panel.locator(".message-tools").wait_for()
    await expect(again).to_have_count(0)
    await panel.get_by_role("button", name="Give back").click()
    await expect(again).to_have_count(1)


async def test_the_tools_of_an_answer_cover_nothing_of_it(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("Long", "alice")
    run = await talk.begin()
    await talk.say(run, "many words that fill the line to its end " * 12)
    await talk.end(run)
    console = await open_console("alice", width=1280)
    await console.open("alice", "Long")
    answer = console.answer("alice")
    await answer.locator(".bubble").hover()
    tools = await answer.locator(".message-tools").bounding_box()
    words = await answer.locator(".bubble > .text").bounding_box()
    assert tools is not None and words is not None
    assert tools["y"] + tools["height"] <= words["y"] + 1
