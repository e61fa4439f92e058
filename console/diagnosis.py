"""What screens may ask about slow requests and incidents. No Streamlit, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from collectors import prefixes
from collectors.diagnose.cohorts.measures import Selection
from collectors.diagnose.prefix.loss import Loss
from collectors.explaining import Explanation, explain, find_requests
from collectors.model import EventFact, RequestFact
from collectors.scoping import MEASURES, Scoped, scope_of
from collectors.store import incidents as stored_incidents
from collectors.store.delta import DeltaWriter
from collectors.store.errors import StoreError
from console import queries
from console.desk import Desk, guarded
from console.views import incidents as incident_views
from console.views.changes import MARKS
from console.views.facts import Failure
from console.views.frame import Frame
from console.views.versions import Version

BEFORE = timedelta(minutes=15)
INCIDENTS_BACK = timedelta(hours=6)  # one that was told of so long before may still last
BASELINE = timedelta(days=1)  # before a stretch of time: what it is held against
MOST_NOTE = 2000  # characters


@guarded
def found(desk: Desk, text: str) -> list[RequestFact]:
    """The requests of a request, trace or session id."""
    return find_requests(desk.reader, text)


@guarded
def candidates(
    desk: Desk, since: datetime, until: datetime, order: str, where: Sequence[tuple[str, str]]
) -> list[RequestFact]:
    """The slowest requests of a stretch of time."""
    return queries.candidates(desk.reader, since, until, order, where)


@guarded
def adapters(desk: Desk, since: datetime, until: datetime) -> list[str]:
    """The adapters that answered in a stretch of time."""
    return queries.adapters(desk.reader, since, until)


@guarded
def points(desk: Desk, since: datetime, until: datetime, column: str) -> list[tuple[datetime, float, str]]:
    """Requests of a stretch of time for a chart: (end, ms, id)."""
    return queries.points(desk.reader, since, until, column)


@guarded
def whose(desk: Desk, stretch: tuple[datetime, datetime], column: str, picked: Selection | None) -> Scoped:
    """Whose requests are slow, beside the day before; or what is special about those that were picked."""
    before = (stretch[0] - BASELINE, stretch[0])
    return scope_of(desk.reader, stretch, before, MEASURES[column], picked)


@guarded
def versions(desk: Desk, frame: Frame, column: str) -> list[Version]:
    """What the requests of each adapter or version came to in the span."""
    return queries.versions(desk.reader, frame.since, frame.now, column)


@guarded
def prefix_loss(desk: Desk, version: str) -> Loss | None:
    """What a prompt version lost of its cached prefix; None where nothing is known of it."""
    return prefixes.loss(desk.reader, version)


@guarded
def explained(desk: Desk, request: RequestFact) -> Explanation:
    """Why one request took as long as it did."""
    return explain(desk.reader, request)


@guarded
def changes_before(desk: Desk, at: datetime) -> list[EventFact]:
    """What changed in the quarter of an hour before an instant, newest first, however much else happened."""
    return queries.events(desk.reader, at - BEFORE, at, MARKS)


@guarded
def incidents(desk: Desk, frame: Frame) -> list[Mapping[str, Any]]:
    """Incidents of the span as they were told up to its end, the newest first."""
    told = stored_incidents.incidents(desk.reader, frame.since - INCIDENTS_BACK, frame.now)
    return incident_views.seen(told, frame)


@guarded
def incident(desk: Desk, name: str) -> Mapping[str, Any] | None:
    """One incident, whenever it was; None where there is none of that id."""
    return next((i for i in stored_incidents.incidents(desk.reader) if i["id"] == name), None)


@guarded
def incident_notes(desk: Desk, since: datetime, until: datetime | None = None) -> list[EventFact]:
    """What people said of incidents, oldest first."""
    return stored_incidents.notes(desk.reader, since, until)


def note_incident(desk: Desk, name: str, state: str, text: str, now: datetime) -> Failure | None:
    """Keep what a person says of an incident: acknowledged, resolved, or a note."""
    fact = EventFact(now, stored_incidents.NOTE, name, "console", state, text.strip()[:MOST_NOTE])
    try:
        DeltaWriter(desk.root).append("events", [fact])
    except StoreError as error:
        return Failure(f"{error.where}: {error.what}", error.remedy)
    return None
