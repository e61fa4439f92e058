"""A real Prometheus and we scrape the same engines: the facts agree, however they are asked for."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from collectors.backfilling import Progress, backfill
from collectors.fetching import FetchLimits
from collectors.model import Batch, EventFact, Kind, MetricFact
from collectors.sources.engine import EngineState, ScrapeLimits, Target, scrape
from collectors.sources.prometheus.asking import Server
from collectors.sources.prometheus.polling import Choice, PrometheusState, discover, poll, read
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from collectors.store.tables import TABLES, facts
from tests.recordings import metrics_text
from tests.servers import Exposing, free_port, prometheus
from tests.sources import contract
from tests.sources.contract import SICK, Case, Subject, serving
from tests.test_collecting import lived, settings

INTERVAL_S = 0.5
STEP_S = 1.2  # each text stands for at least two scrapes, of Prometheus's and of ours
OFFSETS_S = (0, 40, 90, 140, 190)
ENGINES = 2
CALM = 4  # the step in whose middle nothing changes
Series = tuple[str, str, str, str, str]


@dataclass(slots=True)
class Grown:
    """How much a series grew in all."""

    count: float = 0.0
    total: float = 0.0
    buckets: dict[float, float] = field(default_factory=lambda: defaultdict(float))


@dataclass(frozen=True)
class Seen:
    """What was seen of the same engines at the same time: by us, and by Prometheus poll after poll."""

    began: datetime
    calm: datetime
    ended: datetime
    names: tuple[str, str]
    direct: Batch
    polled: tuple[Batch, ...]
    server: Server

    @property
    def watched(self) -> Batch:
        return sum(self.polled, Batch())

    @property
    def settled(self) -> datetime:
        """From here on every fact has its increments, whoever asked."""
        return max(f.at for f in self.polled[0].metrics)

    def told(self, batch: Batch, since: datetime | None = None) -> Counter[MetricFact]:
        """The facts from where all is settled, or an instant, to where both replicas were polled."""
        newest = min(max(f.at for f in self.watched.metrics if f.replica == name) for name in self.names)
        return Counter(f for f in batch.metrics if (since or self.settled) < f.at <= newest)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Two engines at work; the second one fails for a while and is then started anew."""
    texts = [metrics_text(offset_s) for offset_s in OFFSETS_S]
    folder, interval = tmp_path_factory.mktemp("prometheus"), f"{round(INTERVAL_S * 1000)}ms"
    with (
        Exposing(texts[0]) as one,
        Exposing(texts[0]) as two,
        prometheus(folder, {"vllm": (one.name, two.name)}, interval) as url,
    ):
        server = Server(url)
        until_both_are_known(server)
        yield asyncio.run(watched(server, one, two, texts))


def until_both_are_known(server: Server) -> None:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        _, batch = poll(PrometheusState(), server, Choice(), datetime.now(UTC))
        if len({f.replica for f in batch.metrics if f.metric == "up" and f.value}) == ENGINES:
            return
        time.sleep(0.2)
    raise AssertionError("Prometheus never scraped the engines")


async def watched(server: Server, one: Exposing, two: Exposing, texts: list[str]) -> Seen:
    """Both look on while the engines go through their texts."""
    last = texts[-1]
    fates = [*texts, None, fresh(texts[0]), fresh(texts[1])]
    plan = [(texts[0], texts[0]), *zip([*texts, last, last, last], fates, strict=True), (last, fates[-1])]
    targets = [Target(f"http://{each.name}/metrics") for each in (one, two)]
    engines, watcher, direct, polled = EngineState(), PrometheusState(), Batch(), list[Batch]()
    began = calm = datetime.now(UTC)
    async with httpx.AsyncClient(trust_env=False) as client:
        for number, (one.text, two.text) in enumerate(plan):
            ends = time.monotonic() + STEP_S
            calm = datetime.now(UTC) + timedelta(seconds=STEP_S / 2) if number <= CALM else calm
            while time.monotonic() < ends:
                engines, more = await scrape(engines, targets, client, ScrapeLimits(), datetime.now(UTC))
                direct += more
                await asyncio.sleep(INTERVAL_S / 2)
            watcher, more = await asyncio.to_thread(poll, watcher, server, Choice(), datetime.now(UTC))
            polled.append(more)
    return Seen(began, calm, datetime.now(UTC), (one.name, two.name), direct, tuple(polled), server)


def fresh(text: str) -> str:
    """The same from a process that started just now."""
    return re.sub(r"(?m)^process_start_time_seconds .*$", f"process_start_time_seconds {time.time()}", text)


