"""Curves over time: gaps as gaps, units on the axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from console.charts.axes import decorate, faint, finish, local
from console.theme import palette
from console.views.curves import Line, Mark
from console.views.frame import Frame

MAX_POINTS = 2000  # a trace: more cost the browser a second and show nothing more


def over_time(
    lines: Sequence[Line], frame: Frame, unit: str, marks: Sequence[Mark] = (), limit: float | None = None
) -> go.Figure:
    """Curves over the span, with what changed and what fired."""
    p = palette(frame.mode)
    figure = go.Figure()
    for line in lines:
        figure.add_trace(_trace(line, frame, unit))
    decorate(figure, marks, frame, p)
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
    finish(figure, frame, p, 240, marks)
    figure.update_yaxes(rangemode="tozero", title={"text": unit, "font": {"size": 12, "color": p.muted}})
    if unit == "ratio":
        figure.update_yaxes(tickformat=".0%", title={"text": "share"})
    return figure


def _trace(line: Line, frame: Frame, unit: str) -> go.Scatter:
    every = max(1, -(-len(line.values) // MAX_POINTS))
    y = np.array([np.nan if v is None else v for v in line.values[::every]], dtype=np.float32)
    shown = ":.1%" if unit == "ratio" else ":,.4~g" if unit == "requests" else ":,.0f"
    suffix = "" if unit == "ratio" else f" {unit}"
    return go.Scatter(
        name=line.name,
        x=np.array([local(at, frame) for at in line.at[::every]], dtype="datetime64[ms]"),
        y=y,
        mode="lines+markers" if _lonely(y) else "lines",
        marker={"size": 4},
        connectgaps=False,
        line={"color": line.colour, "width": 2, "dash": line.dash},
        fill="tozeroy" if line.fill else None,
        fillcolor=faint(line.colour) if line.fill else None,
        hovertemplate=f"%{{y{shown}}}{suffix}",
    )


def _lonely(y: np.ndarray) -> bool:
    """Whether a value stands between gaps, where a line alone would not show it."""
    gap = np.isnan(np.concatenate([[np.nan], y, [np.nan]]))
    return bool((~gap[1:-1] & gap[:-2] & gap[2:]).any())
