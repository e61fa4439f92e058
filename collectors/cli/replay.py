"""`mangaops replay`: a recording into a store, with the timeline of its alerts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from collectors.cli import wiring
from collectors.cli.output import err, out, print_json, print_table, state, time_of_day
from collectors.episodes import Episode, Transition, episodes
from collectors.replay import first_instant, timeline
from collectors.replay import replay as play_into
from collectors.sources.tape import Tape, load
from collectors.store.delta import DeltaWriter

LASTING = "lasts"
SHORT_PENDING_S = 5.0  # a signal that flickers across its threshold; the states are stored all the same


def replay(
    directory: Annotated[Path, typer.Argument(help="A recording's directory.")],
    store: Annotated[str, typer.Option(help="Root of the tables to load it into.")],
    clock_scale: Annotated[
        float, typer.Option(min=1, help="Divides every window and `for` of rules and SLOs.")
    ] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print [{alert, component, state, at}].")] = False,
    config: Annotated[Path | None, typer.Option(help="mangaops.yaml to read.")] = None,
) -> None:
    """Load a recording at full speed, judging as its time passes; a killed one goes on where it stopped."""
    chosen = wiring.settings(config, {"store": store, "clock_scale": clock_scale})
    book, began = wiring.book(chosen), monotonic()
    tape, reader = load(directory), wiring.reader(chosen)
    with _progress(json) as progress:
        task = progress.add_task(f"replaying {tape.name}", total=(tape.end - tape.start).total_seconds())
        play_into(
            tape,
            DeltaWriter(chosen.store),
            reader,
            book,
            lambda at: progress.update(task, completed=(at - tape.start).total_seconds()),
        )
    found = timeline(reader, book, first_instant(tape), tape.end + timedelta(seconds=1))
    took = monotonic() - began
    if json:
        print_json(
            [{"alert": t.alert, "component": t.component, "state": t.state, "at": t.at} for t in found]
        )
    else:
        _print(tape, found, clock_scale, took)


def _progress(quiet: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err, transient=True, disable=quiet)


def _print(tape: Tape, found: list[Transition], clock_scale: float, took: float) -> None:
    scale = f" · clock ×{clock_scale:g}: every window and `for` divided by it" if clock_scale != 1 else ""
    shown = [e for e in episodes(found) if e.fired_at or e.lasted_s(tape.end) >= SHORT_PENDING_S]
    alerts = [e for e in shown if e.pending_at or e.fired_at]
    silent = [e for e in shown if not (e.pending_at or e.fired_at)]
    columns = ("alert", "component", "pending", "firing", "ended", "got to")
    print_table(
        f"Alerts of {tape.name}, {tape.start:%Y-%m-%d}, UTC{scale}",
        columns,
        [_episode_row(e) for e in alerts],
    )
    print_table(
        "No data",
        ("alert", "component", "from", "to"),
        [
            (e.alert, escape(e.component), time_of_day(e.began), time_of_day(e.ended_at) or LASTING)
            for e in silent
        ],
    )
    hidden = len(episodes(found)) - len(shown)
    if hidden:
        out.print(
            f"{hidden} episodes under {SHORT_PENDING_S:g} s that came to nothing are left out; --json has all"
        )
    for problem in tape.problems:
        err.print(f"[yellow]problem[/] {escape(f'{problem.subject} {problem.what}. {problem.remedy}')}")
    length = (tape.end - tape.start).total_seconds()
    out.print(
        f"{len(tape.scrapes):,} scrapes and {len(tape.requests):,} requests, {length:.0f} s of recording "
        f"in {took:.1f} s: {length / took:.0f}× real time"
    )


def _episode_row(e: Episode) -> tuple[str, ...]:
    word = "firing" if e.fired_at else "pending"
    times = (time_of_day(e.pending_at), time_of_day(e.fired_at), time_of_day(e.ended_at) or LASTING)
    return (e.alert, escape(e.component), *times, state(word))
