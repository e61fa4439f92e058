"""`mangaops declare`: a change that no source can see: a deploy, a scaling, another configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from collectors.cli import wiring
from collectors.cli.output import instant, out
from collectors.model import EventFact
from collectors.store.delta import DeltaWriter
from collectors.store.latest import first_fact

SOURCE = "declared"
MOST = 200  # characters of a name


def declare(
    subject: Annotated[str, typer.Argument(help="What changed, such as gateway or prompt_version=v44.")],
    kind: Annotated[
        Literal["deploy", "scaling", "configuration"], typer.Option(help="What kind of change.")
    ] = "deploy",
    before: Annotated[str | None, typer.Option(help="What it was.")] = None,
    after: Annotated[str | None, typer.Option(help="What it is now.")] = None,
    at: Annotated[str | None, typer.Option(help="When; now without it.")] = None,
    store: Annotated[str | None, typer.Option(help="Root of the tables.")] = None,
    config: Annotated[Path | None, typer.Option(help="mangaops.yaml to read.")] = None,
) -> None:
    """Mark a change on every chart, and before every incident that follows it."""
    for name, text in (("subject", subject), ("--before", before), ("--after", after)):
        if text is not None and not 0 < len(text.strip()) <= MOST:
            raise ValueError(f"{name}: give 1 to {MOST} characters")
    chosen = wiring.settings(config, {"store": store})
    now = wiring.clock()
    when = wiring.parse_instant(at, now, first_fact(wiring.reader(chosen))) if at else now
    event = EventFact(when, kind, subject.strip(), SOURCE, before, after)
    DeltaWriter(chosen.store).append("events", [event])
    out.print(f"{kind} of {escape(event.subject)} at {instant(when)} UTC is marked", highlight=False)
