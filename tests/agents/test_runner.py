"""Running agents: to one durable end, whatever comes between."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from madang.agents.protocol import AgentFailed, AgentRun, AskPerson, Said, Step, Usage
from madang.agents.running import Running
from madang.compose import Madang
from madang.model.nouns import Message
from madang.protocol.errors import MadangError
from madang.services.approvals import AnswerApproval, AskApproval
from madang.services.messages import SendMessage
from madang.services.runs import StartOutside
from madang.services.sessions import CreateSession
from madang.settings import Settings
from madang.testing import JumpingClock
from tests.agents.watching import ORG, Away, Typed, ask, begun, session, stopped, turns, watch
from tests.conftest import eventually
from tests.delivery.conftest import PATIENCE


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Madang]:
    made = Madang(Settings(dev=True, data_dir=tmp_path, stream_delay_ms=0))
    await made.start()
    yield made
    await made.stop()


async def kept(app: Madang, run: str) -> Message:
    found = await app.store.message(ORG, run, "ann")
    assert found is not None
    return found


async def test_an_end_that_cannot_be_written_yet_is_not_changed_by_stopping(app: Madang) -> None:
    talk = await begun(app, "all ")
    typed, run, viewer = talk.typed, talk.run, talk.viewer
    away = Away(app)
    away.is_so = True
    typed.type("of it", None)
    await eventually(lambda: viewer.text == "all of it", PATIENCE)
    before = away.refused
    await eventually(lambda: away.refused > before + 1, PATIENCE)  # It tries to end.
    stopping = asyncio.ensure_future(app.agents.runner.stop(ORG, run))
    await asyncio.sleep(0)
    away.is_so = False
    await stopping
    await eventually(lambda: viewer.ended, PATIENCE)
    found = await kept(app, run)
    assert (found.content, found.metadata["status"]) == ("all of it", "complete")


async def test_a_run_that_is_stopped_before_it_has_begun_has_its_end(app: Madang) -> None:
    """In the very turn in which it was committed."""
    typed, room = Typed(app), await session(app)
    typed.type("never", None)
    viewer = await watch(app, room)
    stopped: list[str] = []

    def cancel(run: str) -> None:
        running = app.agents.runner.get(run)
        assert running is not None
        app.agents.runner.cancel(running, "cancelled")
        stopped.append(run)

    def done(result: Any, error: MadangError | None) -> None:
        # Behind the commit, and before the first step of the task that it starts.
        asyncio.get_running_loop().call_soon(cancel, *result.runs)

    app.writer.submit(SendMessage(ORG, room, "ann", "well?"), done)
    await eventually(lambda: viewer.ended, PATIENCE)
    found = await kept(app, stopped[0])
    assert (found.content, found.metadata["status"]) == ("", "cancelled")
    await eventually(lambda: not len(app.agents.runner), PATIENCE)


@pytest.mark.parametrize("first", ["step", "handover", "text", "nothing"])
async def test_one_that_fails_is_asked_again_only_if_nothing_was_told(
    app: Madang, first: str
) -> None:
    asked = []

    async def busy(run: AgentRun) -> AsyncIterator[Said]:
        asked.append(run)
        match first:
            case "step":
                yield Step("s", name="look")
            case "handover":
                yield AskPerson("too hard")
            case "text":
                yield "so"
            case _:
                yield ""
        raise AgentFailed("busy", 0.0)

    app.agent("typed")(busy)
    room = await session(app)
    viewer = await watch(app, room)
    await ask(app, room)
    await eventually(lambda: viewer.ended, PATIENCE)
    assert len(asked) == (3 if first == "nothing" else 1)


async def test_one_that_has_asked_a_person_is_not_asked_again(app: Madang) -> None:
    asked = []

    async def careful(run: AgentRun) -> AsyncIterator[Said]:
        asked.append(run)
        if await run.approve("May I?"):
            raise AgentFailed("busy", 0.0)
        yield "never"

    app.agent("typed")(careful)
    room = await session(app)
    viewer = await watch(app, room)
    run = await ask(app, room)

    def questions() -> list[str]:
        return [f["request_id"] for f in viewer.told() if f["type"] == "approval_request"]

    await eventually(lambda: len(questions()) == 1, PATIENCE)
    (request,) = questions()
    await app.writer.write(AnswerApproval(ORG, run, request, "ann", "approve"))
    await eventually(lambda: viewer.ended, PATIENCE)
    assert len(asked) == 1


async def test_a_step_that_goes_on_is_on_disk_as_soon_as_text_is(
    tmp_path: Path, clock: JumpingClock
) -> None:
    app = Madang(Settings(dev=True, data_dir=tmp_path, stream_delay_ms=0), clock=clock)
    await app.start()
    queue: asyncio.Queue[Said] = asyncio.Queue()

    async def steps(run: AgentRun) -> AsyncIterator[Said]:
        while True:
            yield await queue.get()

    app.agent("typed")(steps)
    room = await session(app)
    viewer = await watch(app, room)
    run = await ask(app, room)
    queue.put_nowait(Step("s", name="look"))
    await eventually(lambda: "s" in viewer.steps, PATIENCE)
    clock.jump(0.5)
    async with asyncio.timeout(PATIENCE):
        while not (await kept(app, run)).metadata.get("steps"):  # noqa: ASYNC110
            await asyncio.sleep(0)
    queue.put_nowait(Step("s", status="complete", output=7))
    await eventually(lambda: viewer.steps["s"]["status"] == "complete", PATIENCE)
    clock.jump(0.5)  # And no time after.
    async with asyncio.timeout(PATIENCE):
        while (await kept(app, run)).metadata["steps"][0].get("output") != 7:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await stopped(app, clock)


async def test_steps_that_go_on_in_turns_are_told_as_what_is_new_of_them(tmp_path: Path) -> None:
    app = Madang(Settings(dev=True, data_dir=tmp_path))
    await app.start()
    large = "x" * 8_000

    async def flood(run: AgentRun) -> AsyncIterator[Said]:
        for name in "ab":
            yield Step(name, name=name, input=large, output=large)
        for number in range(3_000):
            yield Step("ab"[number % 2])
            yield Step("ab"[number % 2], status="failed" if number % 4 < 2 else "running")
            if number % 100 == 0:
                yield "x"
        yield Step("a", status="complete", output=7)

    app.agent("typed")(flood)
    room = await session(app)
    viewer = await watch(app, room)
    run = await ask(app, room)
    await eventually(lambda: viewer.ended, PATIENCE)
    told = [frame for frame in viewer.told() if frame["type"] == "run_step"]
    assert len(orjson.dumps(told)) < 3 * 4 * len(large)
    wanted = {step["step_id"]: step for step in (await kept(app, run)).metadata["steps"]}
    assert wanted["a"].items() >= {"status": "complete", "input": large, "output": 7}.items()
    assert wanted["b"].items() >= {"status": "running", "input": large, "output": large}.items()
    for name, step in wanted.items():
        assert {key: viewer.steps[name][key] for key in step} == step
    assert viewer.text == "x" * 30
    await app.stop()


class Odd(dict[Any, Any]):
    """No JSON can be made of it."""

    __slots__ = ("own",)


ODD: dict[str, Sequence[Any]] = {
    "the largest count of a database": [Usage(2**63)],
    "a count that no text can be made of": [Usage(10**5000)],
    "less than nothing": [Usage(-7)],
    "a count without end": [Usage(math.inf)],  # type: ignore[arg-type]
    "no count": [Usage("7")],  # type: ignore[arg-type]
    "no numbers": [Step("s", input=math.nan, output={"all": [math.inf, -math.inf]})],
    "large numbers": [Step("s", input=2**64, output={"it": 2**63})],
    "half a character": [Step("\ud83c", "\ud83c", "\ud83c", input="\ud83c", output=["\ud83c"])],
    "NUL": [Step("a\0", "b\0", "c\0", content="d\0", input={"e\0": ["f\0"]}, output="g\0")],
    "no state": [Step("s", status=object())],  # type: ignore[arg-type]
    "an unknown state": [Step("s", status="\0")],  # type: ignore[arg-type]
    "no texts": [Step(7, Odd(), 7, content=7)],  # type: ignore[arg-type]
    "no JSON": [Step("s", input=object(), output={1: {2, 3}})],
    "a note": [AskPerson("\0")],
    "a long note": [AskPerson("\0\ud83c" * 100_000)],
    "a reason": [AgentFailed("\0\ud83c" * 100_000)],
    "a reason that is none": [AgentFailed(7, math.nan)],  # type: ignore[arg-type]
    "a later time": [AgentFailed("busy", -math.inf)],
    "no text": [7],
}


@pytest.mark.parametrize("what", ODD)
async def test_nothing_that_an_agent_says_keeps_its_end_from_being_written(
    app: Madang, what: str
) -> None:
    async def odd(run: AgentRun) -> AsyncIterator[Said]:
        yield "so "
        for one in ODD[what]:
            if isinstance(one, AgentFailed):
                raise one
            yield one
        yield "it is"

    app.agent("typed")(odd)
    room = await session(app)
    viewer = await watch(app, room)
    run = await ask(app, room)
    await eventually(lambda: viewer.ended, PATIENCE)
    found = await kept(app, run)
    assert found.content in ("so ", "so it is")
    assert found.metadata["status"] == ("complete" if found.content == "so it is" else "failed")
    assert 0 <= found.metadata["tokens_used"] < 2**53
    page = await app.store.events_of_org(ORG, 0, None, 100)
    told = repr([one.data for one in page]) + repr(found.metadata)
    assert "\\x00" not in told and "\\ud83c" not in told
    assert len(told) < 10_000


@pytest.mark.parametrize(
    ("options", "details"),
    [
        ((), None),
        (["yes"] * 21, None),
        (["x" * 101], None),
        (["a\0"], None),
        (["\ud83c"], None),
        (["yes"], {"a": object()}),
        (["yes"], {"a": 2**64}),
        (["yes"], {"a": "x" * 65_536}),
        (["yes"], [1]),
    ],
)
async def test_what_cannot_be_asked_is_refused_where_it_is_asked(
    app: Madang, options: list[str], details: Any
) -> None:
    refused: list[Exception] = []

    async def careful(run: AgentRun) -> AsyncIterator[Said]:
        try:
            await run.approve("May I?", options, details)
        except (TypeError, ValueError) as error:
            refused.append(error)
        yield "then not"

    app.agent("typed")(careful)
    room = await session(app)
    viewer = await watch(app, room)
    run = await ask(app, room)
    await eventually(lambda: viewer.ended, PATIENCE)
    assert (await kept(app, run)).content == "then not"
    assert len(refused) == 1


async def test_what_is_asked_is_kept_as_it_can_be(app: Madang) -> None:
    async def careful(run: AgentRun) -> AsyncIterator[Said]:
        await run.approve("a\0" * 2_000, ["yes"], {"b\0": ["c\0", math.nan]})
        yield "so be it"

    app.agent("typed")(careful)
    room = await session(app)
    viewer = await watch(app, room)
    run = await ask(app, room)

    def asked() -> list[Any]:
        return [frame for frame in viewer.told() if frame["type"] == "approval_request"]

    await eventually(lambda: len(asked()) == 1, PATIENCE)
    (told,) = asked()
    assert told["question"] == "a\ufffd" * 1_000
    assert told["details"] == {"b\ufffd": ["c\ufffd", None]}
    await app.writer.write(AnswerApproval(ORG, run, told["request_id"], "ann", "yes"))
    await eventually(lambda: viewer.ended, PATIENCE)


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


async def outside(app: Madang) -> tuple[str, Running]:
    """A session with an agent outside, and an answer that it has begun."""
    opened = await app.writer.write(CreateSession(ORG, "ann", "bot-7"))
    room = opened.conversation.id
    message, _ = await app.writer.write(StartOutside(ORG, room, "bot-7"))
    return room, app.agents.runner.adopt(message)


async def passes(clock: JumpingClock, seconds: float) -> None:
    """Time, as the node's work sees it pass."""
    for _ in range(round(seconds * 2)):
        clock.jump(0.5)
        await turns(5)


