"""The pure half of the console: numbers, times, verdicts and budgets in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from collectors.model import EventFact, Judgement, RequestFact
from console import links, markup
from console.views import changes, slos, slow, verdict, words
from console.views.facts import Change, Pulse, Slice
from console.views.frame import SPANS, Frame, clock, parse_instant

NOW = datetime(2026, 11, 21, 7, 30, tzinfo=UTC)
FRAME = Frame(NOW, live=False)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        pytest.param(None, "ms", "no data", id="missing is never a zero"),
        pytest.param(812.4, "ms", "812 ms", id="milliseconds whole"),
        pytest.param(3.21, "ms", "3.2 ms", id="small milliseconds with a digit"),
        pytest.param(12_340.0, "ms", "12.3 s", id="long ones in seconds"),
        pytest.param(0.812, "ratio", "81 %", id="a share"),
        pytest.param(0.9996, "ratio", "99.96 %", id="a share near one keeps its difference"),
        pytest.param(0.0, "ratio", "0 %", id="none at all"),
        pytest.param(0.53, "per s", "0.53 per s", id="a small rate"),
        pytest.param(1.0, "0 or 1", "up", id="a state"),
    ],
)
def test_a_value_reads_in_its_unit(value: float | None, unit: str, text: str) -> None:
    assert words.amount(value, unit) == text


@pytest.mark.parametrize(
    ("span", "text"),
    [
        pytest.param(timedelta(seconds=42), "42 s", id="seconds"),
        pytest.param(MINUTE, "1 min", id="one minute"),
        pytest.param(timedelta(seconds=90), "90 s", id="a minute and a half"),
        pytest.param(timedelta(hours=1), "1 h", id="one hour"),
        pytest.param(timedelta(days=1), "24 h", id="one day"),
        pytest.param(timedelta(days=30), "30 days", id="a month"),
        pytest.param(timedelta(milliseconds=750), "0.75 s", id="under a second"),
    ],
)
def test_a_length_of_time_reads_in_its_unit(span: timedelta, text: str) -> None:
    assert words.length(span) == text


def test_a_divided_window_says_so() -> None:
    assert words.window(5 * MINUTE, 20.0) == "15 s (5 min, clock ×20)"


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        pytest.param("07:24", "UTC", "07:24:00", id="a time of day"),
        pytest.param("16:24:12", "Asia/Tokyo", "07:24:12", id="in the chosen zone"),
        pytest.param("16:24 JST", "UTC", "07:24:00", id="a named zone wins"),
        pytest.param("2026-11-21T07:24:12Z", "Asia/Tokyo", "07:24:12", id="a full instant"),
        pytest.param("25:00", "UTC", None, id="no such hour"),
        pytest.param("req-07", "UTC", None, id="an id is no time"),
    ],
)
def test_people_write_times_in_many_ways(text: str, zone: str, expected: str | None) -> None:
    found = parse_instant(text, NOW, zone)
    assert (found and f"{found:%H:%M:%S}") == expected


def test_a_time_still_to_come_was_yesterday() -> None:
    assert parse_instant("09:00", NOW, "UTC") == datetime(2026, 11, 20, 9, tzinfo=UTC)


def test_a_time_stands_in_both_zones() -> None:
    at = datetime(2026, 11, 21, 7, 24, 12, tzinfo=UTC)
    assert clock(at, FRAME) == "07:24:12 UTC (16:24 JST)"
    assert clock(at, Frame(NOW, zone="Asia/Tokyo", other="UTC")) == "16:24:12 JST (07:24 UTC)"
    assert clock(at - timedelta(days=1), FRAME, both=False) == "Nov 20 07:24:12 UTC"


def slice_of(ttft: float, queue: float, count: int = 50, end: datetime = NOW, decode: float = 900.0) -> Slice:
    stages: dict[str, float | None] = {
        "gateway": 5.0,
        "frontend": 10.0,
        "queue": queue,
        "prefill": 40.0,
        "decode": decode,
    }
    return Slice(end, count, stages, ttft, ttft + decode)


def said(now: Slice | None, past: Slice | None, *judged: Judgement) -> verdict.Verdict:
    return verdict.verdict(now, past, judged, FRAME, {"high_ttft": "High TTFT"}, verdict.Limits())


QUIET = slice_of(60.0, 1.0)
FIRING = Judgement(NOW, "rule", "high_ttft", "", "firing", 812.0, active_at=NOW - 2 * MINUTE)
STALLED = Judgement(NOW, "rule", "engine_stall", "replica=a", "firing", 0.0, active_at=NOW - MINUTE)


@pytest.mark.parametrize(
    ("found", "tone", "sentence"),
    [
        pytest.param(
            said(slice_of(812.0, 700.0), QUIET, FIRING),
            "bad",
            "Chat is slow: P95 time to first token is 812 ms, mostly queueing, "
            "since 07:28:00 UTC (16:28 JST).",
            id="slow, with its stage and since when",
        ),
        pytest.param(
            said(slice_of(812.0, 700.0), None),
            "bad",
            "Chat is slow: P95 time to first token is 812 ms, mostly queueing.",
            id="slow without a past",
        ),
        pytest.param(
            said(slice_of(60.0, 1.0), QUIET),
            "ok",
            "Chat is quick: P95 time to first token is 60 ms, limit 500 ms.",
            id="quick",
        ),
        pytest.param(
            said(slice_of(60.0, 1.0, decode=2400.0), QUIET),
            "warn",
            "Answers are slow: P95 total latency is 2,460 ms, ×2.6 the quiet past, mostly decoding.",
            id="a quick first token and a slow answer",
        ),
        pytest.param(
            said(slice_of(60.0, 1.0), QUIET, FIRING),
            "warn",
            "Chat is quick (P95 time to first token is 60 ms, limit 500 ms), but not healthy. "
            "High TTFT is firing, since 07:28:00 UTC (16:28 JST).",
            id="quick, but an alert fires",
        ),
        pytest.param(
            said(None, QUIET), "none", "Nothing to judge: no request ended in the window.", id="no requests"
        ),
        pytest.param(
            said(None, QUIET, STALLED),
            "bad",
            "Chat has stopped: replica=a holds requests and generates nothing, "
            "since 07:29:00 UTC (16:29 JST).",
            id="a stall",
        ),
    ],
)
def test_the_verdict_is_one_sentence(found: verdict.Verdict, tone: str, sentence: str) -> None:
    assert (found.tone, found.sentence) == (tone, sentence)


def test_the_quiet_past_leaves_out_trouble_and_the_present() -> None:
    ends = [NOW - 5 * MINUTE * k for k in range(4)]
    slices = [slice_of(900.0 if k < 2 else 60.0, 1.0, end=end) for k, end in enumerate(ends)]
    trouble = [(ends[1] - MINUTE, ends[0])]
    past = verdict.quiet_past(slices, 5 * MINUTE, trouble)
    assert past is not None
    assert (past.count, past.ttft_p95_ms) == (100, 60.0)


def test_too_small_a_past_is_none() -> None:
    assert verdict.quiet_past([QUIET, slice_of(60.0, 1.0, count=3)], 5 * MINUTE, []) is None


def test_an_alert_is_active_until_its_next_state() -> None:
    changes_ = [Change("r", "", NOW - 3 * MINUTE, "pending"), Change("r", "", NOW - MINUTE, "inactive")]
    assert verdict.active_times(changes_, NOW) == [(NOW - 3 * MINUTE, NOW - MINUTE)]


@pytest.mark.parametrize(
    ("age", "silent"),
    [pytest.param(15, False, id="three scrapes"), pytest.param(16, True, id="more than three scrapes")],
)
def test_silence_begins_after_three_scrapes(age: int, *, silent: bool) -> None:
    pulse = Pulse(scrape=NOW - timedelta(seconds=age), interval=timedelta(seconds=1))
    assert (verdict.silence(pulse, NOW, timedelta(seconds=5)) is not None) is silent


@pytest.mark.parametrize(
    ("age", "live", "back"),
    [
        pytest.param(4, True, 4, id="live: as of the newest scrape"),
        pytest.param(4, False, 0, id="a moment that was asked for stays"),
        pytest.param(60, True, 0, id="silence is not hidden"),
    ],
)
def test_a_live_screen_looks_at_what_is_stored(age: int, back: int, *, live: bool) -> None:
    pulse = Pulse(scrape=NOW - timedelta(seconds=age), interval=timedelta(seconds=1))
    found = verdict.settled(replace(FRAME, live=live), pulse, timedelta(seconds=5))
    assert found.now == NOW - timedelta(seconds=back)


def test_a_budget_spent_twice_is_minus_one() -> None:
    judged = Judgement(NOW, "slo", "x", "requests", "missed", value=0.998, count=1000)
    assert slos.budget_left(judged, 0.999) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        pytest.param("07:24", 60, id="a minute"),
        pytest.param("07:24:12", 30, id="15 s to either side"),
        pytest.param("req-1", None, id="no time"),
    ],
)
def test_a_time_names_a_stretch(asked: str, seconds: int | None) -> None:
    found = slow.stretch(asked, FRAME)
    assert (found and (found[1] - found[0]).total_seconds()) == seconds


def test_the_selected_request_wins_then_the_url_then_the_slowest() -> None:
    rows = [RequestFact(NOW, name, "s") for name in ("a", "b", "c")]
    asked = (("b", "c"), (None, "c"), (None, "gone"))
    assert [slow.chosen(selected, kept, rows) for selected, kept in asked] == [rows[1], rows[2], rows[0]]
    assert slow.chosen(None, None, []) is None


def test_an_event_reads_as_a_change() -> None:
    event = EventFact(NOW, "first_seen", "prompt_version=v43", "s", "v42", "v43")
    assert changes.text(event) == "prompt v42 → v43"


def test_markup_escapes_text_and_attributes() -> None:
    assert markup.tag("a", "<b>", href='"x') == '<a href="&quot;x">&lt;b&gt;</a>'


def test_a_sparkline_breaks_at_gaps() -> None:
    from base64 import b64decode

    image = markup.spark([1.0, 2.0, None, 3.0, 4.0], "x")
    svg = b64decode(image.split("base64,")[1].split('"')[0]).decode()
    assert svg.count('fill="none"') == 2


def test_a_link_keeps_what_is_looked_at() -> None:
    frame = Frame(NOW, live=False, zone="Asia/Tokyo", span=SPANS["6h"])
    assert (
        links.runbook("oom_rate", frame)
        == "runbooks?tz=JST&at=2026-11-21T07%3A30%3A00Z&span=6h&page=oom_rate"
    )
    assert links.to("alerts", Frame(NOW)) == "alerts"
