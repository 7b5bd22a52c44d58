"""`madang serve`: run a server until Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from madang.cli import words
from madang.cli.listening import bound
from madang.cli.refusal import (
    database_errors_as_sentences,
    refuse,
    require_known_database,
    settings_errors_as_sentences,
)
from madang.cli.workers import check_workers, run_workers
from madang.settings import Settings, load, unknown_names


def serve(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on (127.0.0.1).")
    ] = None,
    port: Annotated[
        str | None,  # the settings' own words where it is no number
        typer.Option(metavar="PORT", help="Port to listen on (8000); 0 takes a free one."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Database address, or a file (a SQLite file in the data directory)."
        ),
    ] = None,
    bus: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="What connects several nodes: redis://HOST, or memory for one alone (memory).",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory for everything kept on disk (madang-data)."),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Processes on the port together (1); more need PostgreSQL and Redis.",
        ),
    ] = None,
    dev: Annotated[
        bool | None,
        typer.Option(
            "--dev",
            metavar="",
            help="Development: makes its own secret, lets /ws/USER_ID in.",
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help="debug, info, warning or error (info)."),
    ] = None,
) -> None:
    """Run a server until Ctrl-C.

    Ctrl-C sends clients away first and ends within ten seconds, a second one at once; nothing
    that was acknowledged is lost. All other settings come from the environment and .env: see
    `madang settings`.
    """
    from madang.services.trust import is_short, secret_name, token_verifier

    with settings_errors_as_sentences():
        settings = load(
            host=host,
            port=port,
            database_url=database_address(database),
            redis_url=bus,
            workers=workers,
            data_dir=data_dir,
            dev=dev,
            log_level=log_level,
        )
        check_workers(settings)
        require_known_database(settings)
        if not settings.dev:
            token_verifier(settings)
        with bound(settings.host, settings.port, shared=settings.workers > 1) as sockets:
            token_verifier(settings)  # with --dev it makes a secret: only once the port is ours
            for name in unknown_names():
                words.warn(settings, f"{name} is set, and no setting has that name.")
            if is_short(settings):
                words.warn(
                    settings,
                    f"{secret_name(settings)} is shorter than 32 bytes: whoever has a token can "
                    "try to guess it.",
                )
            words.warn_of_open_doors(settings)
            if settings.workers > 1:
                run_workers(settings, sockets)
            else:
                run_one(settings, sockets)


def run_one(settings: Settings, sockets: Sequence[socket.socket], worker: bool = False) -> None:
    """Run one server in this process, on bound sockets; a worker's parent speaks for it."""
    from madang.serving import StartRefused
    from madang.serving import serve as run

    try:
        # Ctrl-C is how a server is ended and no failure; before it serves, nothing has begun.
        with (
            settings_errors_as_sentences(),
            database_errors_as_sentences(),
            suppress(KeyboardInterrupt),
        ):
            if worker:
                run(settings, sockets)
            else:
                words.closing(
                    settings, run(settings, sockets, lambda: words.opening(settings, sockets))
                )
    except StartRefused as error:
        refuse(str(error))


def database_address(text: str | None) -> str | None:
    """A database address; a plain path is a SQLite file."""
    if text is None or "://" in text:
        return text
    return f"sqlite:///{Path(text).expanduser()}"
