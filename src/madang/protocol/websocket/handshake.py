"""The opening handshake, server side: RFC 6455 section 4.2, RFC 7692 section 7.1.

Header pairs in, a checked request or a refusal out, and the bytes of the answer. Who may connect,
which ``Origin`` is welcome and which subprotocol is chosen are the caller's to decide.
No I/O; may import only this package.
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha1
from http import HTTPStatus

from madang.protocol.websocket.deflate import SERVER_WINDOW_BITS

__all__ = [
    "HandshakeError",
    "Upgrade",
    "accept_key",
    "negotiate_deflate",
    "read_upgrade",
    "refusal",
    "upgrade_response",
]

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_VERSION = "13"
_NONCE_BYTES = 16

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # no CR, LF, NUL or other control
_WINDOW_BITS = re.compile(r"[89]|1[0-5]")  # RFC 7692 section 7.1.2: no leading zeros
_PARAMETER = re.compile(
    r"""[ \t]*(?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*
        (?:=[ \t]*(?:(?P<value>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)|"(?P<quoted>[^"\\,;]*)")[ \t]*)?""",
    re.VERBOSE,
)

Pairs = Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]
"""Header fields in the order they came, as text or as the Latin-1 bytes of the wire."""


class HandshakeError(Exception):
    """The request cannot become a WebSocket. ``str()`` of it is a text fit for the client."""

    def __init__(
        self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers

    def response(self) -> bytes:
        """The whole HTTP answer, after which the connection is to be closed."""
        return refusal(self.status, self.message, self.headers)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A valid upgrade request.

    ``key`` goes to ``upgrade_response``; ``subprotocols`` are in the client's order of
    preference; ``extensions`` is the offer for ``negotiate_deflate``, empty if there was none;
    ``origin`` is None where the client, not being a browser, sent none.
    """

    key: str
    subprotocols: tuple[str, ...]
    extensions: str
    origin: str | None


def accept_key(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` for a ``Sec-WebSocket-Key`` (section 4.2.2)."""
    return b64encode(sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


def read_upgrade(method: str, headers: Pairs) -> Upgrade:
    """Check an upgrade request (section 4.2.1).

    Raises ``HandshakeError``: 405 for another method than GET; 426 where the request does not ask
    for a WebSocket, or for another version of it than 13, naming what would be accepted; 400 for
    missing, repeated or broken fields.
    """
    if method != "GET":
        raise HandshakeError(405, "A WebSocket is opened with GET", (("Allow", "GET"),))
    fields = _fields(headers)
    if "websocket" not in _tokens(fields, "upgrade") or "upgrade" not in _tokens(
        fields, "connection"
    ):
        raise HandshakeError(
            426,
            "This address speaks WebSocket only",
            (("Upgrade", "websocket"), ("Connection", "Upgrade")),
        )
    if fields.get("sec-websocket-version") != [_VERSION]:
        raise HandshakeError(
            426,
            f"Only WebSocket version {_VERSION} is spoken here",
            (("Sec-WebSocket-Version", _VERSION),),
        )
    if len(fields.get("host", ())) != 1:
        raise HandshakeError(400, "Exactly one Host header is needed")
    origins = fields.get("origin", [])
    if len(origins) > 1:
        raise HandshakeError(400, "More than one Origin header")
    return Upgrade(
        key=_key(fields.get("sec-websocket-key", [])),
        subprotocols=_subprotocols(fields.get("sec-websocket-protocol", [])),
        extensions=", ".join(fields.get("sec-websocket-extensions", [])),
        origin=origins[0] if origins else None,
    )


def negotiate_deflate(header: str) -> str | None:
    """The ``Sec-WebSocket-Extensions`` answer to an offer, or None to go without compression.

    The first ``permessage-deflate`` of the offer that can be kept is taken; one with unknown,
    repeated or invalid parameters, or with a server window smaller than ours, is passed over
    (RFC 7692 section 7.1). Neither side takes its context over. A client's own window may be any,
    as reading uses the largest.
    """
    for extension in header.split(","):
        name, *parameters = extension.split(";")
        if name.strip(" \t").lower() == "permessage-deflate":
            answer = _answer(parameters)
            if answer is not None:
                return answer
    return None


def upgrade_response(
    key: str,
    subprotocol: str | None = None,
    extensions: str | None = None,
    extra: Iterable[tuple[str, str]] = (),
) -> bytes:
    """The 101 response that opens the WebSocket.

    ``extra`` are more header fields. Raises ``ValueError`` for a name that is not a token or a
    value with a control character, so nothing can add a line of its own.
    """
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(key)),
    ]
    if subprotocol is not None:
        if not _TOKEN.fullmatch(subprotocol):
            raise ValueError("a subprotocol must be a token")
        fields.append(("Sec-WebSocket-Protocol", subprotocol))
    if extensions is not None:
        fields.append(("Sec-WebSocket-Extensions", extensions))
    fields.extend(extra)
    return _head(101, fields)


