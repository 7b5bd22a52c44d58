"""How the pages are served: their addresses, headers and caches. No browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from madang.rooms import CONTENT_SECURITY_POLICY, RoomPages, rooms_directory
from tests.conftest import Server

FILE = re.compile(r'(?:href|src)="([./]*files/[0-9a-f]+/[\w.-]+)"')


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client


def test_pages_stand_at_their_addresses_and_nothing_else_does(http: httpx.Client) -> None:
    entries = {
        "/r/": "enter.js",
        "/r/new": "new.js",
        "/r/K7MQ4X": "join.js",
        "/r/k7m-q4x": "join.js",
        "/r/K7MQ4X/host": "host.js",
        "/r/K7MQ4X/screen": "screen.js",
    }
    for path, entry in entries.items():
        answer = http.get(path)
        assert answer.status_code == 200, path
        assert f'{entry}"></script>' in answer.text
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-cache"
    assert http.get("/r").headers["location"].endswith("/r/")
    assert http.get("/r/K7MQ4X/host/").headers["location"] == "/r/K7MQ4X/host"
    assert http.get("/r/config.json").json() == {"dev": True}
    for path in (
        "/r/K7MQ4X/other",
        "/r/join.html",
        "/r/pages.py",
        "/r/files/0/pages.py",
        "/r/files/0/__init__.py",
        "/r/files/0/join.html",
        "/r/files/0/../pages.py",
        "/r/<script>",
    ):
        answer = http.get(path)
        assert answer.status_code == 404, path
        assert answer.json()["code"] == "NOT_FOUND"
    assert http.post("/r/").status_code == 404


def test_files_are_kept_by_browsers_for_as_long_as_they_are_the_same(http: httpx.Client) -> None:
    page = http.get("/r/K7MQ4X")
    assert page.headers["content-encoding"] == "gzip"
    plain = http.get("/r/K7MQ4X", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == page.text
    again = http.get("/r/K7MQ4X", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for file in FILE.findall(page.text):
        found = http.get(f"/r/{file}")
        assert found.status_code == 200, file
        assert "immutable" in found.headers["cache-control"]
    # A page of another node, of another version: it is served, and not kept.
    other = http.get(re.sub(r"[0-9a-f]{12}", "0123456789ab", f"/r/{file}"))
    assert (other.status_code, other.headers["cache-control"]) == (200, "no-store")


def test_code_is_served_whole_and_comments_are_not(http: httpx.Client) -> None:
    version = FILE.findall(http.get("/r/").text)[0].split("/")[-2]
    for path in [*rooms_directory().glob("*.js"), *rooms_directory().glob("*.css")]:
        source = path.read_text("utf-8")
        served = http.get(f"/r/files/{version}/{path.name}").text
        assert served.count("\n") == source.count("\n"), path.name
        for given, told in zip(source.splitlines(), served.splitlines(), strict=True):
            assert told in ("", given), path.name
        assert "@param" not in served, path.name
        assert served.count("\nexport ") == source.count("\nexport "), path.name


def test_every_page_loads_only_what_is_there() -> None:
    """A module that is not named in its page is found late; one that is gone is an error."""
    directory = rooms_directory()
    for page in sorted(directory.glob("*.html")):
        text = page.read_text("utf-8")
        named = re.findall(r'files/([\w.-]+)"', text)
        missing = [name for name in named if not (directory / name).is_file()]
        assert missing == [], page.name
        entry = re.search(r'<script type="module" src="[./]*files/([\w.-]+)"', text)
        assert entry is not None
        loaded: set[str] = set()
        todo = [entry[1]]
        while todo:
            name = todo.pop()
            if name not in loaded:
                loaded.add(name)
                source = (directory / name).read_text("utf-8")
                todo += re.findall(r"(?:from|import) '\./([\w.-]+)'", source)
        preloaded = {name for name in named if name.endswith(".js")}
        assert preloaded == loaded, page.name


async def test_pages_stand_below_another_apps_path_too() -> None:
    async def missing(scope: Scope, receive: Receive, send: Send) -> None:
        await Response("none", 404)(scope, receive, send)

    inner = Starlette(routes=[Mount("/r", RoomPages(dev=False, missing=missing))])
    outer = Starlette(routes=[Mount("/chat", inner)])
    transport = httpx.ASGITransport(outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
        page = await http.get("/chat/r/K7MQ4X/host")
        file = page.url.join(FILE.findall(page.text)[0])
        assert file.path.startswith("/chat/r/files/")
        assert (await http.get(file)).status_code == 200
        assert (await http.get("/chat/r/config.json")).json() == {"dev": False}
        moved = await http.get("/chat/r/K7MQ4X/")
        assert moved.headers["location"] == "/chat/r/K7MQ4X"
        assert (await http.get("/chat/r/a/b/c")).text == "none"
