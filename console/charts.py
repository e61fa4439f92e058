"""Plotly figures from plain arrays: times in the chosen zone, gaps as gaps, units on the axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

import numpy as np
import plotly.graph_objects as go

from console.theme import Palette, palette
from console.views.alerts import Bar
from console.views.frame import Frame, zone_label

STAGGERED = 3  # labels of neighbouring changes stand on so many levels
MAX_POINTS = 2000  # a trace: more cost the browser a second and show nothing more
FONT = '"Source Sans", "Source Sans 3", "Noto Sans JP", sans-serif'


@dataclass(frozen=True, slots=True)
class Line:
    """One curve; None is a gap."""

    name: str
    at: Sequence[datetime]
    values: Sequence[float | None]
    colour: str
    dash: str = "solid"
    fill: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: a change (dashed, blue) or a firing alert (band, from `at` to `until`)."""

    at: datetime
    text: str
    until: datetime | None = None


def over_time(
    lines: Sequence[Line], frame: Frame, unit: str, marks: Sequence[Mark] = (), limit: float | None = None
) -> go.Figure:
    """Curves over the span, with what changed and what fired."""
    p = palette(frame.mode)
    figure = go.Figure()
    for line in lines:
        figure.add_trace(_trace(line, frame, unit))
    _decorate(figure, marks, frame, p)
    if limit is not None:
        figure.add_hline(limit, line={"color": p.warn, "width": 1.2, "dash": "dot"})
        figure.add_annotation(
            x=0,
            xref="paper",
            y=limit,
            text="limit",
            showarrow=False,
            yanchor="bottom",
            xanchor="left",
            font={"size": 11, "color": p.warn},
        )
    _finish(figure, frame, p, 240, marks)
    figure.update_yaxes(rangemode="tozero", title={"text": unit, "font": {"size": 12, "color": p.muted}})
    if unit == "ratio":
        figure.update_yaxes(tickformat=".0%", title={"text": "share"})
    return figure


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
                base=[_local(b.start, frame) for b in own],
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
    _decorate(figure, changed, frame, p)
    _finish(figure, frame, p, 64 + 28 * max(1, len(rows)), changed)
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


def latencies(points: Sequence[tuple[datetime, float, str]], frame: Frame, title: str) -> go.Figure:
    """Each request as a point, to draw a box over."""
    p = palette(frame.mode)
    figure = go.Figure(
        go.Scattergl(
            x=np.array([_local(at, frame) for at, _, _ in points], dtype="datetime64[ms]"),
            y=np.array([ms for _, ms, _ in points], dtype=np.float32),
            text=[escape(name, quote=False) for _, _, name in points],
            mode="markers",
            name="request",
            marker={"size": 5, "color": p.accent, "opacity": 0.55},
            hovertemplate="%{text}<br>%{y:,.0f} ms<extra></extra>",
        )
    )
    _finish(figure, frame, p, 260)
    figure.update_layout(hovermode="closest", dragmode="select", showlegend=False)
    figure.update_xaxes(range=None, autorange=True)
    figure.update_yaxes(rangemode="tozero", title={"text": f"{title}, ms", "font": {"size": 12}})
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
    _finish(figure, frame, p, 46 + 36 * len(stages))
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


