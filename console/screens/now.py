"""Now: is chat slow, which part, since when, what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from console import diagnosis, links, markup, panels, services
from console.charts import curves
from console.desk import Desk
from console.screens import incidents
from console.screens.parts import Tick, answered, chart, draw, empty, heading, live
from console.theme import palette
from console.views import charting, evidence, now, tiles, verdict, words
from console.views import incidents as incident_views
from console.views.facts import Pulse
from console.views.frame import POINTS, Frame


def show(desk: Desk, tick: Tick) -> None:
    """Draw the screen."""
    live(_body, desk, tick)


def _body(desk: Desk, tick: Tick) -> None:
    frame = tick()
    pulse = services.pulse(desk, frame.now)
    frame = verdict.settled(frame, pulse, desk.scrape_interval)
    name = st.query_params.get("incident")
    heading("Incident" if name else "Now", frame, pulse)
    if name:
        incidents.opened(desk, frame, name)
        return
    known = answered(pulse, Pulse())
    if isinstance(pulse, Pulse) and pulse.newest is None:
        empty()
        return
    _above(desk, frame, known)
    incidents.section(desk, frame)
    requests = evidence.has_requests(known, frame)
    names = evidence.spoken_by((name for _, name, _ in tiles.FIGURES), requests=requests)
    told = answered(services.told(desk, frame, names, known.clock_scale), [])
    if told:
        draw(panels.tile_grid(tiles.tiles(told, desk.rules, known.clock_scale), frame))
    _chart(desk, frame, known.clock_scale, requests=requests)


def _above(desk: Desk, frame: Frame, pulse: Pulse) -> None:
    standing = answered(services.standing(desk, frame.now, "rule"), [])
    model = now.build(
        frame,
        pulse,
        answered(services.slices(desk, frame, pulse.clock_scale), []),
        standing,
        answered(services.states(desk, frame, "rule"), []),
        answered(services.marks(desk, frame), []),
        now.Judging(desk.rules, desk.scrape_interval, services.SLICE / pulse.clock_scale),
    )
    open_now = answered(diagnosis.incidents(desk, frame), [])
    draw(panels.hero(model.verdict, _sub(model, frame, pulse, open_now)))
    left, right = st.columns([3, 2], gap="small")
    unheard = pulse.newest if model.silent is not None else None
    seen = f"{model.now.count:,} requests" if model.now else "0 requests"
    with left:
        by_engine = model.now is not None and model.now.basis == "engine"
        spoken = "stage means of the engine's histograms" if by_engine else "request stages, mean"
        where = markup.source(spoken, words.window(services.SLICE, pulse.clock_scale), seen)
        draw(panels.stages(model.rows, model.bars, model.now, model.past, where))
    with right:
        draw(
            markup.join(
                panels.alerts(model.active, standing, desk.rules, frame, pulse.clock_scale, unheard),
                panels.changes(
                    model.changes, frame, markup.source("events", f"last {words.length(frame.span)}")
                ),
            )
        )


def _sub(model: now.Now, frame: Frame, pulse: Pulse, found: Sequence[Mapping[str, Any]]) -> object:
    if model.silent is not None and pulse.newest is not None:
        return markup.join(
            "Nothing below is newer than that. ",
            markup.link("Show the last known moment", links.to("./", frame, at=pulse.newest)),
        )
    lasting = [i for i in found if i["end"] is None]
    if lasting:
        newest = lasting[0]
        return markup.join(
            "Why: ",
            markup.link(incident_views.title(newest), links.incident(newest["id"], frame)),
            f", {incident_views.when(newest, frame)}. ",
            markup.link("Find slow requests", links.to("slow-chat", frame)),
        )
    lines = [f"{line.text} ({line.detail})" for line in model.changes if line.detail and model.verdict.since]
    if lines:
        return markup.join(
            "Just before: ", lines[0], ". ", markup.link("Find slow requests", links.to("slow-chat", frame))
        )
    return markup.link("Find slow requests", links.to("slow-chat", frame))


def _chart(desk: Desk, frame: Frame, scale: float, *, requests: bool) -> None:
    with st.container(border=True, key="card"):
        chosen = st.segmented_control(
            "Chart",
            list(charting.CHARTS),
            key="chart",
            default=charting.FIRST,
            bind="query-params",
            label_visibility="collapsed",
        )
        plan = charting.plan(chosen, requests=requests)
        told = answered(services.told(desk, frame, plan.readings, scale, POINTS), [])
        marks = charting.marks(
            answered(services.marks(desk, frame), []),
            answered(services.states(desk, frame, "rule"), []),
            frame,
            {r.name: r.title for r in desk.rules},
        )
        p = palette(frame.mode)
        lines = charting.lines(plan, told, (p.accent, p.queue, p.decode))
        chart(
            curves.over_time(lines, frame, plan.unit, marks, plan.limit), "now-chart", f"{chosen} over time"
        )
        names = ", ".join(plan.readings)
        window = words.window(told[0].reading.window, scale) if told else ""
        draw(
            markup.source(
                names,
                window,
                f"{len(told[0].points) if told else 0} instants",
                "dashed: changes; shaded: an alert fires; gaps: no data",
            )
        )
