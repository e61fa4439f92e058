"""Incidents on the first screen: the list with its timeline, and one of them opened."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from collectors.diagnose.postmortem import draft
from console import diagnosis, incident_cards, markup
from console.charts import bars
from console.desk import Desk
from console.screens.parts import answered, chart, draw
from console.views import incidents
from console.views.facts import Failure
from console.views.frame import Frame

STATES = ("acknowledged", "resolved", "note")


def section(desk: Desk, frame: Frame) -> None:
    """Those of the span, as a list and over time."""
    found = answered(diagnosis.incidents(desk, frame), [])
    said = {n.subject: n.before for n in answered(diagnosis.incident_notes(desk, frame.since, frame.now), [])}
    states = {name: state for name, state in said.items() if state and state != "note"}
    draw(incident_cards.listed(incidents.lines(found, frame, states), frame))
    if found:
        with st.container(border=True, key="card-incidents"):
            told, rows = incidents.bars(found, frame)
            chart(bars.timeline(told, rows, frame), "incident-chart", "Incidents over time")


def opened(desk: Desk, frame: Frame, name: str) -> None:
    """One incident, and what people say of it."""
    found = answered(diagnosis.incident(desk, name), None)
    if found is None:
        draw(
            markup.notice(
                f"There is no incident {name}.", "It may have expired, or the id lacks a character."
            )
        )
        return
    said = answered(diagnosis.incident_notes(desk, incidents.instant(found["start"])), [])
    notes = [n for n in said if n.subject == name]
    draw(incident_cards.headline(found, frame))
    draw(incident_cards.known(found, notes, frame))
    left, right = st.columns(2, gap="small")
    with left:
        draw(incident_cards.changed(found))
    with right:
        draw(incident_cards.alerts(found, {r.name: r.title for r in desk.rules}, frame))
    _say(desk, found)
    told = draft(found, [(n.at, n.before or "note", n.after or "") for n in notes])
    st.download_button(
        "Postmortem draft",
        told,
        f"{name}.md",
        "text/markdown",
        icon=":material/description:",
        key="postmortem",
    )


def _say(desk: Desk, found: Mapping[str, Any]) -> None:
    with st.expander("Acknowledge, resolve, or leave a note", icon=":material/edit_note:"):
        left, middle, right = st.columns([1.4, 3, 1], gap="small", vertical_alignment="bottom")
        state = left.segmented_control("State", STATES, default=STATES[0], key="incident-state")
        text = middle.text_input(
            "Note", key="incident-note", max_chars=diagnosis.MOST_NOTE, placeholder="optional"
        )
        if right.button("Keep it", icon=":material/check:", key="incident-keep"):
            done = diagnosis.note_incident(desk, found["id"], str(state or "note"), text, datetime.now(UTC))
            if isinstance(done, Failure):
                draw(markup.notice(f"Not kept: {done.what}", done.remedy, "bad"))
            else:
                draw(markup.notice("Kept.", "Everybody who opens this incident sees it.", "ok"))
