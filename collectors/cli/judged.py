"""`mangaops slo` and `mangaops readings`: what was promised and kept, and what can be asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from collectors.cli import wiring
from collectors.cli.output import instant, number, print_json, print_table, state
from collectors.judging import Book, slo_judgements
from collectors.model import Judgement
from collectors.signals.points import at_instant, component
from collectors.signals.readings import READINGS, Reading
from collectors.store.latest import first_fact, latest_clock_scale
from collectors.store.reader import Reader
from collectors.store.series import series

Store = Annotated[str | None, typer.Option(help="Root of the tables.")]
At = Annotated[
    str | None,
    typer.Option(
        help="Instant: 2026-11-21T07:22:30Z, Unix seconds, -10m (before now), +70s (after the first fact)."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Config = Annotated[Path | None, typer.Option(help="mangaops.yaml to read.")]


def slo(
    store: Store = None,
    at: At = None,
    clock_scale: Annotated[
        float | None,
        typer.Option(min=1, help="Divides every window; by default what the store was judged with."),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Each SLO's verdict at an instant, with the counts and the interval that it rests on."""
    chosen = wiring.settings(config, {"store": store, "clock_scale": clock_scale})
    reader = wiring.reader(chosen)
    moment = _instant(reader, at)
    scale = clock_scale or latest_clock_scale(reader, moment) or chosen.clock_scale
    book = replace(wiring.book(chosen), clock_scale=scale)
    found = [slo_judgements(reader, s, book, at_instant(moment))[0] for s in book.slos]
    if json:
        print_json([_slo_json(j, book) for j in found])
    else:
        _print_slos(book, found, moment)


def readings(
    store: Store = None,
    at: At = None,
    values: Annotated[bool, typer.Option(help="Compute each from the store as well.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Every reading: its unit, window, groups and meaning; with --values, what it reads."""
    rows = [_described(r) for r in READINGS.values()]
    if values or at or store:
        chosen = wiring.settings(config, {"store": store})
        reader = wiring.reader(chosen)
        moment = _instant(reader, at)
        rows = [
            {**row, "at": moment, "values": _values(reader, READINGS[row["name"]], moment)} for row in rows
        ]
    if json:
        print_json(rows)
        return
    columns = ("reading", "unit", "window", "by", "meaning", *(("value",) if "values" in rows[0] else ()))
    print_table("Readings", columns, [_reading_row(row) for row in rows])


def _instant(reader: Reader, at: str | None) -> datetime:
    """The instant asked for; without one, that of the newest fact up to now."""
    now = wiring.clock()
    return wiring.parse_instant(at, now, first_fact(reader)) if at else now


def _slo_json(j: Judgement, book: Book) -> dict[str, Any]:
    slo = next(s for s in book.slos if s.name == j.name)
    return {
        "slo": j.name,
        "verdict": j.state,
        "share": j.value,
        "low": j.low,
        "high": j.high,
        "target": j.threshold,
        "good": None if j.value is None else round(j.value * (j.count or 0)),
        "count": j.count,
        "basis": j.component,
        "window_s": (slo.window / book.clock_scale).total_seconds(),
        "missing": j.missing,
        "at": j.at,
        "clock_scale": book.clock_scale,
        "runbook": slo.runbook,
    }


def _print_slos(book: Book, found: list[Judgement], at: datetime) -> None:
    rows = []
    for slo, j in zip(book.slos, found, strict=True):
        kept = "no data" if j.value is None else f"{j.value:.3%} of {j.count:,.0f}"
        interval = "" if j.low is None or j.high is None else f"{j.low:.3%} – {j.high:.3%}"
        why = j.missing or j.component
        rows.append(
            (
                slo.title,
                state(j.state),
                f"{slo.target:.1%}",
                kept,
                interval,
                _length(slo.window / book.clock_scale),
                why,
            )
        )
    scale = f" · clock ×{book.clock_scale:g}: every window divided by it" if book.clock_scale != 1 else ""
    columns = ("SLO", "verdict", "target", "good requests", "95 % interval", "window", "from")
    print_table(f"SLOs at {instant(at)} UTC{scale}", columns, rows)


def _length(window: timedelta) -> str:
    seconds = window.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _described(r: Reading) -> dict[str, Any]:
    return {"name": r.name, "unit": r.unit, "window": r.window, "by": list(r.by), "help": r.help}


def _values(reader: Reader, reading: Reading, at: datetime) -> list[dict[str, Any]]:
    return [
        {
            "component": component(reading.by, p.group),
            "value": p.value,
            "count": p.count,
            "missing": p.missing,
        }
        for p in series(reader, reading, at_instant(at))
    ]


def _reading_row(row: dict[str, Any]) -> tuple[str, ...]:
    base = (row["name"], row["unit"], _length(row["window"]), ", ".join(row["by"]), row["help"])
    if "values" not in row:
        return base
    return (*base, "\n".join(_value_text(v, row["unit"]) for v in row["values"]))


def _value_text(v: dict[str, Any], unit: str) -> str:
    text = number(v["value"], unit) if v["missing"] is None else f"no data: {v['missing']}"
    return escape(f"{v['component']} {text}".strip())
