"""How a figure is taken and printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

RUNS = 7


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement: ours, the peer's, the aim, all in `unit`; smaller is better."""

    what: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    aim: float | None = None


def timed_ms(work: Callable[[], object], runs: int = RUNS) -> float:
    """Median milliseconds of `runs` calls, after one to warm up."""
    work()
    return median(_once_ms(work) for _ in range(runs))


def show(title: str, figures: list[Figure]) -> None:
    """Print the figures as a table."""
    table = Table(title=title, title_justify="left")
    for column in ("what", "ours", "aim", "peer", "peer is", "ours ÷ peer"):
        table.add_column(column, justify="left" if column in {"what", "peer is"} else "right")
    for f in figures:
        table.add_row(
            f.what,
            _text(f.ours, f.unit),
            "" if f.aim is None else f"≤ {_text(f.aim, f.unit)}",
            "" if f.peer is None else _text(f.peer, f.unit),
            f.peer_name,
            "" if f.peer is None else f"{f.ours / f.peer:.2f}",
        )
    Console(width=140).print(table)


def _once_ms(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return (perf_counter() - began) * 1000


def _text(value: float, unit: str) -> str:
    return f"{value:,.1f} {unit}"
