"""Bars: states over time, and the stages of one request."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from console.charts.axes import decorate, finish, local
from console.theme import palette
from console.views.alerts import Bar
from console.views.curves import Mark
from console.views.frame import Frame


def timeline(bars: Sequence[Bar], rows: Sequence[str], frame: Frame, marks: Sequence[Mark] = ()) -> go.Figure:
    """States as bars over the span, a row a subject."""
    p = palette(frame.mode)
    colours = {"firing": p.bad, "missed": p.bad, "pending": p.queue, "undetermined": p.queue, "met": p.ok}
    colours |= {"critical": p.bad, "warning": p.queue, "info": p.accent}
    figure = go.Figure()
    for state in dict.fromkeys(b.state for b in bars):
        own = [b for b in bars if b.state == state]
        hatch = {"shape": "/", "fgcolor": p.muted, "bgcolor": p.sunken, "size": 6, "solidity": 0.25}
        figure.add_trace(
            go.Bar(
                orientation="h",
                name=state.replace("_", " "),
                y=[b.row for b in own],
                base=[local(b.start, frame) for b in own],
                x=np.array([(b.end - b.start).total_seconds() * 1000 for b in own], dtype=np.float32),
                marker={"color": colours.get(state, p.none), "cornerradius": 3}
                if state in colours
                else {"pattern": hatch, "line": {"width": 0}},
                width=0.62,
                hovertext=[escape(b.text, quote=False) for b in own],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    changed = [m for m in marks if m.until is None]
    decorate(figure, changed, frame, p)
    finish(figure, frame, p, 64 + 28 * max(1, len(rows)), changed)
    figure.update_layout(barmode="overlay", hovermode="closest")
    figure.update_xaxes(type="date")
    figure.update_yaxes(
        tickmode="linear",
        categoryorder="array",
        categoryarray=list(reversed(rows)),
        range=[-0.6, len(rows) - 0.4],
        automargin=True,
        ticks="",
        gridcolor=p.border,
    )
    return figure


def waterfall(
    stages: Sequence[tuple[str, float | None, float | None, float | None]], frame: Frame
) -> go.Figure:
    """One request: (stage, ms, peers' P50, peers' P95) one after another, each beside what its peers take."""
    p = palette(frame.mode)
    figure, start = go.Figure(), 0.0
    for stage, ms, p50, p95 in stages:
        name = stage.capitalize()
        if p95 is not None:
            figure.add_trace(_span(name, start, p95, p.none_soft, 0.78, f"{name}: peers' P95 {p95:,.0f} ms"))
        if ms is not None:
            figure.add_trace(_span(name, start, ms, getattr(p, stage), 0.42, f"{name}: {ms:,.0f} ms"))
        if p50 is not None:
            figure.add_trace(
                go.Scatter(
                    x=[start + p50],
                    y=[name],
                    mode="markers",
                    showlegend=False,
                    marker={"symbol": "line-ns", "size": 22, "line": {"width": 2, "color": p.text}},
                    hovertemplate=f"{name}: peers' median {p50:,.0f} ms<extra></extra>",
                )
            )
        start += ms or 0.0
    finish(figure, frame, p, 46 + 36 * len(stages))
    figure.update_layout(barmode="overlay", hovermode="closest", showlegend=False)
    figure.update_xaxes(
        type="linear",
        range=None,
        rangemode="tozero",
        title={"text": "ms since the request began", "font": {"size": 12}},
    )
    names = [s[0].capitalize() for s in stages]
    figure.update_yaxes(
        tickmode="linear", categoryorder="array", categoryarray=names[::-1], automargin=True, showgrid=False
    )
    figure.update_layout(margin={"t": 6}, height=52 + 36 * len(stages))
    return figure


def _span(name: str, start: float, ms: float, colour: str, width: float, text: str) -> go.Bar:
    return go.Bar(
        orientation="h",
        y=[name],
        base=[start],
        x=[ms],
        width=width,
        showlegend=False,
        marker={"color": colour, "cornerradius": 3},
        hovertemplate=f"{text}<extra></extra>",
    )
