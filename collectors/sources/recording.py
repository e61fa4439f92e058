"""Plays a recorded drill: metrics texts, requests, engine spans and GPU samples, in the order of their time.

The plan file beside them holds the injected faults; it is for scoring and is never opened here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from collectors.model import Batch, Kind, MetricFact, Problem, RequestFact
from collectors.signals.exposition import ExpositionError, read
from collectors.signals.increments import Snapshot, advance
from collectors.sources.tape import Tape

MAX_GAP = timedelta(minutes=5)
SEAM = timedelta(seconds=1)  # between the last fact of a round and the first of the next: a scrape a second


@dataclass(frozen=True, slots=True)
class Head:
    """Where playing stands: the tape's time up to which it was played, and the counters then.

    `shift` is added to every instant; `loop` marks ids of later rounds, so that they stay unique.
    """

    played: datetime
    shift: timedelta = timedelta()
    loop: str = ""
    snapshot: Snapshot | None = None


def start(tape: Tape, shift: timedelta = timedelta(), loop: str = "") -> Head:
    """The head before the first fact of the tape."""
    return Head(tape.start - timedelta(microseconds=1), shift, loop)


def play(tape: Tape, head: Head, until: datetime) -> tuple[Head, Batch]:
    """All facts up to `until` (in shifted time), each stamped with its shifted instant."""
    upto = until - head.shift
    batch, snapshot = _scrapes(tape, head, upto)
    requests = [_request(r, head) for r in _between(tape.requests, tape.request_times, head.played, upto)]
    gpu = [_shifted(f, head) for f in _between(tape.gpu, tape.gpu_times, head.played, upto)]
    problems = [replace(p, at=p.at + head.shift) for p in tape.problems if head.played < p.at <= upto]
    rest = Batch(tuple(gpu), tuple(requests), (), tuple(problems))
    return replace(head, played=max(upto, head.played), snapshot=snapshot), batch + rest


def play_looping(tape: Tape, head: Head, until: datetime) -> tuple[Head, Batch]:
    """As `play`, beginning again at the start whenever the tape ends.

    Whole rounds that nobody asked for meanwhile (the machine slept) are skipped: they would come all at once.
    """
    ends = tape.end + head.shift
    if until <= ends:
        return play(tape, head, until)
    _, batch = play(tape, head, ends)
    length = tape.end - tape.start + SEAM
    over_meanwhile = (until - ends - timedelta.resolution) // length
    shift = head.shift + length * (1 + over_meanwhile)
    head, rest = play(tape, start(tape, shift, f"~{int((tape.start + shift).timestamp())}"), until)
    return head, batch + rest


def _scrapes(tape: Tape, head: Head, upto: datetime) -> tuple[Batch, Snapshot | None]:
    batch, snapshot = Batch(), head.snapshot
    for at, text in _between(tape.scrapes, tape.scrape_times, head.played, upto):
        shifted = at + head.shift
        try:
            step = advance(
                snapshot, read(text), shifted, source=tape.source, replica=tape.replica, max_gap=MAX_GAP
            )
        except ExpositionError as error:
            problem = Problem(
                shifted, tape.source, tape.replica, str(error), "The rest of the recording plays on"
            )
            batch += Batch((_up(tape, shifted, 0.0),), (), (), (problem,))
            continue
        snapshot = step.snapshot
        batch += Batch((*step.metrics, _up(tape, shifted, 1.0)), (), tuple(step.events), tuple(step.problems))
    return batch, snapshot


def _up(tape: Tape, at: datetime, value: float) -> MetricFact:
    return MetricFact(at, tape.source, tape.replica, "up", Kind.GAUGE, value)


def _request(request: RequestFact, head: Head) -> RequestFact:
    session = request.session_id
    return replace(
        request,
        at=request.at + head.shift,
        request_id=request.request_id + head.loop,
        session_id=session + head.loop if session else None,
        trace_id=_looped(request.trace_id, head.loop),
    )


def _looped(trace_id: str | None, loop: str) -> str | None:
    """A trace id of its own for every round: the round's number in the low bits, still 32 hex digits."""
    if not trace_id or not loop:
        return trace_id
    return f"{int(trace_id, 16) ^ int(loop[1:]):032x}"


def _shifted(fact: Any, head: Head) -> Any:
    return replace(fact, at=fact.at + head.shift)


def _between(
    items: Sequence[Any], times: Sequence[datetime], after: datetime, upto: datetime
) -> Sequence[Any]:
    return items[bisect_right(times, after) : bisect_right(times, upto)]
