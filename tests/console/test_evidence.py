"""Where no request rows come in, the engine's own counts speak."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from collectors.signals.points import Point
from collectors.signals.readings import READINGS
from console.views import charting, evidence, tiles
from console.views.facts import Pulse
from console.views.frame import Frame

AT = datetime(2026, 11, 21, 7, 24, tzinfo=UTC)


def told(**values: list[float | None]) -> dict[str, list[Point]]:
    looks = max(len(v) for v in values.values())
    return {
        name: [
            Point(AT + timedelta(minutes=5 * k), value=values.get(name, [None] * looks)[k], count=7)
            for k in range(looks)
        ]
        for name in evidence.ENGINE_SLICE
    }


@pytest.mark.parametrize(
    ("ttft", "queue", "prefill", "frontend"),
    [
        pytest.param(100.0, 30.0, 50.0, 20.0, id="the front end has what queue and prefill leave"),
        pytest.param(60.0, 30.0, 50.0, None, id="a negative rest is unknown"),
        pytest.param(None, 30.0, 50.0, None, id="without a mean there is no rest"),
    ],
)
def test_frontend_of_a_slice(
    ttft: float | None, queue: float, prefill: float, frontend: float | None
) -> None:
    given = told(ttft_p95_ms=[250.0], ttft_mean_ms=[ttft], queue_mean_ms=[queue], prefill_mean_ms=[prefill])
    (found,) = evidence.engine_slices(given)
    assert found.stages["frontend"] == frontend
    assert (found.basis, found.count, found.ttft_p95_ms) == ("engine", 7, 250.0)


def test_slices_come_newest_first_and_silence_is_left_out() -> None:
    found = evidence.engine_slices(told(ttft_p95_ms=[10.0, None, 30.0]))
    assert [s.ttft_p95_ms for s in found] == [30.0, 10.0]


@pytest.mark.parametrize(
    ("request_at", "expected"),
    [
        pytest.param(AT - timedelta(minutes=1), True, id="a request in the span"),
        pytest.param(AT - timedelta(hours=2), False, id="requests before the span only"),
        pytest.param(None, False, id="no request ever"),
    ],
)
def test_who_speaks(request_at: datetime | None, expected: bool) -> None:
    frame = Frame(AT, True, timedelta(minutes=15), "UTC", "Asia/Tokyo")
    assert evidence.has_requests(Pulse(request=request_at), frame) is expected


def test_what_the_engine_says_instead_exists_and_is_in_the_same_unit() -> None:
    for request, engine in evidence.ENGINE_INSTEAD.items():
        assert READINGS[engine].unit == READINGS[request].unit
        assert READINGS[engine].table == "metrics"


def test_charts_and_tiles_follow() -> None:
    names = [name for _, name, _ in tiles.FIGURES]
    assert evidence.spoken_by(names, requests=True) == tuple(names)
    assert "ttft_p95_ms" in evidence.spoken_by(names, requests=False)
    assert charting.plan(None, requests=False).readings == ("ttft_p95_ms", "ttft_p50_ms")