def check(found: Batch, wanted: Batch) -> None:
    """The same went on: every count and bucket exactly, every sum to rounding, and the same restarts."""
    told, expected = growth(found), growth(wanted)
    assert told.keys() == expected.keys()
    for series, grown in expected.items():
        assert told[series].count == pytest.approx(grown.count, abs=1e-6), series
        assert told[series].total == pytest.approx(grown.total), series
        assert told[series].buckets == pytest.approx(grown.buckets), series
    assert Counter((e.kind, e.subject) for e in found.events) == Counter(
        (e.kind, e.subject) for e in wanted.events
    )


def growth(batch: Batch) -> dict[Series, Grown]:
    found: dict[Series, Grown] = defaultdict(Grown)
    for f in batch.metrics:
        if f.kind != Kind.GAUGE:
            grown = found[f.replica, f.metric, f.model, f.engine, f.label]
            grown.count, grown.total = grown.count + f.value, grown.total + (f.sum or 0.0)
            for bucket in f.buckets or ():
                grown.buckets[bucket.high] += bucket.count
    return found


def test_a_scrape_of_ours_and_prometheus_count_the_same(seen: Seen) -> None:
    check(seen.watched, seen.direct)
    assert sum(grown.count for grown in growth(seen.watched).values()) > 10_000
    assert {(e.kind, e.subject) for e in seen.watched.events} == {
        ("engine_restart", seen.names[1]),
        *(("present_at_start", f"configuration of {name}") for name in seen.names),
    }


def test_the_levels_are_those_of_the_engine(seen: Seen) -> None:
    names = {f.metric for f in seen.direct.metrics if f.kind is Kind.GAUGE}
    assert {f.metric for f in seen.watched.metrics if f.kind is Kind.GAUGE} == names
    for metric in ("requests_running", "kv_usage_ratio", "process_start_s"):
        last = {f.replica: f.value for f in seen.direct.metrics if f.metric == metric}
        assert {f.replica: f.value for f in seen.watched.metrics if f.metric == metric} == last


def test_no_scrape_is_told_twice(seen: Seen) -> None:
    told = Counter((f.at, f.replica, f.metric, f.model, f.engine, f.label) for f in seen.watched.metrics)
    assert max(told.values()) == 1


def test_a_failing_engine_is_down_and_prometheus_says_why(seen: Seen) -> None:
    ups = {
        name: [f.value for f in seen.watched.metrics if (f.metric, f.replica) == ("up", name)]
        for name in seen.names
    }
    assert ups[seen.names[0]].count(0.0) <= 1  # a busy machine may cost it one
    assert 2 <= ups[seen.names[1]].count(0.0) < len(ups[seen.names[1]]) / 2
    told = {(p.subject, "503" in p.what, bool(p.remedy)) for p in seen.watched.problems}
    assert (seen.names[1], True, True) in told


def restarts(batch: Batch) -> list[EventFact]:
    """What happened, without what was there when watching began."""
    return [e for e in batch.events if e.kind != "present_at_start"]


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(FetchLimits(), id="in one answer"),
        pytest.param(FetchLimits(max_body_bytes=250_000), id="in halves, where one answer is too large"),
    ],
)
def test_asked_for_afterwards_it_is_the_same(limits: FetchLimits, seen: Seen) -> None:
    server = Server(seen.server.url, limits)
    state = discover(PrometheusState(), server, seen.ended)
    _, found = read(state, server, Choice(), seen.began, seen.ended)
    assert seen.told(found) == seen.told(seen.watched) != Counter()
    assert restarts(found) == restarts(seen.watched) != []


def test_after_a_restart_of_ours_nothing_is_missing_and_nothing_twice(seen: Seen) -> None:
    stored = dict.fromkeys(seen.names, sorted({f.at for f in seen.watched.metrics})[14])
    until = stored[seen.names[0]]
    assert seen.settled < until
    _, found = poll(PrometheusState(stored), seen.server, Choice(), seen.ended)
    assert seen.told(found, until) == seen.told(seen.watched, until) != Counter()
    assert min(f.at for f in found.metrics) > until


def test_an_engine_that_is_scraped_directly_is_left_to_that(seen: Seen) -> None:
    one, two = seen.names
    _, found = poll(PrometheusState(), seen.server, Choice(without=frozenset({one})), seen.ended)
    assert {f.replica for f in found.metrics} == {two}


def test_two_targets_of_one_name_are_not_mixed(seen: Seen) -> None:
    _, found = poll(PrometheusState(), seen.server, Choice(label="job"), seen.ended)
    assert {f.replica for f in found.metrics} == {"vllm"}
    assert [(p.subject, "two targets" in p.what) for p in found.problems] == [("vllm", True)]
    told = Counter((f.at, f.metric, f.model, f.engine, f.label) for f in found.metrics)
    assert max(told.values()) == 1


