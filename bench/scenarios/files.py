"""Files: what a gigabyte takes of the server's memory, and what pictures take of messages' time."""

import asyncio
import base64
import contextlib
import http.client
import io
import json
import multiprocessing
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from websockets.asyncio.client import connect

from bench.load.driver import LoadFailed
from bench.peers.base import Peer
from bench.peers.madang import Madang, make_rooms, ws_path
from bench.processes import Server, cores, free_port, serving
from bench.records import Record
from bench.scenarios.base import Effort
from bench.tokens import mint

GIGABYTE = 1 << 30
CHUNK = 1 << 20
PICTURE = (4000, 3000)
"""Twelve megapixels."""
PICTURES = 200
AT_ONCE = 4
"""Connections that upload pictures."""
MESSAGES_A_SECOND = 200
SAMPLE_SECONDS = 0.05
BASE = "/api/chat"


@dataclass(frozen=True, slots=True)
class Uploading:
    """One file of a gigabyte, by form and by tus, and then read again."""

    name: str = "upload"
    title: str = "A file of a gigabyte"

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        size = int(GIGABYTE * effort.scale)
        with _with_files(peer) as server:
            (room,) = make_rooms(server.port, [["ann"]])
            # Once unrecorded: what a first upload makes the server load stays.
            _by_form(server.port, room, CHUNK)
            for way, transfer in (("form", _by_form), ("tus", _by_tus)):
                with _watched(server) as most:
                    begun = time.monotonic()
                    file = transfer(server.port, room, size)
                    seconds = time.monotonic() - begun
                yield from self._records(peer, f"up by {way}", size, seconds, most)
            with _watched(server) as most:
                begun = time.monotonic()
                _down(server.port, file, size)
                seconds = time.monotonic() - begun
            yield from self._records(peer, "down", size, seconds, most)

    def _records(
        self, peer: Peer, case: str, size: int, seconds: float, most: list[float]
    ) -> Iterator[Record]:
        grown = (most[-1] - most[0],)
        yield Record(self.name, case, peer.name, "memory grown", "MB", grown, False)
        rate = (size / 1e6 / seconds,)
        yield Record(self.name, case, peer.name, "rate", "MB/s", rate)


@dataclass(frozen=True, slots=True)
class Pictures:
    """Messages by the clock, with and without somebody who uploads a telephone's pictures."""

    name: str = "thumbnails"
    title: str = "200 pictures of 12 megapixels while people talk"

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        count = effort.sized(PICTURES)
        with _with_files(peer) as server, tempfile.TemporaryDirectory() as folder:
            rooms = make_rooms(server.port, [["ann", "bob"], ["eve"]])
            picture = Path(folder) / "picture.jpg"
            picture.write_bytes(_picture())
            quiet = asyncio.run(_talk(server.port, rooms[0], effort.seconds * 2, None))
            uploading = _Uploading(server.port, rooms[1], picture, count)
            beside = asyncio.run(_talk(server.port, rooms[0], 600.0, uploading))
            made, seconds = uploading.result()
        if made != count:
            raise LoadFailed(f"{made} of {count} pictures have a thumbnail")
        for case, times in (("nothing else", quiet), (f"beside {count} pictures", beside)):
            ordered = sorted(times)
            for key, at in (("p50", 0.5), ("p99", 0.99), ("most", 1.0)):
                value = ordered[min(len(ordered) - 1, int(at * len(ordered)))] * 1000
                metric = f"message {key}"
                yield Record(self.name, case, peer.name, metric, "ms", (value,), False)
        rate = (count / seconds,)
        yield Record(self.name, f"beside {count} pictures", peer.name, "pictures", "/s", rate)


