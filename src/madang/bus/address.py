"""Where a Redis or Valkey server is, out of its URL. Pure, but for reading certificates."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, unquote, urlsplit

from madang.protocol.errors import Unavailable

DEFAULT_PORT = 6379

_PLAIN = ("redis", "valkey", "redis+cluster", "valkey+cluster")
_TLS = ("rediss", "valkeys", "rediss+cluster", "valkeys+cluster")


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and how to come in. `path` is a Unix socket's, instead of host and port."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    path: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """For people: never with the password."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"{self.host}:{self.port}"

    def at(self, host: str, port: int) -> Address:
        """Another server of the same cluster."""
        return replace(self, host=host, port=port, path=None)


def address_of(url: str) -> Address:
    """The address in `redis://`, `rediss://`, `valkey://`, `valkeys://` (each with `+cluster` where
    one likes to say so) or `unix://`, with `user:password@`, `/database`, and for TLS
    `?ssl_ca_certs=FILE&ssl_certfile=FILE&ssl_keyfile=FILE&ssl_cert_reqs=required|none&
    ssl_check_hostname=true|false`.

    Raises:
        Unavailable: it is not such a URL; the text says what one looks like.
    """
    try:
        parts = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        if parts.scheme == "unix" and parts.path:
            database = int(options.get("db", "0"))
            return Address(
                path=unquote(parts.path), username=username, password=password, database=database
            )
        if parts.scheme not in _PLAIN and parts.scheme not in _TLS:
            raise ValueError
        return Address(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or DEFAULT_PORT,
            username=username,
            password=password,
            database=int(options.get("db") or parts.path.strip("/") or "0"),
            tls=_tls(options) if parts.scheme in _TLS else None,
        )
    except (ValueError, OSError):
        # From nothing: the error's text may hold the URL, and that the password.
        raise Unavailable(
            "The bus URL cannot be used: write redis://HOST:PORT/0, rediss://… with TLS, "
            "or unix:///PATH, with USER:PASSWORD@ before the host if it asks for one"
        ) from None


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if options.get("ssl_cert_reqs", "required") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.get("ssl_check_hostname", "true").lower() in ("false", "no", "0"):
        context.check_hostname = False
    if "ssl_certfile" in options:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    return context
