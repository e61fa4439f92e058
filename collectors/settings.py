"""mangaops.yaml and the environment as one frozen value; every mistake is reported at once.

A key `retention_days` is also read from MANGAOPS_RETENTION_DAYS; the environment wins over the file, and
flags of the command line win over both. Secrets come from the environment only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, HttpUrl, SecretStr, ValidationInfo, field_validator

from collectors.validation import ConfigError, Length, Strict, parse_yaml, validate

PREFIX = "MANGAOPS_"
HOME = Path(__file__).resolve().parent.parent  # what is installed beside this package: runbooks, recordings
RUNBOOKS = HOME / "runbooks"
BUNDLED_RECORDING = HOME / "loadtests" / "recordings" / "h200_release_drill"
RULES = HOME / "collectors" / "judge" / "rules.yaml"
SLOS = HOME / "collectors" / "judge" / "slos.yaml"
FILE = "mangaops.yaml"


def runbook_pages() -> dict[str, Path]:
    """The runbook pages by name; the guide for their writers is none."""
    return {p.stem: p for p in sorted(RUNBOOKS.glob("*.md")) if p.stem != "README"}


class Settings(Strict):
    """Everything an operator may set. Durations such as 5s, 2m, 30d."""

    store: str = Field(default=".mangaops/store", description="root of the tables, a folder")
    drills: Path = Field(
        default=Path(".mangaops/drills"), description="folder that keeps the results of drills"
    )
    drills_run: bool = Field(default=True, description="whether the screen Drills may start and stop drills")
    engines: tuple[HttpUrl, ...] = Field(
        default=(), description="vLLM replicas to scrape, such as http://127.0.0.1:8000"
    )
    recording: Path | None = Field(
        default=None, description="a recording to play as if live; only without engines"
    )
    otlp_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="port that receives traces over OTLP/HTTP; none: no receiver",
    )
    otlp_token: SecretStr | None = Field(
        default=None,
        description="bearer token that senders of traces have to show; from the environment only",
    )
    otlp_host: str = Field(
        default="127.0.0.1", description="address the receiver of traces listens on; another needs a token"
    )
    mlflow: HttpUrl | None = Field(
        default=None, description="MLflow server that keeps the traces, such as http://127.0.0.1:5000"
    )
    mlflow_experiment: str = Field(
        default="0",
        pattern=r"^\d{1,19}$",
        coerce_numbers_to_str=True,
        description="id of the MLflow experiment that holds the traces",
    )
    mlflow_mode: Literal["forward", "poll"] | None = Field(
        default=None,
        description="whether traces are forwarded to MLflow or polled from it; without it, forwarded where "
        "they are received",
    )
    mlflow_ui: HttpUrl | None = Field(
        default=None, description="where people open MLflow; without it, the address in `mlflow`"
    )
    prometheus: HttpUrl | None = Field(
        default=None, description="Prometheus server that scrapes the replicas, such as http://127.0.0.1:9090"
    )
    prometheus_label: str = Field(
        default="instance",
        pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$",
        description="the label of Prometheus that names a replica, such as pod",
    )
    scrape_interval: Length = Field(default=timedelta(seconds=5), description="time between scrapes")
    scrape_timeout: Length = Field(
        default=timedelta(seconds=3), description="after which a replica is left alone"
    )
    flush_interval: Length = Field(
        default=timedelta(seconds=5), description="time between commits to the store"
    )
    judge_interval: Length = Field(default=timedelta(seconds=15), description="time between judgements")
    slo_interval: Length = Field(default=timedelta(minutes=1), description="time between SLO verdicts")
    upkeep_interval: Length = Field(default=timedelta(minutes=5), description="time between compactions")
    retention_days: int = Field(default=35, ge=1, le=3650, description="days of facts that are kept")
    clock_scale: float = Field(
        default=1.0, ge=1.0, le=1000.0, description="divides every window and for; drills only"
    )
    max_buffered_facts: int = Field(
        default=500_000, ge=1000, description="facts held while the store cannot be written"
    )
    rules: Path = Field(default=RULES, description="alert rules")
    slos: Path = Field(default=SLOS, description="SLOs")
    host: str = Field(default="127.0.0.1", description="address the console listens on")
    port: int = Field(default=8501, ge=1, le=65535, description="port the console listens on")
    time_zone: str = Field(default="Asia/Tokyo", description="the second time zone on screen, beside UTC")
    query_engine: str = Field(
        default="duckdb",
        pattern=r"^(duckdb|(clickhouses?|chdb)://\S+)$",
        description="what reads the tables: duckdb, or a clickhouse:// URL",
    )
    duckdb_memory: str = Field(default="1GB", pattern=r"^\d+(MB|GB)$", description="memory a query may take")

    @field_validator("store")
    @classmethod
    def _a_folder_that_delta_can_use(cls, store: str) -> str:
        if found := _NO_PATH_OF_TABLES.search(store):
            raise ValueError(f"tables cannot lie under a path with {found[0]!r}. Name another folder")
        return store

    @field_validator("otlp_host")
    @classmethod
    def _guarded_where_others_reach_it(cls, host: str, info: ValidationInfo) -> str:
        if info.data.get("otlp_port") and not info.data.get("otlp_token") and not _is_loopback(host):
            raise ValueError(
                f"anybody could send traces to it. Set {PREFIX}OTLP_TOKEN, or listen on 127.0.0.1"
            )
        return host

    @field_validator("mlflow_mode")
    @classmethod
    def _one_way_in(cls, mode: str | None, info: ValidationInfo) -> str | None:
        if mode == "forward" and not info.data.get("otlp_port"):
            raise ValueError("only traces that are received can be forwarded. Set otlp_port")
        if mode == "poll" and info.data.get("otlp_port"):
            raise ValueError("traces that are received are not polled too: two rows a request. Leave one out")
        return mode

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            return ZoneInfo(name).key
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("no time zone is called that. Write one such as Asia/Tokyo") from error

    @property
    def forwards(self) -> bool:
        """Whether received traces go on to MLflow."""
        return bool(self.mlflow and self.otlp_port)

    @property
    def polls(self) -> bool:
        """Whether traces are read from MLflow."""
        return self.mlflow is not None and not self.forwards


def load_settings(
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from defaults, file, environment and flags, the later winning.

    Raises ConfigError with all mistakes, each with the place where it stands.
    """
    file, data = str(path or FILE), dict[str, Any]()
    variables = _from_environment(os.environ if environment is None else environment)
    unknown = sorted(variables.keys() - Settings.model_fields.keys())
    mistakes = [f"{PREFIX}{k.upper()}: no setting of that name. {_UNSET}" for k in unknown]
    try:
        data = _from_file(path)
    except ConfigError as error:
        mistakes += [f"{file}: {m}" for m in error.mistakes]
    mistakes += [
        f"{file}: {k}: is a secret. Set {PREFIX}{k.upper()} instead" for k in sorted(_SECRETS & data.keys())
    ]
    known = {k: v for k, v in variables.items() if k not in unknown}
    given = {k: v for k, v in (flags or {}).items() if v is not None}
    try:
        settings = validate(Settings, {**data, **known, **given}, "settings")
    except ConfigError as error:
        mistakes += [_placed(m, file, known, given) for m in error.mistakes]
    else:
        if not mistakes:
            return settings
    raise ConfigError("settings", mistakes)


