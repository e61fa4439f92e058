"""What `mangaops doctor` looks at: tables, freshness, joins, engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Literal

import httpx

from collectors.fetching import Unanswered, host
from collectors.settings import Settings
from collectors.sources.engine import EngineState, ScrapeLimits, Target, scrape
from collectors.sources.mlflow.asking import Server as Mlflow
from collectors.sources.mlflow.asking import exists, search
from collectors.sources.otlp.decoding import PROTOBUF
from collectors.sources.otlp.intake import PATH
from collectors.sources.otlp.listening import address
from collectors.sources.prometheus.asking import Server as Prometheus
from collectors.sources.prometheus.polling import PrometheusState, discover
from collectors.store.dialect import AT
from collectors.store.errors import StoreError
from collectors.store.reader import Reader
from collectors.store.tables import TABLES

State = Literal["ok", "warning", "fault"]

STALE_INTERVALS = 3  # so many missed scrapes are no hiccup
JOIN_SPAN = timedelta(hours=24)
ENOUGH_JOINED = 0.95
SHOWN = 4  # names in a line of the report


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found, and what to do about it."""

    check: str
    state: State
    what: str
    remedy: str = ""


def check_store(reader: Reader, now: datetime, settings: Settings) -> list[Finding]:
    """Whether each table can be read, how many rows it holds and how fresh it is."""
    return [_table(reader, name, now, settings) for name in TABLES]


def check_joins(reader: Reader, now: datetime) -> list[Finding]:
    """Whether requests and engine spans meet, and requests cover what the engines finished."""
    try:
        return [_spans(reader, now), _coverage(reader, now)]
    except StoreError as error:
        return [Finding("joins", "fault", error.what, error.remedy)]


async def check_engines(settings: Settings, now: datetime) -> list[Finding]:
    """One scrape of every configured engine."""
    targets = [Target(str(url)) for url in settings.engines]
    if not targets:
        return [Finding("engines", "ok", "none configured", "")]
    async with httpx.AsyncClient() as client:
        _, batch = await scrape(
            EngineState(), targets, client, ScrapeLimits(timeout=settings.scrape_timeout), now
        )
    broken = {p.subject: p for p in batch.problems}
    up = {f.replica: f.value for f in batch.metrics if f.metric == "up"}
    return [
        Finding(f"engine {name}", "ok", "answers its scrape")
        if value == 1
        else Finding(f"engine {name}", "fault", broken[name].what, broken[name].remedy)
        for name, value in up.items()
    ]


def check_prometheus(settings: Settings, now: datetime) -> list[Finding]:
    """Whether Prometheus, where it is configured, answers and scrapes engines."""
    if settings.prometheus is None:
        return []
    check = f"prometheus {host(str(settings.prometheus))}"
    try:
        state = discover(PrometheusState(), Prometheus(str(settings.prometheus)), now)
    except Unanswered as error:
        return [Finding(check, "fault", error.what, error.remedy)]
    names = sorted(member.instance for member in state.members)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [Finding(check, "ok", f"scrapes {', '.join(names[:SHOWN])}{more}")]


async def check_mlflow(settings: Settings, now: datetime) -> list[Finding]:
    """Whether MLflow, where it is configured, answers and has the experiment."""
    if settings.mlflow is None:
        return []
    check, server = (
        f"mlflow {host(str(settings.mlflow))}",
        Mlflow(str(settings.mlflow), settings.mlflow_experiment),
    )
    try:
        async with httpx.AsyncClient() as client:
            name = await exists(client, server)
            newest = (await search(client, server, now - JOIN_SPAN)).traces
    except Unanswered as error:
        return [Finding(check, "fault", error.what, error.remedy)]
    if newest:
        return [Finding(check, "ok", f"experiment {name} has traces of the last 24 hours")]
    remedy = "See whether the senders name this experiment, or set mlflow_experiment"
    return [Finding(check, "warning", f"experiment {name} has no trace of the last 24 hours", remedy)]


