"""Drills: what was driven, whether the alerts saw it, and one drill beside another."""

from __future__ import annotations

import streamlit as st

from console import links, markup, services
from console.screens.parts import Tick, answered, draw, heading, live
from console.services import Desk
from console.views import drills, words
from console.views.drills import Drill
from console.views.frame import Frame, clock

NONE = "nothing"
HEAD = (
    ("", ""),
    ("Offered", "r"),
    ("Failed", "r"),
    ("Good", "r"),
    *((label, "r") for label, _ in drills.FIGURES),
)


def show(desk: Desk, tick: Tick) -> None:
    """Draw the screen."""
    live(_body, desk, tick)


def _body(desk: Desk, tick: Tick) -> None:
    frame = tick()
    heading("Drills", frame, None, "Will it hold, and would we have noticed if it did not?")
    found = answered(services.drills(desk, frame.now), [])
    if not found:
        remedy = markup.join(
            "Run one: ", markup.tag("code", "make drill", cls="m-code"), ". It appears here by itself."
        )
        draw(markup.notice("No drill was run yet.", remedy))
        return
    names = [d.name for d in found]
    chosen = st.selectbox("Drill", names, key="drill", bind="query-params", width=420)
    drill = next((d for d in found if d.name == chosen), found[0])
    _hero(drill, frame)
    if drill.data is None:
        _progress(drill, frame)
    else:
        _certificate(drill, [d for d in found if d.data and d.name != drill.name])
    _list(found, frame)


def _hero(drill: Drill, frame: Frame) -> None:
    tone = drills.TONES[drill.state]
    began = clock(drill.began, frame) if drill.began else "not begun"
    lines: list[object] = [began]
    if drill.data:
        lines = [drill.data["face"], markup.Html("<br>"), began, " · ", drills.load(drill.data)]
        lines += [markup.tag("div", reason) for reason in drill.data["reasons"]]
    draw(
        markup.tag(
            "div",
            markup.chip(drill.state, tone),
            markup.tag("p", drill.title),
            markup.tag("div", *lines, cls="m-sub"),
            cls=f"m-hero {tone}",
        )
    )


def _progress(drill: Drill, frame: Frame) -> None:
    items = [
        markup.tag("li", clock(s.at, frame, both=False), markup.tag("div", s.text, cls="m-grow"))
        for s in reversed(drill.steps)
    ]
    body = (
        markup.tag("ul", *items, cls="m-list")
        if items
        else markup.tag("div", "The stack is starting.", cls="m-none")
    )
    draw(markup.card("Progress", body, markup.source("", f"{len(items)} steps")))


def _certificate(drill: Drill, others: list[Drill]) -> None:
    data = drill.data or {}
    rows = [
        (*row[:-1], markup.chip("in time", "ok") if row[-1] else markup.chip("not in time", "bad"))
        for row in drills.detections(data)
    ]
    head = [
        ("Phase", ""),
        ("Alert", ""),
        ("Allowed", "r"),
        ("After injection", "r"),
        ("After first harm", "r"),
        ("", ""),
    ]
    wrong = [f"{words.title(w['alert'])} in {words.title(w['phase'])}" for w in data["false_alerts"]]
    said = f"False alerts in controls: {', '.join(wrong)}." if wrong else "No alert fired in a control."
    seen = markup.table(head, rows) if rows else markup.tag("div", "It expects no alert.", cls="m-none")
    draw(
        markup.card("Did the alerts see it", markup.join(seen, markup.tag("div", said, cls="m-none m-note")))
    )
    checks = [
        (
            c["name"],
            c["found"],
            c["allowed"],
            markup.chip("held", "ok") if c["held"] else markup.chip("not held", "bad"),
        )
        for c in data["checks"]
    ]
    columns = [("Check", ""), ("Found", "r"), ("Allowed", "r"), ("", "")]
    draw(markup.card("Was the measurement sound", markup.table(columns, checks)))
    for title, kind in (("Phases", "phases"), ("Adapters", "adapters"), ("Turns", "turns")):
        src = markup.source("", "on intended time")
        draw(markup.card(title, markup.table(HEAD, drills.groups(data, kind)), src))
    _comparison(drill, others)


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


def _list(found: list[Drill], frame: Frame) -> None:
    rows = [
        (
            markup.link(d.name, links.to("drills", frame, drill=d.name)),
            markup.chip(d.state, drills.TONES[d.state]),
            clock(d.began, frame) if d.began else "–",
        )
        for d in found
    ]
    draw(markup.card("All drills", markup.table([("Drill", ""), ("Verdict", ""), ("Began", "")], rows)))