def refusal(status: int, message: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A whole HTTP response that refuses the upgrade, ``message`` as plain text.

    Raises ``ValueError`` for unfit header fields, as ``upgrade_response`` does.
    """
    body = message.encode()
    fields = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),  # one line of a list: a Connection among ``headers`` adds to it
        *headers,
    ]
    return _head(status, fields) + body


def _head(status: int, fields: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"]
    for name, value in fields:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"not a header name: {name!r}")
        if not _FIELD_VALUE.fullmatch(value):
            raise ValueError(f"not a value for the header {name}")
        lines.append(f"{name}: {value}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1")


def _fields(headers: Pairs) -> dict[str, list[str]]:
    """All values of each field, by its name in lower case."""
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        if isinstance(name, bytes):
            name = name.decode("latin-1")
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        fields.setdefault(name.lower(), []).append(value.strip(" \t"))
    return fields


def _list(values: Iterable[str]) -> Iterator[str]:
    """The elements of a comma-separated field, over all its lines; empty ones do not count."""
    for value in values:
        for element in value.split(","):
            if element := element.strip(" \t"):
                yield element


def _tokens(fields: dict[str, list[str]], name: str) -> set[str]:
    return {token.lower() for token in _list(fields.get(name, ()))}


def _key(values: list[str]) -> str:
    if len(values) != 1:
        raise HandshakeError(400, "Exactly one Sec-WebSocket-Key header is needed")
    try:
        nonce = b64decode(values[0].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        nonce = b""
    if len(nonce) != _NONCE_BYTES:
        raise HandshakeError(400, "Sec-WebSocket-Key must be 16 bytes in base64")
    return values[0]


def _subprotocols(values: list[str]) -> tuple[str, ...]:
    subprotocols = tuple(_list(values))
    if any(not _TOKEN.fullmatch(subprotocol) for subprotocol in subprotocols):
        raise HandshakeError(400, "Sec-WebSocket-Protocol must be a list of tokens")
    return subprotocols


def _answer(parameters: list[str]) -> str | None:
    """The answer to one offer of permessage-deflate, or None where it cannot be kept."""
    answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    seen: set[str] = set()
    for parameter in parameters:
        match = _PARAMETER.fullmatch(parameter)
        if match is None or match["name"] in seen:
            return None
        name = match["name"]
        value = match["value"] if match["quoted"] is None else match["quoted"]
        seen.add(name)
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return None
        elif name == "client_max_window_bits":
            if value is not None and not _WINDOW_BITS.fullmatch(value):
                return None
        elif name == "server_max_window_bits":
            if value is None or not _WINDOW_BITS.fullmatch(value):
                return None
            if int(value) < SERVER_WINDOW_BITS:
                return None
            answer += f"; server_max_window_bits={SERVER_WINDOW_BITS}"
        else:
            return None
    return answer
