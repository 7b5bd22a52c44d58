"""Files in the console: sent from one side, seen and saved on the other; refused in words."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import FilePayload, Locator, Route, expect

from tests.conftest import Server
from tests.console.conftest import Console, OpenConsole

MakeGroup = Callable[..., Awaitable[str]]

MOST = 200_000
"""Bytes that a file may have here."""

# Remembers which addresses of blobs were revoked.
GIVEN_BACK = """() => {
  const revoke = URL.revokeObjectURL.bind(URL);
  window.givenBack = [];
  URL.revokeObjectURL = (address) => { window.givenBack.push(address); revoke(address); };
}"""

REFUSED = ("Failed to load resource",)


@pytest.fixture
def server(tmp_path: Path) -> Iterable[Server]:
    """A server that takes small files only."""
    running = Server(tmp_path / "madang", rate_limit_enabled="false", max_file_size=str(MOST))
    running.start()
    yield running
    running.stop()


def picture(width: int = 640, height: int = 480) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height), "#8fb8a5").save(content, "PNG")
    return content.getvalue()


def file(name: str, content: bytes, kind: str = "application/octet-stream") -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": content}


async def send(console: Console, user: str, text: str, *files: FilePayload) -> None:
    """Choose files with the paper clip, and send them with a text."""
    panel = console.panel(user)
    async with console.page.expect_file_chooser() as chooser:
        await panel.get_by_role("button", name="Attach a file").click()
    await (await chooser.value).set_files(list(files))
    await expect(panel.locator(".chip")).to_have_count(len(files))
    await panel.locator(".composer textarea").fill(text)
    await panel.get_by_role("button", name="Send", exact=True).first.click()
    await expect(panel.locator(".chip")).to_have_count(0)


async def shown(picture: Locator) -> tuple[int, int]:
    """How large a picture is by itself, once there is something of it."""
    handle = await picture.element_handle()
    await picture.page.wait_for_function("(one) => one.naturalWidth > 0", arg=handle)
    size = await picture.evaluate("(one) => [one.naturalWidth, one.naturalHeight]")
    return int(size[0]), int(size[1])


async def test_a_picture_sent_on_one_side_is_seen_and_saved_on_the_other(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice", "bob")
    console = await open_console("alice", "bob")
    await console.both_open("Yard")
    await console.page.evaluate(GIVEN_BACK)
    content = picture()
    await send(console, "alice", "look", file("마당.png", content, "image/png"))
    for user in ("alice", "bob"):
        line = console.answer(user)
        await expect(line.locator(".text")).to_have_text("look")
        image = line.locator(".thumb img")
        assert await shown(image) == (320, 240)
        await expect(image).to_have_attribute("alt", "마당.png")
        # What it was shown from is given back.
        await expect(line.locator(".thumb.there")).to_have_count(1)
        assert await image.evaluate("(one) => window.givenBack.includes(one.src)")
    await expect(console.panel("alice").locator(".upload")).to_have_count(0)
    line = console.answer("bob")
    async with console.page.expect_download() as download:
        await line.get_by_role("button", name="Save 마당.png").click()
    saved = await download.value
    assert saved.suggested_filename == "마당.png"
    assert Path(await saved.path()).read_bytes() == content
    # A reaction draws the line anew, and fetches no picture again.
    await image.evaluate("(one) => { one.kept = true; }")
    await console.answer("alice").locator(".bubble .text").hover()
    alice = console.panel("alice")
    await alice.get_by_role("button", name="React", exact=True).click()
    await alice.get_by_role("button", name="React with 🎉").click()
    await console.answer("bob").locator(".reaction").wait_for()
    assert await image.evaluate("(one) => one.kept && one.naturalWidth === 320")


async def test_several_files_go_one_after_the_other_with_one_text(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice", "bob")
    console = await open_console("alice", "bob")
    await console.both_open("Yard")
    files = [file(f"{n}.txt", b"%d" % n * 2000, "text/plain") for n in range(3)]
    await send(console, "alice", "three of them", *files)
    bob = console.panel("bob")
    await expect(bob.locator(".line .file-name")).to_have_text(["0.txt", "1.txt", "2.txt"])
    await expect(bob.locator(".line .file-size").first).to_have_text("2 KB")
    assert await console.texts("bob") == ["three of them"]
    await expect(bob.locator(".conversation .preview")).to_have_text("alice: 2.txt")


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_what_is_refused_is_said_in_words(
    open_console: OpenConsole, make_group: MakeGroup, locale: str
) -> None:
    await make_group("Yard", "alice")
    console = await open_console("alice", locale=locale, expected=REFUSED)
    await console.open("alice", "Yard")
    alice = console.panel("alice")
    await alice.locator("input[type=file]").set_input_files(
        [
            file("large.txt", b"long lines\n" * MOST, "text/plain"),
            file("page.html", b"<!doctype html><html><body>hi", "text/html"),
            file("empty.txt", b"", "text/plain"),
        ]
    )
    await alice.locator(".composer .send").click()
    problems = alice.locator(".upload.failed .problem")
    korean = [
        "파일이 너무 커요. 195 KB까지 보낼 수 있어요.",
        "이 종류의 파일은 보낼 수 없어요 (text/html).",
        "빈 파일이에요.",
    ]
    english = [
        "The file is too large: 195 KB at most.",
        "Files of this type cannot be sent (text/html).",
        "The file is empty.",
    ]
    await expect(problems).to_have_text(korean if locale == "ko-KR" else english)
    await alice.locator(".upload .link").first.click()
    await expect(problems).to_have_count(2)
    await expect(alice.locator(".line:not(.letter)")).to_have_count(0)


async def test_an_upload_shows_how_far_it_is_and_can_be_given_up_or_tried_again(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice")
    console = await open_console("alice", expected=REFUSED)
    await console.open("alice", "Yard")
    alice = console.panel("alice")
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        arrived.set()
        await go_on.wait()
        await route.abort()

    await console.page.route("**/files", hold)
    await send(console, "alice", "first", file("a.txt", b"a" * 5000, "text/plain"))
    await asyncio.wait_for(arrived.wait(), 20)
    upload = alice.locator(".upload")
    await expect(upload.locator("progress")).to_be_visible()
    await expect(upload.locator("progress")).to_have_attribute("aria-label", "Sending a.txt")
    await send(console, "alice", "second", file("b.txt", b"b" * 5000, "text/plain"))
    await expect(upload.last).to_contain_text("Waiting for its turn")
    await upload.last.get_by_role("button", name="Cancel").click()
    await expect(upload).to_have_count(1)
    go_on.set()
    await expect(upload.locator(".problem")).to_have_text("The connection was cut.")
    await console.page.unroute("**/files")
    await upload.get_by_role("button", name="Try again").click()
    await expect(upload).to_have_count(0)
    assert await console.texts("alice") == ["first"]
    await expect(alice.locator(".line .file-name")).to_have_text("a.txt")


async def test_files_from_the_clipboard_and_off_again(
    open_console: OpenConsole, make_group: MakeGroup
) -> None:
    await make_group("Yard", "alice")
    console = await open_console("alice")
    await console.open("alice", "Yard")
    alice = console.panel("alice")
    await alice.locator(".composer textarea").evaluate(
        """(area) => {
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File(['x'], 'pasted.txt'));
          area.dispatchEvent(new ClipboardEvent('paste', { clipboardData, cancelable: true }));
        }"""
    )
    await expect(alice.locator(".chip")).to_contain_text("pasted.txt")
    # It is kept beside what is written while one looks elsewhere.
    await console.page.get_by_role("button", name="한국어로 보기").click()
    await alice.get_by_role("button", name="pasted.txt 빼기").click()
    await expect(alice.locator(".chip")).to_have_count(0)
