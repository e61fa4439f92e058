"""What people learn of requests, written back into MLflow, which keeps the record.

MLflow's own client does it, in a process of its own: loading it takes seconds and 200 MB, which neither the
console nor the collector should pay for, and a process can be stopped when the time is up.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

MAX_EXAMPLES = 100  # traces in one go: each is fetched whole
MAX_NOTE = 2000
FEEDBACK = "why_slow"
# The client takes 5 s to load, 25 s on a machine that is busy; the rest is for MLflow to answer.
TIMEOUT = timedelta(seconds=60)
_HOME = Path(__file__).resolve().parents[2]  # where `collectors` is found, however this process was started
_NAME = re.compile(r"[\w][\w .:-]{0,99}")
# Its usual two minutes an answer, seven times, are longer than anybody watches a button.
_CLIENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class RecordError(Exception):
    """It was not written: what and remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}. {remedy}")
        self.what, self.remedy = what, remedy


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where to write: an MLflow server with an SQL store, and the experiment that holds the traces."""

    url: str
    experiment: str = "0"
    timeout: timedelta = TIMEOUT


@dataclass(frozen=True, slots=True)
class Finding:
    """What a person found out about a trace: a short value and the reason, in words."""

    trace_id: str
    value: str
    reason: str
    by: str = "mangaops console"


@dataclass(frozen=True, slots=True)
class Examples:
    """An evaluation data set after traces were added to it.

    `without_inputs` carry none, so they are no example; `missing` MLflow does not have.
    """

    dataset: str
    dataset_id: str
    added: int
    total: int
    without_inputs: int
    missing: int


def write_finding(ledger: Ledger, finding: Finding) -> str:
    """Feedback on the trace; gives its id. Raises RecordError."""
    job = {
        "trace_id": _named(finding.trace_id),
        "name": FEEDBACK,
        "value": finding.value[:MAX_NOTE],
        "rationale": finding.reason[:MAX_NOTE],
        "by": finding.by,
    }
    return str(_done(ledger, "finding", job)["assessment_id"])


def add_examples(ledger: Ledger, dataset: str, traces: Sequence[str]) -> Examples:
    """The traces as records of the evaluation data set, which is made where there is none of that name.

    MLflow keeps one record of traces with the same inputs. Raises RecordError.
    """
    if not _NAME.fullmatch(dataset):
        raise RecordError(
            f"{dataset!r} is no name for a data set", "Write letters, digits, spaces, . : - or _"
        )
    if not 0 < len(traces) <= MAX_EXAMPLES:
        raise RecordError(
            f"{len(traces)} requests with a trace are chosen", f"Choose from 1 to {MAX_EXAMPLES} of them"
        )
    return Examples(**_done(ledger, "examples", {"dataset": dataset, "traces": [_named(t) for t in traces]}))


def _named(trace: str) -> str:
    """What MLflow calls a trace of OpenTelemetry."""
    return f"tr-{trace}"


def _done(ledger: Ledger, kind: str, job: Mapping[str, Any]) -> dict[str, Any]:
    question = {"kind": kind, "url": ledger.url.rstrip("/"), "experiment": ledger.experiment, **job}
    allowed_s = ledger.timeout.total_seconds()
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "collectors.recordkeeping.writing"],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=allowed_s,
            cwd=_HOME,
            env=os.environ | _CLIENT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RecordError(f"MLflow took longer than {allowed_s:g} s", _REMEDY) from None
    except OSError as error:
        raise RecordError(f"no process could be started ({error})", "Free memory or processes") from error
    return _answer(ran)


def _answer(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(ran.stdout.strip().rpartition("\n")[2])
    except ValueError:
        last = ran.stderr.strip().rpartition("\n")[2][:300]
        raise RecordError(f"MLflow's client broke off (code {ran.returncode}): {last}", _REMEDY) from None
    if "error" in told:
        raise RecordError(f"MLflow did not take it: {told['error']}", _REMEDY)
    return told


_REMEDY = "See whether MLflow runs, with an SQL store, and `mangaops doctor`"
