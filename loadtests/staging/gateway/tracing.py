"""Spans: orchestrator → generation_client → vllm_gateway, sent in the background as OTLP over HTTP.

The gateway's start is a trace of its own: gateway_startup → warm_up → load_adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from loadtests.staging.gateway.timing import Anchor

SERVICE = "mangaassist-gateway"
# A receiver that is gone costs the oldest spans, never a request: 8,192 spans are 2,700 requests.
QUEUED_SPANS = 8192
BATCH_SPANS = 512
DELAY_MS = 500
EXPORT_S = 5
_W3C = TraceContextTextMapPropagator()


@dataclass(slots=True)
class Timed:
    """A span that is dated by its request's anchor."""

    span: Span
    anchor: Anchor

    def traceparent(self) -> str:
        """The W3C header that makes the next hop this span's child."""
        context = self.span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def end(
        self,
        steady_ns: int,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        failure: str | None = None,
    ) -> None:
        """Close it at this moment; with a failure, as an error."""
        if attributes:
            self.span.set_attributes(attributes)
        if failure is not None:
            self.span.set_status(Status(StatusCode.ERROR, failure))
        self.span.end(self.anchor.date_ns(steady_ns))


class Tracing:
    """Makes spans; without an address they are made and sent nowhere, so that trace ids stand in the log."""

    def __init__(self, otlp: str | None) -> None:
        # Always on: a request whose caller does not sample is still one row.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.create({SERVICE_NAME: SERVICE}), shutdown_on_exit=False
        )
        if otlp is not None:
            exporter = OTLPSpanExporter(endpoint=f"{otlp.rstrip('/')}/v1/traces", timeout=EXPORT_S)
            self._provider.add_span_processor(
                BatchSpanProcessor(exporter, QUEUED_SPANS, DELAY_MS, BATCH_SPANS)
            )
        self._tracer: Tracer = self._provider.get_tracer(SERVICE)

    def root(self, anchor: Anchor, traceparent: str | None) -> Timed:
        """The request's own span, the child of the caller's where that is known."""
        context = _W3C.extract({"traceparent": traceparent}) if traceparent else None
        span = self._tracer.start_span(
            "orchestrator", context=context, kind=SpanKind.SERVER, start_time=anchor.wall_ns
        )
        return Timed(span, anchor)

    def start_up(self, anchor: Anchor) -> Timed:
        """The gateway's own start: nobody's request, so nobody's child."""
        return Timed(self._tracer.start_span("gateway_startup", start_time=anchor.wall_ns), anchor)

    def child(self, parent: Timed, name: str, steady_ns: int) -> Timed:
        """A span below another."""
        span = self._tracer.start_span(
            name,
            context=set_span_in_context(parent.span),
            kind=SpanKind.CLIENT,
            start_time=parent.anchor.date_ns(steady_ns),
        )
        return Timed(span, parent.anchor)

    def close(self) -> None:
        """Send what is left; gives up after the exporter's time-out."""
        self._provider.shutdown()


def trace_id(span: Timed) -> str:
    """32 hex digits."""
    return f"{span.span.get_span_context().trace_id:032x}"


def unsampled(trace: int, span: int) -> str:
    """A traceparent that asks the next hop to record nothing: warm-up and shadows are nobody's requests."""
    return f"00-{trace:032x}-{span:016x}-00"
