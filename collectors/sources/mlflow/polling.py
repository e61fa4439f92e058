"""Reads the traces that MLflow already keeps: one request row a trace, once it has ended.

MLflow finds traces by their start alone, and a trace turns up when its first spans arrive: late, and in no
order. So every poll looks back over what the ones before saw, and knows which traces are done. Each starts
from the state that the last one returned; after a restart the store says what is done.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import httpx

from collectors.fetching import Unanswered, host
from collectors.model import Batch, Kind, MetricFact, Problem, RequestFact
from collectors.signals.traces import Span
from collectors.sources.mlflow.asking import Listed, Server, search, so_far, whole
from collectors.sources.mlflow.joining import SOURCE, Lonely, joined

# Longer than any answer of a chat takes, with the time that exporters hold spans back and try again.
OVERLAP = timedelta(minutes=5)
EVERY = timedelta(seconds=15)  # looking back over five minutes costs MLflow 24 ms a hundred traces
FIRST_LOOK = timedelta(hours=1)  # as far as judging goes back
CATCH_UP = timedelta(days=1)  # after a longer silence, from here on: MLflow keeps the rest
REOPEN = timedelta(minutes=5)  # after an outage senders deliver what they held, with its old start
# vLLM exports its spans every 5 s (OpenTelemetry's default); a row is made once and never corrected.
SETTLE = timedelta(seconds=10)
# A trace whose root never came tells what its other spans know. Longer than senders try again.
GIVE_UP = timedelta(minutes=15)
MAX_PAGES = 10  # a poll: 5,000 traces
MAX_TRACES = 1000  # fetched with their spans in a poll: 3 s of MLflow's time
BATCH = 50  # ids still fit into a URL
MAX_DONE, MAX_WAITING = 200_000, 20_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A trace that is not done yet: when it was first seen, and when it began."""

    seen: datetime
    start: datetime


@dataclass(frozen=True, slots=True)
class MlflowState:
    """What the next poll starts from.

    Traces that began before `asked` were looked at, but for the overlap; `resume` is where to go on at once
    when they were too many, `hold` an instant to look back to until another. `done` are traces with their
    beginning, `told` requests that have their row, with its instant. `lonely` goes by request id.
    """

    asked: datetime | None = None
    resume: datetime | None = None
    hold: tuple[datetime, datetime] | None = None
    done: Mapping[str, datetime] = field(default_factory=dict)
    told: Mapping[str, datetime] = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    lonely: Mapping[str, Lonely] = field(default_factory=dict)


def resumed(rows: Collection[RequestFact], now: datetime) -> MlflowState:
    """Where a collector goes on whose store holds these rows of the last day."""
    newest = max((row.at for row in rows), default=now - FIRST_LOOK)
    return MlflowState(
        asked=max(newest, now - CATCH_UP),
        done={row.trace_id: row.at for row in rows if row.trace_id},
        told={row.request_id: row.at for row in rows},
    )


async def poll(
    state: MlflowState, server: Server, client: httpx.AsyncClient, now: datetime
) -> tuple[MlflowState, Batch]:
    """The rows of traces that have ended since. Nothing that the server does makes it raise."""
    since = _since(state, now)
    try:
        listed, resume = await _listed(state, server, client, since)
        waiting = {**_new(state, listed, now), **state.waiting}
        ripe = [t for t, w in waiting.items() if _is_ripe(listed.get(t), w, now)]
        ripe.sort(key=lambda trace: trace not in listed)  # those not listed may be asked for in vain
        given_up = {trace for trace, w in waiting.items() if now - w.seen > GIVE_UP}
        found = await _fetched(server, client, ripe[:MAX_TRACES], given_up)
    except Unanswered as error:
        problem = Problem(now, SOURCE, host(server.url), error.what, error.remedy)
        return replace(state, hold=(since, now + REOPEN)), _told(state, server, now) + Batch(
            problems=(problem,)
        )
    made, lonely = joined(found, state.lonely, now)
    rows = {row.request_id: row for row in made if row.request_id not in state.told}
    done = {trace: waiting[trace].start for trace in found}
    after = MlflowState(
        asked=now,
        resume=resume,
        hold=state.hold if state.hold and state.hold[1] > now else None,
        done=_kept({**state.done, **done}, since),
        told=_kept({**state.told, **{row.request_id: row.at for row in rows.values()}}, since),
        waiting={trace: w for trace, w in waiting.items() if trace not in found},
        lonely=lonely,
    )
    counts = {
        "mlflow_rows": len(rows),
        "mlflow_traces": len(found),
        "mlflow_rows_late": len(made) - len(rows),
    }
    return after, _told(after, server, now, counts) + Batch(requests=tuple(rows.values()))


