"""The steps of an answer, thinking and tools, whatever the bus loses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from madang.agents.protocol import AgentRun, Said, Step
from madang.ports.bus import RunTold
from tests.agents.watching import ORG, ask, session, turns, watch
from tests.conftest import eventually
from tests.delivery.conftest import PATIENCE


async def test_steps_that_the_bus_loses_are_asked_for(cluster: Callable[..., Any]) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    lost: list[RunTold] = []

    def loses(told: RunTold) -> bool:
        if rng.random() < 0.3:
            lost.append(told)
            return True
        return False

    here, there = await cluster(loses)
    go = asyncio.Event()

    async def thinks(run: AgentRun) -> AsyncIterator[Said]:
        for number in range(60):
            yield Step("think", "thinking", content=f"{number}안🌊 ")
            if number % 10 == 0:
                yield Step(f"call-{number}", name="look", input={"n": number})
                yield f"{number} "
                yield Step(f"call-{number}", status="complete", output=number)
            await turns(rng.randrange(4))
        await go.wait()
        yield Step("think", "thinking", status="complete")

    here.agent("typed")(thinks)
    room = await session(here)
    viewers = [await watch(here, room), await watch(there, room)]
    run = await ask(here, room)
    thought = "".join(f"{number}안🌊 " for number in range(60))
    await eventually(lambda: viewers[0].steps.get("think", {}).get("content") == thought, PATIENCE)
    viewers += [await watch(here, room), await watch(there, room)]
    go.set()
    for viewer in viewers:
        await eventually(lambda: viewer.ended, PATIENCE)  # noqa: B023
    kept = await here.store.message(ORG, run, "ann")
    assert kept is not None
    wanted = {step["step_id"]: step for step in kept.metadata["steps"]}
    assert wanted["think"]["content"] == thought and len(wanted) == 7
    for viewer in viewers:
        for name, step in wanted.items():
            assert {key: viewer.steps[name][key] for key in step} == step
        assert viewer.text == kept.content
    assert any(told.step is not None for told in lost)


async def test_where_no_step_arrives_the_end_brings_them_all(cluster: Callable[..., Any]) -> None:
    here, there = await cluster(lambda told: told.step is not None)

    async def calls(run: AgentRun) -> AsyncIterator[Said]:
        yield "so "
        yield Step("call", name="look", input={"n": 1}, status="complete", output=2)

    here.agent("typed")(calls)
    room = await session(here)
    viewer = await watch(there, room)
    await ask(here, room)
    await eventually(lambda: viewer.ended, PATIENCE)
    assert viewer.steps["call"]["output"] == 2
    assert viewer.told()[-1]["type"] == "stream_end"
