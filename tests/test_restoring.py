"""A collector that was restarted, slept, or has a twin judges as one that never stopped."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.buffer import Buffer
from collectors.judge.rules import Rule
from collectors.judging import Book
from collectors.keeping import CATCH_UP, Keeper
from collectors.model import Batch, EventFact, Judgement, Kind, MetricFact, RequestFact
from collectors.restoring import group_of, restore_memory
from collectors.settings import Settings
from collectors.signals.configuration import subject
from collectors.signals.points import component
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from collectors.store.tables import TABLES, facts

T = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
STEP = timedelta(seconds=15)
MINUTE = timedelta(minutes=1)


def rule(name: str, reading: str, threshold: float, **others: object) -> Rule:
    """A rule that fires after two minutes above the threshold."""
    text = {"title": name, "summary": "", "severity": "warning", "runbook": name, "op": ">", "window": "1m"}
    return Rule.model_validate(
        {**text, "for": "2m", "name": name, "reading": reading, "threshold": threshold, **others}
    )


BOOK = Book(
    (
        rule("queue", "queue_depth", 80, keep_firing_for="1m"),
        rule("memory", "kv_usage_ratio", 0.9),
        rule("down", "replica_up", 1, op="<", **{"for": "0s"}),
    ),
    (),
)
# A level a step. Above 80 from the third on: pending; firing two minutes later; kept for one minute more.
LEVELS = [10.0] * 2 + [90.0] * 10 + [10.0] * 5 + [95.0] * 2 + [10.0]


def scraped(at: datetime, level: float) -> Batch:
    """What two replicas told at an instant; the second one's cache follows the level."""
    levels = [
        ("requests_waiting", "a", level),
        ("kv_usage_ratio", "a", 0.1),
        ("kv_usage_ratio", "b", level / 100),
    ]
    ups = [("up", "a", 1.0), ("up", "b", float(level > 5))]
    return Batch(
        tuple(MetricFact(at, "engine", r, m, Kind.GAUGE, v, interval_s=15.0) for m, r, v in levels + ups)
    )


class Collector:
    """A keeper with its buffer, as it stands after a start."""

    def __init__(self, root: Path, book: Book = BOOK, name: str = "c") -> None:
        settings = Settings(store=str(root), judge_interval=STEP, upkeep_interval=timedelta(days=1))
        self.buffer = Buffer()
        self.keeper = Keeper(settings, book, DeltaWriter(str(root)), DuckReader(str(root)), name)

    def turn(self, at: datetime, level: float) -> None:
        """One scrape and one turn of the keeper, a second later."""
        self.buffer.add(scraped(at - timedelta(seconds=1), level), 1000)
        self.keeper.turn(self.buffer, at)


def lived(
    root: Path, levels: Sequence[float], restarts: Collection[int] = (), start: datetime = T
) -> Collector:
    """A collector that saw these levels, and was started anew before some of its turns."""
    collector = Collector(root)
    for number, level in enumerate(levels):
        if number in restarts:
            collector = Collector(root)
        collector.turn(start + number * STEP, level)
    return collector


def stored(root: Path, name: str, where: str = "true") -> list[Any]:
    found = DuckReader(str(root)).query(f'SELECT * FROM {{{name}}} WHERE {where} ORDER BY "at"')
    return facts(TABLES[name], found)


def judged(root: Path) -> list[Judgement]:
    return stored(root, "judgements")


def changes(root: Path) -> Counter[EventFact]:
    return Counter(stored(root, "events", "kind = 'alert'"))


