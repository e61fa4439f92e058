"""What the console asks is answered alike by DuckDB and by ClickHouse, here embedded as chDB."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.model import EventFact, Judgement
from collectors.store.delta import DeltaWriter
from collectors.store.opening import open_reader
from collectors.store.reader import Reader
from console import queries
from tests.store.generated import LENGTH_S, START, generated

END = START + timedelta(seconds=LENGTH_S)
WINDOW = timedelta(seconds=30)
QUESTIONS: dict[str, Callable[[Reader], Any]] = {
    "how fresh the facts are": lambda r: queries.pulse(r, END),
    "the requests in slices": lambda r: queries.slices(r, START, END, WINDOW),
    "what changed": lambda r: queries.events(r, START - WINDOW, END, ("first_seen",)),
    "how every rule stands": lambda r: queries.standing(r, END, "rule", START - WINDOW),
    "how the states changed": lambda r: queries.states(r, START - WINDOW, END, "rule"),
    "the slowest requests": lambda r: queries.candidates(r, START, END, "e2e_ms"),
    "what each source said of itself": lambda r: queries.origins(r, START, END),
    "whose processes answered": lambda r: queries.lives(r, START, END),
    "the rows of each table": lambda r: queries.row_counts(r, START, END),
}


def check(root: Path, ask: Callable[[Reader], Any]) -> None:
    duck, house = open_reader(str(root)), open_reader(str(root), "chdb://memory")
    assert _rounded(ask(house)) == _rounded(ask(duck))


@pytest.mark.parametrize("question", QUESTIONS)
def test_both_engines_say_the_same(question: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("chdb", reason="needs chdb: it is in the dev requirements")
    monkeypatch.chdir(tmp_path)  # embedded ClickHouse reads below the working directory only
    root = tmp_path / "store"
    generated(3, root)
    writer = DeltaWriter(str(root))
    writer.append("events", [EventFact(START, "first_seen", "prompt_version=v43", "gateway", "v42", "v43")])
    for minute, state in enumerate(("inactive", "pending", "firing")):
        at = START + timedelta(seconds=minute)
        writer.append("judgements", [Judgement(at, "rule", "high_ttft", "", state, 1.5, clock_scale=20.0)])
    check(root, QUESTIONS[question])


def _rounded(value: Any) -> Any:
    """Engines add floats up in another order: nine digits have to agree."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, datetime) or not hasattr(value, "__dataclass_fields__"):
        return value
    return [_rounded(getattr(value, f)) for f in value.__dataclass_fields__]
