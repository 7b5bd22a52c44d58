"""Spans (OpenTelemetry, the extra `otel`): one for each run, in the trace of its session. Without
the extra there are none, and nothing is to be set up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

try:
    from opentelemetry import trace
except ImportError:  # pragma: no cover - the suite has it
    trace = None  # type: ignore[assignment]

SPAN = "agent run"
"""Of a run; of one that moves, one on each of its nodes."""
Told = Callable[[Mapping[str, Any]], None]
"""Adds attributes to a span."""


def opened(name: str, trace_id: str, attributes: Mapping[str, Any]) -> Told:
    """Open a span as `span` does, under which nothing else is told; who calls what this returns,
    with the last attributes, ends it."""
    if trace is None or len(trace_id) != 32:
        return lambda _: None
    tracer = trace.get_tracer("madang")
    found = tracer.start_span(name, _session(trace_id), attributes=dict(attributes))

    def end(more: Mapping[str, Any]) -> None:
        found.set_attributes(dict(more))
        found.end()

    return end


@contextmanager
def span(name: str, trace_id: str, attributes: Mapping[str, Any]) -> Iterator[Told]:
    """A span of the trace with this id (32 hexadecimal digits), while the block runs. What the
    block does with instrumented libraries is told under it."""
    if trace is None or len(trace_id) != 32:
        yield lambda _: None
        return
    tracer = trace.get_tracer("madang")
    context = _session(trace_id)
    with tracer.start_as_current_span(name, context, attributes=dict(attributes)) as found:
        yield lambda more: found.set_attributes(dict(more))


def _session(trace_id: str) -> Any:
    """The session itself is no span: all of its runs hang under one that nobody records."""
    session = trace.SpanContext(
        int(trace_id, 16),
        int(trace_id[16:], 16) or 1,
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(session))


def span_id() -> str:
    """Of the span that is recorded here and now, as 16 hexadecimal digits; nothing where none
    is."""
    if trace is None:
        return ""
    current = trace.get_current_span()
    return f"{current.get_span_context().span_id:016x}" if current.is_recording() else ""
