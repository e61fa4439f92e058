"""What belongs together becomes one incident: a cause, what follows from it, from its start to its end.

Time is walked in looks. A finding has to hold for its cause's time before it counts; then it opens an
incident, or explains one that is open, or follows from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from collectors.diagnose.causes import BRINGS_ABOUT, FROM_OUTSIDE, NEVER_USUAL, Cause
from collectors.diagnose.scene import Evidence, Finding

Key = tuple[Cause, str | None]

# Minutes that a finding holds before it counts; the shorter, the more direct its evidence is.
HOLD_MIN: Mapping[Cause, float] = {
    Cause.ENGINE_STALL: 0.0,
    Cause.OOM: 0.0,
    Cause.REPLICA_DOWN: 0.0,
    Cause.TELEMETRY_GAP: 0.5,
    Cause.CONTEXT_OVERFLOW: 1.0,
    Cause.REJECTED: 0.5,
    Cause.PREFIX_CACHE_BROKEN: 1.0,
    Cause.TRAFFIC_BURST: 1.0,
    Cause.LONG_CONTEXT_PRESSURE: 2.0,
    Cause.ADAPTER_REGRESSION: 2.0,
    Cause.LONG_OUTPUT: 2.0,
    Cause.ADAPTER_SLOTS_SHORT: 2.0,
    Cause.CAPACITY_SHORT: 3.0,
    Cause.PREEMPTION: 3.0,
    Cause.FRONTEND_SLOW: 3.0,
    Cause.DECODE_SLOW: 4.0,
    Cause.UNDETERMINED: 4.0,
    Cause.COLD_START: 1.0,
}
SETTLE_MIN = 4.0  # after its detection, a start is estimated anew from clearer evidence
GAP_MIN = 1.0  # a finding that is away for less goes on
CLEAR_MIN = 3.0  # an incident without its evidence, and without anybody waiting longer, has ended
LINGER_MIN = 12.0  # what still follows from it after its evidence is gone keeps it open no longer
AGAIN_MIN = 6.0  # what comes back so soon after its end has not ended
EXPLAIN_MIN = 8.0  # a cause that is found this soon after an effect explains it
# What is decided for each request by itself lasts no longer than what brings it about.
AT_ONCE = frozenset({Cause.REJECTED, Cause.CONTEXT_OVERFLOW})
AFTER_MIN = 6.0  # an effect that appears this soon after an incident's end still follows from it


DAY_MIN = 1440.0  # after so long a shift is how things are


@dataclass(frozen=True, slots=True)
class Watched:
    """A finding over time: since when it holds, and when it was last seen."""

    finding: Finding
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. Instants are seconds since the epoch; `end` None while it lasts.

    `detected` is when it was first known, `seen` when its own evidence was last there, `felt` when a
    customer last waited longer.
    """

    number: int
    cause: Cause
    component: str | None
    start: float
    detected: float
    seen: float
    felt: float
    confidence: float
    evidence: tuple[Evidence, ...]
    consequences: tuple[Cause, ...] = ()
    rivals: tuple[tuple[Cause, str | None, float], ...] = ()
    end: float | None = None
    became_usual: bool = False

    @property
    def key(self) -> Key:
        """Its cause and component."""
        return self.cause, self.component


@dataclass(frozen=True, slots=True)
class Case:
    """What is remembered between two looks."""

    watched: Mapping[Key, Watched] = field(default_factory=dict)
    open: tuple[Incident, ...] = ()
    ended: tuple[Incident, ...] = ()
    count: int = 0


def look(case: Case, now: float, minute_s: float, found: Iterable[Finding], *, felt: bool) -> Case:
    """One look: what was found at this instant, and whether customers wait clearly longer than usual."""
    watched = _watched(case.watched, now, minute_s, found)
    case = replace(case, watched=watched)
    held = [
        w for w in watched.values() if w.last == now and now - w.first >= HOLD_MIN[w.finding.cause] * minute_s
    ]
    # what comes from outside first: the rest may follow from it
    for each in sorted(held, key=lambda w: (w.finding.cause not in FROM_OUTSIDE, w.first, -w.finding.score)):
        case = _placed(case, now, minute_s, each, held, felt=felt)
    return _closed(case, now, minute_s, felt=felt)


