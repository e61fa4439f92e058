"""Settings: the file, over it the environment, over both the flags; every mistake at once, with its place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectors.settings import FILE, PREFIX, Settings, load_settings
from collectors.validation import ConfigError, doubled, duration, parse_yaml


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without a mangaops.yaml."""
    monkeypatch.chdir(tmp_path)


def check(
    expected: list[str],
    data: object = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> None:
    """These are the beginnings of all the mistakes, in any order."""
    Path(FILE).write_text(data if isinstance(data, str) else yaml.safe_dump(data or {}), encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_settings(None, environment or {}, flags)
    found, wanted = sorted(raised.value.mistakes), sorted(expected)
    assert [f[: len(w)] for f, w in zip(found, wanted, strict=True)] == wanted


# ------------------------------------------------------------------------------------- precedence
# what the file, the environment and the flags say of the port
PORTS: dict[str, tuple[int | None, str | None, int | None, int]] = {
    "nobody says anything": (None, None, None, 8501),
    "the file counts": (1, None, None, 1),
    "the environment counts": (None, "2", None, 2),
    "the environment wins over the file": (1, "2", None, 2),
    "a flag wins over the file": (1, None, 3, 3),
    "a flag wins over both": (1, "2", 3, 3),
    "an empty variable says nothing": (1, "", None, 1),
}


@pytest.mark.parametrize(("file", "variable", "flag", "port"), PORTS.values(), ids=PORTS)
def test_who_is_nearer_wins(file: int | None, variable: str | None, flag: int | None, port: int) -> None:
    if file is not None:
        Path(FILE).write_text(f"port: {file}", encoding="utf-8")
    environment = {} if variable is None else {"MANGAOPS_PORT": variable, "PORT": "9"}
    assert load_settings(None, environment, {"port": flag, "store": None}).port == port


def test_a_file_may_be_named_and_may_be_empty() -> None:
    Path("other.yaml").write_text("# nothing yet\n", encoding="utf-8")
    assert load_settings(Path("other.yaml"), {}) == Settings() == load_settings(None, {})


def test_a_file_that_is_named_has_to_be_there() -> None:
    with pytest.raises(
        ConfigError, match=r"nowhere\.yaml: there is no such file\. Create it or name another"
    ):
        load_settings(Path("nowhere.yaml"), {})


@pytest.mark.parametrize(
    "value", ["http://a:1 http://b:2", "http://a:1,http://b:2", " http://a:1, http://b:2 "]
)
def test_several_engines_stand_in_one_variable(value: str) -> None:
    engines = load_settings(None, {"MANGAOPS_ENGINES": value}).engines
    assert [str(url) for url in engines] == ["http://a:1/", "http://b:2/"]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_may_come_from_the_environment_and_says_what_it_is(name: str) -> None:
    default = Settings.model_fields[name].default
    text = f"{default.total_seconds():g}s" if isinstance(default, timedelta) else str(default or "")
    given = "" if name in {"engines", "recording"} else text
    assert load_settings(None, {PREFIX + name.upper(): given}) == Settings()
    assert Settings.model_fields[name].description


# what is said of the receiver, MLflow and the mode; then whether traces are forwarded, and whether polled
ROLES: dict[str, tuple[dict[str, Any], bool, bool]] = {
    "nothing is configured": ({}, False, False),
    "traces come in and stay": ({"otlp_port": 4318}, False, False),
    "traces come in and go on": ({"otlp_port": 4318, "mlflow": "http://a:5000"}, True, False),
    "traces are there already": ({"mlflow": "http://a:5000"}, False, True),
    "traces are there already, in so many words": (
        {"mlflow": "http://a:5000", "mlflow_mode": "poll"},
        False,
        True,
    ),
}


@pytest.mark.parametrize(("data", "forwards", "polls"), ROLES.values(), ids=ROLES)
def test_what_mlflow_is_for(data: dict[str, Any], forwards: bool, polls: bool) -> None:
    settings = Settings.model_validate(data)
    assert (settings.forwards, settings.polls) == (forwards, polls)


def test_a_secret_is_not_printed() -> None:
    settings = load_settings(None, {"MANGAOPS_OTLP_TOKEN": "s3cret"})
    assert settings.otlp_token
    assert settings.otlp_token.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)


# --------------------------------------------------------------------------------------- mistakes
def test_every_mistake_is_reported_at_once_and_where_it_stands() -> None:
    check(
        [
            "mangaops.yaml: prot: unknown key. Remove it or correct its spelling",
            "mangaops.yaml: scrape_interval: 5 is no duration. Write 30s, 5m, 1h30m or 30d",
            "mangaops.yaml: flush_interval: has to be longer than 0s",
            "mangaops.yaml: engines.1: Input should be a valid URL",
            "MANGAOPS_RETENTION_DAYS: Input should be greater than or equal to 1",
            "MANGAOPS_DUCKDB_MEMORY: String should match pattern",
            "MANGAOPS_TIME_ZONE: no time zone is called that. Write one such as Asia/Tokyo",
            "MANGAOPS_STOER: no setting of that name. Unset it or correct its spelling",
            "MANGAOPS_THEME: no setting of that name. Unset it or correct its spelling",
            "command line: clock_scale: Input should be greater than or equal to 1",
        ],
        {"prot": 1, "scrape_interval": 5, "flush_interval": "0s", "engines": ["http://a:1", "b"]},
        {
            "MANGAOPS_RETENTION_DAYS": "0",
            "MANGAOPS_DUCKDB_MEMORY": "much",
            "MANGAOPS_TIME_ZONE": "Asia/Edo",
            "MANGAOPS_STOER": "x",
            "MANGAOPS_THEME": "dark",
            "MANGA": "no concern of ours",
        },
        {"clock_scale": 0.5, "port": None},
    )


MISTAKES: dict[str, tuple[object, dict[str, str], list[str]]] = {
    "a file that is no YAML hides no other mistake": (
        "port: [",
        {"MANGAOPS_PORT": "x"},
        ["mangaops.yaml: not YAML: ", "MANGAOPS_PORT: Input should be a valid integer"],
    ),
    "a file of another shape": (["a"], {}, ["mangaops.yaml: holds a list. Its top level has to be keys and"]),
    "a mistake in the file that the environment puts right": ({"port": "x"}, {"MANGAOPS_PORT": "1"}, []),
    "a port that is none": ({"port": 0}, {}, ["mangaops.yaml: port: Input should be greater than"]),
    "a scale that never ends": (
        {"clock_scale": float("inf")},
        {},
        ["mangaops.yaml: clock_scale: Input should be"],
    ),
    "scrapes without a pause": ({"scrape_interval": "0s"}, {}, ["mangaops.yaml: scrape_interval: has to be"]),
    "a folder that tables cannot lie in": (
        {"store": "data [prod]"},
        {},
        ["mangaops.yaml: store: tables cannot lie under a path with '['. Name another folder"],
    ),
    "traces from anybody": (
        {"otlp_port": 4318, "otlp_host": "0.0.0.0"},
        {},
        ["mangaops.yaml: otlp_host: anybody could send traces to it. Set MANGAOPS_OTLP_TOKEN"],
    ),
    "traces from whoever shows a token": (
        {"otlp_port": 4318, "otlp_host": "0.0.0.0"},
        {"MANGAOPS_OTLP_TOKEN": "s3cret"},
        [],
    ),
    "traces from this machine": ({"otlp_port": 4318, "otlp_host": "::1"}, {}, []),
    "a secret in a file": (
        {"otlp_token": "s3cret"},
        {},
        ["mangaops.yaml: otlp_token: is a secret. Set MANGAOPS_OTLP_TOKEN instead"],
    ),
    "forwarding what is not received": (
        {"mlflow": "http://127.0.0.1:5000", "mlflow_mode": "forward"},
        {},
        ["mangaops.yaml: mlflow_mode: only traces that are received can be forwarded. Set otlp_port"],
    ),
    "traces by two ways": (
        {"mlflow": "http://127.0.0.1:5000", "mlflow_mode": "poll", "otlp_port": 4318},
        {},
        ["mangaops.yaml: mlflow_mode: traces that are received are not polled too"],
    ),
    "an experiment by its name": (
        {"mlflow_experiment": "chats"},
        {},
        ["mangaops.yaml: mlflow_experiment: String should match pattern"],
    ),
    "an experiment that YAML takes for a number": ({"mlflow_experiment": 3}, {}, []),
    "a folder with an escape": ({}, {"MANGAOPS_STORE": "a%20b"}, ["MANGAOPS_STORE: tables cannot lie under"]),
}


@pytest.mark.parametrize(("data", "environment", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_place(
    data: object, environment: dict[str, str], expected: list[str]
) -> None:
    if expected:
        check(expected, data, environment)
    else:
        Path(FILE).write_text(yaml.safe_dump(data), encoding="utf-8")
        load_settings(None, environment)


# -------------------------------------------------------------------------------- reading the text
LENGTHS = {
    "30s": 30,
    "5m": 300,
    "1h": 3600,
    "1h30m": 5400,
    "1d": 86400,
    "2w": 1209600,
    "1.5s": 1.5,
    "250ms": 0.25,
}


@pytest.mark.parametrize("text", LENGTHS)
def test_a_duration_is_a_number_with_its_unit(text: str) -> None:
    assert duration(text) == timedelta(seconds=LENGTHS[text])
    assert duration(f" {text} ") == timedelta(seconds=LENGTHS[text])
    assert duration(timedelta(seconds=3)) == timedelta(seconds=3)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 minutes", "5x", "-5s", "5s!", "1e3s", "m5", 5, 5.0, None, True]
)
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"is no duration\. Write 30s, 5m, 1h30m or 30d"):
        duration(text)


def test_names_that_stand_twice_are_found_whatever_else_stands_there() -> None:
    data = parse_yaml("rules: [{name: a}, {name: b}, {name: a}, {}, {}, 3]", "f")
    assert doubled(data, "rules") == ["rules.a: is there twice. Rename one"]
    assert doubled(data, "slos") == []
