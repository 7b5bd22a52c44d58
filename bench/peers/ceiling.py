"""The ceiling: a C server that only writes ready frames, to tell what the load can count."""

from pathlib import Path

from bench.load.build import compiled
from bench.peers.base import TEXT, Peer, Unavailable


class Ceiling(Peer):
    name = "ceiling"
    title = "(ceiling of the load)"
    what = "C, ready frames, one write per receiver and turn"
    checks_tokens = False

    def install(self) -> None:
        if compiled("blaster") is None:
            raise Unavailable("no C compiler")

    def version(self) -> str:
        return "-"

    def command(self, port: int, work: Path) -> list[str]:
        return [str(compiled("blaster")), str(port), TEXT]
