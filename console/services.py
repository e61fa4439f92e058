"""What screens may ask: every answer is a plain value, or a Failure with a remedy. No Streamlit, no clock."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import duckdb

from collectors import prefixes
from collectors.diagnose.cohorts.measures import Selection
from collectors.diagnose.prefix.loss import Loss
from collectors.explaining import Explanation, explain, find_requests
from collectors.judge.rules import Rule, parse_rules
from collectors.judge.slo import Slo, parse_slos
from collectors.model import EventFact, Judgement, RequestFact
from collectors.recordkeeping import Examples, Finding, Ledger, RecordError, add_examples, write_finding
from collectors.scoping import MEASURES, Scoped, scope_of
from collectors.settings import RUNBOOKS, Settings
from collectors.signals.points import Grid, at_instant
from collectors.signals.readings import READINGS
from collectors.signals.runbooks import Runbook, RunbookError, parse
from collectors.signals.startup import ENGINE
from collectors.signals.startup_facts import KINDS as START_UPS
from collectors.signals.startup_facts import told_once
from collectors.store import incidents as stored_incidents
from collectors.store.delta import DeltaWriter
from collectors.store.errors import StoreError
from collectors.store.reader import Reader
from collectors.store.series import series
from collectors.store.tables import REQUESTS, TABLES
from console import drillbook, queries
from console.drilling import catalogue, process, start
from console.views import evidence, startups
from console.views import incidents as incident_views
from console.views.drills import Drill
from console.views.facts import Change, Failure, Inlet, Origin, Pulse, Slice, Starts, TableState, Told
from console.views.frame import SPARK_POINTS, Frame
from console.views.offers import Catalogue
from console.views.versions import Version

P = ParamSpec("P")
T = TypeVar("T")

MARKS = (
    "first_seen",
    "returned",
    "engine_restart",
    *START_UPS,
    "telemetry_gap",
    "scaling",
    "deploy",
    "configuration",
)
SLICE = timedelta(
    minutes=5
)  # the window of the latency rules, so that the verdict speaks of the same requests
BEFORE = timedelta(minutes=15)
STARTS_BACK = timedelta(days=7)  # engines run for days; events are few
ANSWERS_WITHIN = timedelta(minutes=5)  # of its start an engine is scraped, or it is not scraped at all
MAX_STARTS = 4  # that are shown stage by stage; the others have a line each
INCIDENTS_BACK = timedelta(hours=6)  # one that was told of so long before may still last
BASELINE = timedelta(days=1)  # before a stretch of time: what it is held against
MOST_NOTE = 2000  # characters
MAX_SLICES = 300  # of the engines' histograms; a quiet past needs no more
LAST_TURN = timedelta(hours=1)  # an SLO or rule not judged for so long is not being judged


@dataclass(frozen=True, slots=True)
class Record:
    """The MLflow that keeps the traces: where we write, and where people open it."""

    ledger: Ledger
    ui: str


@dataclass(frozen=True, slots=True)
class Desk:
    """What the console stands on: the store's reader and the files that say what is judged."""

    reader: Reader
    rules: tuple[Rule, ...] = ()
    slos: tuple[Slo, ...] = ()
    runbooks: Mapping[str, Runbook] = field(default_factory=dict)
    faults: tuple[Failure, ...] = ()
    scrape_interval: timedelta = timedelta(seconds=5)
    versions: Callable[[str], int | None] = lambda _: None
    root: str = ""
    record: Record | None = None
    drills: Path = Path(".mangaops/drills")
    drills_run: bool = True
    catalogue: Callable[[], Catalogue | Failure | None] = catalogue.ask

    def rule(self, name: str) -> Rule | None:
        """The rule of that name."""
        return next((r for r in self.rules if r.name == name), None)


