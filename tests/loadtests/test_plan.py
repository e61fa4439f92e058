"""A plan file is read whole or refused with every mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.validation import ConfigError
from loadtests.plan import Plan, parse, read

GOOD = """
seed: 7
sessions_per_s: 2
mix: {locales: {ja-JP: 1}, think_s: 5}
phases:
  - {name: first, seconds: 60}
  - {name: second, seconds: 30, sessions_per_s: 8, shape: night, mix: {think_s: 1}}
  - {name: third, seconds: 900, shape: {kind: release, factor: 3}}
"""


def test_a_phase_inherits_what_it_does_not_say() -> None:
    first, second, third = parse(GOOD).phases
    assert (first.sessions_per_s, second.sessions_per_s, third.sessions_per_s) == (2, 8, 2)
    assert (first.mix.think_s, second.mix.think_s) == (5, 1)
    assert second.mix.locales == {"ja-JP": 1}
    assert (first.shape.kind, second.shape.kind, third.shape.factor) == ("steady", "night", 3)


def test_time_scale_divides_lengths_and_nothing_else() -> None:
    plan = parse(GOOD + "time_scale: 10\n")
    assert plan.ends_s == pytest.approx((6, 9, 99))
    assert plan.phase_at(8.9).name == "second"
    assert plan.phases[1].most == 8


def test_every_instant_has_a_phase() -> None:
    plan = parse(GOOD)
    at = {-5.0: "first", 0.0: "first", 59.9: "first", 60.0: "second", 90.0: "third", 5000.0: "third"}
    assert {at_s: plan.phase_at(at_s).name for at_s in at} == at


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[1", "not YAML", id="no YAML"),
        pytest.param("seed: 1\nphases: []", "phases", id="no phase"),
        pytest.param("seed: 1\nphases: [{name: a, seconds: 5}]", "sessions_per_s: is missing", id="no rate"),
        pytest.param(GOOD + "sedd: 1", "sedd: unknown key", id="a misspelt key"),
        pytest.param(GOOD.replace("second,", "first,"), "phases.first: is there twice", id="a name twice"),
        pytest.param(GOOD.replace("seconds: 900", "seconds: 60"), "ramp of 900 s does not fit", id="no room"),
        pytest.param(
            GOOD.replace("think_s: 1", "long_contexts: 2"), "phases.second.mix", id="a share above 1"
        ),
        pytest.param(GOOD.replace("ja-JP: 1", "ja-JP: 0"), "every weight is 0", id="nothing to choose from"),
        pytest.param(GOOD.replace("think_s: 1", "intents: {lunch: 1}"), "lunch: no such intent", id="intent"),
        pytest.param(GOOD.replace("think_s: 1", "output_tokens: [9, 3]"), "smaller one first", id="bounds"),
        pytest.param(GOOD.replace("seconds: 60", "seconds: .nan"), "phases.first.seconds", id="no number"),
        pytest.param(GOOD.replace("_s: 8", "_s: 999").replace("30,", "80000,"), "Lower a rate", id="endless"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert said in str(caught.value)


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("seed: x\nmore: 1\nphases: [{name: a b, seconds: -1, sessions_per_s: 1}]")
    assert len(caught.value.mistakes) == 4


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        read(tmp_path / "nowhere.yaml")


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(GOOD, encoding="utf-8")
    assert read(tmp_path / "plan.yaml") == parse(GOOD)
    assert isinstance(read(tmp_path / "plan.yaml"), Plan)
