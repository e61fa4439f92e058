"""Slow chat: from a complaint to the reason."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from collectors.explaining import Explanation
from collectors.model import RequestFact
from console import diagnosis, links, markup, services
from console.charts import bars
from console.desk import Desk
from console.screens import record, whose
from console.screens.parts import Tick, answered, chart, draw, empty, heading
from console.views import changes, slow, words
from console.views.facts import Pulse
from console.views.frame import Frame, clock

EVERY = "all adapters"


def show(desk: Desk, tick: Tick) -> None:
    """Draw the screen. It holds still: a list that moves under the hand cannot be read."""
    frame = tick()
    pulse = services.pulse(desk, frame.now)
    heading(
        "Slow chat",
        frame,
        pulse,
        "Paste what the complaint came with: a request, trace or session id, or a time.",
    )
    known = answered(pulse, Pulse())
    if isinstance(pulse, Pulse) and known.newest is None:
        empty()
        return
    left, middle, right = st.columns([3, 1.35, 2.2], gap="small", vertical_alignment="bottom")
    asked = left.text_input(
        "Request, trace or session id, or a time",
        key="q",
        bind="query-params",
        on_change=_forget,
        placeholder="req-…, s1-140 or 07:23",
    ).strip()
    named = [EVERY, *answered(diagnosis.adapters(desk, frame.since, frame.now), [])]
    adapter = middle.selectbox("Adapter", named, key="adapter", bind="query-params")
    order = right.segmented_control(
        "Slowest by", list(slow.ORDERS), key="by", default="First token", bind="query-params"
    )
    found = _candidates(
        desk, frame, asked, str(order or "First token"), "" if adapter == EVERY else str(adapter)
    )
    if not found:
        _nothing(asked, frame)
        return
    stretch = (slow.stretch(asked, frame) if asked else None) or (frame.since, frame.now)
    whose.section(desk, frame, stretch, slow.ORDERS[str(order or "First token")])
    several = record.picks_several(desk, found)
    selected = _table(found, frame, asked, several=several)
    if several:
        record.examples(desk, selected)
    request = slow.chosen(selected[0].request_id if selected else None, st.query_params.get("id"), found)
    if request is not None:
        st.query_params["id"] = request.request_id
        explanation = diagnosis.explained(desk, request)
        told = answered(explanation, None)
        if told is not None:
            before = answered(diagnosis.changes_before(desk, request.at), [])
            events = changes.telling([*before, *(e for e in told.events if e not in before)])
            _explained(told, frame, changes.lines(events, frame, request.at, _titles(desk)), desk)


def _titles(desk: Desk) -> dict[str, str]:
    return {r.name: r.title for r in desk.rules}


def _forget() -> None:
    """Another question: the request of the last one is no longer meant."""
    st.query_params.pop("id", None)


def _candidates(desk: Desk, frame: Frame, asked: str, order: str, adapter: str) -> Sequence[RequestFact]:
    stretch = slow.stretch(asked, frame) if asked else (frame.since, frame.now)
    column = slow.ORDERS[order]
    if stretch is None:
        found = answered(diagnosis.found(desk, asked), [])
        kept = [r for r in found if not adapter or r.adapter == adapter]
        return sorted(kept, key=lambda r: getattr(r, column) or 0.0, reverse=True)
    where = [("adapter", adapter)] if adapter else []
    return answered(diagnosis.candidates(desk, *stretch, column, where), [])


def _nothing(asked: str, frame: Frame) -> None:
    scope = slow.scope(asked, frame, slow.stretch(asked, frame) if asked else None)
    draw(
        markup.notice(
            f"{scope}: none found.",
            "Check the id for missing characters, or choose a longer time range. "
            "A request is known here once it has ended and its facts were flushed.",
        )
    )


def _table(found: Sequence[RequestFact], frame: Frame, asked: str, *, several: bool) -> list[RequestFact]:
    """The candidates; those that are selected."""
    scope = slow.scope(asked, frame, slow.stretch(asked, frame) if asked else None)
    draw(
        markup.tag(
            "div",
            markup.tag("h2", scope),
            markup.source(
                "requests",
                f"{len(found)} shown, slowest first",
                "select rows to collect them" if several else "select a row to explain it",
            ),
            cls="m-title",
        )
    )
    times = {
        c: st.column_config.NumberColumn(format="%,.0f ms")
        for c in ("First token", "Total", "Queue", "Prefill", "Decode")
    }
    data = pd.DataFrame([slow.row(r, frame) for r in found])
    state = st.dataframe(
        data,
        hide_index=True,
        column_config=times,
        height=min(38 + 35 * len(found), 283),
        row_height=35,
        placeholder="–",
        on_select="rerun",
        selection_mode="multi-row" if several else "single-row",
        key=f"found-{asked}-{len(found)}{'-several' if several else ''}",
        alt=scope,
    )
    return [found[row] for row in state["selection"]["rows"] if row < len(found)]


def _explained(e: Explanation, frame: Frame, before: Sequence[changes.Line], desk: Desk) -> None:
    sub = markup.join(
        markup.link("Runbook", links.runbook(e.why.runbook, frame)),
        " · " if e.why.incident else "",
        markup.link("Its incident", links.incident(e.why.incident, frame)) if e.why.incident else "",
        " · ",
        markup.link("The console at that moment", links.to("./", frame, at=e.request.at)),
        " · ",
        markup.link("Its whole session", links.to("slow-chat", frame, q=e.request.session_id))
        if e.request.session_id
        else "",
        record.trace_link(desk, e.request),
    )
    draw(
        markup.tag(
            "div",
            markup.chip(*slow.cause(e.why)),
            markup.tag("p", e.sentence),
            markup.tag("div", sub, cls="m-sub"),
            cls=f"m-hero {slow.cause(e.why)[1]}",
        )
    )
    record.finding(desk, e)
    src = markup.source("", f"{e.why.confidence:.0%} sure", words.title(e.why.scope))
    draw(markup.card("Five questions", markup.table(slow.QUESTIONS, e.questions), src))
    left, right = st.columns([3, 2], gap="small")
    with left:
        _stages(e, frame)
        draw(
            markup.card(
                "The request",
                markup.facts(slow.facts(e.request, frame)),
                markup.source("", f"trace {e.request.trace_id}" if e.request.trace_id else "no trace id"),
            )
        )
    with right:
        draw(markup.join(_around(e), _events(before, frame)))


def _stages(e: Explanation, frame: Frame) -> None:
    with st.container(border=True, key="card"):
        enough = "line: their median, pale: their P95" if e.peers.enough else "too few to compare"
        src = markup.source("", f"{e.peers.count:,} peers: {e.peers.description}", enough)
        draw(markup.tag("div", markup.tag("h2", "Where the time went"), src, cls="m-title"))
        if all(s.ms is None for s in e.stages):
            draw(markup.tag("div", "No engine span was received for this request.", cls="m-none"))
            return
        parts = [(s.stage, s.ms, s.peer_p50_ms, s.peer_p95_ms) for s in e.stages]
        chart(bars.waterfall(parts, frame), "waterfall", e.sentence)
        head = [
            ("Stage", ""),
            ("This request", "r"),
            ("Peers' P50", "r"),
            ("Peers' P95", "r"),
            ("Beyond P50", "r"),
        ]
        rows = [
            (
                s.stage.capitalize(),
                *(words.amount(v, "ms") for v in (s.ms, s.peer_p50_ms, s.peer_p95_ms)),
                words.gained(s.ms, s.peer_p50_ms, "ms"),
            )
            for s in e.stages
        ]
        draw(markup.table(head, rows, e.stages.index(e.leading) if e.leading else None))


def _around(e: Explanation) -> markup.Html:
    rows = []
    for a in e.around:
        silent = markup.dim(f"no data in {a.missing} of {a.looks} looks: {a.reason}") if a.missing else ""
        span = words.span(a.least, a.most, a.unit)
        rows.append((markup.join(words.title(a.reading), markup.dim(a.reading)), markup.join(span, silent)))
    src = markup.source("", "while the request ran")
    return markup.card("The engine around it", markup.table([("Reading", ""), ("Range", "")], rows), src)


def _events(found: Sequence[changes.Line], frame: Frame) -> markup.Html:
    src = markup.source("events", "15 min before", f"{len(found)} events")
    if not found:
        return markup.card(
            "Just before", markup.tag("div", "No change, restart, gap or alert.", cls="m-none"), src
        )
    rows = [
        markup.tag(
            "li",
            markup.chip(x.kind, x.tone, "■" if x.tone == "info" else "▲"),
            markup.tag(
                "div", x.text, markup.dim(f"{clock(x.at, frame, both=False)} · {x.detail}"), cls="m-grow"
            ),
        )
        for x in found[:8]
    ]
    return markup.card("Just before", markup.tag("ul", *rows, cls="m-list"), src)
