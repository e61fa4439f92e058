"""The prefix is the same bytes for every request of a version, and whatever would change it is refused."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from collectors.validation import ConfigError
from loadtests.staging.gateway.assembly import rendered
from loadtests.staging.gateway.config import DEFAULT, PROMPTS
from loadtests.staging.gateway.live import load as load_setup
from loadtests.staging.gateway.live import unstable
from loadtests.staging.gateway.prompts import Finding, first_difference, load, told, volatile

SHIPPED = sorted(file.stem for file in PROMPTS.glob("*.yaml"))


@pytest.mark.parametrize(
    ("text", "what", "excerpt"),
    [
        pytest.param("Today is 2026-11-21.", "a timestamp", "2026-11-21", id="a date"),
        pytest.param(
            "At 2026-11-21T16:00:05.123Z", "a timestamp", "2026-11-21T16:00:05.123Z", id="an instant"
        ),
        pytest.param("今日は2026年11月21日です", "a Japanese date", "2026年11月21日", id="a Japanese date"),
        pytest.param("It is 16:05:09 now", "a time of day", "16:05:09", id="a time of day"),
        pytest.param(
            "(1795245679)", "seconds or milliseconds since 1970", "1795245679", id="seconds since 1970"
        ),
        pytest.param(
            "for 6f1c2c1e-8f0d-4a43-9a51-0d1f7a6a2b1c",
            "a UUID",
            "6f1c2c1e-8f0d-4a43-9a51-0d1f7a6a2b1c",
            id="a UUID",
        ),
        pytest.param("Session ID: abc", "an identifier", "Session ID: abc", id="a session's id"),
        pytest.param(
            "Serve req-82aa now", "a session or request number", "req-82aa", id="a request's number"
        ),
        pytest.param(
            "key 0af7651916cd43dd8448eb21",
            "a long random number",
            "0af7651916cd43dd8448eb21",
            id="hex digits",
        ),
        pytest.param("Dear {user_name},", "a placeholder", "{user_name}", id="a format placeholder"),
        pytest.param("Dear {{ user }},", "a placeholder", "{{ user }}", id="a template placeholder"),
        pytest.param("Dear ${USER},", "a placeholder", "${USER}", id="a shell placeholder"),
        pytest.param("Dear %(user)s,", "a placeholder", "%(user)s", id="a percent placeholder"),
        pytest.param(
            'Use {"b": 1, "a": 2}', "JSON with unsorted keys", '{"b": 1, "a": 2}', id="unsorted JSON"
        ),
    ],
)
def test_what_would_change_is_found_where_it_stands(text: str, what: str, excerpt: str) -> None:
    (found,) = volatile(f"One line.\n{text}")
    column = text.index(excerpt) + 1
    assert found == Finding(what, 2, column, excerpt)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Volume 3 of 12, ISBN 9784091273161, since 1997, 30 days, 18:00.", id="plain numbers"),
        pytest.param('Answer as {"answer": "…", "title": "…"}.', id="sorted JSON"),
        pytest.param("第3巻は2,500円です。", id="Japanese numbers"),
    ],
)
def test_what_stays_the_same_is_left_alone(text: str) -> None:
    assert volatile(text) == []


@pytest.mark.parametrize("version", SHIPPED)
def test_the_shipped_prompts_are_clean_and_bilingual(version: str) -> None:
    text = load(PROMPTS, version).text
    assert not volatile(text)
    assert sum(not c.isascii() for c in text) > 500
    assert len(text) > 3500


def test_two_versions_are_shipped() -> None:
    assert SHIPPED == ["v42", "v43"]


def test_a_volatile_prompt_is_refused_with_every_place(tmp_path: Path) -> None:
    (tmp_path / "v1.yaml").write_text(
        "version: v1\nsystem: |\n  Hi {name}\n  on 2026-01-01\npolicy: ok 12:00:01\n"
    )
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, "v1")
    assert [m.partition(":")[0] for m in refused.value.mistakes] == [
        "system line 1 column 4",
        "system line 2 column 4",
        "policy line 1 column 4",
    ]
    assert all("Move it below the prefix" in m for m in refused.value.mistakes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("version: v2\nsystem: a\npolicy: b\n", "Make them the same", id="another version"),
        pytest.param("version: v1\nsystem: a\n", "policy: is missing", id="no policy"),
        pytest.param("version: v1\nsystem: [", "not YAML", id="no YAML"),
        pytest.param("x" * 200_001, "longer than", id="a huge file"),
        pytest.param(None, "cannot be read", id="no file"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "v1.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        load(tmp_path, "v1")


@pytest.mark.parametrize(
    ("fault", "differs_at"),
    [
        pytest.param("none", range(0), id="none: not at all"),
        pytest.param("timestamp_head", range(100), id="a timestamp at the head: at once"),
        pytest.param(
            "session_middle", range(1500, 4000), id="a session id in the middle: half of it is lost"
        ),
    ],
)
def test_a_drill_breaks_the_prefix_where_it_says(fault: str, differs_at: range) -> None:
    text = load(PROMPTS, "v42").text
    one = rendered(text, fault, "s-1", datetime(2026, 1, 1, tzinfo=UTC))
    other = rendered(text, fault, "s-2", datetime(2026, 1, 2, tzinfo=UTC))
    at = first_difference(one, other)
    assert (at is None) if fault == "none" else at in differs_at


def test_the_check_says_that_the_shipped_configuration_is_clean() -> None:
    assert unstable(load_setup(DEFAULT)) == []
    done = run("--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "the same bytes" in done.stdout


def test_the_check_names_the_version_and_the_byte(tmp_path: Path) -> None:
    data = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    data["faults"]["volatile_prefix"] = "timestamp_head"
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(data))
    done = run("--check", "--config", str(file))
    assert done.returncode == 1
    assert "prompt v42: byte 32 differs" in done.stdout


def test_the_check_names_what_is_volatile_in_a_prompt(tmp_path: Path) -> None:
    (tmp_path / "v42.yaml").write_text("version: v42\nsystem: It is 2026-01-01\npolicy: none\n")
    data = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump({**data, "prompts": str(tmp_path)}))
    done = run("--check", "--config", str(file))
    assert done.returncode == 1
    assert "v42.yaml: system line 1 column 7: a timestamp '2026-01-01'" in done.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loadtests.staging.gateway", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=DEFAULT.parents[3],
        timeout=60,
    )


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        pytest.param("none", None, id="no fault"),
        pytest.param("timestamp_head", "timestamp@0", id="a timestamp at its head"),
        pytest.param("session_middle", "session_id@", id="a session id in its middle"),
    ],
)
def test_a_trace_tells_where_a_prefix_leaves_its_version(fault: str, where: str | None) -> None:
    prompt = load(PROMPTS, "v42")
    sent = rendered(prompt.text, fault, "ses-91ab", datetime(2026, 11, 21, 7, 22, tzinfo=UTC))
    found = told(prompt, sent)
    assert (found.divergence or "").startswith(where or "")
    assert (found.divergence is None) is (where is None)
    assert ":system@0,policy@" in found.blocks
    assert not {w for w in sent.split() if len(w) > 6} & set(found.blocks.replace(".", " ").split())
