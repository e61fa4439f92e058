"""The gate lets in so many at once, in order, and forgets nobody who gave up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from loadtests.staging.gateway.admission import Gate
from loadtests.staging.gateway.config import Admission
from loadtests.staging.gateway.refusals import Refusal

LIMITS = Admission(concurrent=2, queued=2, wait=timedelta(seconds=5), rate_per_s=1000, burst=1000)


def check(scenario: Callable[[Gate], Awaitable[None]]) -> None:
    asyncio.run(scenario(Gate()))  # type: ignore[arg-type]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_waits_longest_comes_in_first() -> None:
    async def scenario(gate: Gate) -> None:
        came: list[int] = []

        async def visit(number: int) -> None:
            await gate.enter(LIMITS, 0)
            came.append(number)

        tasks = [asyncio.create_task(visit(n)) for n in range(4)]
        await settle()
        assert (came, gate.active, gate.waiting) == ([0, 1], 2, 2)
        gate.leave()
        await settle()
        assert came == [0, 1, 2]
        gate.leave()
        await asyncio.gather(*tasks)
        assert (came, gate.active, gate.waiting) == ([0, 1, 2, 3], 2, 0)

    check(scenario)


def test_a_full_queue_refuses_at_once() -> None:
    async def scenario(gate: Gate) -> None:
        tasks = [asyncio.create_task(gate.enter(LIMITS, 0)) for _ in range(4)]
        await settle()
        with pytest.raises(Refusal) as refused:
            await gate.enter(LIMITS, 0)
        assert (refused.value.status, refused.value.kind) == (429, "rejected")
        for task in tasks:
            task.cancel()

    check(scenario)


def test_who_waits_too_long_is_refused_and_leaves_no_trace() -> None:
    async def scenario(gate: Gate) -> None:
        limits = LIMITS.model_copy(update={"wait": timedelta(milliseconds=20)})
        for _ in range(2):
            await gate.enter(limits, 0)
        with pytest.raises(Refusal, match=r"no place within 0\.02 s"):
            await gate.enter(limits, 0)
        assert (gate.active, gate.waiting) == (2, 0)

    check(scenario)


def test_a_place_given_to_who_just_gave_up_goes_to_the_next() -> None:
    async def scenario(gate: Gate) -> None:
        for _ in range(2):
            await gate.enter(LIMITS, 0)
        first, second = (asyncio.create_task(gate.enter(LIMITS, 0)) for _ in range(2))
        await settle()
        gate.leave()  # the first's place
        first.cancel()  # who gives up before it wakes
        await asyncio.gather(first, return_exceptions=True)
        await second
        assert (gate.active, gate.waiting) == (2, 0)

    check(scenario)


def test_the_rate_is_kept_on_average_and_a_burst_is_let_in() -> None:
    async def scenario(gate: Gate) -> None:
        limits = Admission(concurrent=99, queued=0, wait=timedelta(seconds=1), rate_per_s=10, burst=3)
        for _ in range(3):
            await gate.enter(limits, 100.0)
        with pytest.raises(Refusal) as refused:
            await gate.enter(limits, 100.0)
        assert refused.value.retry_after_s == pytest.approx(0.1)
        await gate.enter(limits, 100.11)

    check(scenario)


def test_a_limit_that_was_raised_holds_from_the_next_request_on() -> None:
    async def scenario(gate: Gate) -> None:
        for _ in range(2):
            await gate.enter(LIMITS, 0)
        await gate.enter(LIMITS.model_copy(update={"concurrent": 3}), 0)
        assert gate.active == 3

    check(scenario)
