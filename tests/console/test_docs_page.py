"""The page /docs: it is there without any other host."""

from __future__ import annotations

import httpx
from playwright.async_api import Browser, Request, expect

from tests.console.conftest import Server


async def test_the_page_asks_no_other_host_for_anything(browser: Browser, server: Server) -> None:
    page = await browser.new_page()
    asked: list[str] = []
    complaints: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None,
    )
    await page.goto(f"{server.url}/docs")
    route = page.locator(".opblock-summary-path", has_text="/api/v1/messenger/presence/online")
    await expect(route).to_be_visible()
    await expect(page.locator(".info .title")).to_contain_text("Madang")
    elsewhere = [url for url in asked if not url.startswith((server.url, "data:"))]
    assert elsewhere == []
    assert complaints == []


async def test_a_call_can_be_tried_out(browser: Browser, server: Server) -> None:
    page = await browser.new_page(viewport={"width": 1200, "height": 1000})
    await page.goto(f"{server.url}/docs")
    await page.locator(".btn.authorize").click()
    await page.get_by_label("auth-bearer-value").first.fill(server.token("alice"))
    await page.locator(".auth-btn-wrapper .authorize").first.click()
    await page.locator(".btn-done").first.click()
    await (
        page.locator(".opblock-get", has_text="/api/v1/messenger/presence/online")
        .locator(".opblock-summary-control")
        .click()
    )
    await page.locator(".try-out__btn").click()
    await page.locator(".btn.execute").click()
    status = page.locator(".live-responses-table .response-col_status").nth(1)
    await expect(status).to_have_text("200")


async def test_nothing_else_is_served_there(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        for name in ("redoc.standalone.js", "..%2f__init__.py", "index.html"):
            assert (await http.get(f"/docs/{name}")).status_code == 404
        page = await http.get("/docs")
        assert "script-src 'self'" in page.headers["content-security-policy"]
