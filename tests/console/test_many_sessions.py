"""More sessions than a page of the list: all can be reached, and none is read singly for that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from playwright.async_api import Request, expect

from tests.console.conftest import OpenConsole
from tests.console.talk import Talk

OpenTalk = Callable[..., Awaitable[Talk]]

TO_THE_END = "(one) => { one.scrollTop = one.scrollHeight; }"


async def test_the_list_goes_on_where_somebody_scrolls(
    open_console: OpenConsole, open_talk: OpenTalk
) -> None:
    talk = await open_talk("The oldest", "alice", "bob")
    for number in range(64):
        await talk.chat.session("alice", "echo", title=f"Session {number}")
    api = talk.chat.rest("alice")
    console = await open_console("alice", height=800)
    page, panel = console.page, console.panel("alice")
    rows, body = panel.locator(".conversation"), panel.locator(".list-body")
    await expect(rows).to_have_count(30)
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/messenger/conversations/" in request.url:
            asked.append(request.url)

    page.on("request", note)
    await page.reload()
    await expect(rows).to_have_count(30)
    await expect(rows.first).to_contain_text("Session 63")
    await body.evaluate(TO_THE_END)
    await expect(rows).to_have_count(60)
    # One that is not listed yet comes up by what is said in it, and is listed once.
    await talk.chat.house.rest("bob").post(
        f"/conversations/{talk.id}/messages", {"content": "up again"}
    )
    await expect(rows.first).to_contain_text("The oldest")
    await expect(rows.first).to_contain_text("bob: up again")
    assert len(asked) == 1
    assert asked[0].endswith(talk.id)
    await body.evaluate(TO_THE_END)
    await expect(rows).to_have_count(65)
    await expect(panel.get_by_role("button", name="Older conversations")).to_be_hidden()

    # One of the last page is open, and stays so.
    await panel.locator(".conversation", has_text="Session 0").first.scroll_into_view_if_needed()
    await console.open("alice", "Session 0")
    await expect(panel.locator(".chat-title p")).to_contain_text("Echo answers")
    await page.reload()
    await expect(panel.locator(".chat-title h2")).to_have_text("Session 0")
    await expect(rows).to_have_count(31)

    # What is known only in outline counts what is said in it as the server does.
    row = panel.locator(".conversation", has_text="Session 50")
    session = str(await row.get_attribute("data-id"))
    sent = await api.post(f"/sessions/{session}/messages", {"content": "hello"})
    async with api.stream("GET", f"/runs/{sent.json()['runs'][0]}/stream") as events:
        await events.all()
    await expect(row.locator(".preview")).to_have_text("Echo: hello")
    await expect(row.locator(".unread")).to_have_text("1")
