"""Runbooks: the pages, with live values beside each step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from collectors.model import Judgement
from collectors.signals.runbooks import Runbook
from console import links, markup, services
from console.desk import Desk
from console.screens.parts import Tick, answered, draw, heading, live
from console.views import runbooks, verdict, words
from console.views.facts import Pulse
from console.views.frame import Frame


def show(desk: Desk, tick: Tick) -> None:
    """Draw the screen."""
    live(_body, desk, tick)


def _body(desk: Desk, tick: Tick) -> None:
    frame = tick()
    pulse = services.pulse(desk, frame.now)
    frame = verdict.settled(frame, pulse, desk.scrape_interval)
    heading(
        "Runbooks", frame, pulse, "A page for each alert and for each cause. Values in the text are live."
    )
    scale = answered(pulse, Pulse()).clock_scale
    for fault in desk.faults:
        draw(markup.notice(fault.what, fault.remedy))
    if not desk.runbooks:
        draw(
            markup.notice(
                "There are no runbooks.",
                "Pages belong into runbooks/, a Markdown file for each rule and cause.",
            )
        )
        return
    judged = answered(services.standing(desk, frame.now, "rule"), [])
    name = st.selectbox("Runbook", list(desk.runbooks), key="page", bind="query-params", width=320)
    _page(desk, desk.runbooks[name or next(iter(desk.runbooks))], frame, scale, judged)
    _lists(list(desk.runbooks.values()), frame, judged)


def _lists(pages: Sequence[Runbook], frame: Frame, judged: Sequence[Judgement]) -> None:
    alerts = [
        (_link(p, frame), severity, p.first_action, markup.state_chip(_state(judged, rule)))
        for p, rule, severity in runbooks.of_rules(pages)
    ]
    causes = [(_link(p, frame), p.first_action) for p in runbooks.of_causes(pages)]
    columns = [("Page", ""), ("Severity", ""), ("First action", ""), ("Rule now", "")]
    draw(markup.card("By alert", markup.table(columns, alerts)))
    draw(markup.card("By cause", markup.table([("Page", ""), ("First action", "")], causes)))


def _page(desk: Desk, page: Runbook, frame: Frame, scale: float, judged: Sequence[Judgement]) -> None:
    values = runbooks.live_values(answered(services.values(desk, frame.now, page.readings, scale), []))
    src = markup.source(
        "", f"{len(page.readings)} readings at this instant", words.clock_scale(scale) if scale != 1 else ""
    )
    with st.container(border=True, key="card"):
        draw(
            markup.join(
                markup.tag("div", markup.tag("h2", page.title), src, cls="m-title"),
                _chips(page, frame, judged),
                markup.tag("p", "First: ", markup.tag("b", page.first_action), style="margin:.8rem 0 0"),
            )
        )
        for title, text in runbooks.body(page, values, partial(links.runbook, frame=frame)):
            st.markdown(f"##### {title}\n\n{text}", width=820)


def _chips(page: Runbook, frame: Frame, judged: Sequence[Judgement]) -> markup.Html:
    if page.rule is None or page.severity is None:
        return markup.chip("cause", "info")
    return markup.join(
        markup.chip(page.severity, "bad" if page.severity == "critical" else "warn", "▲"),
        " ",
        markup.state_chip(_state(judged, page.rule)),
        " ",
        markup.link("Rule and history", links.rule(page.rule, frame)),
    )


def _link(page: Runbook, frame: Frame) -> markup.Html:
    return markup.link(page.title, links.runbook(page.name, frame))


def _state(judged: Sequence[Judgement], rule: str) -> str:
    worst = runbooks.worst(judged, rule)
    return worst.state if worst else "no_data"
