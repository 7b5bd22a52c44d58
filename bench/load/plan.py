"""What a load process is told: whom to connect to, what to send, what to count.

Written as one directive a line, fields separated by TAB. In texts, `%a` and `%b` stand for the
connection's own values and `%n` for a number that is used once; of a connection that joins, `%p`
and `%t` for the seat and the token that the answer to an ask has given it.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Conn:
    """One connection. `role` holds R (a counted receiver), S (a sender), J (it joins: the plan's
    asks come first, and `path` is a text), or several of them. `port`: of another node than the
    plan's (0: none)."""

    role: str
    path: str
    a: str = ""
    b: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked over HTTP, with the token once there is one; path and body are texts."""

    method: str
    path: str
    body: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A dialect and the connections that speak it.

    `classes` are prefixes of server messages; the other directives name one by its position:
    `count` is a delivery, `ack` a confirmation to the sender, `ready` the end of the greeting
    (None: the upgrade itself). `replies` answer a class with a frame. `lines`: one frame may carry
    several messages, one a line. `answer`: what makes a message of the counted class an ack
    instead. `asks` of those who join come one after another, before the upgrade; only the load in C
    asks.
    """

    classes: tuple[str, ...]
    count: int
    message: str = ""
    ack: int | None = None
    ready: int | None = None
    replies: tuple[tuple[int, str], ...] = ()
    hello: str | None = None
    header: str | None = None
    lines: bool = False
    answer: str | None = None
    asks: tuple[Ask, ...] = ()
    conns: tuple[Conn, ...] = field(default=(), repr=False)

    def with_conns(self, conns: list[Conn]) -> "Plan":
        return replace(self, conns=tuple(conns))

    def write(self, path: Path, *, port: int) -> Path:
        """Write the plan for a server on 127.0.0.1:`port`."""
        rows: list[tuple[object, ...]] = [("target", "127.0.0.1", port), ("lines", int(self.lines))]
        rows += [("class", prefix) for prefix in self.classes]
        rows += [("reply", index, text) for index, text in self.replies]
        rows += [("count", self.count), ("message", self.message)]
        if self.ack is not None:
            rows.append(("ack", self.ack))
        if self.ready is not None:
            rows.append(("ready", self.ready))
        if self.hello is not None:
            rows.append(("hello", self.hello))
        if self.header is not None:
            rows.append(("header", self.header))
        if self.answer is not None:
            rows.append(("answer", self.answer))
        rows += [("ask", ask.method, ask.path, ask.body) for ask in self.asks]
        rows += [
            ("conn", c.role or "-", c.path, c.a or "-", c.b or "-", c.port) for c in self.conns
        ]
        path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
        return path
