"""Which requests have their row already: a bounded memory of the newest ones."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

from collectors.signals.traces import Span

# A sender tries a batch again for a minute at most; at 800 requests a second this is that minute.
MAX_REMEMBERED = 50_000
MAX_TIMES = 4  # of one id: a client that was turned away tries again under the same one
_Times = tuple[datetime, datetime]


class Written:
    """Requests by id, with the time they took.

    An id alone does not tell a request: a load test that is run again names the same ones. What has the same
    id and ran at the same time is the same request, whatever trace its spans were sent in.
    """

    def __init__(self, limit: int = MAX_REMEMBERED) -> None:
        self._limit = limit
        self._requests: OrderedDict[str, tuple[_Times, ...]] = OrderedDict()
        self._traces: OrderedDict[str, None] = OrderedDict()

    def add(self, request_id: str, trace_id: str | None, start: datetime, end: datetime) -> None:
        """Remember a request; the oldest is forgotten for it."""
        before = self._requests.get(request_id, ())[1 - MAX_TIMES :]
        self._requests[request_id] = (*before, (start, end))
        self._requests.move_to_end(request_id)
        if trace_id:
            self._traces[trace_id] = None
            self._traces.move_to_end(trace_id)
        for held in (self._requests, self._traces):
            if len(held) > self._limit:
                held.popitem(last=False)

    def has(self, request_id: str, span: Span) -> bool:
        """Whether the request that this span is of has its row."""
        times = self._requests.get(request_id)
        if not times:  # as nearly always
            return False
        return any(span.start <= end and start <= span.end for start, end in times)

    def has_trace(self, trace_id: str) -> bool:
        """Whether a request of this trace has its row."""
        return trace_id in self._traces
