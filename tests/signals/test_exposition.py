"""Reading a scrape: every release means the same, and what cannot be read right is left out and said so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.signals.exposition import Distribution, Exposition, ExpositionError, Key, read
from collectors.signals.metrics import BY_NAME, Metric

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "expositions"
RELEASES = ["0.4.3", "0.8.5", "0.9.2", "0.10.2", "0.11", "0.12", "0.16", "0.24", "0.33"]


# ------------------------------------------------------------------------------------- each release
@pytest.mark.parametrize("release", RELEASES)
def test_every_release_reads_as_the_same_canonical_metrics(release: str) -> None:
    text = (GOLDEN / f"{release}.prom").read_text(encoding="utf-8")
    assert rendered(read(text)) == (GOLDEN / f"{release}.out").read_text(encoding="utf-8")


def test_every_golden_scrape_is_compared() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.prom")) == sorted(RELEASES)


def rendered(seen: Exposition) -> str:
    """A scrape's readings as text: what `make golden` writes beside the scrape."""
    lines = [f"releases: {seen.versions}", f"samples: {seen.samples}"]
    lines += [f"fault: {fault.subject}: {fault.what}" for fault in seen.faults]
    lines += [f"not exposed: {', '.join(sorted(m.name for m in not_exposed(seen)))}", ""]
    lines += [f"{named(key)} {value:.12g}" for key, value in {**seen.gauges, **seen.counters}.items()]
    for key, (bounds, counts, total) in seen.histograms.items():
        upto = ", ".join(f"≤{bound:g} {count:g}" for bound, count in zip(bounds, counts, strict=True))
        lines.append(f"{named(key)} sum {total:.12g}: {upto}")
    return "\n".join(lines) + "\n"


def not_exposed(seen: Exposition) -> Iterator[Metric]:
    return (m for m in BY_NAME.values() if m.spellings and m.name not in seen.exposed)


def named(key: Key) -> str:
    return f"{key.metric}{{{', '.join(part or '-' for part in key[1:])}}}"


# ------------------------------------------------------------------------------------- small texts
def spelt(canonical: str, release: int = 0) -> str:
    """The vLLM name of a metric, newest first."""
    return BY_NAME[canonical].spellings[release].name


RUNNING, WAITING, TTFT = spelt("requests_running"), spelt("requests_waiting"), spelt("ttft_s")
PREEMPTIONS, PROMPTS, FINISHED = spelt("preemptions"), spelt("prompt_tokens"), spelt("requests_finished")
KV, OLD_KV, LORA, CACHE = (
    spelt("kv_usage_ratio"),
    spelt("kv_usage_ratio", 1),
    spelt("adapter_slots"),
    spelt("kv_blocks"),
)
OLD_HITS, HIT_RATE = spelt("prefix_cache_hits", 1), spelt("prefix_hit_ratio_lifetime")
LONG = "x" * 100_000


def text(*lines: str) -> str:
    return "\n".join([f"{RUNNING} 1", *lines, f"{WAITING} 2", ""])


def histogram(
    *counts: tuple[str, float | str], count: float, total: float | str = 1.5, labels: str = ""
) -> list[str]:
    after = f"{{{labels}}}" if labels else ""
    buckets = [f'{TTFT}_bucket{{{labels}{"," if labels else ""}le="{le}"}} {value}' for le, value in counts]
    return [*buckets, f"{TTFT}_count{after} {count}", f"{TTFT}_sum{after} {total}"]


def lora(running: str, waiting: str, at: float) -> str:
    return f'{LORA}{{max_lora="4",running_lora_adapters="{running}",waiting_lora_adapters="{waiting}"}} {at}'


WHOLE = histogram(("0.1", 2), ("+Inf", 3), count=3)