def test_a_prometheus_that_scrapes_no_engine_says_so(tmp_path: Path) -> None:
    with prometheus(tmp_path, {"nobody": (f"127.0.0.1:{free_port()}",)}) as url:
        _, found = poll(PrometheusState(), Server(url), Choice(), datetime.now(UTC))
    assert not found.metrics
    assert [("no vLLM engine" in p.what, "scrape_configs" in p.remedy) for p in found.problems] == [
        (True, True)
    ]


def test_a_collector_stores_them_and_goes_on_where_it_stopped(seen: Seen, store_root: Path) -> None:
    one, two = seen.names
    chosen = settings(store_root, {"two": f"http://{two}"}, prometheus=seen.server.url)
    lived(chosen, lambda _: len(scrapes_of(store_root, one)) >= 4)
    first = len(scrapes_of(store_root, one))
    lived(chosen, lambda _: len(scrapes_of(store_root, one)) >= first + 4)
    told = scrapes_of(store_root, one)
    assert len(set(told)) == len(told)
    spans = [later - earlier for earlier, later in pairwise(sorted(told))]
    assert max(spans) < timedelta(seconds=4 * INTERVAL_S)
    assert {f.source for f in held(store_root) if (f.metric, f.replica) == ("up", two)} == {"engine"}


def scrapes_of(root: Path, replica: str) -> list[datetime]:
    return [f.at for f in held(root) if (f.metric, f.replica) == ("up", replica)]


# ---------------------------------------------------------------------------------------- back-fill
def filled(seen: Seen, root: Path) -> Progress:
    steps = backfill(
        seen.server, Choice(), DuckReader(str(root)), DeltaWriter(str(root)), seen.began, seen.ended
    )
    return list(steps)[-1]


def held(root: Path) -> list[MetricFact]:
    found: list[MetricFact] = facts(TABLES["metrics"], DuckReader(str(root)).query("SELECT * FROM {metrics}"))
    return found


def test_a_past_is_filled_in_once(seen: Seen, store_root: Path) -> None:
    first, again = filled(seen, store_root), filled(seen, store_root)
    assert seen.told(Batch(tuple(held(store_root)))) == seen.told(seen.watched)
    assert (first.covered, again.stored, again.covered) == (0, 0, first.stored)
    events = DuckReader(str(store_root)).query("SELECT kind FROM {events}").to_pylist()
    assert [e["kind"] for e in events] == ["engine_restart"]


def test_only_what_was_missed_is_filled_in(seen: Seen, store_root: Path) -> None:
    one, two = seen.names
    whole = tuple(f for f in seen.direct.metrics if f.replica == one)
    known = [f for f in whole if f.at <= seen.calm]
    DeltaWriter(str(store_root)).append("metrics", known)
    done = filled(seen, store_root)
    assert done.covered > 0
    first, last = min(f.at for f in known), max(f.at for f in known)
    of_ours = {f.at for f in held(store_root) if (f.source, f.replica) == ("prometheus", one)}
    assert not [at for at in of_ours if first < at <= last]
    assert min(at for at in of_ours if at > last) - last < timedelta(seconds=3 * INTERVAL_S)
    grown, expected = (
        sum(g.count for key, g in growth(Batch(tuple(told))).items() if key[0] == one)
        for told in (held(store_root), whole)
    )
    assert 0.8 * expected < grown <= expected
    assert {f.source for f in held(store_root) if f.replica == two} == {"prometheus"}


# ---------------------------------------------------------------------------------------- sick ones
LIMITS = FetchLimits(timedelta(seconds=0.8), 100_000)
SUBJECT = Subject(
    poll=lambda urls: poll(PrometheusState(), Server(urls[SICK], LIMITS), Choice(), datetime.now(UTC))[1],
    whole=b'{"status": "success",\n' + b'"data": [{"job": "vllm",\n "instance": "engine:8000"}]}\n' * 40,
    health=frozenset(),
    max_body_bytes=LIMITS.max_body_bytes,
    within_s=3.0,
)


@pytest.mark.parametrize("case", contract.CASES)
def test_whatever_prometheus_answers_is_one_problem(case: Case) -> None:
    with serving(SUBJECT, {SICK: case.answer}) as urls:
        began = time.monotonic()
        batch = SUBJECT.poll(urls)
        took_s = time.monotonic() - began
    assert took_s < SUBJECT.within_s
    assert (batch.metrics, batch.events) == ((), ())
    assert [(p.subject, case.words in p.what, bool(p.remedy)) for p in batch.problems] == [
        (urls[SICK].split("/")[2], True, True)
    ], batch.problems
