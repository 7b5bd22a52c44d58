"""What the log says of services that may not be asked, or refuse: for whoever runs the server, who
can mend it. People are told only that the agent cannot answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

import httpx

from madang import logs
from madang.agents.protocol import AgentRun
from madang.guarded import NotAllowed, is_literally_inside

log = logs.get_logger(__name__)

SETTING = "MADANG_AGENTS_PRIVATE_ADDRESSES"
MOST_SHOWN = 200
"""Characters of a service's own words."""
MOST_READ = 4096
"""Bytes of them that are read for that."""
READ_SECONDS = 2.0
_TELLING = frozenset({401, 403, 404})
"""Those, and errors of its own, are shown in the service's words: others often repeat the
question."""
_KEYS = re.compile(r"(?:sk-|whsec_|Bearer\s+)[\w.~+/=*-]+")


def warn_of_inside(whose: str, url: str | None) -> None:
    """At the start: where an address says by itself that it is inside, nobody will be asked."""
    if url is not None and is_literally_inside(httpx.URL(url).host):
        log.warning(
            f"{whose} is at a private address, which is not asked: set {SETTING}=true to allow it",
            host=httpx.URL(url).host,
        )


def not_allowed(what: str, error: NotAllowed) -> None:
    """A name or address led inside, or nowhere that may be asked."""
    log.warning(
        f"{what} was not asked: {error}; {SETTING}=true allows private ones",
        host=error.request.url.host,
    )


async def begun(answer: httpx.Response) -> str:
    """The beginning of what a service says that refuses; nothing where that cannot be read."""
    read = b""
    try:
        if answer.is_stream_consumed:
            return answer.text[:MOST_READ]
        # The run does not wait for long for what only the log is told.
        async with asyncio.timeout(READ_SECONDS):
            async for part in answer.aiter_raw():
                read += part
                if len(read) >= MOST_READ:
                    break
    except (httpx.HTTPError, httpx.StreamError, TimeoutError):
        """What came is told."""
    return read[:MOST_READ].decode("utf-8", "replace")


def refused(url: str | None, status: int, text: str, secrets: Iterable[str], run: AgentRun) -> None:
    """A service refused to answer; `text` is what it said."""
    shown = {"said": _shown(text, secrets, run)} if status in _TELLING or status >= 500 else {}
    where = {} if url is None else {"host": httpx.URL(url).host}
    log.warning("an agent refused", agent=run.agent_id, status=status, **where, **shown)


def _shown(text: str, secrets: Iterable[str], run: AgentRun) -> str:
    """Without keys, and without anybody's words as far as it repeats them."""
    for secret in secrets:
        text = text.replace(secret, "…")
    text = _KEYS.sub("…", text)
    for turn in run.turns:
        if turn.content.strip():
            text = re.sub(rf"(?<!\w){re.escape(turn.content)}(?!\w)", "…", text)
    return " ".join(text.split())[:MOST_SHOWN]
