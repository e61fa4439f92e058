"""`mangaops incidents`: what went wrong, why, whom it hurt, and what changed just before."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from collectors.cli import wiring
from collectors.cli.output import NO, complain, number, out, print_json, print_table, time_of_day
from collectors.store.incidents import incidents as stored
from collectors.store.latest import first_fact

SEVERITY_STYLE = {"critical": "bold red", "warning": "yellow", "info": "dim"}
MOST_EVIDENCE = 4


def incidents(
    store: Annotated[str | None, typer.Option(help="Root of the tables.")] = None,
    since: Annotated[str | None, typer.Option(help="Only those told of after this instant.")] = None,
    incident: Annotated[str | None, typer.Option("--id", help="Only this one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON; times in Unix seconds.")] = False,
    config: Annotated[Path | None, typer.Option(help="mangaops.yaml to read.")] = None,
) -> None:
    """Incidents with their causes, oldest first."""
    chosen = wiring.settings(config, {"store": store})
    reader = wiring.reader(chosen)
    after = wiring.parse_instant(since, wiring.clock(), first_fact(reader)) if since else None
    found = [i for i in stored(reader, after) if incident in {None, i["id"]}]
    if incident and not found:
        complain(f"{incident}: no incident of that id in {chosen.store}. Check the id and --store")
        sys.exit(NO)
    if json:
        print_json(found)
    elif incident:
        _print(found[0])
    else:
        print_incidents(found)


def print_incidents(found: Sequence[Mapping[str, Any]]) -> None:
    """A line for each."""
    columns = ("start (UTC)", "end", "severity", "cause", "hurt", "sure", "id")
    print_table("Incidents", columns, [_row(i) for i in found], None if found else "none")


def _row(i: Mapping[str, Any]) -> tuple[str, ...]:
    harm = i["harm"]
    where = f"\n[dim]{escape(i['component'])}[/]" if i["component"] else ""
    return (
        time_of_day(_instant(i["start"])),
        time_of_day(_instant(i["end"])) or "lasts",
        f"[{SEVERITY_STYLE[i['severity']]}]{i['severity']}[/]",
        f"{i['cause']}{where}",
        f"{harm['requests_hurt']:,} of {harm['requests']:,}",
        f"{i['confidence']:.0%}",
        i["id"],
    )


def _print(i: Mapping[str, Any]) -> None:
    out.print(f"\n[bold]{escape(i['sentence'])}[/]\n", highlight=False)
    print_incidents([i])
    rows = [
        (escape(e["what"]), number(e["value"], e["unit"]), number(e["usual"], e["unit"]), _count(e["count"]))
        for e in i["evidence"][:MOST_EVIDENCE]
    ]
    print_table("Evidence", ("what", "then", "usually", "from"), rows)
    fired = [(a["rule"], escape(a["component"]), time_of_day(_instant(a["fired"]))) for a in i["alerts"]]
    print_table("Alerts", ("rule", "component", "fired (UTC)"), fired)
    print_table("Just before", ("what", "subject", "before the start"), list(_changes(i["changes"])))
    if i["alternatives"]:
        told = [(a["cause"], escape(a["component"] or ""), f"{a['score']:.0%}") for a in i["alternatives"]]
        print_table("Also considered", ("cause", "component", "sure"), told)
    out.print(f"runbook: runbooks/{i['runbook']}.md", highlight=False)


def _changes(changes: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, ...]]:
    for c in changes:
        yield (c["kind"], escape(c["subject"]), f"{c['lag_s']:,.1f} s")


def _count(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
