"""A drill's certificate on screen: what the alerts saw, whether it is to be believed, one beside another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from console import markup
from console.screens.parts import draw
from console.views import drills, words
from console.views.drills import Drill

NONE = "nothing"
GROUPED = (
    *(("", ""), ("Offered", "r"), ("Failed", "r"), ("Good", "r")),
    *((label, "r") for label, _ in drills.FIGURES),
)
DETECTED = (
    *(("Phase", ""), ("Alert", ""), ("Allowed", "r")),
    *(("After injection", "r"), ("After first harm", "r"), ("Cause found", ""), ("", "")),
)
TABLES = (("Phases", "phases"), ("Adapters", "adapters"), ("Turns", "turns"), ("Prompts", "prompts"))
CHECKED = (("Check", ""), ("Found", "r"), ("Allowed", "r"), ("", ""))
DEMANDED = (("Before a release", ""), ("Found", "r"), ("", ""))
OUTCOMES: Mapping[str, str] = {"met": "ok", "missed": "bad", "not reached": "none"}


def show(drill: Drill, others: list[Drill]) -> None:
    """Draw all of it, and beside it another drill where one is chosen."""
    data = drill.data or {}
    _seen(data)
    _sound(data)
    if demands := data.get("demands"):
        rows = [(d["demand"], d["found"], markup.chip(d["outcome"], OUTCOMES[d["outcome"]])) for d in demands]
        draw(markup.card("What is asked of an engine", markup.table(DEMANDED, rows)))
    for title, kind in TABLES:
        if groups := drills.groups(data, kind):
            draw(markup.card(title, markup.table(GROUPED, groups), markup.source("", "on intended time")))
    _comparison(drill, others)


def _seen(data: Mapping[str, Any]) -> None:
    rows = [
        (*row[:-1], markup.chip("right, in time", "ok") if row[-1] else markup.chip("wrong or late", "bad"))
        for row in drills.detections(data)
    ]
    wrong = [f"{words.title(w['alert'])} in {words.title(w['phase'])}" for w in data["false_alerts"]]
    said = f"False alerts in controls: {', '.join(wrong)}." if wrong else "No alert fired in a control."
    seen = markup.table(DETECTED, rows) if rows else markup.tag("div", "It expects no alert.", cls="m-none")
    note = markup.tag("div", said, cls="m-none m-note")
    draw(markup.card("Did the alerts see it", markup.join(seen, note)))


def _sound(data: Mapping[str, Any]) -> None:
    rows = [
        (
            c["name"],
            c["found"],
            c["allowed"],
            markup.chip("held", "ok") if c["held"] else markup.chip("not held", "bad"),
        )
        for c in data["checks"]
    ]
    draw(markup.card("Was the measurement sound", markup.table(CHECKED, rows)))


def _comparison(drill: Drill, others: list[Drill]) -> None:
    if not others:
        return
    chosen = st.selectbox(
        "Compare with", [NONE, *(d.name for d in others)], key="against", bind="query-params", width=420
    )
    other = next((d for d in others if d.name == chosen), None)
    if other is None or other.data is None or drill.data is None:
        return
    differing = drills.differences(drill.data, other.data)
    if differing:
        draw(markup.notice("They differ in more than their figures.", "; ".join(differing)))
    head = [("", ""), (drill.name, "r"), (other.name, "r"), ("Change", "r")]
    draw(markup.card("Beside each other", markup.table(head, drills.compared(drill.data, other.data))))
