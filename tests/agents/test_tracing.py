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
from madang.compose import Madang
from madang.model.runs import own_agent
from madang.services.messages import SendMessage
from madang.services.sessions import CreateSession
from madang.settings import Settings
from tests.conftest import eventually


async def test_a_run_is_a_span_in_the_trace_of_its_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
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