def open_desk(reader: Reader, settings: Settings, versions: Callable[[str], int | None]) -> Desk:
    """The desk of the settings. Raises ConfigError where rules or SLOs cannot be read."""
    pages, faults = read_runbooks(RUNBOOKS)
    return Desk(
        reader,
        parse_rules(settings.rules.read_text(encoding="utf-8"), str(settings.rules)),
        parse_slos(settings.slos.read_text(encoding="utf-8"), str(settings.slos), REQUESTS.names),
        pages,
        faults,
        settings.scrape_interval,
        versions,
        settings.store,
        _record(settings),
        settings.drills,
        settings.drills_run,
    )


def _record(settings: Settings) -> Record | None:
    if settings.mlflow is None:
        return None
    ledger = Ledger(str(settings.mlflow), settings.mlflow_experiment)
    return Record(ledger, str(settings.mlflow_ui or settings.mlflow))


def read_runbooks(folder: Path) -> tuple[dict[str, Runbook], tuple[Failure, ...]]:
    """Every page that can be read, and what is wrong with the others."""
    pages, faults = {}, []
    for file in sorted(f for f in folder.glob("*.md") if f.stem != "README"):
        try:
            pages[file.stem] = parse(file.stem, file.read_text(encoding="utf-8"))
        except (RunbookError, OSError) as error:
            faults.append(Failure(f"runbooks/{file.name} cannot be shown: {error}", "Correct the page"))
    return pages, tuple(faults)


def guarded(ask: Callable[P, T]) -> Callable[P, T | Failure]:
    """A question whose answer may be a Failure: one broken table never empties the whole screen."""

    @wraps(ask)
    def answer(*args: P.args, **kwargs: P.kwargs) -> T | Failure:
        try:
            return ask(*args, **kwargs)
        except StoreError as error:
            return Failure(f"{error.where}: {error.what}", error.remedy)
        except duckdb.Error as error:
            what = " ".join(str(error).split())[:300]
            return Failure(
                f"the query failed: {what}", "Choose a shorter time range; raise duckdb_memory if it lasts"
            )

    return answer


@guarded
def pulse(desk: Desk, now: datetime) -> Pulse:
    """How fresh the facts are, and how the clock was scaled."""
    return queries.pulse(desk.reader, now)


def drills(desk: Desk, now: datetime) -> list[Drill] | Failure:
    """Drills that were run here, and one that is running, the newest first."""
    try:
        return drillbook.read(desk.drills, now)
    except OSError as error:
        return Failure(f"{desk.drills} cannot be read: {error.strerror}", "Check its permissions")


def run_drill(desk: Desk, known: Catalogue, name: str, engine: str, now: datetime) -> str | Failure:
    """Start a drill of the catalogue; gives the name that its folder has. One drill at a time."""
    if not desk.drills_run or known.offer(name) is None:
        return Failure("this console does not run that drill", "Choose one of the list")
    if wrong := start.fault_of(engine):
        return Failure(f"the engine's URL {wrong}", "Write it like http://gpu:8000")
    try:
        with start.alone(desk.drills):
            if going := next((d.name for d in drillbook.read(desk.drills, now) if d.goes_on), None):
                return Failure(f"{going} runs already", "Wait until it has ended, or stop it")
            folder = start.folder_of(desk.drills, name, now)
            process.launch(folder, start.command(name, folder, engine), start.environment(os.environ))
    except OSError as error:
        return Failure(f"it could not be started: {error}", f"Check the permissions of {desk.drills}")
    return folder.name


def stop_drill(desk: Desk, name: str, now: datetime) -> Failure | None:
    """Ask a drill that a console started to stop."""
    try:
        running = {d.name for d in drillbook.read(desk.drills, now) if d.stoppable}
        if not desk.drills_run or name not in running or not process.ask_to_stop(desk.drills / name):
            return Failure(f"{name} does not run", "It may have ended just now")
    except OSError as error:
        return Failure(f"{name} could not be stopped: {error}", "Stop it as the user who started it")
    return None