def accustomed(case: Case, now: float, minute_s: float) -> Case | None:
    """Without shifts that lasted for a day: they are how things are by now.

    None where there are none, or where anything else is wrong, which must not become usual with them.
    """
    old = [i for i in case.open if _may_be_usual(i) and now - i.detected >= DAY_MIN * minute_s]
    if not old or len(old) < len(case.open):
        return None
    over = tuple(replace(i, end=now, became_usual=True) for i in old)
    return replace(
        case,
        watched={},
        open=(),
        ended=(*case.ended, *over),
    )


def _may_be_usual(incident: Incident) -> bool:
    fails = NEVER_USUAL & {incident.cause, *incident.consequences}
    return not fails and not (incident.component or "").startswith("error_kind=")


def quiet(case: Case) -> bool:
    """Whether what is seen now may count as usual."""
    return not case.open and not any(w.finding.cause in FROM_OUTSIDE for w in case.watched.values())


def _watched(
    before: Mapping[Key, Watched], now: float, minute_s: float, found: Iterable[Finding]
) -> dict[Key, Watched]:
    kept = {k: w for k, w in before.items() if now - w.last <= GAP_MIN * minute_s}
    for finding in found:
        first = kept[finding.key].first if finding.key in kept else now
        kept[finding.key] = Watched(finding, first, now)
    return kept


def _placed(
    case: Case, now: float, minute_s: float, each: Watched, held: Sequence[Watched], *, felt: bool
) -> Case:
    """The finding in the incident that it belongs to, or in a new one."""
    finding = each.finding
    for incident in case.open:
        if incident.key == finding.key:
            return _with(case, _confirmed(incident, finding, now, minute_s))
    before = _ended_before(case, finding, now, minute_s)
    if before is not None:
        return _reopened(case, before, finding, now, minute_s)
    source = _source(case, each, now, minute_s, felt=felt)
    if source is not None:
        return _with(case, _followed(source, finding, now))
    effect = _effect(case, finding, now, minute_s)
    rivals = _ranked(held, finding)
    if effect is not None:
        return _with(case, _explained(effect, finding, now, rivals))
    number = case.count + 1
    opened = Incident(
        number,
        *finding.key,
        start=finding.since,
        detected=now,
        seen=_sign(finding, now),
        felt=finding.since,
        confidence=finding.score,
        evidence=finding.evidence,
        rivals=rivals,
    )
    return replace(case, open=(*case.open, opened), count=number)


def _ended_before(case: Case, finding: Finding, now: float, minute_s: float) -> Incident | None:
    """The incident of the same cause and component that ended a moment ago."""
    same = [
        i
        for i in case.ended
        if i.key == finding.key and not i.became_usual and now - (i.end or now) <= AGAIN_MIN * minute_s
    ]
    return max(same, key=lambda i: i.start, default=None)


def _source(case: Case, each: Watched, now: float, minute_s: float, *, felt: bool) -> Incident | None:
    """The incident that this follows from: open, or just ended."""
    cause = each.finding.cause
    lately = [i for i in case.ended if i.end is not None and now - i.end <= AFTER_MIN * minute_s]
    able = [i for i in (*case.open, *lately) if cause in BRINGS_ABOUT[i.cause]]
    if cause in AT_ONCE:
        able = [i for i in able if felt or each.first - i.seen <= GAP_MIN * minute_s]
        able = [i for i in able if now - i.seen <= LINGER_MIN * minute_s]
    return max(able, key=lambda i: (i.end is None, i.start), default=None)


