"""Runs a drill: the stack up, quiet, then phase after phase with its faults, then everything down."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from collectors.judging import Book
from collectors.model import EventFact
from collectors.replay import timeline
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from loadtests import records
from loadtests.course import Step, happened, steps
from loadtests.detection import Happened
from loadtests.driver import Driver
from loadtests.evidence import Evidence, gathered
from loadtests.faults import Bench, inject, lacking, mend
from loadtests.scenario import Drill, Fault, plan
from loadtests.staging import files
from loadtests.staging.parts import Place, parts
from loadtests.staging.relay import Relay
from loadtests.staging.stack import Stack, started

QUIET_S = 90.0  # alerts of the start-up have to be over before the first phase
SETTLE_S = 8.0  # spans are exported, joined and stored within it
LOOK_S = 0.25
BROKEN_PARTS = {"engine_kill": "engine", "mlflow_blocked": "mlflow"}  # what a fault kills on purpose


class DrillError(Exception):
    """A drill that could not be run; nothing was measured."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A drill that was run to its end."""

    began: datetime
    happened: tuple[Happened, ...]
    load: Path  # the folder with the generator's records
    summary: dict[str, Any]  # what the generator says of itself
    evidence: Evidence = field(default_factory=Evidence)


def run(drill: Drill, place: Place, book: Book, told: Callable[[str], None]) -> Outcome:
    """Run it. `told` hears what happens. Raises DrillError, StackError."""
    refuse_what_cannot_be_broken(drill, place)
    relay = _relay(drill, place)
    try:
        placed = replace(place, scrape_url=f"http://127.0.0.1:{relay.port}") if relay else place
        files.write(placed)
        plan_file = place.root / "plan.yaml"
        plan_file.write_text(plan(drill), encoding="utf-8")
        with started(parts(placed, console=False), place.root, told) as stack:
            bench = Bench(stack, place.gateway_config, relay)
            _until_quiet(place, book, told)
            outcome = _phases(drill, bench, place, plan_file, told)
            time.sleep(SETTLE_S)
            _refuse_lost_parts(stack)
            return _with_evidence(outcome, placed)
    finally:
        if relay:
            relay.stop()


def _with_evidence(outcome: Outcome, place: Place) -> Outcome:
    quiet = {h.phase.name for h in outcome.happened if h.phase.quiet}
    return replace(outcome, evidence=gathered(place, outcome.began, records.read(outcome.load), quiet))


def _phases(
    drill: Drill, bench: Bench, place: Place, plan_file: Path, told: Callable[[str], None]
) -> Outcome:
    writer, marks = DeltaWriter(str(place.store)), list[tuple[datetime, Step]]()
    driver = Driver(plan_file, place.url("gateway"), place.root / "load")
    broken: list[Fault] = []
    try:
        began = driver.start()
        for step in steps(drill):
            _wait_until(began + timedelta(seconds=step.at_s), driver)
            _refuse_lost_parts(bench.stack, {BROKEN_PARTS[f.kind] for f in broken if f.kind in BROKEN_PARTS})
            _take(step, bench, broken)
            at = datetime.now(UTC)
            marks.append((at, step))
            _tell(step, at, writer, place, told)
        summary = driver.finish()
    finally:
        for fault in broken:
            mend(bench, fault)
        driver.stop()
    return Outcome(began, tuple(happened(marks)), driver.out, summary)


def _take(step: Step, bench: Bench, broken: list[Fault]) -> None:
    if step.fault and step.do == "inject":
        broken.append(step.fault)
        inject(bench, step.fault)
    elif step.fault and step.do == "mend":
        mend(bench, step.fault)
        broken.remove(step.fault)


def _tell(step: Step, at: datetime, writer: DeltaWriter, place: Place, told: Callable[[str], None]) -> None:
    """On the terminal, in the store (the console marks it), and in the file that a screen follows."""
    what = step.fault.kind if step.fault else step.phase.name
    words = {"inject": f"{what} begins", "mend": f"{what} is over", "phase": step.phase.title, "end": "over"}
    told(f"{at:%H:%M:%S}  {words[step.do]}")
    if step.do != "end":
        kind = "fault" if step.fault else "drill"
        after = {"inject": "broken", "mend": "mended"}.get(step.do, step.phase.title)
        writer.append("events", [EventFact(at, kind, what, "drill", None, after)])
    line = {"at": at.isoformat(), "do": step.do, "phase": step.phase.name, "what": what}
    with (place.root / "progress.jsonl").open("a", encoding="utf-8") as progress:
        progress.write(json.dumps(line) + "\n")


def _wait_until(at: datetime, driver: Driver) -> None:
    while (left := (at - datetime.now(UTC)).total_seconds()) > 0:
        driver.refuse_if_dead()
        time.sleep(min(left, LOOK_S))


def _refuse_lost_parts(stack: Stack, but: Collection[str] = ()) -> None:
    for lost in stack.dead():
        if lost.part.name not in but:
            raise DrillError(f"{lost.part.name} ended with code {lost.code} during the drill; see {lost.log}")


def refuse_what_cannot_be_broken(drill: Drill, place: Place) -> None:
    """Before anything starts. Raises DrillError."""
    ours, relayed = {p.name for p in parts(place, console=False)}, place.engine_url is None
    wrong = [why for p in drill.phases for f in p.faults if (why := lacking(f, ours, relayed=relayed))]
    if drill.proves == "capacity" and place.engine_url is None:
        wrong.append("a tiny model on a CPU has no capacity to measure. Name an engine: --engine URL")
    if wrong:
        raise DrillError("\n".join(wrong))


def _relay(drill: Drill, place: Place) -> Relay | None:
    """Only a drill that blocks the metrics needs one; it would change the replica's name for nothing."""
    if not any(f.kind == "metrics_blocked" for p in drill.phases for f in p.faults):
        return None
    relay = Relay(place.ports["engine"])
    relay.start()
    return relay


def _until_quiet(place: Place, book: Book, told: Callable[[str], None]) -> None:
    """Alerts of the start-up are none of the drill's. Raises DrillError where one does not end."""
    reader, began = DuckReader(str(place.store)), datetime.now(UTC)
    told("waiting until no alert is left from the start-up")
    active: set[tuple[str, str]] = set()
    while (now := datetime.now(UTC)) - began < timedelta(seconds=QUIET_S):
        states = {
            (t.alert, t.component): t.state for t in timeline(reader, book, began - timedelta(hours=1), now)
        }
        active = {key for key, state in states.items() if state in {"pending", "firing"}}
        judged = reader.version("judgements") is not None
        if judged and not active:
            return
        time.sleep(1)
    named = ", ".join(sorted(name for name, _ in active)) or "nothing was judged"
    raise DrillError(
        f"before the first phase: still {named} after {QUIET_S:.0f} s; see the logs in {place.root}"
    )
