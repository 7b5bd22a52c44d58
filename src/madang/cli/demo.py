"""`madang demo`: a development server with a few people and conversations in it."""

from __future__ import annotations

import shlex
import socket
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer

from madang.cli.refusal import database_errors_as_sentences, settings_errors_as_sentences
from madang.settings import Settings, load

TOKEN_TTL = 30 * 24 * 60 * 60
"""Seconds; a link that was opened once should still work next week."""
START_LIMIT = 30.0
"""Seconds the server may take before the demo gives up on it."""
LOOK_AGAIN = 0.05
"""Seconds between two looks whether the server is up."""


def demo(
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT",
            show_default=False,
            help="Port to listen on (8000); a free one where it is taken.",
        ),
    ] = 8000,
    data_dir: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="Directory that keeps the demo between starts (madang-data/demo).",
        ),
    ] = Path("madang-data/demo"),
    fresh: Annotated[
        bool,
        typer.Option("--fresh", metavar="", help="Use a new directory and remove it at the end."),
    ] = False,
) -> None:
    """Start a server with a few people in it, and print the links to it.

    Open two of the links side by side and talk. What you write stays for the next start; Ctrl-C
    ends the server.
    """
    from madang.cli.courtyard import PEOPLE
    from madang.clock import SystemClock
    from madang.services.auth import mint
    from madang.services.trust import minting_key, token_verifier
    from madang.serving import serve

    with ExitStack() as stack, settings_errors_as_sentences(), database_errors_as_sentences():
        if fresh:
            data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="madang-demo-")))
        settings = load(
            host="127.0.0.1",
            port=_free_port(port),
            data_dir=data_dir,
            # Never the database or bus that the environment names: the demo writes into it.
            database_url=f"sqlite:///{data_dir / 'madang.sqlite3'}",
            redis_url="memory",
            dev=True,
            log_level="warning",
        )
        data_dir.mkdir(parents=True, exist_ok=True)
        token_verifier(settings)
        key = minting_key(settings)
        now = SystemClock().now()
        tokens = {
            person.id: mint(
                key,
                person.id,
                now=now,
                ttl=TOKEN_TTL,
                name=person.name,
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer,
            )
            for person in PEOPLE
        }
        # Beside the server, which owns the main thread for its signals.
        threading.Thread(
            target=_furnish_and_greet, args=(settings, tokens), name="demo", daemon=True
        ).start()
        with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends; the server has drained by then
            serve(settings)


def _furnish_and_greet(settings: Settings, tokens: dict[str, str]) -> None:
    import httpx

    from madang.cli.courtyard import furnish

    base = f"http://127.0.0.1:{settings.port}"
    if not _answers(settings.port):
        typer.secho(f"The server did not come up within {START_LIMIT:.0f} s.", fg="red", err=True)
        return
    try:
        furnish(base, tokens)
    except httpx.HTTPError as error:
        typer.secho(f"The demo's conversations could not be made: {error}", fg="red", err=True)
    _greet(base, settings, tokens)


def _greet(base: str, settings: Settings, tokens: dict[str, str]) -> None:
    from madang.cli.courtyard import API, PEOPLE

    typer.echo()
    typer.secho("  마당 · Madang is open. Ctrl-C closes it.", bold=True)
    typer.echo("\n  Open two of these side by side and talk:\n")
    for person in PEOPLE[:3]:
        # Each link on a line of its own, unwrapped: terminals make it clickable as a whole.
        typer.secho(f"  {person.name}", fg="cyan")
        typer.echo(f"  {base}/console?user={person.id}\n")
    typer.secho("  From the terminal", fg="cyan")
    typer.echo(f"  curl -H 'Authorization: Bearer {tokens['minji']}' {base}{API}/conversations\n")
    typer.secho("  A token for anybody", fg="cyan")
    typer.echo(f"  madang token alice --data-dir {shlex.quote(str(settings.data_dir))}\n")
    typer.secho("  REST, described", fg="cyan")
    typer.echo(f"  {base}/docs\n")


def _answers(port: int) -> bool:
    """Whether the server listens, within the limit. It listens once it can answer."""
    deadline = time.monotonic() + START_LIMIT
    pause = threading.Event()
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            pause.wait(LOOK_AGAIN)
        else:
            return True
    return False


def _free_port(wanted: int) -> int:
    """`wanted`, or one that is free where something listens there already."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return wanted
