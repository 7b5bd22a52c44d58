"""An agent of one's own in a few lines: it asks before it looks out of the window.

    MADANG_DEV=true uvicorn --app-dir examples weather_agent:app

It answers in every session with it, beside the agents of the configuration:

    curl http://127.0.0.1:8000/api/chat/sessions -H "Authorization: Bearer $(madang token alice)" \
      -H 'Content-Type: application/json' -d '{"agent_id": "weather"}'
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import madang
from madang.agents.protocol import AgentRun, Said, Step

app = madang.create_app()


@app.agent("weather", title="The weather")
async def weather(run: AgentRun) -> AsyncIterator[Said]:
    """Told word by word to everyone in the session, kept when the last word is said."""
    answer = await run.approve("May I open the window?", ["yes", "no"])
    if answer.answer == "no":
        yield "Then I can only guess: sunny."
        return
    yield Step("window", "tool_call", "open_window", input={"side": "south"})
    await asyncio.sleep(0.5)
    yield Step("window", "tool_call", "open_window", "complete", output={"rain": False})
    for word in f"No rain, {answer.user_id}. You asked: {run.question}".split(" "):
        yield word + " "
        await asyncio.sleep(0.05)
