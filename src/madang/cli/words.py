"""What a server says of itself on stderr: a block when it listens, a line when it has stopped,
warnings in between. Plain text for people, log lines where the log is JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from socket import socket
from urllib.parse import urlsplit

import typer

import madang
from madang import logs
from madang.settings import Settings
from madang.store.address import is_postgresql, named

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
USUAL_DIRECTORY = Path("madang-data")

log = logs.get_logger("madang")


def warn(settings: Settings, sentence: str, *, loud: bool = False) -> None:
    """Something the operator should know before others notice."""
    if _as_log(settings):
        log.warning(sentence)
    else:
        typer.secho(sentence, fg="red" if loud else "yellow", bold=loud, err=True)


def say(settings: Settings, sentence: str) -> None:
    """Something that happened as it should."""
    if _as_log(settings):
        log.info(sentence)
    else:
        typer.echo(sentence, err=True)


def opening(settings: Settings, sockets: Sequence[socket]) -> None:
    """It listens: say where, and on what it stands. Never a password."""
    base = address(settings, sockets)
    facts = {
        "console": f"{base}/console",
        "database": _database(settings),
        "data": f"{settings.data_dir}/",
        "bus": _bus(settings),
    }
    if settings.workers > 1:
        facts["workers"] = str(settings.workers)
    if _as_log(settings):
        log.info("listening", version=madang.__version__, address=base, **facts)
        return
    if settings.dev:
        place = "" if settings.data_dir == USUAL_DIRECTORY else f" --data-dir {settings.data_dir}"
        facts["token"] = f"madang token alice{place}"
    wide = "" if reachable(settings.host) == settings.host else ", for every other machine too"
    typer.secho(f"Madang {madang.__version__} listens on {base}{wide}", bold=True, err=True)
    for name, value in facts.items():
        typer.echo(f"  {name:<9} {value}", err=True)


def closing(settings: Settings, sent_away: int) -> None:
    """It has stopped."""
    if _as_log(settings):
        log.info("stopped", sent_away=sent_away)
    else:
        clients = "1 client" if sent_away == 1 else f"{sent_away} clients"
        typer.echo(f"Stopped; {clients} sent away.", err=True)


def warn_of_open_doors(settings: Settings) -> None:
    """Development mode asks nobody for a token: loud where others can reach the port."""
    if settings.dev and settings.host not in LOOPBACK:
        warn(
            settings,
            f"--dev on {settings.host}: whoever reaches this port can speak as anybody. "
            "Leave --dev or --host out.",
            loud=True,
        )


def address(settings: Settings, sockets: Sequence[socket]) -> str:
    """Where a browser on this machine finds the server, with the port that it really has."""
    host = reachable(settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{sockets[0].getsockname()[1]}"


def reachable(host: str) -> str:
    """An address to call for one to listen on."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)


def _as_log(settings: Settings) -> bool:
    if settings.log_format != "json":
        return False
    logs.configure(settings.log_level, settings.log_format)
    return True


def _database(settings: Settings) -> str:
    url = settings.database_url
    if is_postgresql(url):
        found = named(url)
        return f"PostgreSQL, {found.database} on {found.host}"
    return f"SQLite, {url.removeprefix('sqlite:///')}"


def _bus(settings: Settings) -> str:
    if settings.redis_url is None:
        return "memory: this node is alone"
    parts = urlsplit(settings.redis_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
