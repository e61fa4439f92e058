"""Sources shows the MLflow that requests are read from: how it stands, and what came of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from collectors.model import EventFact, Kind, MetricFact, RequestFact
from collectors.store.delta import DeltaWriter
from console.views import sources
from console.views.facts import Inlet
from console.views.frame import Frame
from tests.console.conftest import NOW, _draw, desk_on

INTERVAL = timedelta(seconds=5)
SECOND = timedelta(seconds=1)


def check(inlet: Inlet, expected: tuple[str, str]) -> None:
    assert sources.reading(inlet, NOW, INTERVAL) == expected


@pytest.mark.parametrize(
    ("age", "up", "rows", "expected"),
    [
        pytest.param(10 * SECOND, 1.0, 3, ("reading", "ok"), id="rows come in"),
        pytest.param(10 * SECOND, 1.0, 0, ("no request found", "none"), id="nothing there"),
        pytest.param(10 * SECOND, 0.0, 3, ("MLflow does not answer", "bad"), id="it is down"),
        pytest.param(40 * SECOND, 1.0, 3, ("reading", "ok"), id="asked every 15 s, not every scrape"),
        pytest.param(120 * SECOND, 1.0, 3, ("silent for 2 min", "bad"), id="our collector is down"),
    ],
)
def test_how_reading_stands(age: timedelta, up: float, rows: int, expected: tuple[str, str]) -> None:
    check(Inlet("mlflow:5000", NOW - age, {("mlflow_rows", ""): rows}, {"mlflow_up": up}), expected)


def test_the_screen_counts_over_the_range(tmp_path: Path, frame: Frame) -> None:
    told = {"mlflow_rows": 3, "mlflow_traces": 5, "mlflow_rows_late": 1}
    levels = {"mlflow_up": 1.0, "mlflow_traces_waiting": 2.0, "mlflow_engines_waiting": 0.0}
    facts = [
        MetricFact(NOW - k * INTERVAL, "mlflow", "mlflow:5000", name, kind, float(value))
        for k in (1, 2)
        for kind, values in ((Kind.COUNTER, told), (Kind.GAUGE, levels))
        for name, value in values.items()
    ]
    writer = DeltaWriter(str(tmp_path))
    writer.append("metrics", facts)
    writer.append("requests", [RequestFact(NOW - INTERVAL, "req-1", "mlflow")])
    text = shown(tmp_path, frame)
    for word in ("Traces from MLflow", "mlflow:5000", "reading", "<b>10</b>", "<b>6</b>", "2 traces"):
        assert word in text


def test_what_keeps_everything_from_coming_is_shown(tmp_path: Path, frame: Frame) -> None:
    what, remedy = "cannot connect to http://prometheus:9090", "See whether the server runs there"
    problem = EventFact(NOW - INTERVAL, "problem", "prometheus:9090", "prometheus", what, remedy)
    DeltaWriter(str(tmp_path)).append("events", [problem])
    text = shown(tmp_path, frame)
    for word in ("Waiting for the first scrape", what, remedy):
        assert word in text


def shown(root: Path, frame: Frame) -> str:
    kwargs = {"screen": "sources", "desk": desk_on(root), "frame": frame}
    test = AppTest.from_function(_draw, default_timeout=60, kwargs=kwargs).run()
    assert not test.exception, [e.message for e in test.exception]
    return "\n".join(e.proto.body for e in test.get("html"))
