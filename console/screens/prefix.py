"""Prefix cache: is the prompt's prefix found, since when not, why, and what it costs."""

from __future__ import annotations

import streamlit as st

from collectors.diagnose.prefix.loss import Loss
from console import diagnosis, links, markup, services
from console.charts import curves
from console.desk import Desk
from console.screens.parts import Tick, answered, chart, draw, empty, heading
from console.theme import palette
from console.views import charting, prefix, words
from console.views.facts import Pulse
from console.views.frame import POINTS, Frame

COSTS = (("What it costs", ""), ("A request", "r"), ("An hour", "r"))
REASONS = (("Reason", ""), ("Sure", ""), ("In words", ""))
LEAD = "What each prompt version finds in the engines' cache, beside the version before it."


def show(desk: Desk, tick: Tick) -> None:
    """Draw the screen."""
    frame = tick()
    pulse = services.pulse(desk, frame.now)
    heading("Prefix cache", frame, pulse, LEAD)
    known = answered(pulse, Pulse())
    if isinstance(pulse, Pulse) and known.newest is None:
        empty()
        return
    _hits(desk, frame, known.clock_scale)
    named = prefix.names(answered(diagnosis.versions(desk, frame, "prompt_version"), []))
    if not named:
        said = "No request of this range names a prompt version. Traces carry it: see Sources."
        draw(markup.card("Prompt versions", markup.tag("div", said, cls="m-none")))
        return
    version = st.selectbox("Prompt version", named, key="version", bind="query-params")
    found = answered(diagnosis.prefix_loss(desk, version or named[0]), None)
    if found is not None:
        _lost(found, frame)


def _hits(desk: Desk, frame: Frame, scale: float) -> None:
    with st.container(border=True, key="card"):
        plan = charting.plan(prefix.CHART, requests=True)
        told = answered(services.told(desk, frame, plan.readings, scale, POINTS), [])
        changed = answered(services.marks(desk, frame), [])
        states = answered(services.states(desk, frame, "rule"), [])
        marks = charting.marks(changed, states, frame, {r.name: r.title for r in desk.rules})
        lines = charting.lines(plan, told, (palette(frame.mode).accent,))
        figure = curves.over_time(lines, frame, plan.unit, marks, plan.limit)
        chart(figure, "prefix-hits", "Prefix-cache hit rate over time")
        draw(markup.source("prefix_hit_ratio", "dashed: changes; shaded: an alert fires; gaps: no data"))


def _lost(found: Loss, frame: Frame) -> None:
    said, tone = prefix.sentence(found)
    links_ = markup.join(
        markup.link("Runbook", links.runbook("prefix_cache_broken", frame)),
        " · ",
        markup.link("Versions side by side", links.to("versions", frame, of="Prompt versions")),
        " · on the command line: ",
        markup.tag("code", f"mangaops prefix --version {found.version.version}", cls="m-code"),
    )
    draw(
        markup.tag("div", markup.tag("p", said), markup.tag("div", links_, cls="m-sub"), cls=f"m-hero {tone}")
    )
    draw(markup.card(words.title("version"), markup.facts(prefix.facts(found, frame))))
    if costs := prefix.costs(found):
        draw(markup.card("Cost", markup.table(COSTS, costs), markup.source("requests")))
    if reasons := prefix.reasons(found):
        draw(markup.card("Why", markup.table(REASONS, reasons)))
