"""`mangaops backfill`: engine facts of the past, out of Prometheus."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from collectors.backfilling import Progress as Filled
from collectors.backfilling import backfill as fill
from collectors.cli import wiring
from collectors.cli.output import NO, complain, err, out, print_json
from collectors.fetching import FetchLimits, Unanswered
from collectors.settings import Settings
from collectors.sources.prometheus.asking import Server
from collectors.sources.prometheus.polling import Choice
from collectors.store.delta import DeltaWriter
from collectors.validation import ConfigError

LIMITS = FetchLimits(timeout=timedelta(seconds=60))  # ten minutes of an old day may lie on a slow disk


def backfill(
    since: Annotated[str, typer.Option(help="From here on: an instant, or -6h for six hours ago.")],
    until: Annotated[str | None, typer.Option(help="Up to here; without it, now.")] = None,
    prometheus: Annotated[
        str | None, typer.Option(help="Prometheus server that scraped the replicas.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="Root of the tables.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="mangaops.yaml to read.")] = None,
) -> None:
    """Store the engine facts that Prometheus remembers; what the store has already is left as it is."""
    chosen = wiring.settings(config, {"prometheus": prometheus, "store": store})
    now = wiring.clock()
    begin, end = _range(chosen, since, until, now)
    # engines that are scraped directly too: what that missed is what a back-fill is for
    server, choice = Server(str(chosen.prometheus), LIMITS), Choice(chosen.prometheus_label)
    steps = fill(server, choice, wiring.reader(chosen), DeltaWriter(chosen.store), begin, end)
    last = Filled(begin, 0, 0)
    try:
        with _progress(json) as progress:
            task = progress.add_task("back-filling", total=(end - begin).total_seconds())
            for last in steps:
                progress.update(task, completed=(last.until - begin).total_seconds())
    except Unanswered as error:
        complain(f"{error} (up to {last.until.isoformat()} it is stored; the same command goes on)")
        sys.exit(NO)
    if json:
        print_json({"since": begin, "until": end, "stored": last.stored, "left_out": last.covered})
        return
    out.print(
        f"{last.stored:,} facts from {begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC stored; "
        f"{last.covered:,} were there already or are counted by another source",
        highlight=False,
    )


def _range(chosen: Settings, since: str, until: str | None, now: datetime) -> tuple[datetime, datetime]:
    mistakes = [] if chosen.prometheus else ["prometheus: nothing to read from. Give --prometheus URL"]
    begin = wiring.parse_instant(since, now, None)
    end = min(now, wiring.parse_instant(until, now, None)) if until else now
    if begin >= end:
        mistakes.append("since: is not before until. Write an earlier instant, or -6h")
    if begin < now - timedelta(days=chosen.retention_days):
        mistakes.append(
            f"since: facts older than {chosen.retention_days} days are dropped. Raise retention_days first"
        )
    if mistakes:
        raise ConfigError("backfill", mistakes)
    return begin, end


def _progress(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err, transient=True, disable=quiet or not err.is_terminal)