def _effect(case: Case, finding: Finding, now: float, minute_s: float) -> Incident | None:
    """The open incident that this explains: an effect found before its cause, though not begun before it.

    Traffic that grows steadily is told of where it grew most, which may be a little after its effect.
    """
    slack_s = SETTLE_MIN * minute_s if finding.cause is Cause.TRAFFIC_BURST else 0.0
    able = [
        i
        for i in case.open
        if i.cause in BRINGS_ABOUT[finding.cause]
        and now - i.detected <= EXPLAIN_MIN * minute_s
        and finding.since <= i.detected + slack_s
    ]
    return min(able, key=lambda i: i.start, default=None)


def _confirmed(incident: Incident, finding: Finding, now: float, minute_s: float) -> Incident:
    stronger = finding.score > incident.confidence
    early = now - incident.detected <= SETTLE_MIN * minute_s
    return replace(
        incident,
        start=finding.since if stronger and early else incident.start,
        seen=max(incident.seen, _sign(finding, now)),
        confidence=max(incident.confidence, finding.score),
        evidence=finding.evidence if stronger else incident.evidence,
    )


def _reopened(case: Case, before: Incident, finding: Finding, now: float, minute_s: float) -> Case:
    """The incident goes on; what was known when it ended is no news."""
    if _sign(finding, now) <= (before.end or now):
        return case
    going = _confirmed(replace(before, end=None), finding, now, minute_s)
    ended = tuple(i for i in case.ended if i.number != before.number)
    return replace(case, open=(*case.open, going), ended=ended)


def _followed(incident: Incident, finding: Finding, now: float) -> Incident:
    told = incident.consequences
    if finding.cause is not Cause.UNDETERMINED and finding.cause not in told:
        told = (*told, finding.cause)
    return replace(
        incident, consequences=told, felt=max(now, incident.felt) if incident.end is None else incident.felt
    )


def _explained(
    incident: Incident, finding: Finding, now: float, rivals: tuple[tuple[Cause, str | None, float], ...]
) -> Incident:
    before = () if incident.cause is Cause.UNDETERMINED else (incident.cause,)
    return replace(
        incident,
        cause=finding.cause,
        component=finding.component,
        start=finding.since,
        seen=max(incident.seen, _sign(finding, now)),
        confidence=finding.score,
        evidence=finding.evidence,
        consequences=(*before, *(c for c in incident.consequences if c is not finding.cause)),
        rivals=rivals,
    )


def _sign(finding: Finding, now: float) -> float:
    return now if finding.until is None else finding.until


def _ranked(held: Sequence[Watched], finding: Finding) -> tuple[tuple[Cause, str | None, float], ...]:
    """The other causes that were seen at the same time, the clearest first."""
    others = [w.finding for w in held if w.finding.key != finding.key]
    ordered = sorted(others, key=lambda f: (f.cause not in FROM_OUTSIDE, -f.score))
    return tuple((f.cause, f.component, f.score) for f in ordered)


def _with(case: Case, changed: Incident) -> Case:
    def put(kept: tuple[Incident, ...]) -> tuple[Incident, ...]:
        return tuple(changed if i.number == changed.number else i for i in kept)

    return replace(case, open=put(case.open), ended=put(case.ended))


def _closed(case: Case, now: float, minute_s: float, *, felt: bool) -> Case:
    """End what has neither its evidence nor an effect any more."""
    newest = max((i.start for i in case.open), default=None)
    going: list[Incident] = []
    over: list[Incident] = []
    for each in case.open:
        # customers who wait longer are put down to the newest incident alone
        waits = felt and each.start == newest and now - each.seen <= LINGER_MIN * minute_s
        current = replace(each, felt=now) if waits else each
        ends = now - max(current.seen, current.felt) > CLEAR_MIN * minute_s
        (over if ends else going).append(
            replace(current, end=max(current.seen, current.felt)) if ends else current
        )
    return replace(case, open=tuple(going), ended=(*case.ended, *over))
