"""A process's start-up: what it was busy with from its first moment until it was ready.

The stages are those that an operator speaks of. No moment counts twice, so they sum to the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

ENGINE, GATEWAY = "engine_startup", "gateway_startup"
INIT, WEIGHTS, KV_CACHE, CAPTURE = "init", "weights", "KV cache", "graph capture"
WAITING, ADAPTERS, WARM_UP = "waiting for the engine", "adapters", "warm-up"
PROCESS = "process and imports"  # what comes before a process can trace itself
SHORTEST_S = 0.001  # of a piece that is told of


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a start-up, in seconds since its begin: its stage, and the span that tells of it."""

    stage: str
    span: str
    offset_s: float
    length_s: float


@dataclass(frozen=True, slots=True)
class StartUp:
    """One start: `who` is the process, by the name or address that its spans came with.

    `end` is when it was ready, or, with a `failure`, when it gave up. The pieces leave no gap in between.
    """

    kind: str
    who: str
    begin: datetime
    end: datetime
    pieces: tuple[Piece, ...]
    trace_id: str
    span_id: str
    failure: str | None = None

    @property
    def key(self) -> str:
        """What tells it from every other."""
        return self.trace_id + self.span_id

    @property
    def length_s(self) -> float:
        """Seconds from its first span to ready."""
        return (self.end - self.begin).total_seconds()


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage's pieces put together; one may be come back to. `told` is seconds by span, longest first."""

    name: str
    length_s: float
    bars: tuple[tuple[float, float], ...]  # offset and length in seconds
    told: tuple[tuple[str, float], ...]


def stages(start: StartUp) -> list[Stage]:
    """Its stages in the order in which they begin."""
    return [
        _stage(name, [p for p in start.pieces if p.stage == name])
        for name in dict.fromkeys(p.stage for p in start.pieces)
    ]


def with_process(start: StartUp, process_start: datetime) -> StartUp:
    """The same start-up from when its process began: what came before its first span is init too."""
    gap_s = (start.begin - process_start).total_seconds()
    if gap_s <= 0:
        return start
    rest = (replace(p, offset_s=p.offset_s + gap_s) for p in start.pieces)
    return replace(start, begin=process_start, pieces=(Piece(INIT, PROCESS, 0.0, gap_s), *rest))


def _stage(name: str, pieces: Sequence[Piece]) -> Stage:
    told: dict[str, float] = {}
    for piece in pieces:
        told[piece.span] = told.get(piece.span, 0.0) + piece.length_s
    bars: list[tuple[float, float]] = []
    for piece in pieces:
        if bars and abs(sum(bars[-1]) - piece.offset_s) < 2 * SHORTEST_S:  # each was rounded
            bars[-1] = (bars[-1][0], bars[-1][1] + piece.length_s)
        else:
            bars.append((piece.offset_s, piece.length_s))
    longest = sorted(told.items(), key=lambda t: -t[1])
    return Stage(name, sum(p.length_s for p in pieces), tuple(bars), tuple(longest))
