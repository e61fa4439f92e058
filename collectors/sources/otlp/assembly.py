"""Spans, in whatever order and however often they come, to one row a request; bounded.

A request is written once: when it is whole, or when what is missing was waited for long enough. A span that
comes later is counted and changes nothing, for facts are never updated; it reaches MLflow all the same.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from heapq import heapify, heappop, heappush
from math import inf

from collectors.model import EventFact, RequestFact
from collectors.signals import startup_spans
from collectors.signals.startup_facts import event
from collectors.signals.traces import Span, is_engine, is_root, request_id, request_row
from collectors.sources.otlp.grouping import ENGINE_S, SETTLE_S, Group, groups, wait_s
from collectors.sources.otlp.written import Written

# An engine's span that has no parent, and no gateway that names its request: nobody above it sends spans.
ALONE_S = 30.0
# Something above it has not ended: a request that is tried twice may take two minutes.
BELOW_S = 120.0
# A start-up's outermost span ends last: loading a large model and compiling it takes a quarter of an hour.
START_S = 1800.0
_STALE_LOOKS = 1000  # planned looks at traces that are gone may be so many more than there are traces


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be held; a span takes about 2 kB. `rows` are those that nobody has taken yet.

    A start-up may have more spans than a request: eight workers that compile 33 parts of a model each.
    """

    traces: int = 20_000
    spans: int = 60_000
    spans_a_trace: int = 256
    spans_a_start: int = 1024
    rows: int = 50_000


@dataclass(slots=True)
class _Trace:
    """The spans held of one trace: its heads with when each came, and when the last span did."""

    spans: dict[str, Span] = field(default_factory=dict)
    heads: dict[str, float] = field(default_factory=dict)
    touched: float = 0.0
    due: float = inf


