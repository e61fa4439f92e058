"""Alerts: how every rule stands, when it fired, and what it says."""

from __future__ import annotations

import streamlit as st

from console import links, markup, panels, services
from console.charts.bars import timeline
from console.desk import Desk
from console.screens.parts import Tick, answered, chart, draw, empty, heading, live
from console.views import alerts, changes, charting, verdict, words
from console.views.facts import Pulse
from console.views.frame import Frame, clock

ALL = "all"
MAX_ROWS = 200


def show(desk: Desk, tick: Tick) -> None:
    """Draw the screen."""
    live(_body, desk, tick)


def _body(desk: Desk, tick: Tick) -> None:
    frame = tick()
    pulse = services.pulse(desk, frame.now)
    heading("Alerts", frame, pulse)
    known = answered(pulse, Pulse())
    if isinstance(pulse, Pulse) and known.newest is None:
        empty()
        return
    names = [ALL, *(r.name for r in desk.rules)]
    chosen = st.selectbox("Rule", names, key="rule", bind="query-params", width=320)
    only = None if chosen == ALL else chosen
    if only:
        _rule(desk, only, frame, known.clock_scale)
    _standing(desk, only, frame, known)
    _timeline(desk, only, frame)
    _history(desk, only, frame)


def _rule(desk: Desk, name: str, frame: Frame, scale: float) -> None:
    rule = desk.rule(name)
    if rule is None:
        return
    src = markup.tag("span", markup.link("Runbook", links.runbook(rule.runbook, frame)), cls="m-src")
    pairs = alerts.details(rule, scale)
    lead = markup.tag("p", markup.tag("b", pairs[0][1]), style="margin:0 0 .8rem")
    draw(markup.card(rule.title, markup.join(lead, markup.facts(pairs[1:])), src))


def _standing(desk: Desk, only: str | None, frame: Frame, pulse: Pulse) -> None:
    judged = answered(services.standing(desk, frame.now, "rule"), [])
    shown = alerts.ordered(j for j in judged if only in {None, j.name})
    at = f"judged {clock(judged[0].at, frame, both=False)}" if judged else "not judged in the last hour"
    scaled = words.clock_scale(pulse.clock_scale) if pulse.clock_scale != 1 else ""
    src = markup.source("", at, words.counted(len(shown), "alert"), scaled)
    by_name = {r.name: r for r in desk.rules}
    head = [("State", ""), ("Alert", ""), ("Value", "r"), ("Limit", "r"), ("Active since", ""), ("", "r")]
    rows = [panels.alert_row(j, by_name.get(j.name), frame) for j in shown]
    nothing = markup.tag("div", "No rule has been judged: is the collector running?", cls="m-none")
    silent = verdict.silence(pulse, frame.now, desk.scrape_interval) is not None
    old = panels.unjudged(pulse.newest, frame) if silent and pulse.newest else ""
    draw(markup.card("State", markup.join(old, markup.table(head, rows) if rows else nothing), src))


def _timeline(desk: Desk, only: str | None, frame: Frame) -> None:
    found = [c for c in answered(services.states(desk, frame, "rule"), []) if only in {None, c.name}]
    titles = {r.name: r.title for r in desk.rules}
    bars, rows = alerts.bars(found, frame, titles, frame.now)
    with st.container(border=True, key="card"):
        src = markup.source(
            "alert states", f"last {words.length(frame.span)}", f"{len(bars)} stretches", "dashed: changes"
        )
        draw(markup.tag("div", markup.tag("h2", "Timeline"), src, cls="m-title"))
        if not bars:
            draw(
                markup.tag("div", "Nothing was pending, firing or without data in this range.", cls="m-none")
            )
            return
        marks = charting.marks(answered(services.marks(desk, frame), []), [], frame, titles)
        chart(timeline(bars, rows, frame, marks), "alert-timeline", "alert states over time")


def _history(desk: Desk, only: str | None, frame: Frame) -> None:
    events = alerts.transitions(answered(services.alert_events(desk, frame), []), only)
    src = markup.source("events", f"last {words.length(frame.span)}", f"{len(events)} transitions")
    if not events:
        draw(
            markup.card(
                "Transitions",
                markup.tag("div", "No alert changed its state in this range.", cls="m-none"),
                src,
            )
        )
        return
    head = [("When", "m-nowrap"), ("Alert", ""), ("From", ""), ("To", ""), ("", "r")]
    rows = [
        (
            clock(e.at, frame),
            changes.alert_name(e, {r.name: r.title for r in desk.rules}),
            words.state_word(e.before or ""),
            markup.state_chip(e.after or "no_data"),
            markup.link("Look", links.to("./", frame, at=e.at)),
        )
        for e in events[:MAX_ROWS]
    ]
    draw(markup.card("Transitions", markup.tag("div", markup.table(head, rows), cls="m-tall"), src))
