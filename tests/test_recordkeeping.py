"""Findings and evaluation examples written into a real MLflow, read back as its other users see them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from collectors.recordkeeping import MAX_EXAMPLES, Finding, Ledger, RecordError, add_examples, write_finding
from tests.sources.contract import closed_port
from tests.traces import experiment, send, trace

pytestmark = pytest.mark.slow
ENDED = datetime.now(UTC) - timedelta(minutes=1)
UNKNOWN = "5eed" * 8  # no other test sends it to the server that they share


@pytest.fixture(scope="module")
def ledger(mlflow_url: str) -> Ledger:
    return Ledger(mlflow_url, experiment(mlflow_url))


def check(error: RecordError, *words: str) -> None:
    """It says what, and what to do."""
    assert [w for w in words if w not in error.what] == []
    assert error.remedy


def asked(ledger: Ledger, path: str, **params: Any) -> Any:
    return (
        httpx.get(f"{ledger.url}/api/3.0/mlflow/{path}", params=params, timeout=30).raise_for_status().json()
    )


def test_a_finding_is_feedback_on_its_trace(ledger: Ledger) -> None:
    spans = trace(ENDED)
    send(ledger.url, ledger.experiment, spans)
    written = write_finding(ledger, Finding(spans[0].trace_id, "queue", "It waited 900 ms: 「待ち行列」"))
    info = asked(ledger, f"traces/tr-{spans[0].trace_id}")["trace"]["trace_info"]
    (found,) = info["assessments"]
    assert (found["assessment_id"], found["assessment_name"]) == (written, "why_slow")
    assert (found["feedback"]["value"], found["rationale"]) == ("queue", "It waited 900 ms: 「待ち行列」")
    assert found["source"] == {"source_type": "HUMAN", "source_id": "mangaops console"}


def test_requests_become_an_evaluation_data_set(ledger: Ledger) -> None:
    alike = {"mlflow.spanInputs": '{"request_id": "the same"}'}
    requests = [trace(ENDED), trace(ENDED), trace(ENDED, about=alike), trace(ENDED, about=alike)]
    root = trace(ENDED)[0]
    bare = replace(root, attributes={k: v for k, v in root.attributes.items() if k != "mlflow.spanInputs"})
    send(ledger.url, ledger.experiment, [bare, *(span for spans in requests for span in spans)])
    ids = [spans[0].trace_id for spans in requests]
    done = add_examples(ledger, "slow chats", [*ids, bare.trace_id, UNKNOWN])
    assert (done.added, done.total, done.without_inputs, done.missing) == (3, 3, 1, 1)
    again = add_examples(ledger, "slow chats", ids[:2])
    assert (again.added, again.total, again.dataset_id) == (0, 3, done.dataset_id)
    records = asked(ledger, f"datasets/{done.dataset_id}/records", max_results=10)["records"]
    assert ids[0] in str(records)


@pytest.mark.parametrize("name", ["", " x", "it's", 'a "b"', "x" * 101, "a\nb"])
def test_a_name_that_is_none_is_refused_at_once(name: str, ledger: Ledger) -> None:
    with pytest.raises(RecordError) as raised:
        add_examples(ledger, name, [UNKNOWN])
    check(raised.value, "is no name")


@pytest.mark.parametrize("count", [0, MAX_EXAMPLES + 1])
def test_too_many_or_none_are_refused_at_once(count: int, ledger: Ledger) -> None:
    with pytest.raises(RecordError) as raised:
        add_examples(ledger, "slow chats", [UNKNOWN] * count)
    check(raised.value, f"{count} requests")


def test_a_trace_that_mlflow_does_not_have(ledger: Ledger) -> None:
    with pytest.raises(RecordError) as raised:
        write_finding(ledger, Finding(UNKNOWN, "queue", "It waited"))
    check(raised.value, "did not take it", UNKNOWN)


def test_a_dead_mlflow() -> None:
    dead = Ledger(f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(RecordError) as raised:
        write_finding(dead, Finding(UNKNOWN, "queue", "It waited"))
    check(raised.value, "did not take it")


def test_the_time_is_up() -> None:
    with pytest.raises(RecordError) as raised:
        write_finding(Ledger("http://127.0.0.1:9", timeout=timedelta(seconds=0.2)), Finding(UNKNOWN, "x", ""))
    check(raised.value, "longer than 0.2 s")