async def check_receiver(settings: Settings) -> list[Finding]:
    """Whether the receiver of traces, where one is configured, takes an export of nothing."""
    if settings.otlp_port is None:
        return []
    url = address(settings.otlp_host, settings.otlp_port)
    headers = {b"Content-Type": PROTOBUF.encode()}
    if settings.otlp_token:
        headers[b"Authorization"] = f"Bearer {settings.otlp_token.get_secret_value()}".encode()
    try:
        async with httpx.AsyncClient(timeout=settings.scrape_timeout.total_seconds()) as client:
            response = await client.post(f"{url}{PATH}", content=b"", headers=headers)
    except httpx.HTTPError as error:
        what = f"no answer at {url} ({type(error).__name__})"
        return [Finding("otlp", "fault", what, "Start `mangaops collect` with this port, or see its log")]
    if response.is_success:
        return [Finding("otlp", "ok", f"takes traces at {url}{PATH}")]
    remedy = {
        int(HTTPStatus.UNAUTHORIZED): "Set MANGAOPS_OTLP_TOKEN to the collector's",
        int(
            HTTPStatus.TOO_MANY_REQUESTS
        ): "See what the senders send; more than the collector takes is refused",
    }.get(response.status_code, "See what listens there: it is no receiver of traces")
    return [Finding("otlp", "fault", f"{url}{PATH} answers HTTP {response.status_code}", remedy)]


def _table(reader: Reader, name: str, now: datetime, settings: Settings) -> Finding:
    check = f"table {name}"
    try:
        row = reader.query(f"SELECT count(*) AS n, max({AT}) AS newest FROM {{{name}}}").to_pylist()[0]  # noqa: S608
    except StoreError as error:
        return Finding(check, "fault", error.what, error.remedy)
    if not row["n"]:
        return Finding(check, "warning", "is empty", "Start `mangaops collect` on this store")
    age = now - row["newest"].astimezone(UTC)
    what = f"{row['n']:,} rows, newest {_ago(age)} ago"
    if name == "metrics" and age > STALE_INTERVALS * settings.scrape_interval + settings.flush_interval:
        return Finding(check, "warning", what, "Is the collector running? See its log")
    return Finding(check, "ok", what)


def _spans(reader: Reader, now: datetime) -> Finding:
    row = _last_day(
        reader,
        now,
        "SELECT count(*) AS n, count(decode_ms) AS joined FROM {requests} WHERE http_status < 400 AND",
    )
    return _share(
        "join requests ↔ engine spans",
        row["joined"],
        row["n"],
        "Check that vLLM sends spans (--otlp-traces-endpoint)",
    )


def _coverage(reader: Reader, now: datetime) -> Finding:
    rows = _last_day(reader, now, "SELECT count(*) AS n FROM {requests} WHERE http_status < 400 AND")["n"]
    finished = _last_day(
        reader, now, "SELECT sum(value) AS n FROM {metrics} WHERE metric = 'requests_finished' AND"
    )["n"]
    remedy = "Send the traces of every request, or judge from the engine's histograms"
    return _share("requests ↔ what engines finished", rows, round(finished or 0), remedy)


def _share(check: str, part: int, whole: int, remedy: str) -> Finding:
    if not whole:
        return Finding(check, "warning", "nothing in the last 24 hours to compare", "")
    what = f"{part:,} of {whole:,} in the last 24 hours ({min(1.0, part / whole):.1%})"
    return (
        Finding(check, "ok", what)
        if part >= ENOUGH_JOINED * whole
        else Finding(check, "warning", what, remedy)
    )


def _last_day(reader: Reader, now: datetime, sql: str) -> dict[str, int]:
    since = now - JOIN_SPAN
    row: dict[str, int] = reader.query(
        f"{sql} {AT} > {reader.dialect.instant(since)}", since=since
    ).to_pylist()[0]
    return row


def _ago(age: timedelta) -> str:
    seconds = age.total_seconds()
    sizes: Sequence[tuple[float, str]] = ((86400, "days"), (3600, "hours"), (60, "minutes"))
    for size, word in sizes:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} seconds"
