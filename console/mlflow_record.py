"""What the console writes to MLflow: findings about requests, and examples for evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from collectors.explaining import Explanation
from collectors.model import RequestFact
from collectors.recordkeeping import Examples, Finding, RecordError, add_examples, write_finding
from console.desk import Desk
from console.views.facts import Failure


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
