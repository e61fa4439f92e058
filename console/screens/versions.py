"""Adapters & versions: who answers, how well, and what came before it."""

from __future__ import annotations

import streamlit as st

from console import diagnosis, links, markup, services
from console.desk import Desk
from console.screens.parts import Tick, answered, draw, empty, heading
from console.views import versions, words
from console.views.facts import Pulse
from console.views.frame import Frame

HEAD = (
    *(("Version", ""), ("Requests", "r"), ("TTFT P50", "r"), ("P95", "r"), ("Per token", "r")),
    *(("Total P95", "r"), ("Answer", "r"), ("Cached", "r"), ("Errors", "r")),
)
LEAD = "Each version beside the one that it took the place of, in the time range chosen."


def show(desk: Desk, tick: Tick) -> None:
    """Draw the screen. It holds still: a table that moves under the hand cannot be read."""
    frame = tick()
    pulse = services.pulse(desk, frame.now)
    heading("Adapters & versions", frame, pulse, LEAD)
    if isinstance(pulse, Pulse) and pulse.newest is None:
        empty()
        return
    kind = st.segmented_control(
        "Of", list(versions.COLUMNS), key="of", default="Adapters", bind="query-params"
    )
    column = versions.COLUMNS[kind or "Adapters"]
    rows = versions.rows(answered(diagnosis.versions(desk, frame, column), []))
    draw(_table(kind or "Adapters", column, rows, frame))
    draw(_what_to_do(column, rows, frame))


def _table(kind: str, column: str, rows: list[versions.Row], frame: Frame) -> markup.Html:
    src = markup.source("requests", f"last {words.length(frame.span)}", f"by {column}")
    if not rows:
        said = "No request of this range names one. Traces carry it: see Sources."
        return markup.card(kind, markup.tag("div", said, cls="m-none"), src)
    cells = [(_named(row, frame), *versions.cells(row, frame.span)) for row in rows]
    return markup.card(kind, markup.table(HEAD, cells), src)


def _named(row: versions.Row, frame: Frame) -> markup.Html:
    return markup.join(
        markup.tag("b", row.version.name or "none"),
        markup.tag("div", markup.chip(*versions.verdict(row))),
        markup.tag("div", versions.seen(row, frame), cls="m-dim"),
    )


def _what_to_do(column: str, rows: list[versions.Row], frame: Frame) -> markup.Html:
    page = versions.RUNBOOKS.get(column, versions.RUNBOOK)
    worse = [row.version.name for row in rows if row.worse]
    said = f"Roll back {', '.join(worse)}" if worse else "Promote or roll back"
    return markup.card(
        "What to do",
        markup.join(
            f"{said} by its ",
            markup.link("runbook", links.runbook(page, frame)),
            ". This console changes nothing in the fleet. ",
            markup.link("The slow requests", links.to("slow-chat", frame)),
        ),
    )
