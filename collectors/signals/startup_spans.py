"""From the spans that a process sent of its start to the start-up: which stage each moment was spent in.

vLLM traces its own start (`Overall Loading` and what stands below it), our gateway its warm-up
(`gateway_startup`). At each instant the innermost span that runs is what the process is busy with, however
spans are nested and however many workers load side by side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from heapq import heappop, heappush
from itertools import pairwise

from collectors.signals.startup import (
    ADAPTERS,
    CAPTURE,
    ENGINE,
    GATEWAY,
    INIT,
    KV_CACHE,
    SHORTEST_S,
    WAITING,
    WARM_UP,
    WEIGHTS,
    Piece,
    StartUp,
)
from collectors.signals.traces import Span, below, is_engine

# The outermost span of each kind of start-up. It ends when the process is ready.
ROOTS: Mapping[str, str] = {"Overall Loading": ENGINE, "gateway_startup": GATEWAY}
# Span names as vLLM 0.32 has them (`@instrument` in its source), then the gateway's.
STAGES: Mapping[str, str] = {
    **dict.fromkeys(("Overall Loading", "AsyncMPClient init", "SyncMPClient init"), INIT),
    **dict.fromkeys(("EngineCoreProc init", "Executor init", "Worker init", "Init device"), INIT),
    **dict.fromkeys(("Loading (GPU)", "Loading (CPU)", "Load model", "Initialize model"), WEIGHTS),
    **dict.fromkeys(("Load weights", "Download weights - HF"), WEIGHTS),
    **dict.fromkeys(("Prepare model", "Allocate KV cache"), KV_CACHE),
    **dict.fromkeys(("Compile graph", "Inductor compilation", "Dynamo bytecode transform"), CAPTURE),
    "Capture model": CAPTURE,
    **dict.fromkeys(("Warmup (GPU)", "Warmup (CPU)", "DeepGemm warmup", "CuTeDSL warmup"), WARM_UP),
    "gateway_startup": INIT,
    "wait_for_engine": WAITING,
    "load_adapter": ADAPTERS,
    "warm_up": WARM_UP,
}
MAX_PIECES = 100  # of a start-up that is kept; the shortest are added to those before them
_SECOND = timedelta(seconds=1)


def tells_of_start(spans: Collection[Span]) -> bool:
    """Whether spans without a request are of a start-up that is under way or over."""
    return any(s.name in STAGES for s in spans) and not any(map(is_engine, spans))


def roots(spans: Collection[Span]) -> list[Span]:
    """The outermost span of each start-up among them, the earliest first."""
    return sorted((s for s in spans if s.name in ROOTS), key=lambda s: (s.start, s.span_id))


def members(root: Span, spans: Collection[Span]) -> tuple[Span, ...]:
    """The spans of the start-up with this root, the root among them.

    A root that nobody started has its trace to itself: spans whose parent was lost are its own too.
    """
    inside = {s.span_id for s in spans} if root.parent_id is None else below({root.span_id}, spans)
    return tuple(s for s in spans if s.span_id in inside)


def start_up(root: Span, spans: Collection[Span]) -> StartUp:
    """The start-up with this root, told by its members."""
    own = [s for s in spans if s.start < root.end and s.end > root.start]
    return StartUp(
        ROOTS[root.name],
        root.sender or "",
        root.start,
        root.end,
        _few(_merged(_pieces(root, own))),
        root.trace_id,
        root.span_id,
        (root.message or "it failed") if root.failed else None,
    )


# ----------------------------------------------------------------------------------------- pieces
def _pieces(root: Span, spans: Sequence[Span]) -> Iterator[Piece]:
    """The time from the root's begin to its end, cut wherever another span becomes the innermost."""
    stage, depth = _places(root, spans)
    edges = sorted({root.start, root.end, *(t for s in spans for t in (s.start, s.end))})
    coming = sorted(spans, key=lambda s: s.start, reverse=True)
    # the innermost is on top; of spans that are nested equally deep, the one begun last
    running: list[tuple[int, float, str, Span]] = [(0, 0.0, root.span_id, root)]
    for at, until in pairwise(t for t in edges if root.start <= t <= root.end):
        while coming and coming[-1].start <= at:
            span = coming.pop()
            heappush(running, (-depth[span.span_id], -span.start.timestamp(), span.span_id, span))
        while running[0][3].end <= at:
            heappop(running)
        top = running[0][3]
        yield Piece(stage[top.span_id], top.name, (at - root.start) / _SECOND, (until - at) / _SECOND)


def _places(root: Span, spans: Sequence[Span]) -> tuple[dict[str, str], dict[str, int]]:
    """Each span's stage and how deep it stands; what lost its parent stands directly below the root."""
    ids = {s.span_id for s in spans}
    children: dict[str, list[Span]] = {}
    for span in spans:
        above = span.parent_id if span.parent_id in ids else root.span_id
        children.setdefault(above or root.span_id, []).append(span)
    stage, depth = {root.span_id: INIT}, {root.span_id: 0}
    level = [root.span_id]
    while level:
        below_it = [(above, s) for above in level for s in children.get(above, []) if s.span_id not in depth]
        for above, span in below_it:
            stage[span.span_id] = _stage_of(span.name, stage[above])
            depth[span.span_id] = depth[above] + 1
        level = [s.span_id for _, s in below_it]
    for span in spans:  # parents that stand below each other are no parents
        stage.setdefault(span.span_id, _stage_of(span.name, INIT))
        depth.setdefault(span.span_id, 1)
    return stage, depth


def _stage_of(name: str, above: str) -> str:
    """An unknown span is of the stage that it stands in; one that stands in init is a stage of its own."""
    return STAGES.get(name) or (name if above == INIT else above)


def _merged(pieces: Iterable[Piece], shortest_s: float = 0.0) -> list[Piece]:
    """Neighbours that tell the same as one; what is shorter is added to the piece before it."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else piece
        same = (last.stage, last.span) == (piece.stage, piece.span)
        if found and (same or piece.length_s < shortest_s):
            found[-1] = replace(last, length_s=last.length_s + piece.length_s)
        elif found and last.length_s < shortest_s:  # the very first one
            found[-1] = replace(piece, offset_s=last.offset_s, length_s=last.length_s + piece.length_s)
        else:
            found.append(piece)
    return found


def _few(pieces: list[Piece]) -> tuple[Piece, ...]:
    """No more than are worth keeping."""
    shortest_s = SHORTEST_S
    pieces = _merged(pieces, shortest_s)
    while len(pieces) > MAX_PIECES:
        shortest_s *= 2
        pieces = _merged(pieces, shortest_s)
    return tuple(pieces)
