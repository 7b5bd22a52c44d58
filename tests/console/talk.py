"""A session with an agent outside that says what a test has it say, word by word."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.surfaces.agents.sessions import LONG, Chat
from tests.surfaces.people import Socket


@dataclass
class Talk:
    """The session, and the agent's connection to it."""

    chat: Chat
    id: str
    bot: Socket
    said: dict[str, int] = field(default_factory=dict)

    async def begin(self, question: str | None = None) -> str:
        """An answer begins: its id."""
        run = str(uuid.uuid4())
        self.said[run] = 0
        asked = {} if question is None else {"reply_to_id": question}
        await self.bot.send("stream_start", message_id=run, **asked)
        return run

    async def say(self, run: str, *words: str) -> None:
        """More of it, a chunk each."""
        for word in words:
            await self.bot.send("stream_chunk", message_id=run, content=word, index=self.said[run])
            self.said[run] += 1

    async def step(self, run: str, step: str, **fields: Any) -> None:
        await self.bot.send("run_step", message_id=run, step_id=step, **fields)

    async def ask(self, run: str, question: str, *options: str) -> None:
        """It waits for somebody's word."""
        await self.bot.send(
            "approval_request",
            message_id=run,
            request_id="r1",
            question=question,
            options=list(options),
            details={},
        )

    async def end(self, run: str, status: str = "complete", **fields: Any) -> None:
        """It is over: told to all when this returns."""
        await self.bot.send("stream_end", message_id=run, status=status, **fields)
        await self.bot.next("stream_end", message_id=run, patience=LONG)
