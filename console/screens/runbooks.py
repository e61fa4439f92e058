"""Runbooks: the pages, with live values beside each step."""

from __future__ import annotations

from functools import partial

import streamlit as st

from collectors.signals.runbooks import Runbook
from console import links, markup, services
from console.screens.parts import Tick, answered, draw, heading, live
from console.services import Desk
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
    heading("Runbooks", frame, pulse, "One page a rule. Values in the text are live.")
    scale = answered(pulse, Pulse()).clock_scale
    for fault in desk.faults:
        draw(markup.notice(fault.what, fault.remedy))
    if not desk.runbooks:
        draw(
            markup.notice("There are no runbooks.", "Pages belong into runbooks/, one Markdown file a rule.")
        )
        return
    judged = answered(services.standing(desk, frame.now, "rule"), [])
    name = st.selectbox("Runbook", list(desk.runbooks), key="page", bind="query-params", width=320)
    _page(desk, desk.runbooks[name or next(iter(desk.runbooks))], frame, scale, runbooks.worst(judged, name))
    rows = [
        (
            markup.link(p.title, links.runbook(p.name, frame)),
            p.severity,
            p.first_action,
            _state(runbooks.worst(judged, p.rule)),
        )
        for p in desk.runbooks.values()
    ]
    draw(
        markup.card(
            "All runbooks",
            markup.table([("Page", ""), ("Severity", ""), ("First action", ""), ("Rule now", "")], rows),
        )
    )


def _page(desk: Desk, page: Runbook, frame: Frame, scale: float, state: object) -> None:
    values = runbooks.live_values(answered(services.values(desk, frame.now, page.readings, scale), []))
    tone = "bad" if page.severity == "critical" else "warn"
    chips = markup.join(
        markup.chip(page.severity, tone, "▲"),
        " ",
        _state(state),
        " ",
        markup.link("Rule and history", links.rule(page.rule, frame)),
    )
    src = markup.source(
        "", f"{len(page.readings)} readings at this instant", words.clock_scale(scale) if scale != 1 else ""
    )
    with st.container(border=True, key="card"):
        draw(
            markup.join(
                markup.tag("div", markup.tag("h2", page.title), src, cls="m-title"),
                chips,
                markup.tag("p", "First: ", markup.tag("b", page.first_action), style="margin:.8rem 0 0"),
            )
        )
        for title, text in runbooks.body(page, values, partial(links.runbook, frame=frame)):
            st.markdown(f"##### {title}\n\n{text}", width=820)


def _state(judged: object) -> markup.Html:
    return markup.state_chip(str(getattr(judged, "state", "no_data")))
