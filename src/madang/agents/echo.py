"""An agent that says what it was told, word for word: for demos and tests."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from madang.agents.protocol import Agent, AgentRun, Said
from madang.clock import Clock

_WORD = re.compile(r"\S*\s*")


def echo(clock: Clock, seconds: float) -> Agent:
    """Says the question, a word at a time and `seconds` between two; of files alone, their
    names."""

    async def agent(run: AgentRun) -> AsyncIterator[Said]:
        first = True
        question = run.question or " ".join(file.name for file in run.attachments)
        for word in _WORD.findall(question):
            if word:
                if not first and seconds > 0:
                    await clock.sleep(seconds)
                first = False
                yield word

    return agent
