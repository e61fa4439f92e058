"""The drills there are, as a table for people and as JSON for the console, which imports nothing of this."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from rich.table import Table

from loadtests import scenario
from loadtests.faults import lacking
from loadtests.scenario import Drill
from loadtests.staging.needs import missing
from loadtests.staging.parts import Place, parts

HERE = Place(Path())
BESIDE_AN_ENGINE = Place(Path(), engine_url="http://127.0.0.1")  # whichever: it is not asked


def drills(rules: frozenset[str]) -> list[Drill]:
    """Every shipped drill, by name. Raises ConfigError where one is wrong."""
    files = [scenario.named(name) for name in scenario.names()]
    return [scenario.parse(f.read_text(encoding="utf-8"), str(f), rules) for f in files]


def table(found: Collection[Drill]) -> Table:
    """For people."""
    listed = Table(title="Drills", title_justify="left")
    for column in ("name", "what it is", "lasts", "clock", "proves"):
        listed.add_column(column)
    for d in found:
        listed.add_row(d.name, d.title, f"{d.seconds:.0f} s", f"×{d.clock_scale:g}", d.proves)
    return listed


def data(found: Collection[Drill]) -> dict[str, Any]:
    """For programs; with a line for each thing that is missing, also for a drill beside a running engine."""
    return {
        "drills": [_drill(d) for d in found],
        "missing": missing(HERE),
        "missing_beside_engine": missing(BESIDE_AN_ENGINE),
    }


def _drill(drill: Drill) -> dict[str, Any]:
    """`own_engine`: it breaks the engine, and can do so only to one that it starts itself."""
    beside = {p.name for p in parts(BESIDE_AN_ENGINE, console=False)}
    faults = [f for p in drill.phases for f in p.faults]
    return {
        "name": drill.name,
        "title": drill.title,
        "seconds": drill.seconds,
        "clock_scale": drill.clock_scale,
        "proves": drill.proves,
        "phases": [p.name for p in drill.phases],
        "own_engine": any(lacking(f, beside, relayed=False) for f in faults),
    }
