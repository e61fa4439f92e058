"""The Now screen's model: the facts of one instant put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from collectors.judge.rules import Rule
from collectors.model import EventFact, Judgement
from console.views import changes, verdict
from console.views.changes import Line
from console.views.facts import STAGES, Change, Pulse, Slice
from console.views.frame import Frame
from console.views.verdict import StageRow, Verdict


@dataclass(frozen=True, slots=True)
class Now:
    """Everything above the tiles."""

    verdict: Verdict
    now: Slice | None
    past: Slice | None
    rows: tuple[StageRow, ...]
    bars: tuple[str, ...]
    active: tuple[Judgement, ...]
    changes: tuple[Line, ...]
    silent: timedelta | None


@dataclass(frozen=True, slots=True)
class Judging:
    """What does not change from look to look: the rules, the time between scrapes, the window of a slice."""

    rules: tuple[Rule, ...]
    interval: timedelta
    window: timedelta


def build(
    frame: Frame,
    pulse: Pulse,
    slices: Sequence[Slice],
    standing: Sequence[Judgement],
    states: Sequence[Change],
    marks: Sequence[EventFact],
    judging: Judging,
) -> Now:
    """The model of the screen from what the services answered."""
    newest = slices[0] if slices and slices[0].end == frame.now else None
    rest = slices if newest else [Slice(frame.now, 0), *slices]
    past = verdict.quiet_past(rest, judging.window, verdict.active_times(states, frame.now))
    silence = verdict.silence(pulse, frame.now, judging.interval)
    said = _said(frame, pulse, newest, past, standing, judging.rules, silence)
    active = sorted(
        (j for j in standing if j.state in verdict.ACTIVE), key=lambda j: (j.state != "firing", j.name)
    )
    bars = STAGES if said.word == "Slow answers" else verdict.TTFT_STAGES
    lines = changes.lines(marks, frame, said.since or frame.now)
    # Without trouble there is no "before": then it counts from the instant looked at.
    shown = lines if said.since else [replace(x, detail=x.detail.replace(" before", " ago")) for x in lines]
    return Now(
        said,
        newest,
        past,
        tuple(verdict.stage_rows(newest, past)),
        tuple(bars),
        tuple(active),
        tuple(shown),
        silence,
    )


def _said(
    frame: Frame,
    pulse: Pulse,
    newest: Slice | None,
    past: Slice | None,
    standing: Sequence[Judgement],
    rules: Sequence[Rule],
    silence: timedelta | None,
) -> Verdict:
    if pulse.newest is None:
        return verdict.waiting()
    if silence is not None:
        return verdict.silent(silence, pulse.newest, frame)
    limit = next(
        (r.threshold for r in rules if r.name == "high_ttft" and r.threshold), verdict.Limits().ttft_p95_ms
    )
    return verdict.verdict(
        newest, past, standing, frame, {r.name: r.title for r in rules}, verdict.Limits(limit)
    )
