"""Drills: what was driven, whether the alerts saw it, and one drill beside another."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from console import drill_control, links, markup
from console.desk import Desk
from console.drilling.process import LOG
from console.screens import certificates, running
from console.screens.parts import Tick, answered, draw, heading, live
from console.views import drills, words
from console.views.drills import Drill
from console.views.frame import Frame, clock


def show(desk: Desk, tick: Tick) -> None:
    """Draw the screen."""
    live(_body, desk, tick)


def _body(desk: Desk, tick: Tick) -> None:
    frame = tick()
    heading("Drills", frame, None, "Will it hold, and would we have noticed if it did not?")
    above = st.container()  # filled last: listing the drills takes seconds the first time
    # a folder is as it is now, whichever instant is looked at
    found = answered(drill_control.drills(desk, datetime.now(UTC)), [])
    if found:
        _followed(desk, found, frame)
    else:
        remedy = markup.join(
            "Run one: ", markup.tag("code", "make drill", cls="m-code"), ". It appears here by itself."
        )
        draw(markup.notice("No drill was run yet.", remedy))
    with above:
        running.offer(desk, found, frame)


def _followed(desk: Desk, found: list[Drill], frame: Frame) -> None:
    names = [d.name for d in found]
    # none is chosen at first: a default would be left out of the URL, which names the drill that is followed
    chosen = st.selectbox(
        "Drill", names, None, key="drill", bind="query-params", placeholder=names[0], width=420
    )
    drill = next((d for d in found if d.name == chosen), found[0])
    _hero(drill, frame)
    running.stop(desk, drill)
    if drill.data is None:
        _progress(drill, frame)
    else:
        certificates.show(drill, [d for d in found if d.data and d.name != drill.name])
    _list(found, frame)


def _hero(drill: Drill, frame: Frame) -> None:
    tone = drills.TONES[drill.state]
    began = clock(drill.began, frame) if drill.began else "No phase has begun."
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
    """The steps of the drill; what the stack says until there is one, and once there will be none."""
    if drill.steps:
        items = [(clock(s.at, frame, both=False), s.text) for s in reversed(drill.steps)]
        rows = [markup.tag("li", at, markup.tag("div", text, cls="m-grow")) for at, text in items]
        steps = words.counted(len(rows), "step")
        draw(markup.card("Progress", markup.tag("ul", *rows, cls="m-list"), markup.source("", steps)))
    elif drill.goes_on and not drill.said:
        draw(markup.card("Progress", markup.tag("div", "The stack is starting.", cls="m-none")))
    if drill.said and not (drill.goes_on and drill.steps):
        title = "The stack is starting" if drill.goes_on else "What it said last"
        said = markup.tag("pre", "\n".join(drill.said), cls="m-log")
        draw(markup.card(title, said, markup.source(LOG)))


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
