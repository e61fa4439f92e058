"""Start-ups: where the time from a process's first breath to its readiness went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from collectors.signals.startup import (
    ADAPTERS,
    CAPTURE,
    ENGINE,
    INIT,
    KV_CACHE,
    PROCESS,
    WARM_UP,
    WEIGHTS,
    StartUp,
    stages,
    with_process,
)
from console.views import words
from console.views.facts import Life, Starts
from console.views.frame import Frame, clock

# What a process does while no span below this one runs.
DOING: Mapping[str, str] = {
    PROCESS: "API server starts and imports",
    "Overall Loading": "API server sets up",
    "AsyncMPClient init": "engine core starts and imports",
    "EngineCoreProc init": "engine core sets up",
    "Executor init": "workers start and import",
    "Worker init": "workers set up",
    "Init device": "workers take the device",
    "Initialize model": "model built",
    "Load weights": "weights read",
    "Download weights - HF": "weights downloaded",
    "Load model": "model put in place",
    "Prepare model": "memory measured",
    "Allocate KV cache": "KV cache allocated",
    "Compile graph": "graphs compiled",
    "Inductor compilation": "kernels compiled",
    "Capture model": "graphs captured",
    "Warmup (GPU)": "kernels warmed up",
    "gateway_startup": "gateway sets up",
    "wait_for_engine": "engine does not answer yet",
    "load_adapter": "each adapter's first answer",
    "warm_up": "base model's first answer",
}
EXPECTED: Mapping[str, tuple[str, ...]] = {ENGINE: (INIT, WEIGHTS, KV_CACHE, CAPTURE, WARM_UP)}
OF_GATEWAY = (ADAPTERS, WARM_UP)
ENGINE_NOTE = "Ready: loaded. vLLM answers on its port from then on; chat comes after the gateway's warm-up."
GATEWAY_NOTE = "Alive from the first instant; until ready, /ping says 503 and no chat is taken."
UNSCRAPED = "No scrape tells when the process began, so this counts from its first span."
SHOWN_SPANS = 3
LEAST_SHOWN_S = 0.05
EARLIEST = timedelta(minutes=10)  # imports take a minute; a process that began long before is another one
SLACK = timedelta(seconds=1)  # between a process's own clock and its spans
MIN_WIDTH = 0.5  # percent: a bar that is thinner could not be seen


@dataclass(frozen=True, slots=True)
class Row:
    """A stage: its seconds, its bars as (left, width) in percent, and what it was spent on."""

    stage: str
    seconds: str
    bars: tuple[tuple[float, float], ...]
    told: tuple[str, ...]
    label: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """One start-up to be read: facts as (name, value), a row a stage; of `missing` stages no span told."""

    title: str
    chip: tuple[str, str]
    facts: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    ready: str
    whole: str
    missing: tuple[str, ...]
    note: str


def newest(told: Iterable[StartUp]) -> list[StartUp]:
    """Of each process the newest start-up, the newest first."""
    found: dict[tuple[str, str], StartUp] = {}
    for start in sorted(told, key=lambda s: s.end):
        found[start.kind, start.who] = start
    return sorted(found.values(), key=lambda s: s.end, reverse=True)


def counted(told: Iterable[StartUp]) -> dict[tuple[str, str], int]:
    """How often each process began."""
    return dict(Counter((s.kind, s.who) for s in told))


def life_of(start: StartUp, lives: Sequence[Life]) -> Life | None:
    """The replica whose process this was: begun before the first span, first heard after ready.

    None where none fits, or several do.
    """
    if start.failure is not None:
        return None
    heard = [k for k in lives if k.answered >= start.end - SLACK]
    then = [k for k in heard if start.begin - EARLIEST <= k.began <= start.begin + SLACK]
    named = [k for k in then if start.who in {k.replica, k.replica.rpartition(":")[0]}]
    found = named or then
    return found[0] if len(found) == 1 else None


def sheet(start: StartUp, starts: Starts, frame: Frame) -> Sheet:
    """A start-up as it is shown."""
    life = life_of(start, starts.lives.get(start.key, []))
    whole = with_process(start, life.began) if life else start
    engine = start.kind == ENGINE
    found = stages(whole)
    expected = EXPECTED.get(start.kind, OF_GATEWAY)
    return Sheet(
        f"{'Engine' if engine else 'Gateway'} start-up · {life.replica if life else start.who or 'unnamed'}",
        ("ready", "ok") if start.failure is None else ("failed", "bad"),
        tuple(_facts(whole, start, life, starts, frame)),
        tuple(_row(s.name, s.length_s, s.bars, s.told, whole.length_s) for s in found),
        clock(start.end, frame, both=False),
        seconds(whole.length_s),
        tuple(name for name in expected if name not in {s.name for s in found}),
        start.failure or _note(start, life),
    )


def longest(start: StartUp) -> str:
    """Its longest stage with its seconds."""
    found = max(stages(start), key=lambda s: s.length_s, default=None)
    return f"{found.name} {seconds(found.length_s)}" if found else words.NO_DATA


def seconds(value: float) -> str:
    """A length of time in seconds, so that stages can be compared and added up."""
    return f"{value:,.1f} s"


def _facts(
    whole: StartUp, start: StartUp, life: Life | None, starts: Starts, frame: Frame
) -> Iterable[tuple[str, str]]:
    yield "Process up" if life or start.kind != ENGINE else "First span", clock(whole.begin, frame)
    yield "Ready" if start.failure is None else "Failed", clock(start.end, frame)
    yield "Took", seconds(whole.length_s)
    if start.kind == ENGINE:
        yield "First scrape answered", clock(life.answered, frame, both=False) if life else "not known"
    count = starts.counted.get((start.kind, start.who), 1)
    yield f"Starts in {words.length(frame.now - starts.since)}", words.number(count)


def _note(start: StartUp, life: Life | None) -> str:
    if start.kind != ENGINE:
        return GATEWAY_NOTE
    return ENGINE_NOTE if life else f"{ENGINE_NOTE} {UNSCRAPED}"


def _row(
    name: str,
    length_s: float,
    bars: Sequence[tuple[float, float]],
    told: Sequence[tuple[str, float]],
    whole_s: float,
) -> Row:
    percent = 100 / whole_s if whole_s else 0.0
    drawn = tuple((min(o * percent, 100 - MIN_WIDTH), max(d * percent, MIN_WIDTH)) for o, d in bars)
    spans = [f"{DOING.get(span, span)} {seconds(s)}" for span, s in told if s >= LEAST_SHOWN_S]
    label = ", ".join(f"{o:,.1f} to {o + d:,.1f} s" for o, d in bars)
    return Row(name, seconds(length_s), drawn, tuple(spans[:SHOWN_SPANS]), f"{name}: {label}")
