"""A change of the file changes the gateway: rollback, canary, shadow, faults; a mistake changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectors.validation import ConfigError
from loadtests.staging.gateway.config import DEFAULT, GatewayConfig, parse
from loadtests.staging.gateway.live import load
from loadtests.staging.gateway.routing import Target, choose, share_percent, vary
from tests.loadtests.gateway.running import Running, eventually, merged

Start = Callable[..., Running]
SHIPPED = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
START = datetime(2026, 12, 1, 9, tzinfo=UTC)
CANARY = {
    "replaces": "manga_domain_v3",
    "adapter": "jp_style_v1",
    "prompt_version": "v43",
    "start": START.isoformat(),
    "from_percent": 10,
    "to_percent": 50,
    "over": "1h",
}


def config(**change: Any) -> GatewayConfig:
    return parse(yaml.safe_dump(merged(SHIPPED, change), sort_keys=False), "gateway.yaml")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"routes": [{"adapter": "nobody"}]}, "unknown adapter nobody", id="an unknown adapter"),
        pytest.param(
            {"routes": [{"adapter": "manga-base", "intents": ["faq"]}]}, "fit every request", id="a gap"
        ),
        pytest.param(
            {"budget": {"recent_tokens": 4000}}, "more than context_tokens", id="an impossible budget"
        ),
        pytest.param({"admision": {}}, "admision: unknown key", id="a misspelt key"),
        pytest.param({"canary": {**CANARY, "start": "2026-12-01T09:00:00"}}, "timezone", id="a local time"),
        pytest.param(
            {"shadow": {"percent": 5}}, "changes nothing", id="a shadow that is the same as the primary"
        ),
        pytest.param(
            {"adapters": [{"name": "a", "served": "x"}] * 2}, "is there twice", id="the same adapter twice"
        ),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config(**change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"prompt_version": "v1"}, "v1.yaml: cannot be read", id="a prompt that is not there"),
        pytest.param({"tokenizer": "/nowhere.json"}, "is no tokenizer", id="a tokenizer that is not there"),
        pytest.param(
            {"budget": {"prefix_tokens": 200}}, "more than budget.prefix_tokens", id="a long prompt"
        ),
    ],
)
def test_what_a_file_names_has_to_be_there(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(merged(SHIPPED, change)))
    with pytest.raises(ConfigError, match=says):
        load(file)


def test_a_changed_file_is_taken_and_a_wrong_one_refused(start: Start) -> None:
    gateway = start()
    gateway.configure(prompt_version="v43")
    assert gateway.ask().headers["x-prompt-version"] == "v43"
    gateway.configure(prompt_version="v99", admission={"concurrent": 0})
    (refused,) = gateway.log("config_refused")
    assert "admission.concurrent" in " ".join(refused["reasons"])
    assert gateway.ask().headers["x-prompt-version"] == "v43"
    gateway.configure(prompt_version="v42", admission={"concurrent": 5})
    assert gateway.ask().headers["x-prompt-version"] == "v42"


def test_a_file_that_is_gone_changes_nothing(start: Start) -> None:
    gateway = start()
    gateway.config.rename(gateway.config.with_suffix(".away"))
    eventually(lambda: gateway.log("config_refused") or None)
    assert gateway.ask().status_code == 200


def test_a_volatile_prefix_takes_the_cache_away_and_is_said(start: Start) -> None:
    gateway = start()
    for n in range(3):
        gateway.ask(request_id=f"before-{n}")
    gateway.configure(faults={"volatile_prefix": "timestamp_head"})
    for n in range(3):
        gateway.ask(request_id=f"during-{n}")
    before, during = ([gateway.row(f"{when}-{n}") for n in range(3)] for when in ("before", "during"))
    assert all(r["cached_tokens"] > 0.9 * r["input_tokens"] for r in before)
    assert [r["cached_tokens"] for r in during] == [0, 0, 0]
    assert len({r["prefix_fingerprint"] for r in before}) == 1
    assert len({r["prefix_fingerprint"] for r in during}) == 3
    assert {r["prefix_divergence"] for r in before} == {None}
    assert {r["prefix_divergence"] for r in during} == {"timestamp@0"}
    assert "byte 32 differs" in gateway.log("config_taken")[-1]["unstable"][0]


def test_the_budget_can_be_skipped_for_a_drill(start: Start) -> None:
    gateway = start()
    gateway.configure(faults={"skip_budget": True})
    gateway.ask("long " * 20_000, request_id="long")
    assert gateway.row("long")["budget_trimmed"] is False
    assert len(gateway.seen()["requests"][-1]["body"]["messages"][-1]["content"]) == 100_000


@pytest.mark.parametrize(
    ("minutes", "percent"),
    [(-1, 0.0), (0, 10.0), (30, 30.0), (60, 50.0), (600, 50.0)],
)
def test_a_canarys_share_grows_in_a_straight_line(minutes: int, percent: float) -> None:
    canary = config(canary=CANARY).canary
    assert canary is not None
    assert share_percent(canary, START + timedelta(minutes=minutes)) == pytest.approx(percent)


def test_sessions_stay_with_the_canary_while_its_share_grows() -> None:
    found = config(canary=CANARY)
    primary = choose(found, "mangaassist", "discovery", "en-US")

    def taken(minutes: int) -> set[int]:
        at = START + timedelta(minutes=minutes)
        return {n for n in range(2000) if vary(found, primary, f"s-{n}", at).variant == "canary"}

    early, late = taken(0), taken(60)
    assert early < late
    assert len(early) / 2000 == pytest.approx(0.10, abs=0.02)
    assert len(late) / 2000 == pytest.approx(0.50, abs=0.04)


def test_a_canary_concerns_only_whom_it_replaces() -> None:
    found = config(canary={**CANARY, "from_percent": 100, "to_percent": 100})
    support = choose(found, "mangaassist", "order", "en-US")
    assert vary(found, support, "s", START) == support
    manga = choose(found, "mangaassist", "discovery", "en-US")
    assert vary(found, manga, "s", START) == Target(found.by_name()["jp_style_v1"], "v43", "canary")


def test_a_canary_answers_and_both_are_compared_until_it_is_rolled_back(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "compared.jsonl"
    gateway = start()
    always = {**CANARY, "start": "2026-01-01T00:00:00Z", "from_percent": 50, "to_percent": 50}
    gateway.configure(canary=always, comparison={"file": str(log)})
    meta = {"intent": "discovery", "locale": "en-US"}
    for n in range(12):
        answer = gateway.ask(request_id=f"c-{n}", metadata={**meta, "session_id": f"s-{n}"})
        row = gateway.row(f"c-{n}")
        assert row["variant"] == ("canary" if answer.headers["x-adapter-id"] == "jp_style_v1" else "primary")
        assert answer.headers["x-prompt-version"] == ("v43" if row["variant"] == "canary" else "v42")
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert {line["variant"] for line in lines} == {"primary", "canary"}
    assert len(lines) == 12
    gateway.configure(canary=None)
    assert gateway.ask(metadata={**meta, "session_id": "s-0"}).headers["x-adapter-id"] == "manga_domain_v3"


@pytest.mark.parametrize("stream", [True, False])
def test_a_shadow_is_asked_too_and_only_the_log_sees_it(start: Start, tmp_path: Path, stream: bool) -> None:
    log = tmp_path / "compared.jsonl"
    gateway = start()
    shadow = {"replaces": "manga_domain_v3", "adapter": "jp_style_v1", "percent": 100}
    gateway.configure(shadow=shadow, comparison={"file": str(log)})
    answer = gateway.ask(request_id="both", metadata={"intent": "discovery"}, stream=stream)
    assert answer.headers["x-adapter-id"] == "manga_domain_v3"
    gateway.row("both")

    def compared() -> list[dict[str, Any]] | None:
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]  # not half a line
        return lines if len(lines) == 2 else None

    primary, second = eventually(compared)
    assert (primary["variant"], second["variant"]) == ("primary", "shadow")
    assert (second["shadow_of"], second["adapter"]) == ("both", "jp_style_v1")
    assert primary["answer_fingerprint"] == second["answer_fingerprint"]
    assert second["ttft_ms"] <= second["e2e_ms"]
    sent = gateway.seen()["requests"][-1]
    assert sent["headers"]["traceparent"].endswith("-00")
    assert gateway.metric("mangaassist_inference_requests_total") == 1
    assert "漫画" not in log.read_text(encoding="utf-8")


def test_the_comparison_log_is_bounded(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "compared.jsonl"
    gateway = start()
    always = {**CANARY, "start": "2026-01-01T00:00:00Z"}
    gateway.configure(canary=always, comparison={"file": str(log), "max_bytes": 2000})
    for _ in range(30):
        gateway.ask()
    files = sorted(tmp_path.glob("compared.jsonl*"))
    assert len(files) == 2
    assert all(file.stat().st_size <= 2000 for file in files)