# ----------------------------------------------------------------- texts that cannot be trusted at all
@pytest.mark.parametrize(
    ("body", "what"),
    [
        pytest.param("", "it is empty", id="an empty body"),
        pytest.param("\n \n", "it is empty", id="blank lines only"),
        pytest.param("<!doctype html>\n<title>502</title>\n", "an HTML page", id="an error page"),
        pytest.param("\n  <html>login</html>\n", "an HTML page", id="a login page after a blank line"),
        pytest.param('{"detail":"Not Found"}\n', "no line of a metrics text", id="a JSON answer"),
        pytest.param("Internal Server Error\n", "no line of a metrics text", id="a plain error message"),
        pytest.param(
            text()[:-1], "in the middle of a line", id="no line feed at the end: the number may be cut"
        ),
        pytest.param(
            text() + f"{PROMPTS}_total 12", "in the middle of a line", id="a cut number that still reads"
        ),
        pytest.param(
            text() + WHOLE[0] + "\n", "in the middle of a histogram", id="the end lacks a +Inf bucket"
        ),
        pytest.param(text() + "\n".join(WHOLE[:3]) + "\n", "middle of a histogram", id="the end lacks a sum"),
        pytest.param(
            "python_info 1\nprocess_start_time_seconds 9\n", "none of them is a vLLM", id="another program"
        ),
        pytest.param(text(")]}garbage"), "no line of a metrics text", id="a line that could be anyone's"),
        pytest.param(text("\x00\x1b[2J\ud7ff"), "no line of a metrics text", id="control characters"),
        pytest.param(text(LONG), "no line of a metrics text", id="a line without end"),
        pytest.param(
            text("mystery{ 5"), "no line of a metrics text", id="a broken line of a name unheard of"
        ),
        pytest.param("\ufeff" + text(), "no line of a metrics text", id="a byte order mark"),
    ],
)
def test_a_text_that_cannot_be_trusted_is_refused(body: str, what: str) -> None:
    with pytest.raises(ExpositionError) as caught:
        read(body)
    error = caught.value
    assert what in error.what
    assert str(error) == f"{error.where}: {error.what}. {error.remedy}"
    assert error.where.isprintable()
    assert len(error.where) <= 150
    assert error.remedy


# ------------------------------------------------------------------- damage to one metric, and no other
BROKEN_BLOCKS = [
    f'{CACHE}{{block_size="many",num_gpu_blocks="8"}} 1',
    f"# HELP {OLD_HITS}_total number of cached blocks",
    f"{OLD_HITS}_total 5",
]


