"""Slow chat writes into MLflow only where there is one, says what came of it, and fails in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from collectors.recordkeeping import Ledger
from collectors.settings import Settings
from console import links
from console.desk import Desk, Record, open_desk
from console.mlflow_record import keep_examples
from console.views import slow
from console.views.facts import Failure
from console.views.frame import Frame
from tests.console.conftest import _draw
from tests.sources.contract import closed_port

EXPERIMENT = "7"


def check(test: AppTest, words: list[str], absent: list[str]) -> None:
    """The screen ran, says these words and not those."""
    assert not test.exception, [e.message for e in test.exception]
    said = [e.proto.body for e in test.get("html")]
    said += [e.label for e in (*test.button, *test.toggle, *test.expander, *test.text_input)]
    text = "\n".join(said)
    assert [w for w in words if w not in text] == []
    assert [w for w in absent if w in text] == []


@pytest.fixture
def recorded(desks: dict[str, Desk]) -> Desk:
    """A desk beside an MLflow that is down."""
    dead = f"http://127.0.0.1:{closed_port()}"
    return replace(desks["healthy"], record=Record(Ledger(dead, EXPERIMENT), "http://mlflow.example"))


def drawn(desk: Desk, frame: Frame) -> AppTest:
    kwargs = {"screen": "slow", "desk": desk, "frame": frame}
    return AppTest.from_function(_draw, default_timeout=120, kwargs=kwargs).run()


WRITING = ["Its trace in MLflow", "Write this finding", "Collect requests"]


def test_without_mlflow_nothing_is_offered(desks: dict[str, Desk], frame: Frame) -> None:
    check(drawn(desks["healthy"], frame), ["Where the time went"], WRITING)


def test_with_mlflow_a_request_opens_its_trace(recorded: Desk, frame: Frame) -> None:
    test = drawn(recorded, frame)
    check(test, [*WRITING, f"http://mlflow.example/#/experiments/{EXPERIMENT}/traces/tr-0000"], [])


def test_collecting_asks_for_rows_first(recorded: Desk, frame: Frame) -> None:
    test = drawn(recorded, frame)
    test.toggle(key="several").set_value(True).run()
    check(test, ["Evaluation data set", "Select rows first", "select rows to collect them"], [])
    assert test.button(key="add-examples").disabled


@pytest.mark.slow
def test_a_dead_mlflow_is_a_notice_and_the_screen_goes_on(recorded: Desk, frame: Frame) -> None:
    test = drawn(recorded, frame)
    write = next(b for b in test.button if (b.key or "").startswith("write-"))
    write.click().run()
    check(test, ["Not written: MLflow did not take it", "mangaops doctor", "Where the time went"], [])


def test_requests_without_a_trace_are_no_examples(recorded: Desk) -> None:
    assert isinstance(keep_examples(recorded, "slow chats", []), Failure)


@pytest.mark.parametrize(
    ("given", "ui"),
    [
        pytest.param({}, None, id="no MLflow"),
        pytest.param({"mlflow": "http://mlflow:5000"}, "http://mlflow:5000/", id="its own address"),
        pytest.param(
            {"mlflow": "http://mlflow:5000", "mlflow_ui": "https://traces.example/ml"},
            "https://traces.example/ml",
            id="another address for people",
        ),
    ],
)
def test_the_desk_knows_where_people_open_mlflow(
    given: dict[str, str], ui: str | None, desks: dict[str, Desk]
) -> None:
    desk = open_desk(desks["empty"].reader, Settings.model_validate(given), lambda _: None)
    assert (desk.record.ui if desk.record else None) == ui


def test_the_link_names_experiment_and_trace() -> None:
    assert links.trace("http://m/", "3", "ab" * 16) == f"http://m/#/experiments/3/traces/tr-{'ab' * 16}"


def test_what_was_left_out_is_said() -> None:
    assert slow.collected("slow chats", 1, 4, {"carry no inputs": 0, "are not in MLflow": 2}) == (
        "1 new record in “slow chats”, 4 in all.",
        "Left out: 2 are not in MLflow.",
    )
