"""Sources shows the receiver of traces and the way to MLflow, and neither is green while it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from collectors.model import Kind, MetricFact, RequestFact
from collectors.store.delta import DeltaWriter
from console.views import sources
from console.views.facts import Inlet
from console.views.frame import Frame
from tests.console.conftest import NOW, _draw, desk_on

INTERVAL = timedelta(seconds=5)
RUNNING = {"otlp_up": 1.0, "otlp_traces_held": 2.0, "otlp_spans_held": 6.0}
FORWARDING = {**RUNNING, "forward_up": 1.0, "forward_spans_queued": 0.0, "forward_batches_queued": 0.0}
GOOD = {("otlp_spans", "received"): 4000, ("otlp_rows", ""): 1000, ("otlp_answers", "200"): 9}


@dataclass(frozen=True)
class Case:
    """What a receiver told, and the tones of it and of the way to MLflow."""

    receiving: str
    forwarding: str | None = None
    counted: Mapping[tuple[str, str], int] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=lambda: RUNNING)
    age: timedelta = timedelta(seconds=1)


def check(case: Case) -> None:
    inlet = Inlet("127.0.0.1:4318", NOW - case.age, {**GOOD, **case.counted}, dict(case.levels))
    assert sources.receiving(inlet, NOW, INTERVAL)[1] == case.receiving
    sent = sources.forwarding(inlet, NOW, INTERVAL)
    assert (sent and sent[1]) == case.forwarding


CASES = {
    "all is well": Case("ok", "ok", levels=FORWARDING),
    "nothing is forwarded": Case("ok"),
    "nothing has come yet": Case("none", counted={("otlp_spans", "received"): 0}),
    "a span was rejected": Case("warn", counted={("otlp_spans", "rejected"): 1}),
    "an export was refused": Case("warn", counted={("otlp_answers", "401"): 1}),
    "traces were written early": Case("warn", counted={("otlp_spans", "evicted"): 1}),
    "late spans are in the order of things": Case("ok", counted={("otlp_spans", "late"): 5}),
    "it has stopped": Case("bad", levels={**RUNNING, "otlp_up": 0.0}),
    "it is silent": Case("bad", "bad", levels=FORWARDING, age=timedelta(minutes=1)),
    "MLflow is dead": Case("ok", "bad", levels={**FORWARDING, "forward_up": 0.0}),
    "MLflow lost some": Case("ok", "bad", {("forward_spans", "dropped"): 4}, FORWARDING),
    "MLflow was not tried yet": Case(
        "ok", "none", levels={k: v for k, v in FORWARDING.items() if k != "forward_up"}
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_how_it_stands(case: Case) -> None:
    check(case)


def test_its_figures_are_on_the_screen(tmp_path: Path) -> None:
    frame = Frame(NOW, live=False)
    told = {**GOOD, ("otlp_spans", "late"): 3, ("forward_spans", "sent"): 3960, ("otlp_answers", "429"): 2}
    levels = {**FORWARDING, "forward_up": 0.0, "forward_spans_queued": 40.0, "forward_batches_queued": 10.0}
    one = MetricFact(NOW, "otlp", "127.0.0.1:4318", "", Kind.GAUGE, 0.0, interval_s=5.0)
    facts = [
        *(
            replace(one, at=NOW - k * INTERVAL, metric=m, label=label, kind=Kind.COUNTER, value=n / 2)
            for (m, label), n in told.items()
            for k in (1, 2)
        ),
        *(replace(one, at=NOW - INTERVAL, metric=m, value=v) for m, v in levels.items()),
        replace(one, at=NOW - 2 * INTERVAL, metric="forward_up", value=1.0),
    ]
    writer = DeltaWriter(str(tmp_path))
    writer.append("metrics", facts)
    writer.append("requests", [RequestFact(NOW - INTERVAL, "r", "otlp", e2e_ms=900.0)])
    kwargs = {"screen": "sources", "desk": desk_on(tmp_path), "frame": frame}
    test = AppTest.from_function(_draw, default_timeout=60, kwargs=kwargs).run()
    assert not test.exception
    said = "\n".join(e.proto.body for e in test.get("html"))
    for words in (
        "127.0.0.1:4318",
        "4,000",
        "1,000",
        "3,960 spans",
        "40 spans in 10 batches",
        "MLflow does not take them",
        "2 exports",
        "2 traces, 6 spans",
        "not all of it usable",
    ):
        assert words in said, words
    assert "Nothing was scraped" not in said