@pytest.mark.parametrize(
    ("lines", "damaged", "what"),
    [
        pytest.param(
            [f"{PROMPTS}_total NaN"], {"prompt_tokens"}, "line 2: the value is nan", id="a NaN counter"
        ),
        pytest.param([f"{PROMPTS}_total +Inf"], {"prompt_tokens"}, "is inf", id="an endless counter"),
        pytest.param([f"{PROMPTS}_total -1"], {"prompt_tokens"}, "is -1", id="a negative counter"),
        pytest.param([f"{KV} NaN"], {"kv_usage_ratio"}, "is nan", id="a NaN level"),
        pytest.param(
            [f"{KV} 61.5"], {"kv_usage_ratio"}, "61.5 is no ratio", id="per cent where a ratio is due"
        ),
        pytest.param([f"{PROMPTS}_total 5 6 7"], {"prompt_tokens"}, "no sample", id="two lines run into one"),
        pytest.param([f'{PROMPTS}_total{{engine="0" 5'], {"prompt_tokens"}, "no sample", id="an open brace"),
        pytest.param(
            [f"{PROMPTS}_total 1.2.3"], {"prompt_tokens"}, '1.2.3": no sample', id="a number that is none"
        ),
        pytest.param([f"{PROMPTS}_total"], {"prompt_tokens"}, "no sample", id="a name without a value"),
        pytest.param(
            [f'{PROMPTS}_total{{a="{LONG}"}} 1'], {"prompt_tokens"}, "…", id="a sample beyond all length"
        ),
        pytest.param(
            [f"{PROMPTS}_total 5", f"{PROMPTS}_total 6"],
            {"prompt_tokens"},
            "lines 2 and 3 give one series two values",
            id="two values for one series",
        ),
        pytest.param(
            [f"# TYPE {PROMPTS}_total gauge", f"{PROMPTS}_total 5"],
            {"prompt_tokens"},
            "declared as a gauge",
            id="a counter that calls itself a gauge",
        ),
        pytest.param(WHOLE[:1] + WHOLE[2:], {"ttft_s"}, "lacks its +Inf", id="no +Inf bucket"),
        pytest.param(WHOLE[:2] + WHOLE[3:], {"ttft_s"}, "or its count", id="no count"),
        pytest.param(WHOLE[:3], {"ttft_s"}, "its sum or", id="no sum"),
        pytest.param(WHOLE[2:], {"ttft_s"}, "lacks its +Inf", id="a histogram without buckets"),
        pytest.param(
            histogram(("0.1", 4), ("+Inf", 3), count=3), {"ttft_s"}, "do not grow", id="buckets that shrink"
        ),
        pytest.param(
            histogram(("0.1", -1), ("+Inf", 3), count=3), {"ttft_s"}, "do not grow", id="a negative bucket"
        ),
        pytest.param(
            histogram(("0.1", "NaN"), ("+Inf", 3), count=3), {"ttft_s"}, "do not grow", id="a bucket of NaN"
        ),
        pytest.param(
            histogram(("0.1", 2), ("+Inf", 3), count=4),
            {"ttft_s"},
            "the count is 4.0, its buckets hold 3.0",
            id="a count that its buckets do not hold",
        ),
        pytest.param(
            histogram(("0.1", 2), ("+Inf", 3), count=3, total="NaN"),
            {"ttft_s"},
            "the sum is nan",
            id="a NaN sum",
        ),
        pytest.param(
            histogram(("", 2), ("+Inf", 3), count=3), {"ttft_s"}, "without a bound", id="a blank bound"
        ),
        pytest.param(
            histogram(("2", 2), ("2.0", 1), ("+Inf", 3), count=3),
            {"ttft_s"},
            "two counts up to 2.0",
            id="one bound twice, with two counts",
        ),
        pytest.param(
            [
                *histogram(("0.1", 2), ("+Inf", 3), count=3, labels='pid="1"'),
                *histogram(("0.2", 2), ("+Inf", 3), count=3, labels='pid="2"'),
            ],
            {"ttft_s"},
            "different buckets",
            id="two processes with different buckets",
        ),
        pytest.param(
            [lora("a", "c", 7), lora("b", "d", 7)],
            {"adapters_running", "adapters_waiting"},
            "equally new",
            id="two adapter lists of the same instant",
        ),
        pytest.param(
            BROKEN_BLOCKS,
            {"kv_block_tokens", "prefix_cache_hits"},
            "is no number",
            id="a block size that is none takes the counters in blocks with it",
        ),
        pytest.param(
            [f'{CACHE}{{block_size="16" 1', *BROKEN_BLOCKS[1:]],
            {"kv_block_tokens", "kv_blocks", "prefix_cache_hits"},
            "no sample",
            id="so does a configuration that cannot be read",
        ),
    ],
)
def test_damage_stays_with_its_metric(lines: list[str], damaged: set[str], what: str) -> None:
    seen = read(text(*lines))
    assert seen.damaged == damaged
    assert {fault.subject for fault in seen.faults} == damaged
    assert any(what in fault.what for fault in seen.faults)
    assert all(fault.remedy and len(fault.what) < 250 for fault in seen.faults)
    assert damaged <= seen.exposed
    read_anyway = {key.metric for key in (*seen.gauges, *seen.counters, *seen.histograms)}
    assert read_anyway - {"kv_blocks", "adapter_slots"} == {"requests_running", "requests_waiting"}


def test_a_broken_line_of_somebody_else_is_noticed_and_harms_nothing() -> None:
    seen = read(text("# TYPE http_requests_total counter", 'http_requests_total{code="2xx" 5'))
    assert [(fault.subject, fault.what[:30]) for fault in seen.faults] == [
        ("other metrics", "1 broken, the first in line 3,")
    ]
    assert not seen.damaged


# --------------------------------------------------------------------------------- what a line means
BLOCKS_HELP = f"# HELP {OLD_HITS}_total GPU prefix cache hits, in terms of number of cached blocks."
TOKENS_HELP = f"# HELP {OLD_HITS}_total GPU prefix cache hits, in terms of number of cached tokens."
TWO_SIZES = [f'{CACHE}{{engine="0",block_size="16"}} 1', f'{CACHE}{{engine="1",block_size="32"}} 1']
SIXTEEN = f'{CACHE}{{block_size="16"}} 1'


