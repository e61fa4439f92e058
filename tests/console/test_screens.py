"""Every screen on healthy, incident, empty and failed-source data says what a person has to read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from streamlit.testing.v1 import AppTest

from tests.console.conftest import EVIL, NOW

Look = Callable[..., tuple[str, AppTest]]
CASES = [
    pytest.param(
        "now",
        "healthy",
        [
            "Now",
            "Chat is quick: P95 time to first token is 56 ms",
            "No alert is pending or firing",
            "TTFT P95",
            "request_ttft_p95_ms",
            "5 min",
            "72",
            "requests",
        ],
        id="now, healthy",
    ),
    pytest.param(
        "now",
        "incident",
        [
            "Chat is slow",
            "mostly queueing, since 07:25:00 UTC (16:25 JST)",
            "clock ×20",
            "prompt v42 → v43",
            "High TTFT",
            "firing",
            "runbooks?",
        ],
        id="now, incident",
    ),
    pytest.param(
        "now", "empty", ["Now", "Waiting for the first scrape", "mangaops collect"], id="now, empty"
    ),
    pytest.param(
        "now", "broken", ["Now", "the table cannot be used", "Restore it from a copy"], id="now, broken"
    ),
    pytest.param(
        "slow",
        "healthy",
        ["Slow chat", "Requests of the last 15 min", "Where the time went", "peers"],
        id="slow chat, healthy",
    ),
    pytest.param(
        "slow",
        "incident",
        ["of it in queue", "The engine around it", "Just before"],
        id="slow chat, incident",
    ),
    pytest.param("slow", "empty", ["Slow chat", "Waiting for the first scrape"], id="slow chat, empty"),
    pytest.param(
        "slow", "broken", ["Slow chat", "Restore it from a copy", "none found"], id="slow chat, broken"
    ),
    pytest.param(
        "slos",
        "healthy",
        [
            "SLOs",
            "1 met, 4 no data",
            "98.0 %",
            "target ≥ 50 %",
            "12 bad of 600 requests",
            "96 % left",
            "from request rows",
            "not judged",
        ],
        id="slos, healthy",
    ),
    pytest.param(
        "slos",
        "incident",
        ["missed", "spent 1.2 times over", "clock ×20", "3 min (1 h, clock ×20)"],
        id="slos, incident",
    ),
    pytest.param("slos", "empty", ["SLOs", "Waiting for the first scrape"], id="slos, empty"),
    pytest.param("slos", "broken", ["SLOs", "Restore it from a copy"], id="slos, broken"),
    pytest.param(
        "alerts",
        "healthy",
        ["Alerts", "quiet", "no data", "no request carries oom_caught", "Timeline"],
        id="alerts, healthy",
    ),
    pytest.param(
        "alerts",
        "incident",
        ["firing", "980 ms", "&gt; 500 ms", "Transitions", "1 transitions"],
        id="alerts, incident",
    ),
    pytest.param("alerts", "empty", ["Alerts", "Waiting for the first scrape"], id="alerts, empty"),
    pytest.param("alerts", "broken", ["Alerts", "Restore it from a copy"], id="alerts, broken"),
    pytest.param(
        "runbooks",
        "healthy",
        ["Runbooks", "Diagnosis", "Rollback", "By alert", "By cause", "Prefix cache broken"],
        id="runbooks, healthy",
    ),
    pytest.param("runbooks", "incident", ["High TTFT", "firing"], id="runbooks, incident"),
    pytest.param(
        "runbooks", "empty", ["Runbooks", "Diagnosis", "no data"], id="runbooks, empty: still to be read"
    ),
    pytest.param(
        "runbooks", "broken", ["Diagnosis", "Restore it from a copy"], id="runbooks, broken: still to be read"
    ),
    pytest.param(
        "sources",
        "healthy",
        ["Sources", "engine-0", "up", "180, 0 failed", "No source reported a problem", "judgements"],
        id="sources, healthy",
    ),
    pytest.param("sources", "incident", ["no answer in 3 s", "Look at it"], id="sources, incident"),
    pytest.param("sources", "empty", ["Sources", "Waiting for the first scrape"], id="sources, empty"),
    pytest.param("sources", "broken", ["Sources", "Restore it from a copy"], id="sources, broken"),
]


@pytest.mark.parametrize(("screen", "state", "words"), CASES)
def test_a_screen_says_what_a_person_has_to_read(
    look: Look, screen: str, state: str, words: list[str]
) -> None:
    said, _ = look(screen, state)
    assert [w for w in words if w not in said] == [], said[:4000]
    assert EVIL not in said


@pytest.mark.parametrize("screen", ["now", "sources"])
def test_silence_is_never_green(look: Look, screen: str) -> None:
    said, _ = look(screen, "healthy", NOW + timedelta(seconds=42))
    assert "silent for 42 s" in said
    assert "Chat is quick" not in said


@pytest.mark.parametrize(
    ("screen", "state"), [("now", "healthy"), ("now", "incident"), ("alerts", "incident")]
)
def test_an_alert_that_nobody_judges_is_said_to_be_old(look: Look, screen: str, state: str) -> None:
    notice = "Nothing has been judged since 07:30:00"
    assert notice not in look(screen, state)[0]
    said, _ = look(screen, state, NOW + timedelta(seconds=42))
    assert notice in said
    assert "No alert is pending or firing" not in said


def test_a_causes_page_is_no_rules(look: Look) -> None:
    rules, test = look("runbooks", "healthy")
    test.selectbox(key="page").set_value("traffic_burst").run()
    causes = "\n".join(e.proto.body for e in test.get("html"))
    assert ("Rule and history" in rules, "Rule and history" in causes) == (True, False)
    assert [w for w in ("Traffic burst", "■", "Scale out at once.") if w not in causes] == []
    assert any("Told apart from" in m.value for m in test.markdown)


def test_a_moment_before_the_first_fact_is_an_empty_store(look: Look) -> None:
    said, _ = look("now", "healthy", datetime(2020, 1, 1, tzinfo=NOW.tzinfo))
    assert "Waiting for the first scrape" in said


def test_a_metric_that_no_version_exposes_says_so(look: Look) -> None:
    said, _ = look("now", "healthy")
    assert "not exposed by this version" in said
