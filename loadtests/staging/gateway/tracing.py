"""Spans: orchestrator → generation_client → vllm_gateway, sent in the background as OTLP over HTTP.

The gateway's start is a trace of its own: gateway_startup → warm_up → load_adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from loadtests.staging.gateway.timing import Anchor

SERVICE = "mangaassist-gateway"
# A receiver that is gone costs the oldest spans, never a request: 8,192 spans are 2,700 requests.
QUEUED_SPANS = 8192
BATCH_SPANS = 512
DELAY_MS = 500
EXPORT_S = 5
_W3C = TraceContextTextMapPropagator()
_SCOPE = InstrumentationScope(SERVICE)
SAMPLED = TraceFlags(TraceFlags.SAMPLED)


@dataclass(slots=True)
class Timed:
    """A span that is dated by its request's anchor. It is made when it ends: before that, only its ids are.

    Making one takes the SDK time that a customer would wait for.
    """

    name: str
    kind: SpanKind
    context: SpanContext
    parent: SpanContext | None
    start_ns: int
    anchor: Anchor
    told: Callable[[ReadableSpan], None]
    resource: Resource
    ended: bool = False

    def traceparent(self) -> str:
        """The W3C header that makes the next hop this span's child."""
        return f"00-{self.context.trace_id:032x}-{self.context.span_id:016x}-01"

    def end(
        self,
        steady_ns: int,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        failure: str | None = None,
    ) -> None:
        """Close it at this moment, once; with a failure, as an error."""
        if self.ended:
            return
        self.ended = True
        self.told(
            ReadableSpan(
                self.name,
                context=self.context,
                parent=self.parent,
                resource=self.resource,
                attributes=attributes or {},
                kind=self.kind,
                status=Status() if failure is None else Status(StatusCode.ERROR, failure),
                start_time=self.start_ns,
                end_time=self.anchor.date_ns(steady_ns),
                instrumentation_scope=_SCOPE,
            )
        )


class Tracing:
    """Makes spans; without an address they are made and sent nowhere, so that trace ids stand in the log."""

    def __init__(self, otlp: str | None) -> None:
        self._resource = Resource.create({SERVICE_NAME: SERVICE})
        self._ids = RandomIdGenerator()
        self._processor: BatchSpanProcessor | None = None
        if otlp is not None:
            exporter = OTLPSpanExporter(endpoint=f"{otlp.rstrip('/')}/v1/traces", timeout=EXPORT_S)
            self._processor = BatchSpanProcessor(exporter, QUEUED_SPANS, DELAY_MS, BATCH_SPANS)

    def root(self, anchor: Anchor, traceparent: str | None) -> Timed:
        """The request's own span, the child of the caller's where that is known."""
        caller = _caller(traceparent) if traceparent else None
        return self._begun("orchestrator", SpanKind.SERVER, caller, anchor.wall_ns, anchor)

    def start_up(self, anchor: Anchor) -> Timed:
        """The gateway's own start: nobody's request, so nobody's child."""
        return self._begun("gateway_startup", SpanKind.INTERNAL, None, anchor.wall_ns, anchor)

    def child(self, parent: Timed, name: str, steady_ns: int) -> Timed:
        """A span below another."""
        begun_ns = parent.anchor.date_ns(steady_ns)
        return self._begun(name, SpanKind.CLIENT, parent.context, begun_ns, parent.anchor)

    def close(self) -> None:
        """Send what is left; gives up after the exporter's time-out."""
        if self._processor:
            self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _begun(
        self, name: str, kind: SpanKind, parent: SpanContext | None, start_ns: int, anchor: Anchor
    ) -> Timed:
        # Always sampled: a request whose caller does not sample is still one row.
        trace_id = parent.trace_id if parent else self._ids.generate_trace_id()
        context = SpanContext(trace_id, self._ids.generate_span_id(), False, SAMPLED)
        return Timed(name, kind, context, parent, start_ns, anchor, self._told, self._resource)

    def _told(self, span: ReadableSpan) -> None:
        if self._processor:
            self._processor.on_end(span)


def _caller(traceparent: str) -> SpanContext | None:
    """Where the header says that the request comes from; None where it says nothing that can be read."""
    found = get_current_span(_W3C.extract({"traceparent": traceparent})).get_span_context()
    return found if found.is_valid else None


def trace_id(span: Timed) -> str:
    """32 hex digits."""
    return f"{span.context.trace_id:032x}"


def unsampled(trace: int, span: int) -> str:
    """A traceparent that asks the next hop to record nothing: warm-up and shadows are nobody's requests."""
    return f"00-{trace:032x}-{span:016x}-00"
