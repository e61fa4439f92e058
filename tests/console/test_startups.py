"""Start-ups on Sources, Now and Slow chat: stage by stage in one place, one change everywhere else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from collectors.model import EventFact, Kind, MetricFact
from collectors.signals.startup import StartUp
from collectors.signals.startup_facts import event
from collectors.signals.startup_spans import members, roots, start_up
from collectors.signals.traces import Span
from collectors.store.delta import DeltaWriter
from console.views import changes, charting, startups
from console.views.facts import Life, Starts
from console.views.frame import Frame
from tests.console.conftest import EVIL, NOW, _draw, desk_on, fill
from tests.sources.spans import later, span
from tests.sources.spans import start_up as vllm

FRAME = Frame(NOW, live=False)
READY = NOW - timedelta(minutes=3)
REPLICA = "10.0.0.11:8000"
SECOND = timedelta(seconds=1)
IMPORTS = timedelta(seconds=48)


def told(spans: list[Span]) -> StartUp:
    [root] = roots(spans)
    return start_up(root, members(root, spans))


def engine(who: str = "10.0.0.11", number: int = 90, before_now: timedelta = NOW - READY) -> StartUp:
    """vLLM's real start, ready at a time."""
    spans = vllm(number, who)
    return told(later(spans, NOW - before_now - spans[0].end))


def gateway() -> StartUp:
    return told(
        later(
            [
                span(95, 1, "gateway_startup", None, (0, 2300), {}, sender="10.0.0.2"),
                span(95, 2, "warm_up", 1, (300, 2290), {}),
                span(95, 3, "load_adapter", 2, (700, 2290), {}),
            ],
            READY - vllm()[0].start,
        )
    )


ENGINE = engine()
LIFE = Life(REPLICA, ENGINE.begin - IMPORTS, ENGINE.end + 2 * SECOND)


# ------------------------------------------------------------------------------- whose process it was
@dataclass(frozen=True)
class Case:
    """Who answered scrapes around a start-up, and whose it was then."""

    expected: str | None
    lives: list[Life]
    start: StartUp = ENGINE


def check(case: Case) -> None:
    found = startups.life_of(case.start, case.lives)
    assert (found and found.replica) == case.expected


