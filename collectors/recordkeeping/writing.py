"""One job for MLflow's client: a question as JSON on standard input, its outcome as the last line printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mlflow
from mlflow.entities import AssessmentSource, Trace
from mlflow.entities.assessment_source import AssessmentSourceType
from mlflow.exceptions import MlflowException
from mlflow.genai.datasets import EvaluationDataset, create_dataset, search_datasets

TOLD = 300  # characters of MLflow's own words


def main() -> None:
    """Do the job on standard input."""
    job = json.load(sys.stdin)
    mlflow.set_tracking_uri(job["url"])
    try:
        told = JOBS[job["kind"]](job)
    except MlflowException as error:
        told = {"error": " ".join(str(error).split())[:TOLD]}
    sys.stdout.write("\n" + json.dumps(told) + "\n")


def _finding(job: Mapping[str, Any]) -> dict[str, Any]:
    source = AssessmentSource(source_type=AssessmentSourceType.HUMAN, source_id=job["by"])
    written = mlflow.log_feedback(
        trace_id=job["trace_id"],
        name=job["name"],
        value=job["value"],
        rationale=job["rationale"],
        source=source,
    )
    return {"assessment_id": written.assessment_id}


def _examples(job: Mapping[str, Any]) -> dict[str, Any]:
    found = [trace for each in job["traces"] if (trace := _trace(each))]
    usable = [trace for trace in found if _inputs(trace)]
    into = _dataset(job["dataset"], job["experiment"])
    before = _size(into)
    if usable:
        into.merge_records(usable)
    total = _size(into)
    return {
        "dataset": job["dataset"],
        "dataset_id": into.dataset_id,
        "added": total - before,
        "total": total,
        "without_inputs": len(found) - len(usable),
        "missing": len(job["traces"]) - len(found),
    }


def _trace(trace_id: str) -> Trace | None:
    found: Trace | None = mlflow.get_trace(trace_id, silent=True)
    return found


def _inputs(trace: Trace) -> Any:
    """Without inputs all traces would be one record."""
    roots: Sequence[Any] = [span for span in trace.data.spans if span.parent_id is None]
    return roots[0].inputs if roots else None


def _dataset(name: str, experiment: str) -> EvaluationDataset:
    known = search_datasets(experiment_ids=experiment, filter_string=f"name = '{name}'", max_results=1)
    return known[0] if known else create_dataset(name=name, experiment_id=experiment)


def _size(dataset: EvaluationDataset) -> int:
    return len(dataset.to_df())


JOBS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "finding": _finding,
    "examples": _examples,
}

if __name__ == "__main__":
    main()
