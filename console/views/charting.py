"""Which curves a chart shows, and what is marked on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from collectors.model import EventFact
from console.views import changes, verdict
from console.views.curves import Line, Mark
from console.views.evidence import spoken_by
from console.views.facts import Change, Told
from console.views.frame import Frame


@dataclass(frozen=True, slots=True)
class Plan:
    """A chart: readings in one unit, with the names of their curves."""

    readings: tuple[str, ...]
    names: tuple[str, ...]
    unit: str
    limit: float | None = None


FIRST = "Time to first token"
CHARTS: Mapping[str, Plan] = {
    FIRST: Plan(("request_ttft_p95_ms", "request_ttft_p50_ms"), ("P95", "P50"), "ms", 500.0),
    "Total latency": Plan(("request_e2e_p95_ms", "request_e2e_p50_ms"), ("P95", "P50"), "ms"),
    "Queue": Plan(("queue_depth", "running"), ("waiting", "running"), "requests", 80.0),
    "KV cache": Plan(("kv_usage_ratio",), ("in use",), "ratio", 0.95),
    "Prefix hits": Plan(("prefix_hit_ratio",), ("hit rate",), "ratio", 0.5),
    "Tokens": Plan(("generation_tokens_per_s", "prompt_tokens_per_s"), ("generated", "taken in"), "tokens/s"),
    "Errors": Plan(("error_ratio", "rejected_ratio"), ("errors", "rejected"), "ratio"),
}
MAX_CHANGES = 6  # marks beyond these would cover each other


def plan(chosen: str | None, *, requests: bool) -> Plan:
    """The chart of that name; without request rows, from the engine's own counts where it has them."""
    asked = CHARTS[chosen or FIRST]
    return replace(asked, readings=spoken_by(asked.readings, requests=requests))


def lines(plan: Plan, told: Sequence[Told], colours: Sequence[str]) -> list[Line]:
    """The plan's curves; the first is the one that the eye should follow."""
    named = dict(zip(plan.readings, plan.names, strict=True))
    return [
        Line(
            named[t.reading.name], [p.at for p in t.points], [p.value for p in t.points], colour, fill=i == 0
        )
        for i, (t, colour) in enumerate(zip(told, colours, strict=False))
    ]


def marks(
    events: Iterable[EventFact], states: Sequence[Change], frame: Frame, titles: Mapping[str, str]
) -> list[Mark]:
    """Changes as lines and firing alerts as bands."""
    changed = [Mark(e.at, changes.label(e)) for e in changes.releases(list(events))][:MAX_CHANGES]
    return [*changed, *_fired(states, frame, titles)]


def _fired(states: Sequence[Change], frame: Frame, titles: Mapping[str, str]) -> list[Mark]:
    firing = {(c.name, c.component) for c in states if c.state == "firing"}
    found = []
    for name, component in sorted(firing):
        own = [c for c in states if (c.name, c.component) == (name, component)]
        only = [
            Change(c.name, c.component, c.at, "firing" if c.state == "firing" else "inactive") for c in own
        ]
        text = " · ".join(t for t in (titles.get(name, name), component) if t)
        found += [Mark(a, f"{text} fires", b) for a, b in verdict.active_times(only, frame.now)]
    return found
