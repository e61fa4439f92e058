"""Is chat slow, which part, since when: one sentence from the requests, the rules and the quiet past."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from collectors.model import Judgement
from console.views import words
from console.views.facts import STAGES, Change, Failure, Pulse, Slice
from console.views.frame import Frame, clock

TTFT_STAGES = ("gateway", "frontend", "queue", "prefill")
PHRASES = {
    "gateway": "in the gateway",
    "frontend": "in the engine's front end",
    "queue": "queueing",
    "prefill": "prefill",
    "decode": "decoding",
}
ENOUGH = 20  # requests in the quiet past, below which it is no measure
SILENT_SCRAPES = 3
MUCH = 1.5  # answers this many times as long as in the quiet past are slow, whatever the first token did
ACTIVE = frozenset({"pending", "firing"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as slow, from the rule on TTFT."""

    ttft_p95_ms: float = 500.0


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage now beside the quiet past: mean milliseconds, None where unknown."""

    stage: str
    now_ms: float | None
    past_ms: float | None

    @property
    def excess_ms(self) -> float:
        """What it takes beyond the past."""
        return (self.now_ms or 0.0) - (self.past_ms or 0.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The headline: its tone (bad, warn, ok, none), a word for it and a sentence."""

    tone: str
    word: str
    sentence: str
    since: datetime | None = None


def stage_rows(now: Slice | None, past: Slice | None) -> list[StageRow]:
    """Each stage now and in the quiet past."""
    return [
        StageRow(s, now.stages.get(s) if now else None, past.stages.get(s) if past else None) for s in STAGES
    ]


def quiet_past(
    slices: Sequence[Slice], window: timedelta, active: Sequence[tuple[datetime, datetime]]
) -> Slice | None:
    """The slices before the newest in which no alert was active, as one; None if too few requests."""
    quiet = [s for s in slices[1:] if not any(a < s.end and b > s.end - window for a, b in active)]
    count = sum(s.count for s in quiet)
    if count < ENOUGH:
        return None
    return Slice(
        quiet[0].end,
        count,
        {stage: _mean(quiet, _taken(stage)) for stage in STAGES},
        _mean(quiet, lambda s: s.ttft_p95_ms),
        _mean(quiet, lambda s: s.e2e_p95_ms),
    )


def active_times(
    changes: Iterable[Change], until: datetime, rules: Iterable[str] | None = None
) -> list[tuple[datetime, datetime]]:
    """When alerts were pending or firing."""
    by: dict[tuple[str, str], list[Change]] = {}
    wanted = None if rules is None else set(rules)
    for c in changes:
        if wanted is None or c.name in wanted:
            by.setdefault((c.name, c.component), []).append(c)
    return [
        (a.at, b.at if b else until)
        for own in by.values()
        for a, b in zip(own, [*own[1:], None], strict=True)
        if a.state in ACTIVE
    ]


def silence(pulse: Pulse, now: datetime, interval: timedelta) -> timedelta | None:
    """How long nothing was heard, where that is longer than three scrapes; None where facts are fresh."""
    if pulse.newest is None:
        return None
    quiet = now - pulse.newest
    return quiet if quiet > SILENT_SCRAPES * max(interval, pulse.interval or timedelta()) else None


def settled(frame: Frame, pulse: Pulse | Failure, interval: timedelta) -> Frame:
    """A live frame as of the newest scrape: a drill's windows of seconds would begin after what is stored."""
    if not frame.live or isinstance(pulse, Failure) or pulse.scrape is None:
        return frame
    return frame if silence(pulse, frame.now, interval) else replace(frame, now=pulse.scrape)


