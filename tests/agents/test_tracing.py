"""The trace of a session goes through its spans and its log lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from madang.agents.protocol import AgentRun, Said
from madang.bus.memory import MemoryBus
from madang.clock import SystemClock
from madang.compose import Madang
from madang.model.runs import own_agent
from madang.services.messages import SendMessage
from madang.services.runs import StartOutside
from madang.services.sessions import CreateSession
from madang.settings import Settings
from tests.conftest import eventually


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans that have ended."""
    found = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return found


async def test_a_run_is_a_span_in_the_trace_of_its_session(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    app = Madang(Settings(dev=True, data_dir=tmp_path))
    seen: list[str] = []
    parents: list[str] = []

    @app.agent("tracer")
    async def tracer(run: AgentRun) -> AsyncIterator[Said]:
        context = trace.get_current_span().get_span_context()
        seen.append(f"{context.trace_id:032x}")
        seen.append(run.traceparent.split("-")[1])
        parents.append(run.traceparent.split("-")[2])
        seen.append(structlog.contextvars.get_contextvars()["trace_id"])
        yield "traced"

    await app.start()
    try:
        opened = await app.writer.write(CreateSession("default", "ann", own_agent("tracer")))
        room = opened.conversation.id
        with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
            await app.writer.write(SendMessage("default", room, "ann", "go"))
            await eventually(lambda: len(spans.get_finished_spans()) == 1)
    finally:
        await app.stop()
    found = await asyncio.to_thread(spans.get_finished_spans)
    (span,) = found
    wanted = opened.session.trace_id
    assert seen == [wanted] * 3
    assert f"{span.context.trace_id:032x}" == wanted
    assert parents == [f"{span.context.span_id:016x}"], "what is asked hangs under the run"
    assert span.attributes is not None
    assert span.attributes["madang.status"] == "complete"
    assert span.attributes["gen_ai.agent.name"] == "tracer"
    assert [line["trace_id"] for line in logs if line["event"] == "run ended"] == [wanted]


@pytest.mark.parametrize("how", ["it ends", "it is stopped", "the node stops"])
async def test_so_is_one_of_an_agent_outside(
    tmp_path: Path, spans: InMemorySpanExporter, how: str
) -> None:
    app = Madang(Settings(dev=True, data_dir=tmp_path))
    await app.start()
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        try:
            opened = await app.writer.write(CreateSession("default", "ann", "bot-7"))
            room = opened.conversation.id
            message, _ = await app.writer.write(StartOutside("default", room, "bot-7"))
            running = app.agents.runner.adopt(message)
            app.agents.runner.say(running, "traced")
            running.tokens = 7
            if how == "it ends":
                app.agents.runner.cancel(running, "complete")
            elif how == "it is stopped":
                await app.agents.runner.stop("default", message.id)
            if how != "the node stops":
                await eventually(lambda: not len(app.agents.runner))
        finally:
            await app.stop()
    status = {"it ends": "complete", "it is stopped": "cancelled"}.get(how, "moved")
    (span,) = await asyncio.to_thread(spans.get_finished_spans)
    wanted = opened.session.trace_id
    assert f"{span.context.trace_id:032x}" == wanted
    assert span.start_time and span.end_time and span.start_time < span.end_time
    assert dict(span.attributes or {}) == {
        "madang.org": "default",
        "madang.session_id": room,
        "madang.message_id": message.id,
        "gen_ai.agent.name": "bot-7",
        "madang.status": status,
        "gen_ai.usage.output_tokens": 7,
    }
    told = "run moved" if how == "the node stops" else "run ended"
    (line,) = [line for line in logs if line["event"] == told]
    assert (line["trace_id"], line["run"]) == (wanted, message.id)
    assert (line["agent"], line["status"], line["tokens"]) == ("bot-7", status, 7)


async def test_one_that_moves_has_a_span_on_each_of_its_nodes(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    bus = MemoryBus(SystemClock())
    settings = Settings(dev=True, data_dir=tmp_path)
    here, there = Madang(settings, bus=bus.end()), Madang(settings, bus=bus.end())
    await here.start()
    await there.start()
    try:
        opened = await here.writer.write(CreateSession("default", "ann", "bot-7"))
        room = opened.conversation.id
        message, _ = await here.writer.write(StartOutside("default", room, "bot-7"))
        here.agents.runner.adopt(message)
        running = await there.agents.runner.moving.take(message)
        assert running is not None
        there.agents.runner.cancel(running, "complete")
        await asyncio.wait_for(running.done, 20)
    finally:
        await here.stop()
        await there.stop()
    found = await asyncio.to_thread(spans.get_finished_spans)
    assert {f"{span.context.trace_id:032x}" for span in found} == {opened.session.trace_id}
    told = [dict(span.attributes or {})["madang.status"] for span in found]
    assert told == ["moved", "complete"]