@contextmanager
def _with_files(peer: Peer) -> Iterator[Server]:
    """A server that takes files of any size."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{peer.name}-") as work:
        place, port = Path(work), free_port()
        env = peer.environment(port, place)
        env |= {"MADANG_MAX_FILE_SIZE": str(2 * GIGABYTE), "MADANG_ALLOWED_FILE_TYPES": "*"}
        command = peer.command(port, place)
        with serving(command, port=port, work=place, env=env, cwd=place) as server:
            yield server


@contextmanager
def _watched(server: Server) -> Iterator[list[float]]:
    """[resident memory of the server's own process at the beginning, the most until the end], MB.
    What reads pictures is another process, with bounds of its own."""
    found = [_resident(server)]
    stop = threading.Event()

    def watch() -> None:
        most = found[0]
        while not stop.wait(SAMPLE_SECONDS):
            most = max(most, _resident(server))
        found.append(most)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def _resident(server: Server) -> float:
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


# One file.


def _content(size: int) -> Iterator[bytes]:
    chunk = random.Random(1).randbytes(CHUNK)
    for start in range(0, size, CHUNK):
        yield chunk[: size - start]


def _asked(
    port: int, method: str, path: str, body: Iterator[bytes] | bytes, **headers: str
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named["Authorization"] = f"Bearer {mint('ann')}"
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    if answer.status >= 300:
        raise LoadFailed(f"{method} {path}: {answer.status} {answer.read()[:200]!r}")
    return answer


def _by_form(port: int, room: str, size: int) -> str:
    head = (
        b'--bench\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n"
    )
    tail = b"\r\n--bench--\r\n"

    def body() -> Iterator[bytes]:
        yield head
        yield from _content(size)
        yield tail

    answer = _asked(
        port,
        "POST",
        f"{BASE}/sessions/{room}/files",
        body(),
        Content_Type="multipart/form-data; boundary=bench",
        Content_Length=str(len(head) + size + len(tail)),
    )
    return str(json.loads(answer.read())["file_url"])


def _by_tus(port: int, room: str, size: int) -> str:
    said = base64.b64encode(room.encode()).decode()
    begun = _asked(
        port,
        "POST",
        f"{BASE}/files/tus",
        b"",
        Tus_Resumable="1.0.0",
        Upload_Length=str(size),
        Upload_Metadata=f"conversation_id {said}",
    )
    url = begun.headers["Location"]
    _asked(
        port,
        "PATCH",
        url,
        _content(size),
        Tus_Resumable="1.0.0",
        Upload_Offset="0",
        Content_Type="application/offset+octet-stream",
        Content_Length=str(size),
    )
    return url.replace("/tus/", "/")


def _down(port: int, url: str, size: int) -> None:
    answer = _asked(port, "GET", url, b"")
    read = 0
    while piece := answer.read(CHUNK):
        read += len(piece)
    if read != size:
        raise LoadFailed(f"{read} of {size} bytes came back")


# Pictures, and messages beside them.


def _picture() -> bytes:
    """With as many bytes as a telephone makes of that many pixels."""
    small = random.Random(2).randbytes(500 * 375 * 3)
    image = Image.frombytes("RGB", (500, 375), small).resize(PICTURE)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92)
    return out.getvalue()


def _upload_pictures(
    port: int, room: str, path: Path, count: int, told: "multiprocessing.Queue[int]"
) -> None:
    """In a process of its own, behind the one that measures."""
    os.sched_setaffinity(0, {cores()[1]})
    os.nice(10)
    content = path.read_bytes()
    head = (
        b'--bench\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n"
    )
    body = head + content + b"\r\n--bench--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    made = 0
    for _ in range(count):
        connection.request(
            "POST",
            f"{BASE}/sessions/{room}/files",
            body,
            {
                "Authorization": f"Bearer {mint('eve')}",
                "Content-Type": "multipart/form-data; boundary=bench",
            },
        )
        made += json.loads(connection.getresponse().read())["thumbnail_url"] is not None
    told.put(made)


class _Uploading:
    """Several processes that upload pictures."""

    def __init__(self, port: int, room: str, path: Path, count: int) -> None:
        self._told: multiprocessing.Queue[int] = multiprocessing.Queue()
        shares = [count // AT_ONCE + (n < count % AT_ONCE) for n in range(AT_ONCE)]
        self._processes = [
            multiprocessing.Process(
                target=_upload_pictures, args=(port, room, path, share, self._told)
            )
            for share in shares
        ]
        self._begun = 0.0
        self._seconds = 0.0

    def start(self) -> None:
        self._begun = time.monotonic()
        for process in self._processes:
            process.start()

    def over(self) -> bool:
        if any(process.is_alive() for process in self._processes):
            return False
        self._seconds = time.monotonic() - self._begun
        return True

    def result(self) -> tuple[int, float]:
        """How many thumbnails were made, and in how many seconds."""
        return sum(self._told.get(timeout=10) for _ in self._processes), self._seconds


async def _talk(port: int, room: str, seconds: float, beside: _Uploading | None) -> list[float]:
    """Messages by the clock, until the pictures are up; each timed from the moment when it was
    due to the moment when it was there, in seconds."""
    os.sched_setaffinity(0, {cores()[1]})
    times: list[float] = []
    due: dict[str, float] = {}
    base = f"ws://127.0.0.1:{port}"
    async with (
        connect(f"{base}{ws_path('ann')}", compression=None) as ann,
        connect(f"{base}{ws_path('bob')}", compression=None) as bob,
    ):
        for each in (ann, bob):
            # Who says that nothing is missing gets what is new at once.
            greeting = json.loads(await each.recv())
            await each.send(json.dumps({"type": "resume", "cursor": greeting["cursor"]}))
            while json.loads(await each.recv())["type"] != "resumed":
                pass

        async def listen() -> None:
            async for text in bob:
                frame = json.loads(text)
                if frame["type"] == "message.new":
                    times.append(time.monotonic() - due.pop(frame["data"]["client_id"]))

        async def ignore() -> None:
            async for _ in ann:
                pass

        listening = [asyncio.create_task(listen()), asyncio.create_task(ignore())]
        if beside is not None:
            beside.start()
        begun = time.monotonic()
        number = 0
        while time.monotonic() - begun < seconds and not (number % 20 == 0 and _over(beside)):
            number += 1
            at = begun + number / MESSAGES_A_SECOND
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            key = f"{begun}-{number}"
            due[key] = at
            said = {
                "type": "message.send",
                "conversation_id": room,
                "content": "hello",
                "client_id": key,
            }
            await ann.send(json.dumps(said))
        await asyncio.sleep(1)
        for task in listening:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    if due:
        raise LoadFailed(f"{len(due)} messages did not come")
    return times


def _over(beside: _Uploading | None) -> bool:
    return beside is not None and beside.over()