def _told(
    state: MlflowState, server: Server, now: datetime, counts: Mapping[str, int] | None = None
) -> Batch:
    """How the poll went, as facts; without counts it failed."""
    levels = {
        "mlflow_up": float(counts is not None),
        "mlflow_traces_waiting": float(len(state.waiting)),
        "mlflow_engines_waiting": float(len(state.lonely)),
    }
    place = (now, SOURCE, host(server.url))
    return Batch(
        tuple(MetricFact(*place, name, Kind.GAUGE, value) for name, value in levels.items())
        + tuple(MetricFact(*place, name, Kind.COUNTER, float(n)) for name, n in (counts or {}).items())
    )


# ----------------------------------------------------------------------------------- what to look at
def _since(state: MlflowState, now: datetime) -> datetime:
    """Where to look from: a little before everything that is not sure to have been seen."""
    if state.resume is not None:
        return state.resume
    starts = [now, state.asked or now - FIRST_LOOK]
    starts += [state.hold[0]] if state.hold and state.hold[1] > now else []
    return max(min(starts), now - CATCH_UP) - OVERLAP


async def _listed(
    state: MlflowState, server: Server, client: httpx.AsyncClient, since: datetime
) -> tuple[dict[str, Listed], datetime | None]:
    """The traces from an instant on that are not done, and where to go on if they are too many for now."""
    found: dict[str, Listed] = {}
    last, token = since, None
    for _ in range(MAX_PAGES):
        page = await search(client, server, since, token)
        found |= {each.trace_id: each for each in page.traces if each.trace_id not in state.done}
        last, token = max([last, *(each.start for each in page.traces)]), page.next
        if token is None or len(found) >= MAX_TRACES:
            break
    return found, last if token and last > since else None


def _new(state: MlflowState, listed: Mapping[str, Listed], now: datetime) -> dict[str, Waiting]:
    room = MAX_WAITING - len(state.waiting)
    fresh = [each for trace, each in listed.items() if trace not in state.waiting]
    return {each.trace_id: Waiting(now, each.start) for each in fresh[: max(0, room)]}


def _is_ripe(listed: Listed | None, waiting: Waiting, now: datetime) -> bool:
    """Whether it has ended, and its spans have had the time to arrive.

    One that is not listed any more is asked for: it began before the overlap.
    """
    if listed is None or now - waiting.seen > GIVE_UP:
        return waiting.seen + SETTLE <= now
    return listed.end is not None and (listed.end + SETTLE <= now or waiting.seen + SETTLE <= now)


async def _fetched(
    server: Server, client: httpx.AsyncClient, ripe: Sequence[str], given_up: Collection[str]
) -> dict[str, tuple[Span, ...]]:
    """The spans of traces that are whole, and as many as there are of those given up."""
    found: dict[str, tuple[Span, ...]] = {}
    for first in range(0, len(ripe), BATCH):
        found |= await _whole(server, client, ripe[first : first + BATCH])
    for trace in [t for t in ripe if t in given_up and t not in found][:BATCH]:
        found[trace] = await so_far(client, server, trace)
    return found


async def _whole(
    server: Server, client: httpx.AsyncClient, traces: Sequence[str]
) -> dict[str, tuple[Span, ...]]:
    """Asked for in halves where they are too large; a single one that is too large is nobody's request."""
    try:
        return await whole(client, server, traces)
    except Unanswered as error:
        if not error.too_large:
            raise
    if len(traces) == 1:
        return {traces[0]: ()}
    middle = len(traces) // 2
    return {
        **await _whole(server, client, traces[:middle]),
        **await _whole(server, client, traces[middle:]),
    }


def _kept(done: Mapping[str, datetime], since: datetime) -> dict[str, datetime]:
    """Those that may be listed again."""
    kept = {trace: start for trace, start in done.items() if start >= since - OVERLAP}
    if len(kept) <= MAX_DONE:
        return kept
    return dict(sorted(kept.items(), key=lambda pair: pair[1])[-MAX_DONE:])
