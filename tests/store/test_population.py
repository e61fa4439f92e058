"""A population's cells are the counts that plain Python makes of the same requests, in every engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import floor, log, log2
from pathlib import Path
from random import Random
from typing import Any

import pytest

from collectors.diagnose.cohorts.cells import OTHERS, Cells
from collectors.diagnose.cohorts.measures import MEASURES, Selection
from collectors.model import RequestFact
from collectors.store import population as store_population
from collectors.store.clickhouse import ClickHouseReader
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from collectors.store.errors import StoreError
from collectors.store.population import COLUMNS, MOST_VALUES, TURNS, examples, population, quantile
from collectors.store.reader import Reader
from tests.store.test_windows import NAMES

T = datetime(2026, 11, 1, 22, 30, tzinfo=UTC)
SPAN = (T, T + timedelta(hours=3))
SLOW = Selection(above=500.0)
OCTAVES = {1: "1", 2: "2", 3: "3-4", 4: "3-4", 5: "5-8", 8: "5-8", 9: "9-16", 16: "9-16", 17: "17 or more"}


def requests(seed: int, count: int = 400) -> list[RequestFact]:
    """Random ones, over midnight, with odd names and with values missing."""
    rng = Random(seed)

    def maybe(value: Any) -> Any:
        return value if rng.random() > 0.1 else None

    return [
        RequestFact(
            T + timedelta(microseconds=rng.randint(-10, 3 * 3_600_000_000)),
            f"r{k}",
            "gateway",
            turn=maybe(rng.choice([0, *OCTAVES, 400])),
            replica=rng.choice(NAMES[:6]),
            adapter=maybe(rng.choice(NAMES[6:])),
            locale=maybe(rng.choice(["ja-JP", "en-US", ""])),
            prompt_tokens=maybe(rng.choice([0, 1, 2, 3, 1024, 1448, 1449, 2047, 2048])),
            output_tokens=maybe(rng.choice([1, 2, 300])),
            http_status=maybe(rng.choice([200, 200, 200, 400])),
            decode_ms=maybe(rng.lognormvariate(6, 1)),
            ttft_ms=maybe(rng.choice([0.0, 0.5, 500.0, 500.1, 900.0])),
            e2e_ms=maybe(rng.lognormvariate(6, 1)),
        )
        for k in range(count)
    ]


def counted(rows: Sequence[RequestFact], name: str) -> dict[tuple[Any, ...], list[float]]:
    """By values and lengths: count, slow ones, sum of ln(ms) and of its square."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for r in rows:
        ms = value(r, name)
        if ms is None or not SPAN[0] < r.at <= SPAN[1]:
            continue
        lengths = [_bucket(getattr(r, n)) if n in MEASURES[name].lengths else 0 for n in LENGTHS]
        key = (*(getattr(r, c) or None for c in COLUMNS), _turn(r.turn), f"{r.at.hour:02}", *lengths)
        ln = log(max(ms, 1.0))
        sums = found.setdefault(key, [0.0] * 4)
        for k, more in enumerate((1, ms > (SLOW.above or 0), ln, ln * ln)):
            sums[k] += more
    return found


LENGTHS = ("prompt_tokens", "output_tokens")


def value(r: RequestFact, name: str) -> float | None:
    if name == "failed":
        return None if r.http_status is None else float(r.http_status >= 400)
    if r.http_status is not None and r.http_status >= 400:
        return None
    if name == "tpot_ms":
        many = r.decode_ms is not None and (r.output_tokens or 0) > 1
        return (r.decode_ms or 0) / ((r.output_tokens or 0) - 1) if many else None
    found: float | None = getattr(r, name)
    return found


def _turn(turn: int | None) -> str | None:
    return OCTAVES.get(turn, TURNS[-1]) if turn else None


def _bucket(tokens: int | None) -> int:
    return 1 + floor(2 * log2(tokens)) if tokens else 0


def read(cells: Cells) -> dict[tuple[Any, ...], list[float]]:
    found: dict[tuple[Any, ...], list[float]] = {}
    for k in range(cells.count.size):
        values = (a.values[code] for a, code in zip(cells.attributes, cells.codes[:, k], strict=True))
        key = (*values, *map(int, cells.lengths[:, k]))
        assert key not in found
        found[key] = [float(x[k]) for x in (cells.count, cells.marked, cells.total, cells.squares)]
    return found


def check(reader: Reader, rows: Sequence[RequestFact], name: str) -> None:
    """The store's cells are those of plain Python."""
    found, expected = read(population(reader, SPAN, MEASURES[name], SLOW)), counted(rows, name)
    assert found.keys() == expected.keys()
    for key, sums in expected.items():
        assert found[key] == pytest.approx(sums), key


def stored(root: Path, rows: Sequence[RequestFact]) -> DuckReader:
    DeltaWriter(str(root)).append("requests", list(rows))
    return DuckReader(str(root))


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_is_counted_as_plain_python_counts_it(name: str, store_root: Path) -> None:
    rows = requests(1)
    check(stored(store_root, rows), rows, name)


