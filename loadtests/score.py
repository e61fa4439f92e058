"""Are the causes right: incidents beside what was really wrong, on recordings, variations of them and drills.

    python -m loadtests.score loadtests/recordings/h200_release_drill --clock-scale 20 [--variations 8]
    python -m loadtests.score .mangaops/drills/smoke-…        a drill that was run: its own store

A recording is replayed into a store of its own first. Exit code 1: a cause is wrong, or an incident false.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from collectors.cli import wiring
from collectors.replay import replay
from collectors.sources.tape import load
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from collectors.store.incidents import incidents
from loadtests import synthetic
from loadtests.truth import PROGRESS, Truth, of_drill, of_recording, scale_of

EARLY_MIN = 1.0  # of the drill's clock: an incident's start is an estimate
TOP = 3


@dataclass(frozen=True, slots=True)
class Scored:
    """A fault and the incident that was found for it; `false` are incidents that no fault explains."""

    truth: Truth
    found: Mapping[str, Any] | None
    top_1: bool
    top_3: bool
    delay_s: float | None


@dataclass(frozen=True, slots=True)
class Score:
    """What a drill came to."""

    scored: tuple[Scored, ...]
    false: tuple[tuple[str, Mapping[str, Any]], ...]

    @property
    def sound(self) -> bool:
        """Every cause right at first, none invented."""
        return all(s.top_1 for s in self.scored if s.truth.required) and not self.false


def score(truths: Sequence[Truth], found: Sequence[Mapping[str, Any]], clock_scale: float) -> Score:
    """Each incident belongs to the stretch in which it began; the first of a stretch is its answer."""
    early_s = 60 * EARLY_MIN / clock_scale
    faults = [t for t in truths if t.cause]
    used: set[str] = set()
    scored = []
    for truth in faults:
        began = [i for i in found if truth.start - early_s <= i["start"] < truth.end and i["id"] not in used]
        right = [i for i in began if _is(truth, i)]
        first = began if len(_together(faults, truth)) == 1 else right or began
        answer = (first if truth.required else right)[:1]
        used |= {i["id"] for i in answer}
        scored.append(_scored(truth, answer[0] if answer else None))
    rest = [i for i in found if i["id"] not in used and not _allowed(faults, i, early_s)]
    return Score(tuple(scored), tuple((_phase(truths, i), i) for i in rest))


def _scored(truth: Truth, answer: Mapping[str, Any] | None) -> Scored:
    if answer is None:
        return Scored(truth, None, top_1=False, top_3=False, delay_s=None)
    first = _is(truth, answer)
    others = answer["alternatives"][: TOP - 1]
    return Scored(
        truth, answer, first, first or any(_is(truth, a) for a in others), answer["detected"] - truth.start
    )


def _is(truth: Truth, answer: Mapping[str, Any]) -> bool:
    return answer["cause"] == truth.cause and truth.component in {None, answer["component"]}


def _together(faults: Sequence[Truth], truth: Truth) -> list[Truth]:
    return [t for t in faults if t.start < truth.end and truth.start < t.end]


def _allowed(faults: Sequence[Truth], found: Mapping[str, Any], early_s: float) -> bool:
    """A second sight of a fault that was there then is not false."""
    return any(t.start - early_s <= found["start"] < t.end and _is(t, found) for t in faults)


def _phase(truths: Sequence[Truth], found: Mapping[str, Any]) -> str:
    inside = [t.phase for t in truths if t.start <= found["start"] < t.end]
    return inside[0] if inside else "outside"


def main() -> int:
    """Score what the command line names."""
    parser = argparse.ArgumentParser(prog="loadtests.score", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, help="recordings, or drills that were run")
    parser.add_argument("--clock-scale", type=float, default=20.0, help="for recordings")
    parser.add_argument(
        "--variations", type=int, default=0, help="of each recording, made by transforming it"
    )
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    console, sound = Console(), True
    for folder in chosen.folders:
        for name, truths, found, scale in _cases(folder, chosen):
            result = score(truths, found, scale)
            sound = sound and result.sound
            console.print(_table(name, truths, result))
    return 0 if sound else 1


def _cases(
    folder: Path, chosen: argparse.Namespace
) -> Iterator[tuple[str, list[Truth], list[dict[str, Any]], float]]:
    if (folder / PROGRESS).exists():
        yield folder.name, of_drill(folder), incidents(DuckReader(str(folder / "store"))), scale_of(folder)
        return
    with _replayed(folder, chosen.clock_scale) as found:
        yield folder.name, of_recording(folder), found, chosen.clock_scale
    for number in range(chosen.variations):
        with tempfile.TemporaryDirectory(prefix="mangaops-score-") as made:
            what = synthetic.make(folder, Path(made), chosen.seed + number)
            with _replayed(Path(made), chosen.clock_scale) as found:
                yield f"{folder.name}, {what}", of_recording(Path(made)), found, chosen.clock_scale


@contextmanager
def _replayed(folder: Path, clock_scale: float) -> Iterator[list[dict[str, Any]]]:
    with tempfile.TemporaryDirectory(prefix="mangaops-score-") as root:
        book = wiring.book(wiring.settings(None, {"store": root, "clock_scale": clock_scale}))
        reader = DuckReader(root)
        replay(load(folder), DeltaWriter(root), reader, book, lambda _: None)
        yield incidents(reader)


def _table(name: str, truths: Sequence[Truth], result: Score) -> Table:
    needed = [s for s in result.scored if s.truth.required]
    hits, near = sum(s.top_1 for s in needed), sum(s.top_3 for s in needed)
    t0 = min(t.start for t in truths)
    caption = (
        f"top-1 {hits} of {len(needed)}, top-3 {near} of {len(needed)}, false incidents {len(result.false)}"
    )
    table = Table(title=name, caption=caption, title_justify="left", caption_justify="left")
    for column in ("phase", "wrong was", "found", "severity", "detected after", "right"):
        table.add_column(column, overflow="fold")
    for s in result.scored:
        table.add_row(*_row(s))
    for phase, i in result.false:
        table.add_row(phase, "nothing", _named(i), i["severity"], f"at {i['detected'] - t0:.0f} s", "false")
    return table


def _row(s: Scored) -> tuple[str, ...]:
    wrong = f"{s.truth.cause}{f' {s.truth.component}' if s.truth.component else ''}"
    if s.found is None:
        return (s.truth.phase, wrong, "nothing", "", "", "missed" if s.truth.required else "no harm")
    right = "yes" if s.top_1 else "in the first three" if s.top_3 else "no"
    return (s.truth.phase, wrong, _named(s.found), s.found["severity"], f"{s.delay_s:.1f} s", right)


def _named(i: Mapping[str, Any]) -> str:
    return f"{i['cause']} {i['component'] or ''}".strip()


if __name__ == "__main__":
    sys.exit(main())