@guarded
def told(
    desk: Desk, frame: Frame, names: Sequence[str], scale: float, points: int = SPARK_POINTS
) -> list[Told]:
    """Readings over the span, all replicas together."""
    with desk.reader.snapshot():
        return [_told(desk, frame, name, scale, points) for name in names]


def _told(desk: Desk, frame: Frame, name: str, scale: float, points: int) -> Told:
    reading = replace(READINGS[name], by=())
    window, step = reading.window / scale, frame.step(points)
    count = max(1, frame.span // step)
    grid = Grid(frame.now - step * (count - 1), step, count)
    return Told(reading, window, tuple(series(desk.reader, reading, grid, window)))


@guarded
def values(desk: Desk, now: datetime, names: Sequence[str], scale: float) -> list[Told]:
    """Readings at one instant, with their groups."""
    readings = [READINGS[n] for n in names if n in READINGS]
    with desk.reader.snapshot():
        return [
            Told(r, r.window / scale, tuple(series(desk.reader, r, at_instant(now), r.window / scale)))
            for r in readings
        ]


@guarded
def slices(desk: Desk, frame: Frame, scale: float) -> list[Slice]:
    """The span in slices of the latency rules' window, newest first: from requests, else from the engines."""
    window = SLICE / scale
    found = queries.slices(desk.reader, frame.since, frame.now, window)
    return found or _engine_slices(desk, frame, window)


def _engine_slices(desk: Desk, frame: Frame, window: timedelta) -> list[Slice]:
    count = min(MAX_SLICES, max(1, frame.span // window))
    grid = Grid(frame.now - window * (count - 1), window, count)
    with desk.reader.snapshot():
        told = {name: series(desk.reader, READINGS[name], grid, window) for name in evidence.ENGINE_SLICE}
    return evidence.engine_slices(told)


@guarded
def marks(desk: Desk, frame: Frame) -> list[EventFact]:
    """What changed in the span, newest first."""
    return queries.events(desk.reader, frame.since, frame.now, MARKS)


@guarded
def alert_events(desk: Desk, frame: Frame) -> list[EventFact]:
    """Alert transitions of the span, newest first."""
    return queries.events(desk.reader, frame.since, frame.now, ("alert",))


@guarded
def source_events(desk: Desk, frame: Frame) -> list[EventFact]:
    """Problems, gaps and restarts of the span, newest first."""
    restarts = ("telemetry_gap", "engine_restart", *START_UPS)
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
def standing(desk: Desk, now: datetime, subject: str) -> list[Judgement]:
    """How every rule or SLO stands."""
    return queries.standing(desk.reader, now, subject, now - LAST_TURN)


@guarded
def states(desk: Desk, frame: Frame, subject: str) -> list[Change]:
    """Every change of state in the span, oldest first."""
    return queries.states(desk.reader, frame.since, frame.now, subject)


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


def keep_finding(desk: Desk, explanation: Explanation, note: str) -> str | Failure:
    """The explanation as feedback on the request's trace; gives the feedback's id. Takes seconds."""
    request = explanation.request
    if desk.record is None or request.trace_id is None:
        return Failure("this request has no trace in MLflow", "Send its spans to MLflow")
    value = explanation.leading.stage if explanation.leading else "no stage stands out"
    reason = f"{note} ({explanation.sentence})" if note else explanation.sentence
    try:
        return write_finding(desk.record.ledger, Finding(request.trace_id, value, reason))
    except RecordError as error:
        return Failure(error.what, error.remedy)


def keep_examples(desk: Desk, name: str, requests: Sequence[RequestFact]) -> Examples | Failure:
    """The requests' traces as records of an evaluation data set in MLflow. Takes seconds."""
    traces = list(dict.fromkeys(r.trace_id for r in requests if r.trace_id))
    if desk.record is None or not traces:
        return Failure("none of these requests has a trace in MLflow", "Send their spans to MLflow")
    try:
        return add_examples(desk.record.ledger, name.strip(), traces)
    except RecordError as error:
        return Failure(error.what, error.remedy)
