"""Other drills out of a recorded one: shifted, thinned, renamed, cut into its phases and put together anew.

A phase is moved with everything in it: its scrapes, its requests and their spans. Counters go on across a
seam from where the phase before left them, so that the result is a recording like any other.
"""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from collectors.sources.tape import METRICS, REQUESTS, SPANS
from loadtests.truth import PLAN

LONGEST_SHIFT_S = 90 * 86_400.0
LEVELS = ("num_requests_", "cache_usage_perc", "_info", "process_", "python_", "_created")
SCALED_LEVELS = ("num_requests_running", "num_requests_waiting")
ADAPTERS = {"manga_domain": "anime_goods", "general_support": "front_desk", "jp_style": "keigo"}
LEAST_KEPT = 0.4


@dataclass(frozen=True, slots=True)
class Piece:
    """A phase of the recording with what happened in it, moved by `shift_s`.

    Of one that is laid over another, only the requests that failed come: they cost the engine nothing.
    """

    phase: Mapping[str, Any]
    shift_s: float
    over: bool = False


@dataclass(frozen=True, slots=True)
class Variation:
    """What is done to a recording that began at `t0`: its pieces, all moved, so much of it kept, renamed."""

    pieces: tuple[Piece, ...]
    t0: float
    moved_s: float
    kept: float  # share of the sessions
    names: Mapping[str, str]


def make(source: Path, target: Path, seed: int) -> str:
    """Write a variation of the recording; what was done, in words. The same seed makes the same."""
    rng = Random(seed)
    plan = json.loads((source / PLAN).read_text(encoding="utf-8"))
    kept, renamed = rng.choice((1.0, 1.0, rng.uniform(LEAST_KEPT, 0.9))), rng.random() < 0.5  # noqa: PLR2004 - a coin
    moved_s = rng.uniform(-LONGEST_SHIFT_S, LONGEST_SHIFT_S)
    pieces = _arranged(plan["phases"], rng)
    pieces += _laid_over(plan["phases"], pieces, rng)
    t0 = plan["t0_unix_s"]
    names = _names(rng) if renamed else {}
    _write_plan(target, plan, pieces, t0 + moved_s)
    how = Variation(tuple(pieces), t0, moved_s, kept, names)
    _write_rows(source, target, how)
    _write_metrics(source, target, how)
    order = " ".join(
        ("over it " if p.over else "") + p.phase["phase"]
        for p in pieces
        if p.phase["fault"] != "none" or p.phase["rate"] > 1
    )
    return (
        f"seed {seed}: {order or 'nothing wrong'}, {kept:.0%} of its sessions{', renamed' if renamed else ''}"
    )


def _arranged(phases: Sequence[Mapping[str, Any]], rng: Random) -> list[Piece]:
    """The baseline first; then the faults, each with its recovery, in another order, some left out."""
    baseline, *rest = phases
    pairs = [rest[k : k + 2] for k in range(0, len(rest), 2)]
    rng.shuffle(pairs)
    chosen = pairs[: rng.randint(0 if rng.random() < 0.15 else 2, len(pairs))]  # noqa: PLR2004 - now and then none
    # the last recovery is ten seconds of an emptying engine: it can only be the end
    ordered = [
        baseline,
        *(p for pair in sorted(chosen, key=lambda pair: pair[-1] is phases[-1]) for p in pair),
    ]
    pieces, at = [], float(baseline["start_s"])
    for phase in ordered:
        pieces.append(Piece(phase, at - float(phase["start_s"])))
        at += float(phase["end_s"]) - float(phase["start_s"])
    return pieces


def _laid_over(phases: Sequence[Mapping[str, Any]], pieces: Sequence[Piece], rng: Random) -> list[Piece]:
    """Now and then, prompts that are too long come while something else is wrong."""
    oversize = [p for p in phases if p["fault"] == "oversize"]
    under = [p for p in pieces if p.phase["fault"] not in {"none", "oversize", "engine_stall"}]
    if not oversize or not under or rng.random() < 0.6:  # noqa: PLR2004 - now and then
        return []
    chosen = rng.choice(under)
    into_s = rng.uniform(10, 25)
    begins_s = chosen.phase["start_s"] + chosen.shift_s + into_s
    return [Piece(oversize[0], begins_s - oversize[0]["start_s"], over=True)]


