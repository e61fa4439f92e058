"""Playing a recording: in one go or in pieces, shifted or again and again, it tells the same story."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from collectors.model import Batch, Kind
from collectors.signals.metrics import BY_NAME
from collectors.sources.recording import SEAM, play, play_looping, start
from collectors.sources.tape import Tape, load
from tests.recordings import cut

LENGTH_S = 12
SECOND = timedelta(seconds=1)
CONFIGURED = ("present_at_start", "configuration of engine-0")  # once a round, and nothing else happens


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    """Twelve seconds of the drill, around the deploy that broke its prefix cache."""
    return load(cut(tmp_path_factory.mktemp("piece") / "drill", until_s=64 + LENGTH_S, from_s=64))


def check(found: Batch, wanted: Batch) -> None:
    """The same facts, in whatever order."""
    for kind in ("metrics", "requests", "events", "problems"):
        assert Counter(getattr(found, kind)) == Counter(getattr(wanted, kind)), kind


def once(tape: Tape) -> Batch:
    return play(tape, start(tape), tape.end)[1]


def sound(batch: Batch) -> None:
    """Nothing in it is negative, not a number or of no time."""
    values = [v for f in batch.metrics for v in (f.value, f.sum, f.interval_s) if v is not None]
    assert all(math.isfinite(v) and v >= 0 for v in values)
    assert all(bucket.count > 0 for f in batch.metrics for bucket in f.buckets or ())


def test_played_in_one_go_every_fact_is_there(tape: Tape) -> None:
    batch = once(tape)
    sound(batch)
    assert (len(batch.requests), batch.problems) == (len(tape.requests), ())
    assert [(e.kind, e.subject) for e in batch.events] == [CONFIGURED]
    assert Counter(f.metric for f in batch.metrics)["up"] == len(tape.scrapes)
    assert {f.at for f in batch.metrics if f.metric == "gpu_power_w"} <= set(tape.gpu_times)


@pytest.mark.parametrize("seed", range(8))
def test_played_in_pieces_it_is_the_same(seed: int, tape: Tape) -> None:
    chance, length = random.Random(seed), tape.end - tape.start
    head, pieces = start(tape), Batch()
    for moment in [*sorted(chance.uniform(-0.1, 1.1) for _ in range(5 * seed)), 1.0]:
        head, more = play(tape, head, min(tape.start + moment * length, tape.end))
        pieces += more
    check(pieces, once(tape))


def test_played_to_the_same_instant_again_it_brings_nothing(tape: Tape) -> None:
    head, first = play(tape, start(tape), tape.start + 5 * SECOND)
    assert first.metrics
    for until in (tape.start + 5 * SECOND, tape.start):
        head, again = play(tape, head, until)
        assert again == Batch()
    assert head.played == tape.start + 5 * SECOND


@pytest.mark.parametrize("shift", [timedelta(days=400, seconds=0.25), -timedelta(hours=5)])
def test_shifted_it_is_the_same_at_another_time(shift: timedelta, tape: Tape) -> None:
    _, found = play(tape, start(tape, shift, "~7"), tape.end + shift)
    back = Batch(
        tuple(replace(f, at=f.at - shift) for f in found.metrics if f.metric != "process_start_s"),
        tuple(
            replace(r, at=r.at - shift, request_id=r.request_id.removesuffix("~7")) for r in found.requests
        ),
    )
    plain = once(tape)
    marked = {(r.request_id, r.session_id, r.trace_id) for r in found.requests}
    assert not marked & {(r.request_id, r.session_id, r.trace_id) for r in plain.requests}
    assert [r.at for r in back.requests] == [r.at for r in plain.requests]
    assert [replace(r, session_id=None, trace_id=None) for r in back.requests] == [
        replace(r, session_id=None, trace_id=None) for r in plain.requests
    ]
    check(Batch(back.metrics), Batch(tuple(f for f in plain.metrics if f.metric != "process_start_s")))


# ------------------------------------------------------------------------------------ again and again
ROUNDS = 4


@pytest.fixture(scope="module", params=[0.7, 5.0, 1000.0], ids=["by tenths", "every 5 s", "at once"])
def looped(request: pytest.FixtureRequest, tape: Tape) -> list[tuple[datetime, datetime, Batch]]:
    """Four rounds, poll by poll: from, until and what came."""
    shift = timedelta(days=3)
    ends = tape.end + shift + (ROUNDS - 1) * (tape.end - tape.start + SEAM)
    head, now, polls = start(tape, shift, "~1"), tape.start + shift - SECOND, []
    while now < ends:
        until = min(now + request.param * SECOND, ends)
        head, batch = play_looping(tape, head, until)
        polls.append((now, until, batch))
        now = until
    return polls


def test_again_and_again_every_fact_has_its_time(looped: list[tuple[datetime, datetime, Batch]]) -> None:
    for since, until, batch in looped:
        facts: list[Any] = [*batch.metrics, *batch.requests]
        assert all(since < f.at <= until for f in facts)
        sound(batch)


def test_again_and_again_nothing_restarts_and_nothing_is_missing(
    looped: list[tuple[datetime, datetime, Batch]], tape: Tape
) -> None:
    batch = sum((each for _, _, each in looped), Batch())
    rounds = ROUNDS if len(looped) > 1 else 2  # asked only once, it skips the rounds between
    assert ({(e.kind, e.subject) for e in batch.events}, batch.problems) == ({CONFIGURED}, ())
    assert len(batch.requests) == rounds * len(tape.requests)
    assert Counter(f.metric for f in batch.metrics) == {
        metric: rounds * count for metric, count in Counter(f.metric for f in once(tape).metrics).items()
    }


def test_again_and_again_every_id_is_its_own(looped: list[tuple[datetime, datetime, Batch]]) -> None:
    batch = sum((each for _, _, each in looped), Batch())
    requests = batch.requests
    assert len({r.request_id for r in requests}) == len(requests)
    traces = [r.trace_id for r in requests if r.trace_id]
    assert len(set(traces)) == len(traces) == len(requests)
    assert all(len(bytes.fromhex(trace)) == 16 for trace in traces)
    series = Counter(
        (f.at, f.metric, f.model, f.engine, f.label)
        for f in batch.metrics
        if f.source.startswith("recording")
    )
    assert max(series.values()) == 1


def test_after_a_long_sleep_only_the_present_round_is_played(tape: Tape) -> None:
    head, _ = play_looping(tape, start(tape), tape.start + 3 * SECOND)
    woken = tape.start + timedelta(days=30)
    head, batch = play_looping(tape, head, woken)
    assert len(batch.requests) <= 2 * len(tape.requests)
    assert woken - max(f.at for f in batch.metrics) <= 2 * SECOND
    _, after = play_looping(tape, head, woken + (tape.end - tape.start))
    assert after.requests
    assert {r.request_id for r in after.requests}.isdisjoint({r.request_id for r in batch.requests})
    assert ({(e.kind, e.subject) for e in batch.events}, batch.problems) == ({CONFIGURED}, ())


def test_a_recording_of_one_scrape_is_played_again_and_again(tape: Tape) -> None:
    at, text = tape.scrapes[0]
    single = replace(
        tape, end=at, start=at, scrapes=((at, text),), scrape_times=(at,), requests=(), request_times=(),
        gpu=(), gpu_times=(),
    )  # fmt: skip
    head, instants = start(single), set[datetime]()
    for second in range(10):
        head, batch = play_looping(single, head, at + second * SECOND)
        instants |= {f.at for f in batch.metrics}
    assert instants == {at + second * SECOND for second in range(10)}


# ------------------------------------------------------------------------------------ broken scrapes
def with_text(tape: Tape, number: int, text: str) -> Tape:
    """The tape with one scrape's text replaced."""
    scrapes = list(tape.scrapes)
    scrapes[number] = (scrapes[number][0], text)
    return replace(tape, scrapes=tuple(scrapes))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="an empty answer"),
        pytest.param("<html><body>504 Gateway Time-out</body></html>\n", id="a proxy's page"),
        pytest.param("up 1\n", id="metrics of something else"),
        pytest.param("\x00\x01\ufffd\n", id="bytes"),
    ],
)
def test_a_scrape_that_cannot_be_read_is_a_replica_that_is_down(text: str, tape: Tape) -> None:
    found, whole = once(with_text(tape, 5, text)), once(tape)
    at = tape.scrape_times[5]
    assert [(p.at, p.subject, bool(p.remedy)) for p in found.problems] == [(at, tape.replica, True)]
    assert {f.at: f.value for f in found.metrics if f.metric == "up"} == {
        t: float(t != at) for t in tape.scrape_times
    }
    assert {f.metric for f in found.metrics if f.at == at and not f.metric.startswith("gpu_")} == {"up"}
    sound(found)
    assert totals(found) == pytest.approx(totals(whole))  # what happened meanwhile is seen at the next one
    assert ([(e.kind, e.subject) for e in found.events], found.requests) == ([CONFIGURED], whole.requests)


