"""`mangaops scope`: whose requests are slow, by every attribute and pair, at the same lengths."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from collectors.cli import wiring
from collectors.cli.output import NO, complain, instant, out, print_json, print_table
from collectors.diagnose.cohorts.answer import Cohort
from collectors.diagnose.cohorts.measures import MEASURES, Selection
from collectors.diagnose.cohorts.telling import sentence, through, words
from collectors.scoping import Scoped, scope_of
from collectors.store.latest import first_fact
from collectors.store.population import Span
from collectors.store.reader import Reader

BASELINE = timedelta(days=1)
TINY = 1e-6


def scope(
    *,
    since: Annotated[str, typer.Option(help="Instant after which requests ended.")] = "-1h",
    until: Annotated[str | None, typer.Option(help="Instant up to which they ended; by default now.")] = None,
    measure: Annotated[str, typer.Option(help=f"One of {', '.join(MEASURES)}.")] = "ttft_ms",
    over: Annotated[
        float | None, typer.Option(min=0, help="Milliseconds from which slow is; by default the usual P95.")
    ] = None,
    baseline_since: Annotated[
        str | None, typer.Option(help="Begin of what is usual; by default a day before --since.")
    ] = None,
    baseline_until: Annotated[
        str | None, typer.Option(help="End of what is usual; by default --since.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="Root of the tables.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="mangaops.yaml to read.")] = None,
) -> None:
    """Whose requests are slow: all, a cohort, or single ones; ranked over every request, none sampled."""
    if measure not in MEASURES:
        raise ValueError(f"--measure: {measure!r} is no measure. Choose one of {', '.join(MEASURES)}")
    chosen = wiring.settings(config, {"store": store})
    reader = wiring.reader(chosen)
    span, baseline = _spans(reader, since, until, baseline_since, baseline_until)
    picked = None if over is None else Selection(above=over)
    answer = scope_of(reader, span, baseline, MEASURES[measure], picked)
    if not answer.scope.count:
        when = " to ".join(map(instant, span))
        complain(f"{chosen.store}: no request with {measure} from {when}. Check --since, --until and --store")
        sys.exit(NO)
    if json:
        told = sentence(answer.scope, answer.measure, answer.chosen)
        print_json({"sentence": told, **asdict(answer)})
        return
    _print(answer)


def _spans(
    reader: Reader, since: str, until: str | None, baseline_since: str | None, baseline_until: str | None
) -> tuple[Span, Span]:
    now, first = wiring.clock(), first_fact(reader)

    def at(text: str | None, otherwise: datetime) -> datetime:
        return wiring.parse_instant(text, now, first) if text else otherwise

    span = at(since, now), at(until, now)
    end = at(baseline_until, span[0])
    baseline = at(baseline_since, end - BASELINE), end
    for name, (low, high) in (("", span), ("baseline-", baseline)):
        if low >= high:
            raise ValueError(f"--{name}since: it is not before --{name}until. Name an earlier instant")
    return span, baseline


def _print(a: Scoped) -> None:
    found = a.scope
    out.print(f"\n[bold]{escape(sentence(found, a.measure, a.chosen))}[/]\n", highlight=False)
    facts = {
        "ended (UTC)": " to ".join(map(instant, a.span)),
        "measure": f"{a.measure.name} ({a.measure.meaning})",
    }
    if found.usual_share is not None and a.baseline:
        facts["usual"] = " to ".join(map(instant, a.baseline))
    out.print("  ".join(f"[dim]{k}[/] {escape(v)}" for k, v in facts.items()), highlight=False)
    rows = [*map(_row, found.ranking), *map(_row, found.workload)]
    if rows:
        alike = " and ".join(found.lengths).replace("_", " ")
        note = f"compared at the same {alike}" if alike else "lengths do not matter here"
        columns = ("cohort", "marked", "share", "times as often", "times as long", "p", "open")
        print_table("Cohorts, strongest first", columns, rows, f"{note}; each with those above held constant")
    for came in found.came:
        out.print(
            f"Came with it: {escape(words(came.attributes))}, {came.share:.0%} of the requests",
            highlight=False,
        )
    if not rows and found.examples:
        out.print(f"Open: {escape(', '.join(found.examples))}", highlight=False)
    if found.as_usual:
        usual = "; ".join(words(c.attributes) for c in found.as_usual)
        out.print(f"[dim]As slow in the baseline: {escape(usual)}[/]", highlight=False)


def _row(c: Cohort) -> tuple[str, ...]:
    effect = c.whatever_lengths if c.through else c.effect
    why = f"\n[dim]because of {through(c)}[/]" if c.through else ""
    twins = "".join(f"\n[dim]or {escape(words(twin))}: cannot be told apart[/]" for twin in c.twins)
    often = _times(effect.risk, effect.risk_low, effect.risk_high) if effect else ""
    long = _times(effect.ratio, effect.ratio_low, effect.ratio_high) if effect else ""
    p = f"< {TINY:g}" if c.p < TINY else f"{c.p:.2g}"
    counted = f"{c.marked:,} of {c.count:,}"
    cohort = f"{escape(words(c.attributes))}{why}{twins}"
    return (cohort, counted, f"{c.share:.0%}", often, long, p, "\n".join(map(escape, c.examples)))


def _times(value: float, low: float, high: float) -> str:
    return f"× {value:.2g}\n[dim]{low:.2g} – {high:.2g}[/]"
