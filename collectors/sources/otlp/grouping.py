"""Which spans of a trace belong to which request, and how long a request's spans are worth waiting for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from collectors.signals.traces import CALL_NAME, Span, below, is_engine, request_id, roots

# Spans of one process leave it in order, the root last; so long two of its exports may lie apart.
SETTLE_S = 2.0
# vLLM exports every five seconds (OpenTelemetry's OTEL_BSP_SCHEDULE_DELAY), and the way takes a moment.
ENGINE_S = 8.0
_FIRST_ERROR = 400


@dataclass(frozen=True, slots=True)
class Group:
    """The spans of one request; `head` is its outermost one, None where only engines spoke of it."""

    head: Span | None
    spans: tuple[Span, ...]


def groups(spans: Collection[Span]) -> list[Group]:
    """The requests of a trace, each with its spans; what belongs to none is left out.

    A span belongs to the head that it stands below. One whose parent never came belongs to the head that
    names the same request, or during which it ran.
    """
    heads = roots(spans)
    if not heads:
        return _of_engines(spans)
    inside = {h.span_id: below({h.span_id}, spans) for h in heads}
    if len(inside[heads[0].span_id]) == len(spans):
        return [Group(heads[0], tuple(spans))]
    reached = set[str]().union(*inside.values())
    lost = [s for s in spans if s.span_id not in reached]
    return [
        Group(
            h,
            (
                *(s for s in spans if s.span_id in inside[h.span_id]),
                *(s for s in lost if _belongs(s, h)),
            ),
        )
        for h in heads
    ]


def wait_s(group: Group) -> float:
    """Seconds that a group with a head is held for more of its spans; 0 where it is whole.

    It is whole when no parent is missing and each call that did not fail has its engine's span.
    """
    ids = {s.span_id for s in group.spans}
    calls = engines = 0
    for span in group.spans:
        if span.parent_id and span.parent_id not in ids and span is not group.head:
            return ENGINE_S
        calls += span.name == CALL_NAME and not span.failed
        engines += is_engine(span)
    if calls:
        return 0.0 if engines >= calls else ENGINE_S
    # turned away, or every call failed: there is no engine's span to wait for
    return SETTLE_S if group.head and _failed(group.head) else ENGINE_S


def overlap(one: Span, other: Span) -> bool:
    """Whether two spans ran at the same time."""
    return one.start <= other.end and other.start <= one.end


def _belongs(span: Span, head: Span) -> bool:
    named, wanted = request_id(span), request_id(head)
    return named == wanted if named and wanted else overlap(span, head)


def _of_engines(spans: Collection[Span]) -> list[Group]:
    """A trace without a head may hold several requests: some agent's, that sends no spans of its own."""
    found: dict[str, list[Span]] = {}
    for span in spans:
        if is_engine(span):
            found.setdefault(request_id(span) or span.span_id, []).append(span)
    return [Group(None, tuple(each)) for each in found.values()]


def _failed(head: Span) -> bool:
    status = head.attributes.get("http.response.status_code")
    return head.failed or (isinstance(status, int) and status >= _FIRST_ERROR)
