"""The table of metrics: unambiguous, and truthful about which releases expose what."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from collectors.model import Kind
from collectors.signals.metrics import (
    BY_NAME,
    HELP_NEEDED,
    METRICS,
    NEWEST,
    OLDEST,
    SAMPLE_NAMES,
    exposed,
    sample_names,
    version_range,
)


def spelt(canonical: str, release: int = 0) -> str:
    """The vLLM name of a metric, newest first."""
    return BY_NAME[canonical].spellings[release].name


CASES = [
    pytest.param([], set(), None, id="no name, no release"),
    pytest.param(["python_info", "http_requests_total"], set(), None, id="names of others tell nothing"),
    pytest.param(
        [spelt("process_start_s")], {"process_start_s"}, None, id="a start time alone may be any program's"
    ),
    pytest.param(
        [spelt("requests_running")],
        {"requests_running"},
        f"{OLDEST} – {NEWEST}",
        id="a name all releases have",
    ),
    pytest.param(
        [spelt("preemptions") + "_total"],
        {"preemptions"},
        f"{OLDEST} – {NEWEST}",
        id="a counter by its sample",
    ),
    pytest.param(
        [spelt("ttft_s") + "_bucket"], {"ttft_s"}, f"{OLDEST} – {NEWEST}", id="a histogram by a bucket"
    ),
    pytest.param([spelt("ttft_s")], {"ttft_s"}, f"{OLDEST} – {NEWEST}", id="a histogram by its TYPE line"),
    pytest.param(
        [spelt("iteration_tokens")], {"iteration_tokens"}, f"0.6.4 – {NEWEST}", id="a histogram called total"
    ),
    pytest.param(
        [spelt("iteration_tokens").removesuffix("_total")], set(), None, id="which is no counter without it"
    ),
    pytest.param(
        [spelt("prompt_tokens_per_s")],
        {"prompt_tokens_per_s"},
        f"{OLDEST} – 0.7.2",
        id="a name that went away",
    ),
    pytest.param(
        [spelt("kv_usage_ratio"), spelt("kv_usage_ratio", 1)],
        {"kv_usage_ratio"},
        "0.9.2 – 0.11",
        id="old and new name side by side narrow it to the years between",
    ),
    pytest.param(
        [spelt("requests_waiting_by_reason"), spelt("inter_token_s")],
        {"requests_waiting_by_reason", "inter_token_s"},
        f"0.21 – {NEWEST}",
        id="the youngest name sets the first release",
    ),
    pytest.param(
        [spelt("admission_rejections")], {"admission_rejections"}, NEWEST, id="one release is no range"
    ),
    pytest.param(
        [spelt("requests_swapped"), spelt("admission_rejections")],
        {"requests_swapped", "admission_rejections"},
        None,
        id="names that no release has together name none",
    ),
    pytest.param(
        [spelt("kv_block_tokens")],
        {"kv_block_tokens", "kv_blocks"},
        f"{OLDEST} – {NEWEST}",
        id="one gauge full of labels carries several metrics",
    ),
]


@pytest.mark.parametrize(("names", "metrics", "releases"), CASES)
def test_names_tell_what_is_exposed_and_by_which_release(names, metrics, releases) -> None:
    assert exposed(names) == metrics
    assert version_range(names) == releases


def test_no_sample_name_could_be_two_metrics() -> None:
    owners = Counter(
        sample
        for metric in METRICS
        for each in metric.spellings
        if not each.from_label
        for sample in sample_names(metric.kind, each.name)
    )
    assert [name for name, count in owners.items() if count > 1] == []
    assert owners.keys() <= SAMPLE_NAMES


def test_canonical_names_are_unique_and_end_with_their_unit() -> None:
    assert len(BY_NAME) == len(METRICS)
    endings = {"s": "_s", "ratio": "_ratio", "tokens/s": "_tokens_per_s", "unix s": "_s"}
    wrong = [m.name for m in METRICS if not m.name.endswith(endings.get(m.unit, ""))]
    assert wrong == ["prefix_hit_ratio_lifetime"]


def test_spellings_stand_newest_first_and_leave_no_release_without_a_name() -> None:
    for metric in METRICS:
        for newer, older in pairwise(metric.spellings):
            assert number(newer.since) >= number(older.since), metric.name
            assert older.until is not None, metric.name
            assert number(older.until) >= number(newer.since), f"{metric.name} has no name between the two"


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_only_counters_of_tokens_wait_for_a_word_about_their_unit() -> None:
    asked = [metric for metric in METRICS if any(each.maybe_blocks for each in metric.spellings)]
    assert {(metric.kind, metric.unit) for metric in asked} == {(Kind.COUNTER, "tokens")}
    assert len(HELP_NEEDED) == 2 * len(asked)
