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

Told = Callable[[Mapping[str, Any]], None]
"""Adds attributes to a span."""


@contextmanager
def span(name: str, trace_id: str, attributes: Mapping[str, Any]) -> Iterator[Told]:
    """A span of the trace with this id (32 hexadecimal digits), while the block runs. What the
    block does with instrumented libraries is told under it."""
    if trace is None or len(trace_id) != 32:
        yield lambda _: None
        return
    # The session itself is no span: all of its runs hang under one that nobody records.
    session = trace.SpanContext(
        int(trace_id, 16),
        int(trace_id[16:], 16) or 1,
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    context = trace.set_span_in_context(trace.NonRecordingSpan(session))
    tracer = trace.get_tracer("madang")
    with tracer.start_as_current_span(name, context, attributes=dict(attributes)) as found:
        yield lambda more: found.set_attributes(dict(more))


def span_id() -> str:
    """Of the span that is recorded here and now, as 16 hexadecimal digits; nothing where none
    is."""
    if trace is None:
        return ""
    current = trace.get_current_span()
    return f"{current.get_span_context().span_id:016x}" if current.is_recording() else ""