def totals(batch: Batch) -> dict[str, float]:
    """By metric: how much happened."""
    grown = dict.fromkeys((f.metric for f in batch.metrics if f.kind is not Kind.GAUGE), 0.0)
    for f in batch.metrics:
        if f.kind is not Kind.GAUGE:
            grown[f.metric] += f.value
    return grown


@pytest.mark.parametrize("value", ["NaN", "-1", "abc", "+Inf", "", "1e999", "0x10"])
@pytest.mark.parametrize("metric", ["preemptions", "prompt_tokens", "requests_running", "ttft_s"])
def test_a_metric_that_cannot_be_read_costs_itself(metric: str, value: str, tape: Tape) -> None:
    found, whole = once(with_text(tape, 5, with_value(tape.scrapes[5][1], metric, value))), once(tape)
    assert {p.subject for p in found.problems} == {tape.replica}
    assert any(p.what.startswith(f"{metric}: ") and p.remedy for p in found.problems)
    sound(found)
    at = tape.scrape_times[5]
    assert metric not in {f.metric for f in found.metrics if f.at == at}
    others = [f for f in whole.metrics if f.metric != metric]
    check(Batch(tuple(f for f in found.metrics if f.metric != metric)), Batch(tuple(others)))
    assert ([(e.kind, e.subject) for e in found.events], found.requests) == ([CONFIGURED], whole.requests)


def with_value(text: str, metric: str, value: str) -> str:
    """The text with another value in the metric's first sample."""
    name = BY_NAME[metric].spellings[0].name
    lines = text.splitlines(keepends=True)
    number = next(n for n, line in enumerate(lines) if line.startswith(name))
    lines[number] = f"{lines[number].rpartition(' ')[0]} {value}\n"
    return "".join(lines)