@pytest.mark.parametrize(
    ("lines", "readings"),
    [
        pytest.param([f"{PROMPTS}_total 5"], {"prompt_tokens": 5}, id="a counter with its ending"),
        pytest.param([f"{PROMPTS} 5"], {"prompt_tokens": 5}, id="a counter without it"),
        pytest.param(
            [f"# TYPE {PROMPTS} counter", f"{PROMPTS} 5"], {"prompt_tokens": 5}, id="the same, with its TYPE"
        ),
        pytest.param(
            [f"{PROMPTS} 5", f"{PROMPTS}_total 5"], {"prompt_tokens": 5}, id="both endings are one counter"
        ),
        pytest.param([f"{PROMPTS}_total 5"] * 2, {"prompt_tokens": 5}, id="the same line twice counts once"),
        pytest.param([f"{PROMPTS}_total 1.25e+06"], {"prompt_tokens": 1_250_000}, id="scientific notation"),
        pytest.param(
            [f"{PROMPTS}_total 5 1718000000000"], {"prompt_tokens": 5}, id="a timestamp is no value"
        ),
        pytest.param(
            [f"  {PROMPTS}_total\t5\r"], {"prompt_tokens": 5}, id="tabs, blanks and carriage returns"
        ),
        pytest.param([f"# a word about {PROMPTS}", "", "# EOF"], {}, id="comments are no samples"),
        pytest.param(
            [
                f'{PREEMPTIONS}_total{{model_name="m",engine="0"}} 2',
                f'{PREEMPTIONS}_total{{model_name="m",engine="1"}} 3',
            ],
            {"preemptions m 0": 2, "preemptions m 1": 3},
            id="data-parallel engines stay apart",
        ),
        pytest.param(
            [f'{PREEMPTIONS}_total{{priority="0"}} 2', f'{PREEMPTIONS}_total{{priority=">1"}} 3'],
            {"preemptions": 5},
            id="counters are summed over labels nobody knows",
        ),
        pytest.param(
            [f'{FINISHED}_total{{finished_reason="stop"}} 2', f'{FINISHED}_total{{finished_reason=""}} 3'],
            {"requests_finished stop": 2, "requests_finished": 3},
            id="a blank label is no label",
        ),
        pytest.param(
            [f'{FINISHED}_total{{model_name="a \\"b\\" }} 5",finished_reason="stop"}} 2'],
            {'requests_finished a "b" } 5 stop': 2},
            id="escaped quotes and braces inside a label",
        ),
        pytest.param([f"{OLD_KV} 0.5"], {"kv_usage_ratio": 0.5}, id="an old name"),
        pytest.param(
            [f"{OLD_KV} 0.5", f"{KV} 0.6"], {"kv_usage_ratio": 0.6}, id="the new name is read alone"
        ),
        pytest.param(
            [f'{KV}{{pid="7"}} 0.0', f'{KV}{{pid="8"}} 0.6', f'{KV}{{pid="9"}} 0.0'],
            {"kv_usage_ratio": 0.6},
            id="of one level seen by three processes the largest counts",
        ),
        pytest.param([f"{HIT_RATE} 0.72"], {"prefix_hit_ratio_lifetime": 0.72}, id="the old hit rate"),
        pytest.param([f"{HIT_RATE} -1"], {}, id="a hit rate of -1: caching is off, and nothing is exposed"),
        pytest.param(
            [lora("a,b,c", "", 30), lora("a, b,a", "c", 50), lora("", "", 40)],
            {"adapters_running": 2, "adapters_waiting": 1, "adapter_slots": 4},
            id="only the newest adapter list counts, each name once",
        ),
        pytest.param(
            [lora("a", "a", 30), lora("", "", 40)],
            {"adapters_running": 0, "adapter_slots": 4},
            id="one list written into both labels tells nothing of waiting",
        ),
        pytest.param(
            [lora("", "", 30)],
            {"adapters_running": 0, "adapters_waiting": 0, "adapter_slots": 4},
            id="two empty lists are two empty lists",
        ),
        pytest.param(
            [f'{CACHE}{{block_size="16",num_gpu_blocks="None"}} 1'],
            {"kv_block_tokens": 16},
            id="None is no number",
        ),
        pytest.param(
            [TOKENS_HELP, SIXTEEN, f"{OLD_HITS}_total 5"],
            {"prefix_cache_hits": 5, "kv_block_tokens": 16},
            id="an old counter that says tokens is left as it is",
        ),
        pytest.param(
            [BLOCKS_HELP, SIXTEEN, f"{OLD_HITS}_total 5"],
            {"prefix_cache_hits": 80, "kv_block_tokens": 16},
            id="an old counter that says blocks is turned into tokens",
        ),
    ],
)
def test_a_line_means(lines: list[str], readings: dict[str, float]) -> None:
    seen = read(text(*lines))
    found = {" ".join(filter(None, key)): value for key, value in {**seen.gauges, **seen.counters}.items()}
    assert found == {"requests_running": 1, "requests_waiting": 2, **readings}
    assert {key.metric for key in (*seen.gauges, *seen.counters)} == seen.exposed
    assert not seen.faults


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([BLOCKS_HELP, f"{OLD_HITS}_total 5"], id="blocks, of a size nobody tells"),
        pytest.param([SIXTEEN, f"{OLD_HITS}_total 5"], id="no word on the unit"),
        pytest.param([BLOCKS_HELP, *TWO_SIZES, f"{OLD_HITS}_total 5"], id="blocks of two sizes"),
    ],
)
def test_a_counter_of_unclear_unit_is_kept_and_said_so(lines: list[str]) -> None:
    seen = read(text(*lines))
    assert seen.counters == {Key("prefix_cache_hits", "", "", ""): 5}
    assert ["may count KV blocks" in fault.what for fault in seen.faults] == [True]
    assert not seen.damaged


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(WHOLE, ((0.1, float("inf")), (2, 3), 1.5), id="buckets, count and sum"),
        pytest.param(
            [WHOLE[1], WHOLE[3], WHOLE[0], WHOLE[2]], ((0.1, float("inf")), (2, 3), 1.5), id="in any order"
        ),
        pytest.param(
            histogram(("2", 2), ("2.0", 2), ("+Inf", 3), count=3),
            ((2, float("inf")), (2, 3), 1.5),
            id="2 is 2.0",
        ),
        pytest.param(
            [
                *histogram(("0.1", 2), ("+Inf", 3), count=3, labels='priority="0"'),
                *histogram(("0.1", 1), ("+Inf", 5), count=5, labels='priority=">1"'),
            ],
            ((0.1, float("inf")), (3, 8), 3.0),
            id="summed over labels nobody knows",
        ),
    ],
)
def test_a_histogram_means(
    lines: list[str], expected: tuple[tuple[float, ...], tuple[float, ...], float]
) -> None:
    seen = read(text(*lines))
    assert seen.histograms == {Key("ttft_s", "", "", ""): Distribution(*expected)}
    assert not seen.faults


