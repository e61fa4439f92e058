"""Axes, fonts, and what changed or fired, the same for every chart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from console.theme import Palette
from console.views.curves import Mark
from console.views.frame import Frame, zone_label

STAGGERED = 3  # labels of neighbouring changes stand on so many levels
FONT = '"Source Sans", "Source Sans 3", "Noto Sans JP", sans-serif'


def finish(figure: go.Figure, frame: Frame, p: Palette, height: int, marks: Sequence[Mark] = ()) -> None:
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
        range=[local(frame.since, frame), local(frame.now, frame)],
        showgrid=False,
        linecolor=p.border,
        ticks="outside",
        tickcolor=p.border,
        title={"text": label, "font": {"size": 12, "color": p.muted}, "standoff": 6},
        automargin=True,
    )
    figure.update_yaxes(gridcolor=p.border, zeroline=False, automargin=True, nticks=5)


def decorate(figure: go.Figure, marks: Sequence[Mark], frame: Frame, p: Palette) -> None:
    """Draw what changed as dashed lines with labels, and what fired as bands."""
    for i, m in enumerate(marks):
        if m.until is None:
            _change(figure, m, frame, p, 15 * (i % STAGGERED))
        else:
            figure.add_vrect(
                local(max(m.at, frame.since), frame),
                local(m.until, frame),
                fillcolor=p.bad,
                opacity=0.1,
                line_width=0,
                layer="below",
            )
    fired = [m for m in marks if m.until is not None]
    if fired:  # the bands say where; these say what, on hover and without colour
        figure.add_trace(
            go.Scatter(
                x=[local(max(m.at, frame.since), frame) for m in fired],
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
    at = local(m.at, frame)
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


def local(at: datetime, frame: Frame) -> datetime:
    """Wall time of the chosen zone without its offset: Plotly knows no zones and would show UTC."""
    return at.astimezone(ZoneInfo(frame.zone)).replace(tzinfo=None)


def faint(colour: str) -> str:
    """A colour written #rrggbb, for the area under its curve."""
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},0.10)"
