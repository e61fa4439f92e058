"""On Slow chat: whose requests are slow, or what is special about those in a box, against all the rest."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from collectors.diagnose.cohorts.telling import sentence
from collectors.scoping import MEASURES, Scoped
from console import diagnosis, links, markup
from console.charts import scatter
from console.desk import Desk
from console.screens.parts import answered, draw
from console.views import whose
from console.views.frame import Frame

HEAD = (
    *(("Cohort", ""), ("Marked", "r"), ("Of all marked", "r"), ("Times as often", "r")),
    *(("Why", ""), ("Open", "")),
)
LEAD = "Drag a box over requests to hold them against the rest; without one, the slowest are taken."


def section(desk: Desk, frame: Frame, stretch: tuple[datetime, datetime], column: str) -> None:
    """The chart, and the cohorts of what is marked on it. Only where somebody asks: it reads everything."""
    if not st.toggle("Whose requests are slow?", key="whose", bind="query-params", help=LEAD):
        return
    points = answered(diagnosis.points(desk, *stretch, column), [])
    with st.container(border=True, key="card-whose"):
        state = st.plotly_chart(
            scatter.latencies(points, frame, MEASURES[column].meaning),
            theme=None,
            config={"displayModeBar": False},
            key="whose-chart",
            on_select="rerun",
            selection_mode="box",
            alt="Latency of each request over time",
        )
        draw(markup.source("requests", f"{len(points):,} shown", LEAD))
    picked = whose.box(dict(state.get("selection", {})), frame)
    found = answered(diagnosis.whose(desk, stretch, column, picked), None)
    if found is not None:
        _ranking(found, frame)


def _ranking(found: Scoped, frame: Frame) -> None:
    told = sentence(found.scope, found.measure, found.chosen)
    tone = "warn" if found.scope.kind in {"cohort", "systemic"} else "none"
    draw(markup.tag("div", markup.tag("p", told), cls=f"m-hero {tone}"))
    cells = [(*row[:-1], _examples(row[-1], frame)) for row in whose.rows(found.scope)]
    if cells:
        src = markup.source("", whose.note(found.scope), "each with those above held constant")
        draw(markup.card("Cohorts, strongest first", markup.table(HEAD, cells), src))


def _examples(ids: tuple[str, ...], frame: Frame) -> markup.Html:
    return markup.join(*(markup.tag("div", markup.link(name, links.request(name, frame))) for name in ids))
