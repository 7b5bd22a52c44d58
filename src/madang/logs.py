"""Logging: structlog for people on a terminal, JSON lines for machines. Nobody's words are logged:
no message content, no token.

A server process has its logging set up by `configure`. An app that is run by something else, or
mounted into another app, has `configure_own`: Madang's loggers then have processors of their own,
and what others log stays theirs. Where the host has configured structlog itself, Madang's lines go
the host's way; tracebacks are text before they do, for what renders them there may show local
variables, and with them people's words and tokens.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import Processor

Style = Literal["console", "json"]


class _Stderr:
    """Whatever standard error is when something is logged: a test or a host may exchange it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


_PRINT = structlog.PrintLoggerFactory(cast(TextIO, _Stderr()))
_own: Sequence[Processor] = ()
"""Madang's own processors; none before anything was configured."""
_least: Any = structlog.make_filtering_bound_logger(logging.INFO)
"""Drops what is below the level."""


def configure(level: str, style: Style) -> None:
    """Set up logging for a server process."""
    _make(level, style)
    structlog.configure(
        processors=_own,
        wrapper_class=_least,
        logger_factory=_PRINT,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )


def configure_own(level: str, style: Style) -> None:
    """Set up logging of Madang alone, in a process that is somebody else's."""
    if not _is_ours():
        _make(level, style)


def _is_ours() -> bool:
    """Whether `configure` has set up all of the process."""
    return bool(_own) and structlog.get_config()["processors"] is _own


def _make(level: str, style: Style) -> None:
    global _own, _least
    render = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The default shows local variables.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    _own = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info
        if style == "json"
        else structlog.processors.StackInfoRenderer(),
        render,
    ]
    _least = structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()])


def get_logger(name: str) -> Any:
    """The logger of a module of Madang."""
    return structlog.wrap_logger(
        None,
        processors=_HostsProcessors(),
        wrapper_class=cast(Any, _bound),
        logger_factory_args=(name,),
    )


class _HostsProcessors:
    """What the process has configured, whenever it did, after tracebacks are made text."""

    def __iter__(self) -> Iterator[Processor]:
        if not _is_ours():
            yield _traceback_as_text
        yield from structlog.get_config()["processors"]


def _bound(logger: Any, processors: Any, context: Any) -> Any:
    if _own and not structlog.is_configured():
        return _least(_PRINT(), processors=_own, context=context)
    return structlog.get_config()["wrapper_class"](logger, processors=processors, context=context)


def _traceback_as_text(
    _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """As `stack`, which renderers show as it is; some warn of an `exception` that is text."""
    if event.get("exc_info"):
        event["stack"] = structlog.processors.format_exc_info(None, "", event).pop("exception", "")
    return event