def test_a_metric_that_waits_for_its_first_event_is_exposed() -> None:
    seen = read(text(f"# TYPE {FINISHED}_total counter"))
    assert "requests_finished" in seen.exposed
    assert not seen.counters


# ------------------------------------------------------------------------------------- any text at all
NEWEST_TEXT = (GOLDEN / "0.33.prom").read_text(encoding="utf-8")
WHOLE_TEXT = read(NEWEST_TEXT)


@given(st.integers(0, len(NEWEST_TEXT) - 1))
def test_a_scrape_cut_anywhere_is_refused_or_tells_nothing_but_the_truth(end: int) -> None:
    seen = read_or_none(NEWEST_TEXT[:end])
    if seen:
        assert seen.gauges.items() <= WHOLE_TEXT.gauges.items()
        assert seen.counters.items() <= WHOLE_TEXT.counters.items()
        assert seen.histograms.items() <= WHOLE_TEXT.histograms.items()


@given(st.integers(0, len(NEWEST_TEXT)), st.integers(0, 200), st.text(max_size=20))
def test_a_scrape_with_a_hole_never_breaks_the_reader(start: int, length: int, filling: str) -> None:
    read_or_none(NEWEST_TEXT[:start] + filling + NEWEST_TEXT[start + length :])


@given(st.text())
def test_no_text_breaks_the_reader(body: str) -> None:
    assert read_or_none(body) is None
    assert read_or_none(body + "\n") is None


def read_or_none(body: str) -> Exposition | None:
    try:
        return read(body)
    except ExpositionError:
        return None