@pytest.fixture
async def slow(tmp_path: Path, clock: JumpingClock) -> AsyncIterator[Madang]:
    """Agents may be silent for 10 seconds, and take 30 in all."""
    settings = Settings(dev=True, data_dir=tmp_path, run_idle_seconds=10, run_seconds=30)
    made = Madang(settings, clock=clock)
    await made.start()
    yield made
    await stopped(made, clock)


async def test_an_agent_outside_that_is_silent_has_failed(
    slow: Madang, clock: JumpingClock
) -> None:
    _, running = await outside(slow)
    for word in ("one ", "two "):
        slow.agents.runner.say(running, word)
        await passes(clock, 8)
        assert running.end is None
    slow.agents.runner.step(running, Step("s"))
    await passes(clock, 8)
    assert running.end is None
    await passes(clock, 3)
    assert running.end == "failed"
    await eventually(lambda: not len(slow.agents.runner), PATIENCE)
    found = await kept(slow, running.message_id)
    assert (found.content, found.metadata["status"]) == ("one two ", "failed")
    assert found.metadata["error"] == "The agent said nothing for too long"


async def test_an_agent_outside_has_so_long_in_all(slow: Madang, clock: JumpingClock) -> None:
    _, running = await outside(slow)
    for _ in range(29):
        slow.agents.runner.say(running, ".")
        await passes(clock, 1)
    assert running.end is None
    slow.agents.runner.say(running, ".")
    await passes(clock, 2)
    assert running.end == "failed"


async def test_while_it_waits_for_people_its_time_stands_still(
    slow: Madang, clock: JumpingClock
) -> None:
    room, running = await outside(slow)
    await watch(slow, room)
    run = running.message_id
    slow.agents.runner.people.ask_outside(running, "r1")
    await slow.writer.write(AskApproval(ORG, run, "bot-7", "r1", "May I?"))
    await passes(clock, 60)
    assert running.end is None
    await slow.writer.write(AnswerApproval(ORG, run, "r1", "ann", "approve"))
    await eventually(lambda: not running.unanswered, PATIENCE)
    await passes(clock, 9)
    slow.agents.runner.say(running, "so ")
    await passes(clock, 9)
    assert running.end is None
    await passes(clock, 2)
    assert running.end == "failed"
