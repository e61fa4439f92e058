"""What screens may ask about sources, start-ups and tables. No Streamlit, no clock."""

from __future__ import annotations

from datetime import timedelta

from collectors.model import EventFact
from collectors.signals.startup import ENGINE
from collectors.signals.startup_facts import KINDS as START_UPS
from collectors.signals.startup_facts import told_once
from collectors.store.tables import TABLES
from console import queries
from console.desk import Desk, guarded
from console.views import startups
from console.views.facts import Inlet, Origin, Starts, TableState
from console.views.frame import Frame

STARTS_BACK = timedelta(days=7)  # engines run for days; events are few
ANSWERS_WITHIN = timedelta(minutes=5)  # of its start an engine is scraped, or it is not scraped at all
MAX_STARTS = 4  # that are shown stage by stage; the others have a line each


@guarded
def source_events(desk: Desk, frame: Frame) -> list[EventFact]:
    """Problems, gaps and restarts of the span, newest first."""
    restarts = ("telemetry_gap", "engine_restart", "configuration", *START_UPS)
    kinds = ("problem", *restarts, "first_seen", "returned", "present_at_start")
    return queries.events(desk.reader, frame.since, frame.now, kinds)


@guarded
def starts(desk: Desk, frame: Frame) -> Starts:
    """The newest start-up of each process that told of one, with when its process was heard."""
    told = told_once(queries.events(desk.reader, frame.now - STARTS_BACK, frame.now, START_UPS))
    newest = startups.newest(told)
    heard = {
        s.key: queries.lives(desk.reader, s.begin, min(s.end + ANSWERS_WITHIN, frame.now))
        for s in newest[:MAX_STARTS]
        if s.kind == ENGINE and s.failure is None
    }
    return Starts(frame.now - STARTS_BACK, newest, startups.counted(told), heard)


@guarded
def origins(desk: Desk, frame: Frame) -> list[Origin]:
    """Every source and replica of the span."""
    return queries.origins(desk.reader, frame.since, frame.now)


@guarded
def inlets(desk: Desk, frame: Frame) -> list[Inlet]:
    """Every receiver of traces of the span."""
    return queries.inlets(desk.reader, frame.since, frame.now)


@guarded
def mlflow_readers(desk: Desk, frame: Frame) -> list[Inlet]:
    """Every MLflow that requests were read from in the span."""
    return queries.inlets(desk.reader, frame.since, frame.now, "mlflow")


@guarded
def tables(desk: Desk, frame: Frame) -> list[TableState]:
    """The store's tables."""
    counted = queries.row_counts(desk.reader, frame.since, frame.now)
    return [TableState(name, desk.versions(name), counted[name]) for name in TABLES]
