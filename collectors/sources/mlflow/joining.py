"""The requests of the traces that were read, where one request may lie in two of them.

Where the traceparent was lost (SageMaker strips it) an engine's span is a trace of its own, and the request
id alone tells whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from collectors.model import RequestFact
from collectors.signals.traces import Span, is_engine, request_id, request_row, roots

SOURCE = "mlflow"
# An engine's span that came without its caller's traceparent waits so long for the gateway's trace.
JOIN = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Lonely:
    """An engine's span that no gateway has spoken for yet, and when it was found."""

    found: datetime
    spans: tuple[Span, ...]


def joined(
    found: Mapping[str, Sequence[Span]], before: Mapping[str, Lonely], now: datetime
) -> tuple[list[RequestFact], dict[str, Lonely]]:
    """The rows of traces, and the engines' spans that wait on for their gateway's trace."""
    lonely, whole = dict(before), list[Sequence[Span]]()
    for spans in found.values():
        own = _engines_request(spans)
        if own is None:
            whole.append(spans)
        else:
            lonely[own] = Lonely(now, tuple(spans))
    rows = [request_row([*spans, *_partner(spans, lonely)], SOURCE) for spans in whole]
    late = [key for key, each in lonely.items() if now - each.found > JOIN]
    rows += [request_row(lonely.pop(key).spans, SOURCE) for key in late]
    return [row for row in rows if row is not None], lonely


def _engines_request(spans: Sequence[Span]) -> str | None:
    """The request of a trace in which nobody but an engine speaks."""
    if roots(spans):
        return None
    return next((named for s in spans if is_engine(s) and (named := request_id(s))), None)


def _partner(spans: Sequence[Span], lonely: dict[str, Lonely]) -> tuple[Span, ...]:
    """The engine's spans of the same request out of another trace; they wait no longer."""
    head = next(iter(roots(spans)), None)
    named = request_id(head) if head else None
    if named is None or any(is_engine(s) for s in spans) or named not in lonely:
        return ()
    return lonely.pop(named).spans
