"""`mangaops rules check` and `mangaops doctor`: is what we rely on sound?"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from collectors.checkup import (
    Finding,
    check_engines,
    check_joins,
    check_mlflow,
    check_prometheus,
    check_receiver,
    check_store,
)
from collectors.cli import wiring
from collectors.cli.output import NO, complain, out, print_json, print_table
from collectors.settings import runbook_pages
from collectors.validation import ConfigError

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Config = Annotated[Path | None, typer.Option(help="mangaops.yaml to read.")]

_STYLE = {"ok": "green", "warning": "yellow", "fault": "bold red"}


def rules_check(
    rules: Annotated[Path | None, typer.Option(help="Alert rules to check.")] = None,
    slos: Annotated[Path | None, typer.Option(help="SLOs to check.")] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Check rules and SLOs; every mistake is named at once. Exit code 1 where there are any."""
    chosen = wiring.settings(config, {"rules": rules, "slos": slos})
    try:
        book = wiring.book(chosen)
    except ConfigError as error:
        if json:
            print_json({"ok": False, "mistakes": list(error.mistakes)})
        for mistake in () if json else error.mistakes:
            complain(mistake)
        sys.exit(NO)
    if json:
        print_json({"ok": True, "rules": [r.name for r in book.rules], "slos": [s.name for s in book.slos]})
        return
    pages = len(runbook_pages())
    out.print(
        f"{len(book.rules)} rules and {len(book.slos)} SLOs are sound; {pages} runbook pages", highlight=False
    )


def doctor(
    engine: Annotated[list[str] | None, typer.Option("--engine", help="A vLLM replica to try.")] = None,
    prometheus: Annotated[str | None, typer.Option(help="A Prometheus server to try.")] = None,
    mlflow: Annotated[str | None, typer.Option(help="An MLflow server to try.")] = None,
    otlp_port: Annotated[int | None, typer.Option(help="Port of a receiver of traces to try.")] = None,
    store: Annotated[str | None, typer.Option(help="Root of the tables.")] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Is every source, table and join sound? Exit code 1 where something is broken."""
    flags = {"engines": engine or None, "prometheus": prometheus, "mlflow": mlflow}
    chosen = wiring.settings(config, {**flags, "otlp_port": otlp_port, "store": store})
    now = wiring.clock()
    reader = wiring.reader(chosen)
    findings = [
        _check_book(chosen.rules, lambda: wiring.book(chosen)),
        *check_store(reader, now, chosen),
        *check_joins(reader, now),
        *asyncio.run(check_engines(chosen, now)),
        *asyncio.run(check_receiver(chosen)),
        *check_prometheus(chosen, now),
        *asyncio.run(check_mlflow(chosen, now)),
    ]
    if json:
        print_json(
            [{"check": f.check, "state": f.state, "what": f.what, "remedy": f.remedy} for f in findings]
        )
    else:
        rows = [
            (f.check, f"[{_STYLE[f.state]}]{f.state}[/]", escape(f.what), escape(f.remedy)) for f in findings
        ]
        print_table("Doctor", ("check", "state", "what", "remedy"), rows)
    sys.exit(NO if any(f.state == "fault" for f in findings) else 0)


def _check_book(file: Path, parse: object) -> Finding:
    assert callable(parse)  # noqa: S101 - for the type checker
    try:
        book = parse()
    except ConfigError as error:
        return Finding("rules and SLOs", "fault", "; ".join(error.mistakes), f"Correct {file}")
    return Finding("rules and SLOs", "ok", f"{len(book.rules)} rules, {len(book.slos)} SLOs")
