"""Figures: gaps stay gaps, points are bounded, times are in the chosen zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from console.charts.bars import timeline, waterfall
from console.charts.curves import MAX_POINTS, over_time
from console.views.alerts import Bar
from console.views.curves import Line, Mark
from console.views.frame import Frame

NOW = datetime(2026, 11, 21, 7, 30, tzinfo=UTC)
FRAME = Frame(NOW, live=False)


def line(values: list[float | None]) -> Line:
    at = [NOW - timedelta(seconds=len(values) - k) for k in range(len(values))]
    return Line("P95", at, values, "#3b5bdb")


def test_a_gap_is_drawn_as_a_gap() -> None:
    trace = over_time([line([1.0, None, 2.0, 3.0])], FRAME, "ms").data[0]
    assert np.isnan(trace.y[1])
    assert trace.connectgaps is False
    assert trace.y.dtype == np.float32


def test_a_trace_holds_a_bounded_number_of_points() -> None:
    assert len(over_time([line([1.0] * 50_000)], FRAME, "ms").data[0].y) <= MAX_POINTS


def test_times_are_wall_times_of_the_chosen_zone() -> None:
    figure = over_time([line([1.0])], Frame(NOW, zone="Asia/Tokyo", other="UTC"), "ms")
    assert figure.layout.xaxis.title.text == "JST"
    assert figure.layout.xaxis.range[1] == datetime(2026, 11, 21, 16, 30)  # noqa: DTZ001 - wall time


def test_marks_are_escaped_and_the_axis_has_its_unit() -> None:
    figure = over_time([line([1.0])], FRAME, "ms", [Mark(NOW, "<b>"), Mark(NOW, "High TTFT", NOW)], 500.0)
    assert figure.layout.yaxis.title.text == "ms"
    assert "&lt;b&gt;" in [a.text for a in figure.layout.annotations]


def test_a_timeline_names_every_row() -> None:
    bars = [Bar("High TTFT", NOW - timedelta(minutes=1), NOW, "firing", "x")]
    assert timeline(bars, ["High TTFT"], FRAME).layout.yaxis.categoryarray == ("High TTFT",)


def test_a_waterfall_leaves_out_unknown_stages() -> None:
    figure = waterfall([("queue", 100.0, 10.0, 20.0), ("prefill", None, None, None)], FRAME)
    assert [t.y[0] for t in figure.data] == ["Queue"] * 3
