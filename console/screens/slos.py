"""SLOs: what was promised, what was kept, what is left of the budget."""

from __future__ import annotations

import streamlit as st

from console import links, markup, services
from console.charts.bars import timeline
from console.desk import Desk
from console.screens.parts import Tick, answered, chart, draw, empty, heading, live
from console.views import alerts, slos, words
from console.views.facts import Failure, Pulse
from console.views.frame import Frame


def show(desk: Desk, tick: Tick) -> None:
    """Draw the screen."""
    live(_body, desk, tick)


def _body(desk: Desk, tick: Tick) -> None:
    frame = tick()
    pulse = services.pulse(desk, frame.now)
    judged = services.standing(desk, frame.now, "slo")
    cards = slos.cards(desk.slos, [] if isinstance(judged, Failure) else judged)
    heading("SLOs", frame, pulse, slos.summary(cards).capitalize() + ".")
    known = answered(pulse, Pulse())
    if isinstance(pulse, Pulse) and known.newest is None:
        empty()
        return
    answered(judged, [])
    if known.clock_scale != 1:
        draw(
            markup.notice(
                f"Windows are divided: {words.clock_scale(known.clock_scale)}.",
                "These verdicts were reached on a drill's clock; they are not the month's review.",
            )
        )
    draw(markup.tag("div", *(_card(c, frame) for c in cards), cls="m-slos"))
    _history(desk, frame)


def _card(card: slos.Card, frame: Frame) -> markup.Html:
    top = markup.tag("div", markup.tag("h2", card.title), markup.state_chip(card.state), cls="m-title")
    share = markup.tag("div", card.share, markup.tag("small", f"target {card.target}"), cls="m-fig")
    pairs = [
        ("95 % interval", card.interval or "–"),
        ("Error budget", card.budget or "–"),
        ("Counted", card.counts or "–"),
        ("Window", card.window),
    ]
    foot = markup.tag(
        "div",
        markup.source("", card.basis or card.why),
        " · " if card.basis or card.why else "",
        markup.link("Runbook", links.runbook(card.runbook, frame)),
        cls="m-src",
    )
    return markup.tag(
        "div",
        top,
        share,
        _meter(card),
        markup.facts(pairs),
        foot,
        cls=f"m-card m-slo {words.tone(card.state)}",
    )


def _meter(card: slos.Card) -> markup.Html:
    m = card.meter
    if m is None:
        return markup.tag("div", card.why or words.NO_DATA, cls="m-none")
    wide = max(m.high - m.low, 0.008)
    band = markup.tag(
        "i", cls=card.state, style=f"left:{100 * min(m.low, 0.992):.2f}%;width:{100 * wide:.2f}%"
    )
    target = markup.tag("u", style=f"left:{100 * m.target:.2f}%")
    ends = markup.tag(
        "div", markup.tag("span", words.percent(m.start, 1)), markup.tag("span", "100 %"), cls="m-ends"
    )
    return markup.join(
        markup.tag(
            "div",
            band,
            target,
            cls="m-meter",
            role="img",
            **{"aria-label": f"interval {card.interval}, target {card.target}"},
        ),
        ends,
    )


def _history(desk: Desk, frame: Frame) -> None:
    changes = answered(services.states(desk, frame, "slo"), [])
    bars, rows = alerts.bars(
        changes, frame, {s.name: s.title for s in desk.slos}, frame.now, alerts.SLO_SHOWN
    )
    with st.container(border=True, key="card"):
        src = markup.source("SLO verdicts", f"last {words.length(frame.span)}", f"{len(changes)} changes")
        draw(markup.tag("div", markup.tag("h2", "History of the verdicts"), src, cls="m-title"))
        if not bars:
            draw(markup.tag("div", "No verdict in this range.", cls="m-none"))
            return
        chart(timeline(bars, rows, frame), "slo-history", "verdicts over time")
