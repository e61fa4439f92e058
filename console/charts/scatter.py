"""Requests as points, to draw a box over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

import numpy as np
import plotly.graph_objects as go

from console.charts.axes import finish, local
from console.theme import palette
from console.views.frame import Frame


def latencies(points: Sequence[tuple[datetime, float, str]], frame: Frame, title: str) -> go.Figure:
    """Each request as a point, to draw a box over."""
    p = palette(frame.mode)
    figure = go.Figure(
        go.Scattergl(
            x=np.array([local(at, frame) for at, _, _ in points], dtype="datetime64[ms]"),
            y=np.array([ms for _, ms, _ in points], dtype=np.float32),
            text=[escape(name, quote=False) for _, _, name in points],
            mode="markers",
            name="request",
            marker={"size": 5, "color": p.accent, "opacity": 0.55},
            hovertemplate="%{text}<br>%{y:,.0f} ms<extra></extra>",
        )
    )
    finish(figure, frame, p, 260)
    figure.update_layout(hovermode="closest", dragmode="select", showlegend=False)
    figure.update_xaxes(range=None, autorange=True)
    figure.update_yaxes(rangemode="tozero", title={"text": f"{title}, ms", "font": {"size": 12}})
    return figure
