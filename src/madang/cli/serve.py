"""`madang serve`: run a server until Ctrl-C."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from madang.cli.refusal import (
    database_errors_as_sentences,
    refuse,
    require_known_database,
    settings_errors_as_sentences,
)
from madang.cli.workers import check_workers, run_workers
from madang.settings import Settings, load


def serve(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on (127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None,
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
        int | None,
        typer.Option(
            metavar="N",
            help="Processes on the port together (1); more need PostgreSQL and Redis.",
        ),
    ] = None,
    dev: Annotated[
        bool | None,
        typer.Option(
            "--dev",
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
    from madang.services.trust import is_short, token_verifier

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
        token_verifier(settings)  # refuse before anything is opened or created
        if is_short(settings):
            typer.secho(
                "JWT_SECRET_KEY is shorter than 32 bytes: whoever has a token can try to guess it.",
                fg="yellow",
                err=True,
            )
        check_workers(settings)
        require_known_database(settings)
    if settings.workers > 1:
        run_workers(settings)
    else:
        run_one(settings)


def run_one(settings: Settings, listening: socket.socket | None = None) -> None:
    """Run one server in this process, on `listening` where that is given."""
    from madang.serving import StartRefused
    from madang.serving import serve as run

    try:
        # Ctrl-C is how a server is ended and no failure; before it serves, nothing has begun.
        with (
            settings_errors_as_sentences(),
            database_errors_as_sentences(),
            suppress(KeyboardInterrupt),
        ):
            run(settings, listening)
    except StartRefused as error:
        refuse(str(error))


def database_address(text: str | None) -> str | None:
    """A database address; a plain path is a SQLite file."""
    if text is None or "://" in text:
        return text
    return f"sqlite:///{Path(text).expanduser()}"
