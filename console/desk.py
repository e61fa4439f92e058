"""What the console stands on, and how a broken table is told apart from an empty one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import duckdb

from collectors.judge.rules import Rule, parse_rules
from collectors.judge.slo import Slo, parse_slos
from collectors.recordkeeping import Ledger
from collectors.settings import RUNBOOKS, Settings
from collectors.signals.runbooks import Runbook, RunbookError, parse
from collectors.store.errors import StoreError
from collectors.store.reader import Reader
from collectors.store.tables import REQUESTS
from console.drilling import catalogue
from console.views.facts import Failure
from console.views.offers import Catalogue

P = ParamSpec("P")
T = TypeVar("T")


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