class Assembler:
    """Holds spans by trace until their requests can be written. Instants are seconds of a steady clock.

    `counts` tells what became of the spans: late ones came after their request was written, those of no
    request (another program's) were held in vain, crowded ones were too many in a trace.
    Those of a start-up make one event of it.
    """

    def __init__(self, source: str, written: Written, bounds: Bounds | None = None) -> None:
        self._source, self._written, self._bounds = source, written, bounds or Bounds()
        self._traces: OrderedDict[str, _Trace] = OrderedDict()
        self._looks: list[tuple[float, str]] = []
        self._named: dict[str, str] = {}  # the open trace in which a request is known by its id
        self._rows: list[RequestFact] = []
        self._starts: list[EventFact] = []
        self.spans = 0
        self.counts: Counter[str] = Counter()

    @property
    def traces(self) -> int:
        """Traces held."""
        return len(self._traces)

    @property
    def full(self) -> bool:
        """Whether so many rows wait to be taken that no more spans should be let in."""
        return len(self._rows) + len(self._starts) >= self._bounds.rows

    def add(self, spans: Iterable[Span], now_s: float) -> None:
        """Take in what one export brought, and write what is whole by it."""
        for key in {key: None for span in spans if (key := self._keep(span, now_s))}:
            if key in self._traces:
                self._settle(key, now_s)
        while self.spans > self._bounds.spans or self.traces > self._bounds.traces:
            self.counts["evicted"] += 1
            self._settle(next(iter(self._traces)), inf)

    def expire(self, now_s: float) -> None:
        """Write what was waited for long enough."""
        while self._looks and self._looks[0][0] <= now_s:
            due, key = heappop(self._looks)
            if key in self._traces and self._traces[key].due == due:
                self._settle(key, now_s)

    def finish(self) -> None:
        """Write everything: nothing more will come."""
        while self._traces:
            self._settle(next(iter(self._traces)), inf)

    def take(self) -> tuple[RequestFact, ...]:
        """The rows written since the last time."""
        rows, self._rows = tuple(self._rows), []
        return rows

    def take_starts(self) -> tuple[EventFact, ...]:
        """The start-ups told since the last time."""
        starts, self._starts = tuple(self._starts), []
        return starts

    # ---------------------------------------------------------------------------------- holding
    def _keep(self, span: Span, now_s: float) -> str | None:
        """Hold a span; the trace that it is held in, or None where it is not."""
        head = is_root(span)
        named = request_id(span) if head or is_engine(span) else None
        if named and self._written.has(named, span):
            self.counts["late"] += 1
            return None
        key = self._home(span, named, head=head)
        trace = self._traces.get(key) or self._opened(key)
        if refused := self._refused(span, trace):
            self.counts[refused] += 1
            return None
        trace.spans[span.span_id] = span
        trace.touched = now_s
        if head:
            trace.heads[span.span_id] = now_s
        self.spans += 1
        return key

    def _refused(self, span: Span, trace: _Trace) -> str:
        if span.span_id in trace.spans:
            return "duplicate"
        if len(trace.spans) < self._bounds.spans_a_trace:
            return ""
        of_start = span.name in startup_spans.STAGES and len(trace.spans) < self._bounds.spans_a_start
        return "" if of_start else "crowded"

    def _opened(self, key: str) -> _Trace:
        self._traces[key] = _Trace()
        return self._traces[key]

    def _home(self, span: Span, named: str | None, *, head: bool) -> str:
        """The trace to hold a span in: where a proxy strips `traceparent`, the one that names its request."""
        if not named or not (head or span.parent_id is None):
            return span.trace_id
        other = self._named.get(named)
        if head or other not in self._traces:
            self._named[named] = span.trace_id
        if other is None or other == span.trace_id or other not in self._traces:
            return span.trace_id
        if not head:
            return other
        if not self._traces[other].heads:
            self._move(named, other, span.trace_id)
        return span.trace_id

    def _move(self, named: str, old: str, new: str) -> None:
        """The engine's spans of a request into the trace of its gateway, which is told of only now."""
        spans = self._traces[old].spans
        lone = [s for s in spans.values() if s.parent_id is None and is_engine(s) and request_id(s) == named]
        for span in lone:
            del spans[span.span_id]
            held = self._traces.get(new) or self._opened(new)
            self.spans -= span.span_id in held.spans
            held.spans[span.span_id] = span
        if not spans:
            del self._traces[old]

    # ---------------------------------------------------------------------------------- writing
    def _settle(self, key: str, now_s: float) -> None:
        """Write the requests of a trace whose time has come, and plan the next look at the others."""
        trace, known = self._traces[key], self._written.has_trace(key)
        if (earliest := self._earliest(key, trace)) > now_s:
            self._plan(key, trace, earliest)
            return
        dues: list[float] = []
        for group in groups(trace.spans.values()):
            if group.head:
                due = trace.heads[group.head.span_id] + wait_s(group)
                dues += [due] if due > now_s else []
            else:
                due = trace.touched + self._wait_without_head(key, trace)
            if due <= now_s:
                self._write(group)
                self._forget(trace, group)
        if trace.spans and not dues:
            dues.append(trace.touched + self._wait_without_head(key, trace))
            if dues[0] <= now_s:
                self._drop(trace, "late" if known else "of_no_request")
        if trace.spans:
            self._plan(key, trace, min(dues))
        else:
            del self._traces[key]

    def _earliest(self, key: str, trace: _Trace) -> float:
        """Before this nothing of a trace is due, so there is no need to look at it closely."""
        if not trace.heads:
            return trace.touched + self._wait_without_head(key, trace)
        return -inf if any(map(is_engine, trace.spans.values())) else min(trace.heads.values()) + SETTLE_S

    def _drop(self, trace: _Trace, why: str) -> None:
        """What is left of a trace, and no request's. Start-ups are told; what stands beside them waits on."""
        spans = tuple(trace.spans.values())
        left = [Group(root, startup_spans.members(root, spans)) for root in startup_spans.roots(spans)]
        for group in left or [Group(None, spans)]:
            self.counts[self._told(group) or why] += len(group.spans)
            self._forget(trace, group)

    def _told(self, group: Group) -> str:
        """Tell of a start-up, once; what became of its spans, nothing where it is none."""
        if group.head is None:
            return ""
        start = startup_spans.start_up(group.head, group.spans)
        if self._written.has(start.key, group.head):
            return "late"
        self._starts.append(event(start, self._source))
        self._written.add(start.key, None, start.begin, start.end)
        return "of_a_start"

    def _wait_without_head(self, key: str, trace: _Trace) -> float:
        spans = trace.spans.values()
        if self._written.has_trace(key) and not any(map(is_engine, spans)):
            return ENGINE_S  # what is left of a request that is written
        if all(s.parent_id is None and is_engine(s) for s in spans):
            return ALONE_S
        if startup_spans.tells_of_start(spans):
            return ENGINE_S if startup_spans.roots(spans) else START_S
        return BELOW_S

    def _write(self, group: Group) -> None:
        first = group.head or group.spans[0]
        named = request_id(first)
        row = request_row(group.spans, self._source)
        if row is None or (named and self._written.has(named, first)):
            self.counts["late" if row else "of_no_request"] += len(group.spans)
            return
        self._rows.append(row)
        start = row.at - timedelta(milliseconds=row.e2e_ms or 0.0)
        self._written.add(row.request_id, row.trace_id, start, row.at)

    def _forget(self, trace: _Trace, group: Group) -> None:
        """Hold the spans of a group no longer."""
        for span in group.spans:
            self.spans -= trace.spans.pop(span.span_id, None) is not None
            if trace.heads.pop(span.span_id, None) is not None or span.parent_id is None:
                self._named.pop(request_id(span) or "", None)

    def _plan(self, key: str, trace: _Trace, due: float) -> None:
        trace.due = due
        heappush(self._looks, (due, key))
        if len(self._looks) > 4 * len(self._traces) + _STALE_LOOKS:
            self._looks = [(each.due, name) for name, each in self._traces.items()]
            heapify(self._looks)