def _trace(line: Line, frame: Frame, unit: str) -> go.Scatter:
    every = max(1, -(-len(line.values) // MAX_POINTS))
    y = np.array([np.nan if v is None else v for v in line.values[::every]], dtype=np.float32)
    shown = ":.1%" if unit == "ratio" else ":,.4~g" if unit == "requests" else ":,.0f"
    suffix = "" if unit == "ratio" else f" {unit}"
    return go.Scatter(
        name=line.name,
        x=np.array([_local(at, frame) for at in line.at[::every]], dtype="datetime64[ms]"),
        y=y,
        mode="lines+markers" if _lonely(y) else "lines",
        marker={"size": 4},
        connectgaps=False,
        line={"color": line.colour, "width": 2, "dash": line.dash},
        fill="tozeroy" if line.fill else None,
        fillcolor=_faint(line.colour) if line.fill else None,
        hovertemplate=f"%{{y{shown}}}{suffix}",
    )


def _lonely(y: np.ndarray) -> bool:
    """Whether a value stands between gaps, where a line alone would not show it."""
    gap = np.isnan(np.concatenate([[np.nan], y, [np.nan]]))
    return bool((~gap[1:-1] & gap[:-2] & gap[2:]).any())


def _decorate(figure: go.Figure, marks: Sequence[Mark], frame: Frame, p: Palette) -> None:
    for i, m in enumerate(marks):
        if m.until is None:
            _change(figure, m, frame, p, 15 * (i % STAGGERED))
        else:
            figure.add_vrect(
                _local(max(m.at, frame.since), frame),
                _local(m.until, frame),
                fillcolor=p.bad,
                opacity=0.1,
                line_width=0,
                layer="below",
            )
    fired = [m for m in marks if m.until is not None]
    if fired:  # the bands say where; these say what, on hover and without colour
        figure.add_trace(
            go.Scatter(
                x=[_local(max(m.at, frame.since), frame) for m in fired],
                y=[1.0] * len(fired),
                yaxis="y2",
                mode="markers",
                name="alert fires",
                marker={"symbol": "diamond", "size": 8, "color": p.bad},
                text=[escape(m.text, quote=False) for m in fired],
                hovertemplate="%{text}<extra></extra>",
            )
        )
        figure.update_layout(
            yaxis2={"overlaying": "y", "range": [0, 1.02], "visible": False, "fixedrange": True}
        )


def _change(figure: go.Figure, m: Mark, frame: Frame, p: Palette, lift: int) -> None:
    at = _local(m.at, frame)
    figure.add_shape(
        type="line",
        x0=at,
        x1=at,
        y0=0,
        y1=1,
        yref="paper",
        line={"color": p.accent, "width": 1.2, "dash": "dash"},
    )
    late = m.at > frame.since + frame.span * 0.5  # its label stands where there is more room
    figure.add_annotation(
        x=at,
        y=1,
        yref="paper",
        text=escape(m.text, quote=False),
        showarrow=False,
        xanchor="right" if late else "left",
        yanchor="bottom",
        xshift=-4 if late else 4,
        yshift=lift,
        bgcolor=p.surface,
        borderpad=1,
        opacity=0.92,
        font={"size": 12, "color": p.accent},
    )


def _finish(figure: go.Figure, frame: Frame, p: Palette, height: int, marks: Sequence[Mark] = ()) -> None:
    """Axes, fonts and the room above the plot: the legend, then the labels of what changed."""
    top = 34 + 15 * min(sum(m.until is None for m in marks), STAGGERED)
    figure.update_layout(
        height=height + top,
        margin={"l": 8, "r": 12, "t": top, "b": 4},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 12, "color": p.muted},
        hovermode="x unified",
        hoverlabel={"bgcolor": p.surface, "bordercolor": p.border, "font": {"color": p.text, "size": 12}},
        legend={
            "orientation": "h",
            "x": 0,
            "yref": "container",
            "y": 1,
            "yanchor": "top",
            "font": {"size": 12, "color": p.muted},
        },
        showlegend=True,
        dragmode=False,
    )
    label = zone_label(frame.zone, frame.now)
    figure.update_xaxes(
        range=[_local(frame.since, frame), _local(frame.now, frame)],
        showgrid=False,
        linecolor=p.border,
        ticks="outside",
        tickcolor=p.border,
        title={"text": label, "font": {"size": 12, "color": p.muted}, "standoff": 6},
        automargin=True,
    )
    figure.update_yaxes(gridcolor=p.border, zeroline=False, automargin=True, nticks=5)


def _local(at: datetime, frame: Frame) -> datetime:
    """Wall time of the chosen zone without its offset: Plotly knows no zones and would show UTC."""
    return at.astimezone(ZoneInfo(frame.zone)).replace(tzinfo=None)


def _faint(colour: str) -> str:
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},0.10)"