def _from_file(path: Path | None) -> dict[str, Any]:
    file = path or Path(FILE)
    if path is not None and not path.is_file():
        raise ConfigError(str(path), ["there is no such file. Create it or name another with --config"])
    return parse_yaml(file.read_text(encoding="utf-8"), str(file)) if file.is_file() else {}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """By the setting's name; a variable that is empty says nothing."""
    ours = {k.removeprefix(PREFIX).lower(): v for k, v in environment.items() if k.startswith(PREFIX) and v}
    return {k: v.replace(",", " ").split() if k in _LISTS else v for k, v in ours.items()}


def _placed(mistake: str, file: str, variables: Collection[str], flags: Collection[str]) -> str:
    """The mistake with the place where its setting was given."""
    key = mistake.partition(":")[0].partition(".")[0]
    if key in flags:
        return f"command line: {mistake}"
    return f"{PREFIX}{key.upper()}{mistake.removeprefix(key)}" if key in variables else f"{file}: {mistake}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_LISTS = {"engines"}
_SECRETS = {"otlp_token"}
_UNSET = "Unset it or correct its spelling"
# What delta-rs 1.6 takes for a part of a URL.
_NO_PATH_OF_TABLES = re.compile(r"[\[\]^|\\]|%[0-9A-Fa-f]{2}")
