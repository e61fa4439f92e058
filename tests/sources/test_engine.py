"""Scraping engines: any number at once, none in another's way, and every number from the right moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from collectors.model import Batch, Kind
from collectors.sources.engine import EngineState, ScrapeLimits, Target, replica_name, scrape
from tests.sources import contract
from tests.sources.contract import Request, Subject, closed_port, hangs, says, serving, whole

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "expositions" / "0.33.prom"
WHOLE = GOLDEN.read_text(encoding="utf-8")
LIMITS = ScrapeLimits(timeout=timedelta(seconds=0.8), max_body_bytes=100_000)
HEALTH = frozenset({"up", "scrape_duration_s"})


def polled(
    targets: Sequence[Target], state: EngineState | None = None, now: datetime = NOW
) -> tuple[EngineState, Batch]:
    async def once() -> tuple[EngineState, Batch]:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await scrape(state or EngineState(), targets, client, LIMITS, now)

    return asyncio.run(once())


def named(urls: Mapping[str, str]) -> list[Target]:
    return [Target(url, name) for name, url in urls.items()]


ENGINE = Subject(
    poll=lambda urls: polled(named(urls))[1],
    whole=WHOLE.encode(),
    health=HEALTH,
    max_body_bytes=LIMITS.max_body_bytes,
    within_s=3.0,
)


@pytest.mark.parametrize("case", contract.CASES)
def test_the_contract_of_sources(case: contract.Case) -> None:
    contract.check(ENGINE, case)


def value(batch: Batch, metric: str, replica: str = "r1") -> float | None:
    found = [fact.value for fact in batch.metrics if (fact.metric, fact.replica) == (metric, replica)]
    assert len(found) <= 1
    return found[0] if found else None


def grown(preemptions: int) -> contract.Answer:
    """The whole text, with another count of preemptions (3 in the file)."""
    before, after = 'preemptions_total{engine="0",model_name="llama-3-8b"} ', "3.0"
    assert before + after in WHOLE
    return says(WHOLE.replace(before + after, f"{before}{preemptions}").encode())


def in_turn(*answers: contract.Answer) -> contract.Answer:
    """Another answer at each request."""
    left = iter(answers)

    def answer(request: Request) -> None:
        next(left)(request)

    return answer


def scrapes(*answers: contract.Answer) -> list[Batch]:
    """What each of several scrapes of one replica brings, ten seconds apart."""
    done, state = [], EngineState()
    with serving(ENGINE, {"r1": in_turn(*answers)}) as urls:
        for turn in range(len(answers)):
            state, batch = polled(named(urls), state, NOW + timedelta(seconds=10 * turn))
            done.append(batch)
    return done


def between(earlier: Batch, later: Batch) -> float:
    """Seconds from one scrape's answer to another's: ten or twenty, and what the answers themselves took."""
    began, ended = ({fact.at for fact in batch.metrics} for batch in (earlier, later))
    return (max(ended) - max(began)).total_seconds()


def test_the_first_scrape_tells_levels_and_the_second_what_happened_since() -> None:
    first, second = scrapes(grown(3), grown(10))
    assert {fact.kind for fact in first.metrics} == {Kind.GAUGE}
    assert {fact.interval_s for fact in first.metrics} == {None}
    assert (value(first, "requests_running"), value(first, "preemptions")) == (20, None)
    assert (value(second, "preemptions"), value(second, "generation_tokens")) == (7, 0)
    assert {fact.interval_s for fact in second.metrics} == {between(first, second)}


def test_a_failed_scrape_loses_no_count() -> None:
    first, failed, third = scrapes(grown(3), says(b"", 503), grown(10))
    assert [value(batch, "up") for batch in (first, failed, third)] == [1, 0, 1]
    assert value(third, "preemptions") == 7
    assert {fact.metric for fact in third.metrics if fact.interval_s == between(failed, third)} == {
        "up",
        "scrape_duration_s",
        "scrape_samples",
    }
    assert {fact.interval_s for fact in third.metrics} == {between(failed, third), between(first, third)}


def test_facts_carry_the_moment_their_answer_was_there() -> None:
    def late(request: Request) -> None:
        time.sleep(0.3)
        whole(request)

    with serving(ENGINE, {"r1": late, "r2": whole, "r3": hangs}) as urls:
        _, batch = polled(named(urls))
    at = {fact.replica: (fact.at - NOW).total_seconds() for fact in batch.metrics}
    assert 0 < at["r2"] < at["r1"] < at["r3"]
    assert at["r1"] >= 0.3
    assert at["r3"] >= 0.8
    assert {p.at for p in batch.problems} == {fact.at for fact in batch.metrics if fact.replica == "r3"}
    for replica, elapsed_s in at.items():
        assert value(batch, "scrape_duration_s", replica) == pytest.approx(elapsed_s, abs=1e-5)
    assert value(batch, "scrape_samples", "r2") == 45


def test_thirty_hanging_replicas_cost_no_more_time_than_one() -> None:
    with serving(ENGINE, {f"r{i}": hangs for i in range(30)} | {"well": whole}) as urls:
        began = time.monotonic()
        _, batch = polled(named(urls))
    assert time.monotonic() - began < 4
    assert (len(batch.problems), value(batch, "up", "well")) == (30, 1)


def to(path: str) -> contract.Answer:
    """Redirect to a path of this server, once."""
    return lambda request: (
        whole(request) if request.handler.path == path else request.say(b"", 307, Location=path)
    )


@pytest.mark.parametrize(
    ("ending", "answers"),
    [
        pytest.param("/r1/metrics", {"r1": whole}, id="the address as it stands"),
        pytest.param("/r1/metrics", {"r1": to("/r1/metrics/")}, id="a redirect within the host is followed"),
        pytest.param("", {"metrics": whole}, id="an address without a path means /metrics"),
        pytest.param("/", {"metrics": whole}, id="so does one with a bare slash"),
        pytest.param("", {"metrics": to("/metrics/")}, id="both at once"),
    ],
)
def test_the_metrics_are_found(ending: str, answers: dict[str, contract.Answer]) -> None:
    with serving(ENGINE, answers) as urls:
        address = next(iter(urls.values())).removesuffix(f"/{next(iter(answers))}/metrics")
        _, batch = polled([Target(address + ending, "r1")])
    assert not batch.problems
    assert value(batch, "up") == 1


@pytest.mark.parametrize(
    ("target", "name"),
    [
        pytest.param(Target("http://10.0.0.7:8000/metrics"), "10.0.0.7:8000", id="host and port"),
        pytest.param(Target("http://engine/metrics"), "engine:80", id="the usual port"),
        pytest.param(Target("https://engine"), "engine:443", id="the usual port of https"),
        pytest.param(Target("http://engine:8000", "blue"), "blue", id="a name of its own"),
        pytest.param(Target("http://me:secret@engine:8000"), "engine:8000", id="no password"),
        pytest.param(
            Target("http://me:secret@engine:port?token=x"), "http://engine:port", id="nor from a wrong one"
        ),
    ],
)
def test_a_replica_is_called(target: Target, name: str) -> None:
    assert replica_name(target) == name


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param(
            "http://me:secret@127.0.0.1:{closed}/?token=secret", "cannot connect", id="a closed port"
        ),
        pytest.param("http://me:secret@host:port/", "is no address", id="a port that is none"),
        pytest.param("ftp://me:secret@host/", "is no address", id="another protocol"),
        pytest.param("secretless", "is no address", id="no address at all"),
        pytest.param("", "is no address", id="nothing"),
    ],
)
def test_an_address_that_cannot_work_is_a_problem_and_keeps_its_secrets(url: str, words: str) -> None:
    _, batch = polled([Target(url.format(closed=closed_port()))])
    assert [value(batch, "up", fact.replica) for fact in batch.metrics] == [0, 0]
    (problem,) = batch.problems
    assert words in problem.what
    assert problem.remedy
    assert "secret@" not in str(problem)
    assert "token" not in str(problem)


def test_two_targets_of_one_name_are_not_compared_with_each_other() -> None:
    with serving(ENGINE, {"r1": whole, "r2": whole}) as urls:
        state, batch = polled([Target(urls["r1"], "same"), Target(urls["r2"], "same")])
    assert [("two targets are called same" in p.what, urls["r1"] in p.what) for p in batch.problems] == [
        (True, True)
    ]
    assert list(state.snapshots) == ["same"]
    assert value(batch, "up", "same") == 1


def test_the_state_forgets_replicas_that_are_no_longer_targets() -> None:
    with serving(ENGINE, {"r1": whole, "r2": whole}) as urls:
        both, _ = polled(named(urls))
        one, _ = polled(named(urls)[:1], both, NOW + timedelta(seconds=10))
    assert set(both.snapshots) == set(both.tried) == {"r1", "r2"}
    assert set(one.snapshots) == set(one.tried) == {"r1"}


def test_no_target_is_no_fact() -> None:
    assert polled([]) == (EngineState(), Batch())


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda text: text.replace("# TYPE", "# HELP"), id="no TYPE line"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="carriage returns"),
        pytest.param(lambda text: text + "# EOF\n", id="the ending of OpenMetrics"),
    ],
)
def test_harmless_oddities_are_read(broken: Callable[[str], str]) -> None:
    with serving(ENGINE, {"r1": says(broken(WHOLE).encode())}) as urls:
        _, batch = polled(named(urls))
    assert not batch.problems
    assert value(batch, "requests_running") == 20