@pytest.mark.parametrize("name", ["e2e_ms", "ttft_ms", "failed", "tpot_ms"])
def test_clickhouse_counts_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("chdb", reason="needs chdb: it is in the dev requirements")
    monkeypatch.chdir(tmp_path)
    rows = requests(2)
    duck = stored(tmp_path / "store", rows)
    house = ClickHouseReader(str(tmp_path / "store"))
    check(house, rows, name)
    measure = MEASURES[name]
    assert quantile(house, SPAN, measure, 0.95) == pytest.approx(quantile(duck, SPAN, measure, 0.95))
    for attributes in ({}, {"adapter": None}, {"replica": NAMES[1], "turn": "3-4"}, {"hour": "23"}):
        asked = (SPAN, measure, Selection(above=0.0), attributes, 5)
        assert examples(house, *asked) == examples(duck, *asked)


def test_an_empty_store_has_no_cells(store_root: Path) -> None:
    reader = DuckReader(str(store_root))
    assert population(reader, SPAN, MEASURES["e2e_ms"], SLOW).count.size == 0
    assert quantile(reader, SPAN, MEASURES["e2e_ms"], 0.95) is None
    assert examples(reader, SPAN, MEASURES["e2e_ms"], SLOW, {}, 3) == ()


def test_the_rarest_of_very_many_values_share_one_place(store_root: Path) -> None:
    plain = RequestFact(T + timedelta(seconds=1), "r", "gateway", e2e_ms=1.0)
    names = [f"a{k:02}" for k in range(MOST_VALUES + 8)]
    rows = [replace(plain, adapter=name) for k, name in enumerate(names) for _ in range(100 - k)]
    cells = population(stored(store_root, [*rows, plain]), SPAN, MEASURES["e2e_ms"], SLOW)
    adapter = cells.attributes[0]
    assert adapter.values == (None, *names[:MOST_VALUES], OTHERS)
    counts = Counter(
        {adapter.values[code]: n for code, n in zip(cells.codes[0], cells.count.tolist(), strict=True)}
    )
    assert (counts[None], counts["a00"], counts[OTHERS]) == (1, 100, sum(range(31, 39)))


def test_a_box_marks_what_lies_in_it(store_root: Path) -> None:
    plain = RequestFact(T + timedelta(seconds=1), "r", "gateway", e2e_ms=100.0, replica="e0")
    late = T + timedelta(hours=1)
    rows = [plain, replace(plain, e2e_ms=200.0), replace(plain, at=late), replace(plain, e2e_ms=200.1)]
    reader = stored(store_root, [replace(r, request_id=f"r{k}") for k, r in enumerate(rows)])
    box = Selection(100.0, 200.0, T, T + timedelta(minutes=1))
    cells = population(reader, SPAN, MEASURES["e2e_ms"], box)
    assert (cells.count.sum(), cells.marked.sum()) == (4, 1)
    assert examples(reader, SPAN, MEASURES["e2e_ms"], box, {"replica": "e0"}, 3) == ("r1",)
    assert not box.slow
    assert SLOW.slow


def test_examples_are_the_slowest_first_and_are_of_the_cohort(store_root: Path) -> None:
    rows = requests(3)
    reader = stored(store_root, rows)
    for attributes in ({"adapter": NAMES[7]}, {"turn": "5-8"}, {"hour": "00"}, {"locale": None}):
        found = examples(reader, SPAN, MEASURES["e2e_ms"], SLOW, attributes, 5)
        mine = [r for r in rows if _belongs(r, attributes) and (value(r, "e2e_ms") or 0) > 500]
        mine = [r for r in mine if SPAN[0] < r.at <= SPAN[1]]
        assert list(found) == [r.request_id for r in sorted(mine, key=lambda r: -(r.e2e_ms or 0))[:5]]


def _belongs(r: RequestFact, attributes: dict[str, Any]) -> bool:
    own = {"turn": _turn(r.turn), "hour": f"{r.at.hour:02}", "adapter": r.adapter, "locale": r.locale or None}
    return all(own[name] == wanted for name, wanted in attributes.items())


def test_too_many_combinations_are_counted_without_the_hour(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = RequestFact(T + timedelta(seconds=1), "r", "gateway", e2e_ms=1.0)
    rows = [replace(plain, at=T + timedelta(hours=h, seconds=1), locale=v) for h in range(3) for v in "ab"]
    reader = stored(store_root, rows)
    monkeypatch.setattr(store_population, "MOST_CELLS", 2)
    cells = population(reader, SPAN, MEASURES["e2e_ms"], SLOW)
    assert cells.count.tolist() == [3.0, 3.0]
    assert "hour" not in {a.name for a in cells.attributes}
    monkeypatch.setattr(store_population, "MOST_CELLS", 1)
    with pytest.raises(StoreError, match=r"more than 1 combinations.*Ask for a shorter span"):
        population(reader, SPAN, MEASURES["e2e_ms"], SLOW)
