"""A turn of judging: readings from the store, verdicts from the pure core, rows to keep.

Live judging, replay and catching up after a restart are this one function over a longer or shorter grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from collectors.judge.alerts import Alert, Judged, run, transitions
from collectors.judge.baseline import History, extended, missing_bins, thresholds
from collectors.judge.rules import Rule, scaled
from collectors.judge.slo import Slo, histogram_reading, request_reading, verdict
from collectors.model import EventFact, Judgement
from collectors.signals.points import Grid, Point, component
from collectors.store.reader import Reader
from collectors.store.series import series

ALERT = "alert"
# A group that stays silent this long is forgotten; until then it is shown as no data.
FORGET_GROUP = timedelta(days=1)

Key = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Book:
    """What is judged: rules and SLOs as written, the clock's scale, and a hash of the files."""

    rules: tuple[Rule, ...]
    slos: tuple[Slo, ...]
    clock_scale: float = 1.0
    slo_step: timedelta = timedelta(minutes=1)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What judging remembers between turns."""

    alerts: Mapping[Key, Alert] = field(default_factory=dict)
    seen: Mapping[Key, datetime] = field(default_factory=dict)
    histories: Mapping[str, History] = field(default_factory=dict)
    slos_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn brought."""

    memory: Memory
    judgements: tuple[Judgement, ...] = ()
    events: tuple[EventFact, ...] = ()


def judge(reader: Reader, book: Book, memory: Memory, grid: Grid) -> Turn:
    """Judge every rule at every instant, and every SLO at its own, wider step. Raises StoreError."""
    turn = Turn(memory)
    with reader.snapshot():
        for rule in book.rules:
            turn = _joined(turn, _rule_turn(reader, book, scaled(rule, book.clock_scale), turn.memory, grid))
        return _joined(turn, _slo_turn(reader, book, turn.memory, grid))


def slo_grid(book: Book, memory: Memory, grid: Grid) -> Grid | None:
    """The instants of this turn at which SLOs are judged, aligned to their step."""
    step = max(book.slo_step / book.clock_scale, timedelta(seconds=1))
    midnight = grid.end.replace(hour=0, minute=0, second=0, microsecond=0)
    last = midnight + (grid.end - midnight) // step * step
    after = max(memory.slos_until or grid.start - grid.step, grid.start - grid.step)
    count = max(0, -((after - last) // step))
    return Grid(last - step * (count - 1), step, count) if count else None


def slo_judgements(reader: Reader, slo: Slo, book: Book, grid: Grid) -> list[Judgement]:
    """The SLO's verdict at every instant. Raises StoreError."""
    window = slo.window / book.clock_scale
    requests = series(reader, request_reading(slo), grid, window)
    engine = histogram_reading(slo)
    counted = series(reader, engine, grid, window) if engine else [None] * len(requests)
    verdicts = [verdict(slo, r, h) for r, h in zip(requests, counted, strict=True)]
    return [
        Judgement(
            at=p.at,
            subject="slo",
            name=slo.name,
            component=v.basis,
            state=v.verdict,
            value=v.share,
            low=v.low,
            high=v.high,
            count=v.count,
            threshold=slo.target,
            missing=v.missing,
            clock_scale=book.clock_scale,
            settings=book.digest,
        )
        for p, v in zip(requests, verdicts, strict=True)
    ]


def _joined(turn: Turn, more: Turn) -> Turn:
    return Turn(more.memory, turn.judgements + more.judgements, turn.events + more.events)


def _slo_turn(reader: Reader, book: Book, memory: Memory, grid: Grid) -> Turn:
    instants = slo_grid(book, memory, grid)
    if instants is None or not book.slos:
        return Turn(memory)
    found = [j for slo in book.slos for j in slo_judgements(reader, slo, book, instants)]
    return Turn(replace(memory, slos_until=instants.end), tuple(found))


def _rule_turn(reader: Reader, book: Book, rule: Rule, memory: Memory, grid: Grid) -> Turn:
    awaited = _awaited(rule, memory, grid.start, FORGET_GROUP / book.clock_scale)
    points = series(reader, rule.source, grid, rule.window, awaited)
    history = _history(reader, rule, memory, grid)
    limits = thresholds(rule, history, points)
    also = series(reader, rule.source, grid, rule.also_window, awaited) if rule.also_window else ()
    turn = Turn(replace(memory, histories={**memory.histories, rule.name: history}))
    for group, own in _by_group(points).items():
        limit = {p.at: limits.get((p.at, group)) for p in own} if rule.baseline else None
        second = {p.at: p for p in also if p.group == group} if rule.also_window else None
        before = memory.alerts.get((rule.name, group), Alert())
        judged = run(rule, before, own, limit, second)
        turn = _joined(turn, _group_turn(book, rule, turn.memory, group, before, judged))
    return turn


def _group_turn(
    book: Book, rule: Rule, memory: Memory, group: tuple[str, ...], before: Alert, judged: Sequence[Judged]
) -> Turn:
    name, key = component(rule.source.by, group), (rule.name, group)
    spoke = [j.point.at for j in judged if j.point.value is not None]
    seen = {**memory.seen, key: spoke[-1]} if spoke else memory.seen
    subject = f"{rule.name}[{name}]" if name else rule.name
    changed = transitions(before, judged)
    known = key in memory.alerts
    events = tuple(
        EventFact(at, ALERT, subject, "judge", old, new)
        for at, old, new in changed
        if known or _matters(old, new)
    )
    rows = tuple(_row(book, rule, name, j) for j in judged)
    return Turn(replace(memory, alerts={**memory.alerts, key: judged[-1].alert}, seen=seen), rows, events)


def _matters(old: str, new: str) -> bool:
    """The very first look at a rule is no transition unless it goes on to something."""
    return (old, new) != ("inactive", "no_data")


def _row(book: Book, rule: Rule, name: str, j: Judged) -> Judgement:
    return Judgement(
        at=j.point.at,
        subject="rule",
        name=rule.name,
        component=name,
        state=j.alert.state,
        value=j.point.value,
        low=j.point.low,
        high=j.point.high,
        count=j.point.count,
        threshold=j.threshold,
        missing=j.missing,
        active_at=j.alert.active_at,
        fired_at=j.alert.fired_at,
        kept_since=j.alert.kept_since,
        clock_scale=book.clock_scale,
        settings=book.digest,
    )


def _awaited(rule: Rule, memory: Memory, now: datetime, forget: timedelta) -> list[tuple[str, ...]]:
    """Groups that spoke lately: if they are silent now, that is to be said."""
    return [g for (name, g), at in memory.seen.items() if name == rule.name and g and now - at < forget]


def _history(reader: Reader, rule: Rule, memory: Memory, grid: Grid) -> History:
    history = memory.histories.get(rule.name, History())
    bins = missing_bins(rule, history, grid)
    if bins is None:
        return history
    return extended(rule, history, bins, series(reader, rule.source, bins, rule.window))


def _by_group(points: Iterable[Point]) -> dict[tuple[str, ...], list[Point]]:
    found: dict[tuple[str, ...], list[Point]] = {}
    for p in points:
        found.setdefault(p.group, []).append(p)
    return found
