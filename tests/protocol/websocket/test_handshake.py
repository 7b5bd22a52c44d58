"""The opening handshake: what is let in, what is refused and how, and what can be negotiated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.http11 import Response
from websockets.uri import parse_uri

from madang.protocol.websocket import (
    HandshakeError,
    Upgrade,
    accept_key,
    negotiate_deflate,
    read_upgrade,
    refusal,
    upgrade_response,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
GOOD = {
    "Host": "example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def request(changes: dict[str, str | None] | None = None) -> list[tuple[str, str]]:
    """A good request's fields with some replaced, or left out (None)."""
    fields: dict[str, str | None] = {**GOOD, **(changes or {})}
    return [(name, value) for name, value in fields.items() if value is not None]


def test_the_rfc_s_key() -> None:
    assert accept_key(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_plain_request() -> None:
    assert read_upgrade("GET", request()) == Upgrade(KEY, (), "", None)


def test_names_in_any_case_lists_over_lines_and_raw_bytes() -> None:
    fields = [
        (b"host", b"example.com"),
        (b"UPGRADE", b"h2c, WebSocket"),
        (b"connection", b"keep-alive"),
        (b"connection", b"upgrade "),
        (b"sec-websocket-key", KEY.encode()),
        (b"sec-websocket-version", b" 13"),
        (b"sec-websocket-protocol", b"madang.v1, bearer.aa.bb.cc"),
        (b"sec-websocket-protocol", b"other"),
        (b"sec-websocket-extensions", b"x-one"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
        (b"origin", b"https://example.com"),
    ]
    assert read_upgrade("GET", fields) == Upgrade(
        KEY,
        ("madang.v1", "bearer.aa.bb.cc", "other"),
        "x-one, permessage-deflate",
        "https://example.com",
    )


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Upgrade": None}, 426),
        ({"Upgrade": "h2c"}, 426),
        ({"Upgrade": "websocket2"}, 426),
        ({"Connection": None}, 426),
        ({"Connection": "keep-alive"}, 426),
        ({"Sec-WebSocket-Version": None}, 426),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Version": "13, 8"}, 426),
        ({"Host": None}, 400),
        ({"Sec-WebSocket-Key": None}, 400),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ"}, 400),
        ({"Sec-WebSocket-Key": "c2hvcnQ="}, 400),
        ({"Sec-WebSocket-Key": KEY + KEY}, 400),
        ({"Sec-WebSocket-Key": "열쇠"}, 400),
        ({"Sec-WebSocket-Protocol": "two words"}, 400),
        ({"Sec-WebSocket-Protocol": "a, (b)"}, 400),
    ],
)
def test_refusals(changes: dict[str, str | None], status: int) -> None:
    with pytest.raises(HandshakeError) as caught:
        read_upgrade("GET", request(changes))
    assert caught.value.status == status
    assert caught.value.response().startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("name", ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Host"])
def test_fields_that_may_stand_once(name: str) -> None:
    with pytest.raises(HandshakeError):
        read_upgrade("GET", [*request(), (name, GOOD[name])])


def test_two_origins_are_refused() -> None:
    with pytest.raises(HandshakeError, match="Origin"):
        read_upgrade("GET", [*request(), ("Origin", "https://a"), ("Origin", "https://b")])


def test_another_version_is_told_ours() -> None:
    with pytest.raises(HandshakeError) as caught:
        read_upgrade("GET", request({"Sec-WebSocket-Version": "99"}))
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in caught.value.response()


@pytest.mark.parametrize("method", ["POST", "HEAD", "get", "CONNECT"])
def test_another_method_is_told_ours(method: str) -> None:
    with pytest.raises(HandshakeError) as caught:
        read_upgrade(method, request())
    assert caught.value.status == 405
    assert b"\r\nAllow: GET\r\n" in caught.value.response()


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("", None),
        ("x-webkit-deflate-frame", None),
        ("permessage-deflate", ANSWER),
        ("Permessage-Deflate", ANSWER),
        ("permessage-deflate; client_max_window_bits", ANSWER),  # what browsers send
        ("permessage-deflate;client_max_window_bits=9", ANSWER),
        ('permessage-deflate; client_max_window_bits="10"', ANSWER),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", ANSWER),
        ("permessage-deflate; server_max_window_bits=15", ANSWER + "; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=12", ANSWER + "; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=11", None),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", ANSWER),
        ("x-one; a=b, permessage-deflate", ANSWER),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=012", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=", None),
        ("permessage-deflate; client_no_context_takeover=1", None),
        ("permessage-deflate; server_no_context_takeover=true", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; ;", None),
        ("permessage-deflate-2", None),
    ],
)
def test_negotiation(offer: str, answer: str | None) -> None:
    assert negotiate_deflate(offer) == answer


@given(st.text(max_size=80) | st.text('permsag-dfl;,=_ 0123"').map("permessage-deflate;".__add__))
def test_no_offer_breaks_negotiation(offer: str) -> None:
    answer = negotiate_deflate(offer)
    assert answer is None or answer.startswith(ANSWER)


def test_the_response_satisfies_another_client() -> None:
    client = ClientProtocol(
        parse_uri("ws://example.com/"),
        subprotocols=["madang.v1"],  # type: ignore[list-item]
        extensions=[ClientPerMessageDeflateFactory(server_max_window_bits=13)],
    )
    asked = client.connect()
    upgrade = read_upgrade("GET", list(asked.headers.raw_items()))
    client.send_request(asked)
    client.receive_data(
        upgrade_response(
            upgrade.key,
            upgrade.subprotocols[0],
            negotiate_deflate(upgrade.extensions),
            [("X-Node", "a")],
        )
    )
    assert client.handshake_exc is None
    assert client.subprotocol == "madang.v1"
    assert [extension.name for extension in client.extensions] == ["permessage-deflate"]
    (response,) = client.events_received()
    assert isinstance(response, Response)
    assert isinstance(response.headers, Headers)
    assert response.status_code == 101
    assert response.headers["X-Node"] == "a"


@pytest.mark.parametrize("evil", ["a\r\nX: y", "a\nb", "a\rb", "a\x00b", "마당"])
def test_nothing_adds_a_line_to_a_response(evil: str) -> None:
    with pytest.raises(ValueError, match="token"):
        upgrade_response(KEY, subprotocol=evil)
    with pytest.raises(ValueError, match="value"):
        upgrade_response(KEY, extensions=evil)
    with pytest.raises(ValueError, match="value"):
        upgrade_response(KEY, extra=[("X-Ok", evil)])
    with pytest.raises(ValueError, match="name"):
        upgrade_response(KEY, extra=[(evil, "ok")])
    with pytest.raises(ValueError, match="value"):
        refusal(403, "no", [("X-Ok", evil)])


def test_a_refusal_is_a_whole_response() -> None:
    head, body = refusal(403, "안 돼\r\nX: y", [("X-Why", "origin")]).split(b"\r\n\r\n")
    assert body.decode() == "안 돼\r\nX: y"
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 403 Forbidden",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(body),
        b"Connection: close",
        b"X-Why: origin",
    ]