def _names(rng: Random) -> dict[str, str]:
    number = rng.randint(2, 60)
    return {**ADAPTERS, '"v42"': f'"v{number}"', '"v43"': f'"v{number + 1}"'}


def _write_plan(target: Path, plan: Mapping[str, Any], pieces: Sequence[Piece], t0: float) -> None:
    phases = [
        {**p.phase, "start_s": p.phase["start_s"] + p.shift_s, "end_s": p.phase["end_s"] + p.shift_s}
        for p in pieces
    ]
    (target / PLAN).write_text(json.dumps({**plan, "t0_unix_s": t0, "phases": phases}), encoding="utf-8")


def _write_rows(source: Path, target: Path, how: Variation) -> None:
    """Requests by their start; a span goes with its request."""
    traces: set[str] = set()
    end_s = max(p.phase["end_s"] + p.shift_s for p in how.pieces)
    with gzip.open(source / REQUESTS, "rt") as lines, gzip.open(target / REQUESTS, "wt") as out:
        for line in lines:
            row = json.loads(line)
            second, lasts_s = row["start_unix_s"] - how.t0, row["e2e_ms"] / 1000
            if not _kept(str(row.get("session_id")), how.kept):
                continue
            for piece in _at(how.pieces, second, failed=row["http_status"] >= 400):  # noqa: PLR2004 - HTTP's errors
                if second + piece.shift_s + lasts_s < end_s:  # one that is open at the end is not told of
                    moved = {**row, "start_unix_s": row["start_unix_s"] + piece.shift_s + how.moved_s}
                    moved["request_id"] += "-over" if piece.over else ""
                    traces.add(row["trace_id"])
                    out.write(_renamed(json.dumps(moved, ensure_ascii=False), how.names) + "\n")
    with gzip.open(source / SPANS, "rt") as lines, gzip.open(target / SPANS, "wt") as out:
        out.writelines(line for line in lines if json.loads(line)["trace_id"] in traces)


def _write_metrics(source: Path, target: Path, how: Variation) -> None:
    scrapes = _scrapes(source / METRICS)
    total: dict[str, float] = {}
    with lzma.open(target / METRICS, "wt", preset=1) as out:
        for piece in (p for p in how.pieces if not p.over):
            first, end = piece.phase["start_s"], piece.phase["end_s"]
            inside = [k for k, (at, _) in enumerate(scrapes) if first <= at - how.t0 < end]
            for k in inside:
                before = scrapes[k - 1][1] if k else {}
                at, series = scrapes[k]
                out.write(f"# scrape {at + piece.shift_s + how.moved_s:.6f}\n")
                out.write(_renamed(_text(series, before, total, how.kept), how.names))


def _text(
    series: Mapping[str, float], before: Mapping[str, float], total: dict[str, float], kept: float
) -> str:
    """One scrape: levels as they are, counters as far as they have come in the new order."""
    lines = []
    for name, value in series.items():
        if any(part in name for part in LEVELS):
            scaled = round(value * kept) if any(part in name for part in SCALED_LEVELS) else value
            lines.append(f"{name} {scaled}")
        else:
            total[name] = total.get(name, 0.0) + kept * max(0.0, value - before.get(name, 0.0))
            lines.append(f"{name} {total[name]}")
    return "\n".join(lines) + "\n"


def _scrapes(file: Path) -> list[tuple[float, dict[str, float]]]:
    found: list[tuple[float, dict[str, float]]] = []
    with lzma.open(file, "rt") as lines:
        for line in lines:
            if line.startswith("# scrape "):
                found.append((float(line[9:]), {}))
            elif line.strip() and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[-1][1][name] = float(value)
    return found


def _at(pieces: Sequence[Piece], second: float, *, failed: bool) -> list[Piece]:
    """Where a request goes that began then: to its phase, and to where that is laid over another."""
    inside = [p for p in pieces if p.phase["start_s"] <= second < p.phase["end_s"]]
    return [p for p in inside if failed or not p.over]


def _kept(session: str, share: float) -> bool:
    return int.from_bytes(sha256(session.encode()).digest()[:4]) / 2**32 < share


def _renamed(text: str, names: Mapping[str, str]) -> str:
    for before, after in names.items():
        text = text.replace(before, after)
    return text