def check(root: Path, alone: Path) -> None:
    """The same judgements and the same changes of alerts as a collector had that never stopped."""
    assert Counter(judged(root)) == Counter(judged(alone))
    assert changes(root) == changes(alone)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a collector that never stopped. Read-only."""
    root = tmp_path_factory.mktemp("alone") / "store"
    lived(root, LEVELS)
    states = {(j.name, j.state) for j in judged(root)}
    assert {("queue", "pending"), ("queue", "firing"), ("memory", "pending"), ("down", "inactive")} <= states
    return root


# -------------------------------------------------------------------------------------- restarted
@pytest.mark.parametrize(
    "restarts",
    [
        pytest.param([2, 5, 9, 11, 14, 18], id="while alerts are pending, fire and are kept firing"),
        pytest.param(range(1, len(LEVELS), 2), id="before every other turn"),
    ],
)
def test_a_restart_changes_nothing(restarts: Collection[int], alone: Path, store_root: Path) -> None:
    lived(store_root, LEVELS, restarts)
    check(store_root, alone)


def test_a_restart_keeps_what_an_alert_stands_on(alone: Path) -> None:
    reader = DuckReader(str(alone))
    pending = restore_memory(reader, BOOK, T + 5 * STEP).alerts[("queue", ())]
    firing = restore_memory(reader, BOOK, T + 11 * STEP).alerts[("queue", ())]
    kept = restore_memory(reader, BOOK, T + 13 * STEP).alerts[("queue", ())]
    began = T + 2 * STEP
    assert (pending.state, pending.active_at, pending.fired_at) == ("pending", began, None)
    assert (firing.state, firing.active_at, firing.fired_at) == ("firing", began, began + 2 * MINUTE)
    assert (kept.state, kept.fired_at, kept.kept_since) == ("firing", firing.fired_at, T + 12 * STEP)


def test_a_restart_judges_no_other_clock_scale(alone: Path) -> None:
    assert restore_memory(DuckReader(str(alone)), Book(BOOK.rules, (), 20.0), T + 12 * STEP).alerts == {}


def test_a_rule_that_is_grouped_otherwise_now_begins_anew_and_the_others_go_on(alone: Path) -> None:
    book = Book((rule("queue", "kv_usage_ratio", 0.8), rule("memory", "kv_usage_ratio", 0.9)), ())
    alerts = restore_memory(DuckReader(str(alone)), book, T + 12 * STEP).alerts
    assert set(alerts) == {("memory", ("a",)), ("memory", ("b",))}


def test_a_version_seen_before_a_restart_is_no_deploy_after_it(store_root: Path) -> None:
    for start, version in enumerate(["v1", "v1", "v2", "v2", "v1"]):
        collector = Collector(store_root)  # restarted each time
        at = T + start * 10 * MINUTE
        request = RequestFact(at, f"r{start}", "s", prompt_version=version, e2e_ms=5.0)
        collector.buffer.add(Batch(requests=(request,)), 1000)
        collector.keeper.turn(collector.buffer, at)
    seen = stored(store_root, "events", "subject LIKE 'prompt_version=%'")
    assert [(e.kind, e.before, e.after) for e in seen] == [
        ("present_at_start", None, "v1"),
        ("first_seen", "v1", "v2"),
    ]


def test_a_configuration_seen_before_a_restart_is_told_once_and_its_change_all_the_same(
    store_root: Path,
) -> None:
    for number, seen in enumerate(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb"]):
        collector = Collector(store_root)  # restarted each time, and so are its sources
        at = T + number * MINUTE
        event = EventFact(at, "present_at_start", subject("a"), "engine", None, seen)
        collector.buffer.add(Batch(events=(event,)), 1000)
        collector.keeper.turn(collector.buffer, at)
    told = stored(store_root, "events", "subject = 'configuration of a'")
    assert [(e.kind, e.before, e.after) for e in told] == [
        ("present_at_start", None, "aaaaaaaa"),
        ("configuration", "aaaaaaaa", "bbbbbbbb"),
    ]


def test_a_configuration_that_could_not_be_stored_is_told_later(store_root: Path) -> None:
    collector, table = Collector(store_root), store_root / "events"
    store_root.mkdir()
    table.write_text("a file where the table will be")
    event = EventFact(T, "present_at_start", subject("a"), "engine", None, "aaaaaaaa")
    collector.buffer.add(Batch(events=(event,)), 1000)
    collector.keeper.turn(collector.buffer, T)
    table.unlink()
    collector.keeper.turn(collector.buffer, T + MINUTE)
    assert stored(store_root, "events", "subject = 'configuration of a'") == [event]


# ------------------------------------------------------------------------------------- components
VALUES = st.text(max_size=8).filter(lambda text: ", " not in text)
NAMES = st.lists(st.from_regex(r"[a-z_]+", fullmatch=True), max_size=3, unique=True)


@given(data=st.data(), by=NAMES)
def test_a_component_and_back_is_the_same_group(data: st.DataObject, by: list[str]) -> None:
    group = tuple(data.draw(VALUES) for _ in by)
    assert group_of(by, component(by, group)) == group


@pytest.mark.parametrize(
    ("by", "text", "group"),
    [
        pytest.param((), "", (), id="a rule without groups"),
        pytest.param(("adapter",), "adapter=manga_v4", ("manga_v4",), id="one label"),
        pytest.param(("a", "b"), "a=1, b=2", ("1", "2"), id="two labels"),
        pytest.param(("a",), "a=", ("",), id="a blank label"),
        pytest.param(("a", "b"), "a=x=y, z, b=2", ("x=y, z", "2"), id="commas and equals signs inside"),
        pytest.param(("a",), "a=1, b=2", ("1, b=2",), id="what looks like a second label"),
        pytest.param((), "a=1", None, id="grouped once, not any more"),
        pytest.param(("a",), "", None, id="grouped now, not before"),
        pytest.param(("b",), "a=1", None, id="grouped by another label before"),
        pytest.param(("a.b",), "axb=1", None, id="a dot is a dot"),
    ],
)
def test_a_group_of_a_component(by: tuple[str, ...], text: str, group: tuple[str, ...] | None) -> None:
    assert group_of(by, text) == group


# ------------------------------------------------------------------------------------ after a silence
def test_ten_minutes_later_it_catches_up_instant_by_instant(alone: Path, store_root: Path) -> None:
    lived(store_root, LEVELS[:4])
    asleep = Buffer()  # another collector stored meanwhile, and judged nothing
    for number, level in enumerate(LEVELS[4:], 4):
        asleep.add(scraped(T + number * STEP - timedelta(seconds=1), level), 1000)
    for name, found in asleep.take().items():
        DeltaWriter(str(store_root)).append(name, found)
    woken = Collector(store_root)
    woken.keeper.turn(woken.buffer, T + (len(LEVELS) - 1) * STEP)
    check(store_root, alone)


@pytest.mark.parametrize("restarted", [True, False], ids=["started anew", "woken"])
@pytest.mark.parametrize(
    ("seen", "state"),
    [
        pytest.param([90.0] * 6, "pending", id="an alert that was pending"),
        pytest.param([90.0] * 12, "firing", id="an alert that fired"),
    ],
)
def test_three_hours_later_it_begins_anew(
    seen: list[float], state: str, restarted: bool, store_root: Path
) -> None:
    collector = lived(store_root, seen)
    assert judged_state(store_root, "queue") == [state]
    later = T + 3 * CATCH_UP
    collector = Collector(store_root) if restarted else collector
    for number in range(10):
        collector.turn(later + number * STEP, 90.0)
    after = [j for j in judged(store_root) if j.name == "queue" and j.at > T + CATCH_UP]
    assert [j.at for j in after] == [later + number * STEP for number in range(10)]
    assert [j.state for j in after] == ["pending"] * 8 + [
        "firing"
    ] * 2  # it did not fire for the hours of silence
    assert after[-1].active_at == later
    last = [e for e in stored(store_root, "events", "kind = 'alert' AND subject = 'queue'") if e.at >= later]
    assert [(e.before, e.after) for e in last] == [("no_data", "pending"), ("pending", "firing")]


def judged_state(root: Path, name: str) -> list[str]:
    return [j.state for j in judged(root) if j.name == name][-1:]


def test_a_clock_that_was_a_year_ahead_does_not_stop_judging(store_root: Path) -> None:
    collector = lived(store_root, [10.0] * 3)
    ahead = T + timedelta(days=365)
    collector.keeper.turn(collector.buffer, ahead)
    for restarted in (False, True):
        collector = Collector(store_root) if restarted else collector
        for number in range(12):
            collector.turn(T + (3 + number + 12 * restarted) * STEP, 90.0)
    found = [j for j in judged(store_root) if j.name == "queue" and j.at < ahead - timedelta(days=1)]
    assert [j.at for j in found] == [T + number * STEP for number in range(27)]
    assert [j.state for j in found] == ["inactive"] * 3 + ["pending"] * 8 + ["firing"] * 16


def test_a_clock_set_back_a_little_judges_no_instant_twice(alone: Path, store_root: Path) -> None:
    collector = Collector(store_root)
    for number, level in enumerate(LEVELS):
        collector.turn(T + number * STEP, level)
        if number % 5 == 4:
            collector.keeper.turn(collector.buffer, T + (number - 3) * STEP)
    check(store_root, alone)


# ------------------------------------------------------------------------------- two on one store
def test_two_in_turn_judge_each_instant_once(alone: Path, store_root: Path) -> None:
    twins = Collector(store_root, name="x"), Collector(store_root, name="y")
    for number, level in enumerate(LEVELS):
        twins[number % 2].turn(T + number * STEP, level)
        twins[1 - number % 2].keeper.turn(Buffer(), T + number * STEP)
    check(store_root, alone)


def test_two_at_once_judge_each_instant_once(alone: Path, store_root: Path) -> None:
    twins = [Collector(store_root, name=name) for name in ("x", "y")]
    for number, level in enumerate(LEVELS):
        twins[0].buffer.add(scraped(T + number * STEP - timedelta(seconds=1), level), 1000)
        twins[0].keeper.flush(twins[0].buffer, T + number * STEP)
        gate = threading.Barrier(len(twins))
        threads = [threading.Thread(target=together, args=(gate, twin, T + number * STEP)) for twin in twins]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    check(store_root, alone)


def together(gate: threading.Barrier, collector: Collector, now: datetime) -> None:
    gate.wait(10)
    collector.keeper.turn(collector.buffer, now)
