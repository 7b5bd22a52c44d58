"""A server with agents of its program's own, one for each thing that an agent can do:
`python -m tests.surfaces.agents.program --port N`, with the settings of `madang serve`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from madang import serving
from madang.agents.protocol import AgentFailed, AgentRun, AskPerson, Said, Step, Usage
from madang.compose import Madang, create_app
from madang.settings import Settings

NEVER = 3600.0


def offer(app: Madang) -> Madang:
    """The agents."""

    @app.agent("thinker", title="The thinker")
    async def thinker(run: AgentRun) -> AsyncIterator[Said]:
        """Thinks in pieces, calls a tool, and says both."""
        for thought in ("Let me ", "think of ", run.question):
            yield Step("t", "thinking", content=thought)
        yield Step("t", "thinking", status="complete")
        yield "I call a tool. "
        yield Step("c1", "tool_call", "search", input={"q": run.question})
        yield Step("c1", "tool_call", "search", "complete", output=["found"])
        yield "Done."
        yield Usage(42)

    @app.agent("careful")
    async def careful(run: AgentRun) -> AsyncIterator[Said]:
        """Asks before it goes on."""
        yield "May I? "
        answer = await run.approve("Delete everything?", ("approve", "deny", "later"), {"files": 3})
        yield f"{answer.user_id} says {answer.answer}"
        if answer.note:
            yield f" ({answer.note})"

    @app.agent("forever")
    async def forever(run: AgentRun) -> AsyncIterator[Said]:
        """Says one thing, or with `silent` nothing, and never ends."""
        if run.question != "silent":
            yield "begun"
        await asyncio.sleep(NEVER)

    @app.agent("historian")
    async def historian(run: AgentRun) -> AsyncIterator[Said]:
        """What it was given."""
        yield " | ".join(f"{turn.role}:{turn.content}" for turn in run.turns)

    @app.agent("flood")
    async def flood(run: AgentRun) -> AsyncIterator[Said]:
        """Never stops, and never waits."""
        while True:
            yield "flood 🌊 " * 100

    @app.agent("broken")
    async def broken(run: AgentRun) -> AsyncIterator[Said]:
        """Fails, in the way that it is asked to."""
        yield "so far so good"
        if run.question == "public":
            raise AgentFailed("The printer is on fire")
        if run.question == "wrong":
            yield 42  # type: ignore[misc]
        raise RuntimeError("a secret of the inside")

    @app.agent("halves")
    async def halves(run: AgentRun) -> AsyncIterator[Said]:
        """Cuts characters in two, and says what no database keeps."""
        yield "a\ud83c"
        yield "\udf0a"
        yield "b\0c"
        yield "\udf0a d\ud83c"

    @app.agent("clerk")
    async def clerk(run: AgentRun) -> AsyncIterator[Said]:
        """Gives up."""
        yield "A person will help you."
        yield AskPerson("too hard")

    @app.agent("deep")
    async def deep(run: AgentRun) -> AsyncIterator[Said]:
        """Nests what it says as deep as JSON can be, and asks about it where that is wanted."""
        value: object = 7
        for _ in range(251):
            value = [value]
        yield Step("s", input=value, output={"found": value}, status="complete")
        yield "That was deep."
        if run.question == "ask":
            await run.approve("Deeper?", details={"how": value})

    @app.agent("numbers")
    async def numbers(run: AgentRun) -> AsyncIterator[Said]:
        """Counts to what it is asked, a number each millisecond: `COUNT`."""
        for number in range(int(run.question)):
            yield f"{number} "
            await asyncio.sleep(0.001)

    return app


def main() -> None:
    def make(settings: Settings | None = None) -> Madang:
        return offer(create_app(settings))

    vars(serving)["create_app"] = make
    port = int(sys.argv[sys.argv.index("--port") + 1])
    serving.serve(Settings(port=port, dev="--dev" in sys.argv))


if __name__ == "__main__":
    main()
