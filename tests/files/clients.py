"""What clients of files share."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from tests.surfaces.people import Frame, House, problem

Content = bytes | AsyncIterator[bytes]
CHAT = "/api/chat"
TUS = f"{CHAT}/files/tus"
NO_FILE = "File not found"


def form(
    name: str | None,
    content: bytes,
    fields: Mapping[str, str] | None = None,
    *,
    kind: str = "application/octet-stream",
    boundary: str = "boundary",
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a form, made by hand: any name, whatever a library would make of it."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in (fields or {}).items()
    ]
    if name is not None:
        told = name.encode("utf-8", "surrogateescape")
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="'.encode()
        parts.append(head + told + f'"\r\nContent-Type: {kind}\r\n\r\n'.encode())
        parts.append(content + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return {"content-type": f"multipart/form-data; boundary={boundary}"}, body


class Uploader:
    """One user's files on a server."""

    def __init__(self, house: House, user: str, **claims: Any) -> None:
        self.user = user
        self.http: httpx.AsyncClient = house.rest(user, **claims).client

    async def upload(
        self,
        conversation: str,
        name: str,
        content: bytes,
        *,
        messenger: bool = False,
        key: str | None = None,
        **fields: str,
    ) -> httpx.Response:
        headers, body = form(name, content, fields)
        if key is not None:
            headers["idempotency-key"] = key
        return await self.http.post(place(conversation, messenger), content=body, headers=headers)

    async def sent(
        self, conversation: str, name: str = "a.txt", content: bytes = b"text", **fields: str
    ) -> Frame:
        """What the upload of a file answers."""
        headers, body = form(name, content, fields)
        answer = await self.http.post(place(conversation), content=body, headers=headers)
        assert answer.status_code == 201, answer.text
        found: Frame = answer.json()
        return found

    async def get(self, file: Frame | str, **headers: str) -> httpx.Response:
        url = file if isinstance(file, str) else file["file_url"]
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.get(url, headers=named)

    async def begin(
        self, conversation: str, size: int, content: bytes | None = None, **metadata: str
    ) -> httpx.Response:
        """Create a tus upload."""
        said = {"conversation_id": conversation, "filename": "a.txt", **metadata}
        headers = {
            "tus-resumable": "1.0.0",
            "upload-length": str(size),
            "upload-metadata": written(said),
        }
        if content is not None:
            headers["content-type"] = "application/offset+octet-stream"
        return await self.http.post(TUS, headers=headers, content=content)

    async def begun(self, conversation: str, size: int, **metadata: str) -> str:
        """The address of a tus upload."""
        answer = await self.begin(conversation, size, None, **metadata)
        assert answer.status_code == 201, answer.text
        return answer.headers["location"]

    async def append(
        self, url: str, offset: int, content: Content, **headers: str
    ) -> httpx.Response:
        return await self.http.patch(
            url,
            content=content,
            headers={
                "tus-resumable": "1.0.0",
                "upload-offset": str(offset),
                "content-type": "application/offset+octet-stream",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )

    async def where(self, url: str) -> httpx.Response:
        return await self.http.head(url, headers={"tus-resumable": "1.0.0"})

    async def give_up(self, url: str) -> httpx.Response:
        return await self.http.delete(url, headers={"tus-resumable": "1.0.0"})


def written(metadata: Mapping[str, str]) -> str:
    """`Upload-Metadata`."""
    return ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items()
    )


def place(conversation: str, messenger: bool = False) -> str:
    """Where a form goes."""
    if messenger:
        return f"/api/v1/messenger/conversations/{conversation}/files"
    return f"{CHAT}/sessions/{conversation}/files"


def not_found(answer: httpx.Response) -> None:
    """As for a file that does not exist."""
    problem(answer, 404, "NOT_FOUND", NO_FILE)


async def pieces(content: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    """A body whose length nobody announces."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


class Unfinished:
    """A request whose body never ends. (Libraries read no answer before they have sent it all.)"""

    def __init__(
        self, uploader: Uploader, method: str, path: str, headers: Mapping[str, str]
    ) -> None:
        self._http = uploader.http
        self._head = "".join(
            f"{name}: {value}\r\n"
            for name, value in {
                "host": "localhost",
                "content-length": "1000000",
                "authorization": uploader.http.headers["authorization"],
                **headers,
            }.items()
        )
        self._line = f"{method} {path} HTTP/1.1\r\n"

    async def __aenter__(self) -> Unfinished:
        url = self._http.base_url
        self._reader, self._writer = await asyncio.open_connection(url.host, url.port)
        await self.send(f"{self._line}{self._head}\r\n".encode())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def send(self, content: bytes) -> None:
        self._writer.write(content)
        await self._writer.drain()

    async def flood(self, size: int) -> None:
        for _ in range(0, size, 2**20):
            await self.send(b"x" * 2**20)

    async def drip(self) -> None:
        """Send a byte now and then, until nobody is there any more."""
        ended = asyncio.ensure_future(self._reader.readexactly(1))
        while not ended.done():
            await self.send(b"x")
            await asyncio.wait([ended], timeout=0.5)
        ended.result()

    async def answer(self) -> httpx.Response:
        async with asyncio.timeout(30):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin1")
            first, *lines = head.rstrip().split("\r\n")
            headers = [tuple(line.split(": ", 1)) for line in lines]
            answer = httpx.Response(int(first.split()[1]), headers=headers)  # type: ignore[arg-type]
            length = int(answer.headers.get("content-length", "0"))
            content = await self._reader.readexactly(length)
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)
