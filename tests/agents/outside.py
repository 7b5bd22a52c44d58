"""Agents outside, as a node has them: what they say, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from madang.agents.running import Running
from madang.compose import Madang
from madang.services.sessions import CreateSession
from tests.agents.watching import ORG, Viewer
from tests.delivery.conftest import PATIENCE


async def opened(made: list[Madang]) -> str:
    view = await made[0].writer.write(CreateSession(ORG, "ann", "bot-7"))
    return str(view.conversation.id)


def say(app: Madang, running: Running, *texts: str) -> None:
    """As an agent's chunks are taken."""
    for text in texts:
        running.chunks += 1
        app.agents.runner.say(running, text)


async def end(app: Madang, running: Running) -> None:
    app.agents.runner.cancel(running, "complete")
    await asyncio.wait_for(running.done, PATIENCE)


def everywhere(viewers: Sequence[Viewer], text: str) -> bool:
    return all(viewer.text == text for viewer in viewers)