CASES = {
    "the only one on its host": Case(REPLICA, [LIFE, replace(LIFE, replica="10.0.0.12:8000")]),
    "the one that it names": Case(
        REPLICA, [LIFE, replace(LIFE, replica="10.0.0.11:8001")], engine("10.0.0.11:8000")
    ),
    "of two on its host, nobody knows": Case(None, [LIFE, replace(LIFE, replica="10.0.0.11:8001")]),
    "known by another name, and the only one that began then": Case(REPLICA, [LIFE], engine("vllm-0")),
    "one that answered while this one loaded": Case(None, [replace(LIFE, answered=ENGINE.begin + SECOND)]),
    "one that began long before": Case(None, [replace(LIFE, began=ENGINE.begin - timedelta(hours=1))]),
    "one that began later": Case(None, [replace(LIFE, began=ENGINE.begin + 5 * SECOND)]),
    "nobody is scraped": Case(None, []),
    "a start that failed": Case(None, [LIFE], replace(ENGINE, failure="no memory")),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_whose_process_it_was(case: Case) -> None:
    check(case)


# ------------------------------------------------------------------------------------ how it is read
def test_a_start_counts_from_its_process_where_a_scrape_tells_when_that_began() -> None:
    starts = Starts(NOW - timedelta(days=7), [ENGINE], {(ENGINE.kind, ENGINE.who): 3}, {ENGINE.key: [LIFE]})
    sheet = startups.sheet(ENGINE, starts, FRAME)
    assert sheet.title == f"Engine start-up · {REPLICA}"
    facts = dict(sheet.facts)
    assert (facts["Process up"], facts["Ready"]) == (
        "07:25:10 UTC (16:25 JST)",
        "07:27:00 UTC (16:27 JST)",
    )
    assert (facts["Took"], facts["First scrape answered"]) == ("109.4 s", "07:27:02 UTC")
    assert facts["Starts in 7 days"] == "3"
    assert [(r.stage, r.seconds) for r in sheet.rows] == [
        ("init", "107.0 s"),
        ("weights", "1.7 s"),
        ("KV cache", "0.7 s"),
    ]
    assert sheet.rows[0].told[0] == "API server starts and imports 48.0 s"
    assert sheet.missing == ("graph capture", "warm-up")
    for row in sheet.rows:
        assert all(0 <= left < 100 and width > 0 and left + width <= 101 for left, width in row.bars)


def test_without_a_scrape_it_counts_from_its_first_span_and_says_so() -> None:
    sheet = startups.sheet(ENGINE, Starts(NOW, [ENGINE]), FRAME)
    assert dict(sheet.facts)["First span"].startswith("07:25:58")
    assert dict(sheet.facts)["Took"] == "61.4 s"
    assert "counts from its first span" in sheet.note


def test_of_each_process_the_newest_start_is_shown() -> None:
    old, other = engine(number=91, before_now=timedelta(hours=2)), engine("10.0.0.12", 92, 5 * SECOND)
    every = [ENGINE, old, other, gateway()]
    assert [(s.kind, s.who) for s in startups.newest(every)] == [
        ("engine_startup", "10.0.0.12"),
        ("gateway_startup", "10.0.0.2"),
        ("engine_startup", "10.0.0.11"),
    ]
    assert startups.counted(every)["engine_startup", "10.0.0.11"] == 2


def test_elsewhere_it_is_one_change_and_a_failure_is_a_fault() -> None:
    kept = event(ENGINE, "otlp")
    failed = event(replace(ENGINE, failure=EVIL), "otlp")
    lines = changes.lines([kept, failed], FRAME)
    assert [(line.kind, line.tone) for line in lines] == [("Engine start", "info"), ("Engine start", "warn")]
    assert lines[0].text == "engine 10.0.0.11 started, ready after 61 s of loading"
    marks = charting.marks([kept, failed], [], FRAME, {})
    assert [m.text for m in marks] == [
        "engine 10.0.0.11 started, ready after 61 s",
        "engine 10.0.0.11 failed to start",
    ]


# ------------------------------------------------------------------------------------------ on screen
def said(root: Path, screen: str) -> str:
    kwargs = {"screen": screen, "desk": desk_on(root), "frame": FRAME}
    test = AppTest.from_function(_draw, default_timeout=60, kwargs=kwargs).run()
    assert not test.exception
    return "\n".join(e.proto.body for e in test.get("html"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill(tmp_path, trouble=False)
    return tmp_path


def keep(root: Path, *starts: StartUp) -> None:
    writer = DeltaWriter(str(root))
    writer.append("events", [event(s, "otlp") for s in starts])
    started = (ENGINE.begin - IMPORTS).timestamp()
    writer.append(
        "metrics",
        [
            MetricFact(ENGINE.end + k * SECOND, "engine", REPLICA, "process_start_s", Kind.GAUGE, started)
            for k in (2, 7)
        ],
    )


def test_where_nobody_has_told_of_a_start_the_screen_says_what_would(root: Path) -> None:
    text = said(root, "sources")
    assert "No engine has told of its start-up since Nov 14 07:30:00 UTC" in text
    assert "--otlp-traces-endpoint" in text


def test_sources_shows_each_start_stage_by_stage(root: Path) -> None:
    keep(root, ENGINE, ENGINE, gateway())
    text = said(root, "sources")
    for words in (
        f"Engine start-up · {REPLICA}",
        "109.4 s",
        "07:27:02 UTC",
        "API server starts and imports 48.0 s",
        "no span told of graph capture, warm-up",
        "Gateway start-up · 10.0.0.2",
        "each adapter&#x27;s first answer 1.6 s",
        "until ready, /ping says 503",
        "engine 10.0.0.11 started, ready after 61 s of loading",
    ):
        assert words in text, words
    assert text.count("Starts in 7 days</span><b>1<") == 2
    assert text.count("engine 10.0.0.11 started") == 1
    assert "No engine has told" not in text


def test_more_starts_than_fit_have_a_line_each(root: Path) -> None:
    keep(root, *(engine(f"10.0.0.{k}", 100 + k, k * SECOND) for k in range(1, 8)))
    text = said(root, "sources")
    assert text.count("Engine start-up ·") == 4
    assert "3 more, newest first" in text
    assert "init 59.0 s" in text


@pytest.mark.parametrize("screen", ["sources", "now", "slow"])
def test_what_a_sender_names_is_text_and_nothing_else(root: Path, screen: str) -> None:
    spans = [replace(s, name=EVIL if s.name == "Load weights" else s.name) for s in vllm(90, EVIL)]
    spans = [replace(s, parent_id=spans[0].span_id) if s.name == EVIL else s for s in spans]
    evil = told(later(spans, READY - spans[0].end))
    keep(root, evil, replace(evil, kind="gateway_startup", failure=EVIL, span_id="0" * 16))
    text = said(root, screen)
    assert EVIL not in text
    assert "engine &lt;script&gt;" in text


def test_an_event_that_cannot_be_read_empties_no_screen(root: Path) -> None:
    DeltaWriter(str(root)).append(
        "events", [EventFact(READY, "engine_startup", REPLICA, "otlp", None, "{broken")]
    )
    assert f"engine {REPLICA} started" in said(root, "sources")
    assert f"engine {REPLICA} started" in said(root, "now")