def verdict(
    now: Slice | None,
    past: Slice | None,
    standing: Sequence[Judgement],
    frame: Frame,
    titles: Mapping[str, str],
    limits: Limits,
) -> Verdict:
    """The headline. Facts are taken to be fresh; `silent` speaks where they are not."""
    active = {j.name: j for j in reversed(standing) if j.state in ACTIVE}
    stall = active.get("engine_stall")
    if stall is not None and stall.state == "firing":
        text = f"Chat has stopped: {stall.component or 'the engine'} holds requests and generates nothing"
        return Verdict("bad", "Stopped", _since(text, stall.active_at, frame), stall.active_at)
    if now is None or now.ttft_p95_ms is None:
        text = "Nothing to judge: no request ended in the window."
        return Verdict("none", "No data", text + _also(active, titles, frame))
    if now.ttft_p95_ms > limits.ttft_p95_ms:
        since = _at(active.get("high_ttft"))
        first = f"Chat is slow: P95 time to first token is {words.amount(now.ttft_p95_ms, 'ms')}"
        return Verdict("bad", "Slow", _since(first + _mostly(now, past, TTFT_STAGES), since, frame), since)
    if past and past.e2e_p95_ms and now.e2e_p95_ms and now.e2e_p95_ms > MUCH * past.e2e_p95_ms:
        times = f"{words.times(now.e2e_p95_ms, past.e2e_p95_ms)} the quiet past"
        text = f"Answers are slow: P95 total latency is {words.amount(now.e2e_p95_ms, 'ms')}, {times}"
        worst = active.get("adapter_latency_regression")
        text += _mostly(now, past, STAGES) + (f", above all {worst.component}" if worst else "")
        return Verdict("warn", "Slow answers", _since(text, _at(worst), frame), _at(worst))
    quick = (
        f"P95 time to first token is {words.amount(now.ttft_p95_ms, 'ms')}, limit {limits.ttft_p95_ms:.0f} ms"
    )
    if active:
        return Verdict(
            "warn", "At risk", f"Chat is quick ({quick}), but not healthy.{_also(active, titles, frame)}"
        )
    return Verdict("ok", "Quick", f"Chat is quick: {quick}.")


def silent(for_: timedelta, newest: datetime, frame: Frame) -> Verdict:
    """The headline where nothing was heard: never a green one."""
    heard = clock(newest, frame)
    text = f"The collector has been silent for {words.length(for_)}. Whether chat is slow cannot be told"
    return Verdict("none", "Silent", f"{text}; last heard {heard}.", newest)


def waiting() -> Verdict:
    """The headline of a store without facts."""
    return Verdict("none", "Waiting", "Waiting for the first scrape. Start the collector: mangaops collect")


def _mostly(now: Slice, past: Slice | None, stages: Sequence[str]) -> str:
    rows = [r for r in stage_rows(now, past) if r.stage in stages and r.now_ms is not None]
    worst = max(rows, key=lambda r: r.excess_ms, default=None)
    return f", mostly {PHRASES[worst.stage]}" if worst and worst.excess_ms > 0 else ""


def _since(text: str, at: datetime | None, frame: Frame) -> str:
    return f"{text}, since {clock(at, frame)}." if at else f"{text}."


def _also(active: Mapping[str, Judgement], titles: Mapping[str, str], frame: Frame) -> str:
    worst = sorted(active.values(), key=lambda j: (j.state != "firing", j.active_at or frame.now))
    if not worst:
        return ""
    j = worst[0]
    name = titles.get(j.name, words.title(j.name))
    more = f" and {len(worst) - 1} more" if len(worst) > 1 else ""
    return f" {_since(f'{name} is {j.state}{more}', j.active_at, frame)}"


def _at(judgement: Judgement | None) -> datetime | None:
    return judgement.active_at if judgement else None


def _taken(stage: str) -> Callable[[Slice], float | None]:
    return lambda s: s.stages.get(stage)


def _mean(slices: Sequence[Slice], value: Callable[[Slice], float | None]) -> float | None:
    known = [(s.count, v) for s in slices if (v := value(s)) is not None]
    total = sum(n for n, _ in known)
    return sum(n * v for n, v in known) / total if total else None
