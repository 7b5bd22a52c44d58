"""The developer's side: raw frames with filter and pause, and every action of the contract."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from playwright.async_api import expect

from tests.console.conftest import OpenConsole

MakeGroup = Callable[..., Awaitable[str]]

ACTIONS = {
    "subscribe", "unsubscribe", "resume", "token.refresh", "ping",
    "message.send", "message.edit", "message.delete", "message.read",
    "typing", "typing.start", "typing.stop", "reaction.add", "reaction.remove", "presence.set",
    "POST /conversations", "GET /conversations", "GET /conversations/{id}",
    "PATCH /conversations/{id}", "DELETE /conversations/{id}", "POST /conversations/{id}/read",
    "GET /conversations/{id}/notification-settings",
    "PUT /conversations/{id}/notification-settings",
    "GET /conversations/{id}/messages", "POST /conversations/{id}/messages",
    "GET /messages/{id}", "PATCH /messages/{id}", "DELETE /messages/{id}",
    "GET /messages/{id}/receipts",
    "POST /conversations/{id}/participants", "DELETE /conversations/{id}/participants/{user}",
    "GET /presence", "GET /presence/online", "GET /stats",
    "POST /events", "GET /events", "GET /devices", "Raw frame",
}  # fmt: skip


async def test_every_action_of_the_contract_is_a_button(open_console: OpenConsole) -> None:
    console = await open_console("alice")
    panel = console.panel("alice")
    await panel.get_by_role("tab", name="Actions").click()
    names = {" ".join(text.split()) for text in await panel.locator(".action").all_inner_texts()}
    assert names == ACTIONS


async def test_frames_are_filtered_by_text_type_and_direction(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice")
    console = await open_console("alice")
    await console.open("alice", "Yard")
    for text in ("apple", "pear"):
        await console.say("alice", text)
        await console.bubbles("alice", text).wait_for()
    panel = console.panel("alice")
    rows = panel.locator(".row")
    types = panel.locator(".row .type")

    await panel.get_by_role("button", name="Out", exact=True).click()
    await panel.get_by_label("Type", exact=True).select_option("message.send")
    await expect(types).to_have_text(["message.send", "message.send"])
    await panel.get_by_placeholder("Filter frames").fill("PEAR")
    await expect(rows).to_have_count(1)
    await rows.first.click()
    shown = json.loads(await panel.locator(".detail pre").inner_text())
    assert shown["content"] == "pear"
    await panel.get_by_placeholder("Filter frames").fill("no such thing")
    await expect(panel.locator(".rows-none")).to_have_text("No frame matches the filter.")


async def test_pause_holds_the_view_and_goes_on(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice")
    console = await open_console("alice")
    await console.open("alice", "Yard")
    panel = console.panel("alice")
    await panel.get_by_label("Type", exact=True).select_option("system")
    await panel.get_by_label("Type", exact=True).select_option("")
    sent = panel.locator(".row").filter(has_text='"content":"quietly"')
    await panel.get_by_role("button", name="Pause").click()
    await console.say("alice", "quietly")
    await console.bubbles("alice", "quietly").wait_for()
    resume = panel.get_by_role("button", name="Go on")
    await expect(resume).not_to_have_text("Go on (0 new)")
    await expect(sent).to_have_count(0)
    await resume.click()
    await sent.first.wait_for()
    await panel.get_by_role("button", name="Clear", exact=True).click()
    await expect(panel.locator(".row")).to_have_count(0)


async def test_an_action_form_sends_what_it_shows(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    yard = await make_group("Yard", "alice", "bob")
    console = await open_console("alice")
    await console.open("alice", "Yard")
    panel = console.panel("alice")
    await panel.get_by_role("tab", name="Actions").click()
    await panel.locator('[data-action="message.send"]').click()
    await expect(panel.locator('.action-form [name="conversation_id"]')).to_have_value(yard)
    await panel.locator('.action-form [name="content"]').fill("from the form")
    preview = json.loads(await panel.locator(".preview-json").inner_text())
    assert preview == {
        "type": "message.send",
        "conversation_id": yard,
        "content": "from the form",
        "message_type": "text",
    }
    await panel.locator(".action-form button[type=submit]").click()
    await console.bubbles("alice", "from the form").wait_for()

    await panel.locator('[data-action="GET /conversations/:conversation_id"]').click()
    await panel.locator(".action-form button[type=submit]").click()
    await expect(panel.locator(".action-answer .ok")).to_contain_text("200")
    assert yard in await panel.locator(".action-answer pre").inner_text()


async def test_a_published_event_is_seen_in_the_conversation(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    yard = await make_group("Yard", "alice")
    console = await open_console("alice")
    await console.open("alice", "Yard")
    await console.say("alice", "before")
    await console.bubbles("alice", "before").wait_for()
    panel = console.panel("alice")
    await panel.get_by_role("tab", name="Actions").click()
    await panel.locator('[data-action="POST /events"]').click()
    await expect(panel.locator('.action-form [name="conversation_id"]')).to_have_value(yard)
    await panel.locator(".action-form button[type=submit]").click()
    await expect(panel.locator(".action-answer .ok")).to_contain_text("201")
    await expect(panel.locator(".event .event-type")).to_have_text("task_interaction")
    await panel.locator('[data-action="GET /stats"]').click()
    await panel.locator(".action-form button[type=submit]").click()
    await expect(panel.locator(".action-answer pre")).to_contain_text("online_users")


async def test_a_raw_frame_goes_out_as_written(open_console: OpenConsole) -> None:
    console = await open_console("alice")
    panel = console.panel("alice")
    await panel.get_by_role("tab", name="Actions").click()
    await panel.locator('[data-action="raw"]').click()
    await panel.locator(".action-form textarea").fill("{ not json")
    await panel.locator(".action-form button[type=submit]").click()
    await panel.get_by_role("tab", name="Frames").click()
    await panel.locator(".row").filter(has_text="Invalid JSON format").wait_for()
    await panel.locator(".row").filter(has_text="{ not json").wait_for()


async def test_a_flood_leaves_few_rows_in_the_page_and_in_memory(
    open_console: OpenConsole,
) -> None:
    console = await open_console("alice")
    bounds = await console.page.evaluate(
        """async () => {
          const { FrameLog, MAX_ROWS, MAX_BYTES } = await import('./frames.js');
          const log = new FrameLog();
          for (let n = 0; n < 3 * MAX_ROWS; n += 1) log.push('in', `{"type":"t","n":${n}}`);
          const rows = [log.rows.length, log.shown.length, MAX_ROWS, log.shown.at(-1).text];
          const large = new FrameLog();
          for (let n = 0; n < 30; n += 1) large.push('in', 'x'.repeat(1e6), 't');
          return { rows, bytes: large.rows.reduce((sum, row) => sum + row.size, 0), MAX_BYTES };
        }"""
    )
    assert bounds["rows"] == [2000, 2000, 2000, '{"type":"t","n":5999}']
    assert bounds["bytes"] <= bounds["MAX_BYTES"]
    panel = console.panel("alice")
    await panel.get_by_text("Heartbeats").click()
    await panel.get_by_role("tab", name="Actions").click()
    await panel.locator('[data-action="ping"]').click()
    for _ in range(60):
        await panel.locator(".action-form button[type=submit]").click()
    await panel.get_by_role("tab", name="Frames").click()
    await panel.locator(".row").filter(has_text='"pong"').last.wait_for()
    shown = int((await panel.locator(".count").inner_text()).split()[0])
    assert shown >= 120
    assert await panel.locator(".row").count() < 60
