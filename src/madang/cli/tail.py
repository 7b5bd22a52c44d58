"""`madang tail`: follow the log of a running server in the terminal."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from madang.cli.refusal import FAILED, refuse, settings_errors_as_sentences
from madang.cli.signing import signing_settings
from madang.cli.words import reachable
from madang.protocol.codes import CloseCode
from madang.settings import Settings

PATH = "/api/v1/events/ws"
TOKEN_TTL = 15 * 60
"""Seconds of the token that is minted for one connection; when it ends, a new one for the next."""
REMARKS = frozenset({"replay_complete", "error", "pong", "system", "ack", "cursor"})
"""Frame types that are the server's words about the connection and not events."""


def tail(
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Where the server is (this machine, at the configured port)."
        ),
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(metavar="CURSOR", help="Start after this cursor, in microseconds (now)."),
    ] = None,
    conversation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="Only this conversation, or the end of its id; repeatable."
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="Only this type, or message.* for all of a kind; repeatable.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", metavar="", help="Print each event as the server sent it, one a line."
        ),
    ] = False,
    org: Annotated[
        str, typer.Option(metavar="ORG", show_default=False, help="The org to watch (default).")
    ] = "default",
    token: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="An admin's token (one is made).")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where a --dev server keeps its secret (madang-data)."),
    ] = None,
) -> None:
    """Follow the log of a running server: one line for each event of the org.

    Reconnects by itself and goes on where it was. Ctrl-C ends it.
    """
    with settings_errors_as_sentences():
        settings = signing_settings(data_dir)
        new_token = _token_source(settings, org, token)
    base = url or settings.public_url or f"http://{_authority(settings)}"

    endings = tuple(each.lower() for each in conversation or ())

    def wanted(event: dict[str, Any]) -> bool:
        whole = str(event.get("conversation_id") or "")
        return (not conversation or whole.endswith(endings)) and (
            not kind or any(_is_kind(str(event.get("type")), each) for each in kind)
        )

    with suppress(KeyboardInterrupt):
        asyncio.run(_follow(base, new_token, since, wanted, renewed=token is None, as_json=as_json))


def _token_source(settings: Settings, org: str, token: str | None) -> Callable[[], str]:
    from madang.clock import SystemClock
    from madang.services.auth import mint
    from madang.services.trust import minting_key

    if token is not None:
        return lambda: token
    key = minting_key(settings)
    return lambda: mint(
        key,
        "madang-tail",
        now=SystemClock().now(),
        ttl=TOKEN_TTL,
        org=org,
        roles=["admin"],
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
    )


async def _follow(
    base: str,
    new_token: Callable[[], str],
    cursor: int | None,
    wanted: Callable[[dict[str, Any]], bool],
    *,
    renewed: bool,
    as_json: bool,
) -> None:
    """`renewed`: `new_token` gives another one each time."""
    from rich.console import Console
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

    from madang.cli.event_line import line
    from madang.client.backoff import Backoff

    console = Console(highlight=False)
    backoff = Backoff(random.random)
    address = f"ws{base.removeprefix('http').rstrip('/')}{PATH}"
    while True:
        query: dict[str, str | int] = {"scope": "org"}
        if cursor is not None:
            query["cursor"] = cursor
        why = "the connection ended"
        try:
            async with connect(
                f"{address}?{urlencode(query)}",
                # Not in the address: addresses end up in the logs of proxies.
                additional_headers={"Authorization": f"Bearer {new_token()}"},
                max_size=None,
                proxy=None,
            ) as socket:
                typer.secho(f"Following {base}", dim=True, err=True)
                async for text in socket:
                    backoff.reset()
                    event = json.loads(text)
                    cursor = event.get("cursor") or cursor
                    if event.get("recovered") is False:
                        reason = event.get("reason", "the log no longer reaches back that far")
                        typer.secho(f"Events are missing here: {reason}", fg="yellow", err=True)
                    if event.get("type") in REMARKS or not wanted(event):
                        continue
                    if as_json:
                        typer.echo(text)
                    else:
                        # One line on a screen; whole where a program reads it.
                        cut = console.is_terminal
                        console.print(
                            line(event), no_wrap=True, overflow="ellipsis", soft_wrap=not cut
                        )
        except ConnectionClosed as closed:
            told = closed.rcvd
            if told is not None and told.code == CloseCode.NOT_ALLOWED:
                refuse(f"The server refused: {told.reason or 'not allowed'}.", FAILED)
            if told is not None and told.code == CloseCode.TOKEN_EXPIRED:
                if not renewed:
                    refuse("The token has expired.", FAILED)
                continue
        except InvalidURI:
            refuse(f"{base} is not an address of a server, like http://127.0.0.1:8000.")
        except (OSError, TimeoutError, InvalidHandshake) as error:
            why = _why(error)
        wait = backoff.after_failure()
        typer.secho(f"Not connected ({why}); trying again in {wait:.1f} s", fg="yellow", err=True)
        await asyncio.sleep(wait)


def _why(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return re.sub(r"\[Errno -?\d+\] ", "", str(error)) or type(error).__name__


def _is_kind(kind: str, pattern: str) -> bool:
    return kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern


def _authority(settings: Settings) -> str:
    host = reachable(settings.host)
    return f"{f'[{host}]' if ':' in host else host}:{settings.port}"
