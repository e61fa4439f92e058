"""Scrapes the /metrics of every vLLM replica at once.

One replica that is slow, dead or talks nonsense costs its own facts and no one else's: it becomes `up` 0
and a problem with a remedy. Each scrape starts from the state that the last one returned.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx

from collectors.model import Batch, Kind, MetricFact, Problem
from collectors.signals.exposition import Exposition, ExpositionError, read
from collectors.signals.increments import Snapshot, advance

SOURCE = "engine"
# An engine answers in milliseconds even under load: its API process, not the busy one, serves the metrics.
# Three seconds still fit into the shortest sensible scrape interval, 5 s.
TIMEOUT = timedelta(seconds=3)
# An answer is 40 kB; with a hundred adapters and eight data-parallel engines it stays below 1 MiB.
MAX_BODY_BYTES = 8 * 1024 * 1024
# Half the shortest window that a rule judges (2 min): what happened in a longer gap cannot be placed in it.
MAX_GAP = timedelta(minutes=1)
# Older engines redirect /metrics to /metrics/; more than one step more is a loop.
MAX_REDIRECTS = 2
# Plain text of a known version, and no compression that could unpack without end.
_HEADERS = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "identity"}
_SECRETS = re.compile(r"(?<=//)[^/@]*@|[?#].*")


@dataclass(frozen=True, slots=True)
class Target:
    """One replica: where it answers. A URL without a path means its /metrics."""

    url: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ScrapeLimits:
    """What one replica may cost. `timeout` covers its whole answer, redirects included."""

    timeout: timedelta = TIMEOUT
    max_body_bytes: int = MAX_BODY_BYTES
    max_gap: timedelta = MAX_GAP


@dataclass(frozen=True, slots=True)
class EngineState:
    """By replica: where its series stood at its last good scrape, and when it was last tried."""

    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    tried: Mapping[str, datetime] = field(default_factory=dict)


async def scrape(
    state: EngineState,
    targets: Sequence[Target],
    client: httpx.AsyncClient,
    limits: ScrapeLimits,
    now: datetime,
) -> tuple[EngineState, Batch]:
    """One scrape of all targets at once, done when the last has answered or run out of time.

    `now` is when it starts; each replica's facts carry `now` plus the time until its answer was there.
    The client's connection pool should hold as many connections as there are targets. State of replicas
    that are no longer targets is dropped. Nothing a replica does makes this raise.
    """
    named = {replica_name(target): target for target in targets}
    answers = await asyncio.gather(*(_ask(target, client, limits) for target in named.values()))
    # Texts are read only now: reading blocks, and must not eat into the time of replicas still answering.
    steps = [
        _step(state, replica, answer, limits, now) for replica, answer in zip(named, answers, strict=True)
    ]
    batch = sum((each for _, _, each in steps), Batch(problems=_twins(targets, named, now)))
    snapshots = {
        replica: snapshot for replica, (snapshot, _, _) in zip(named, steps, strict=True) if snapshot
    }
    tried = {replica: at for replica, (_, at, _) in zip(named, steps, strict=True)}
    return EngineState(snapshots, tried), batch


def replica_name(target: Target) -> str:
    """What its facts call it: its name, or host:port."""
    if target.name:
        return target.name
    try:
        url = httpx.URL(target.url)
    except httpx.InvalidURL:
        return _shown(target.url)
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return f"{url.host}:{port}" if url.host else _shown(target.url)


# ---------------------------------------------------------------------------------------- asking
class _Failed(Exception):  # noqa: N818 - it never leaves this module
    """No answer that could be read: what and remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


@dataclass(frozen=True, slots=True)
class _Answer:
    """A replica's text, or why there is none, and how long it took."""

    content: str | _Failed
    took: timedelta


async def _ask(target: Target, client: httpx.AsyncClient, limits: ScrapeLimits) -> _Answer:
    began = time.monotonic()
    content: str | _Failed
    try:
        async with asyncio.timeout(limits.timeout.total_seconds()):
            content = await _text(target, client, limits)
    except _Failed as failed:
        content = failed
    except (TimeoutError, httpx.TimeoutException):
        content = _Failed(
            f"no whole answer from {_shown(target.url)} within {limits.timeout.total_seconds():g} s",
            "See whether the engine's API process is stuck, or its host out of CPU or memory",
        )
    except httpx.ConnectError as error:
        content = _Failed(
            f"cannot connect to {_shown(target.url)} ({error})",
            "See whether the engine runs there, and whether a firewall lets this host in",
        )
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        content = _Failed(
            f"{_shown(target.url)!r} is no address ({error})", "Write it as http://host:port/metrics"
        )
    except httpx.HTTPError as error:
        content = _Failed(
            f"{_shown(target.url)} broke off its answer ({type(error).__name__}: {error})",
            "See the engine's log; it or a proxy before it may have restarted",
        )
    return _Answer(content, timedelta(seconds=time.monotonic() - began))


async def _text(target: Target, client: httpx.AsyncClient, limits: ScrapeLimits) -> str:
    url = httpx.URL(target.url)
    if url.path in ("", "/"):
        url = url.copy_with(path="/metrics")
    for _ in range(MAX_REDIRECTS + 1):
        async with client.stream("GET", url, headers=_HEADERS, follow_redirects=False) as response:
            if not response.has_redirect_location:
                return await _body(response, limits)
            url = _redirected(url, response)
    raise _Failed(
        f"{_shown(target.url)} redirects in a circle", "Name the address where the metrics really are"
    )


def _redirected(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    """Where to go on; only on the same host, for another one is another replica or none."""
    there = url.join(response.headers["location"])
    if (there.scheme, there.host, there.port) != (url.scheme, url.host, url.port):
        raise _Failed(
            f"{_shown(str(url))} sends us on to {_shown(str(there))}, another host",
            "Name the engine's own address, past login pages and load balancers",
        )
    return there


async def _body(response: httpx.Response, limits: ScrapeLimits) -> str:
    where, status = _shown(str(response.url)), response.status_code
    if status != httpx.codes.OK:
        raise _Failed(
            f"{where} answered HTTP {status} {httpx.codes.get_reason_phrase(status)}".rstrip(),
            "Open the address: 404 means that the metrics are elsewhere, 401 or 403 that a proxy guards them",
        )
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limits.max_body_bytes:
            raise _Failed(
                f"{where} answers with more than {limits.max_body_bytes} bytes",
                "Look at the address; if it is an engine with very many series, raise the limit",
            )
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Failed(
            f"{where} answers with bytes that are no text ({error.reason} at {error.start})",
            "Name the engine's /metrics; something else answers at this address",
        ) from None


def _shown(url: str) -> str:
    """An address without the password and the query that it may carry."""
    return _SECRETS.sub("", url)


# --------------------------------------------------------------------------------------- reading
def _step(
    state: EngineState, replica: str, answer: _Answer, limits: ScrapeLimits, now: datetime
) -> tuple[Snapshot | None, datetime, Batch]:
    """One replica's new snapshot, when its answer was there, and its facts."""
    at, before = now + answer.took, state.snapshots.get(replica)
    health = _Health(at, replica, answer.took, _since(state.tried.get(replica), at))
    try:
        seen = _read(answer, replica)
    except _Failed as failed:
        problem = Problem(at, SOURCE, replica, failed.what, failed.remedy)
        return before, at, Batch(health.facts(None), problems=(problem,))
    step = advance(before, seen, at, source=SOURCE, replica=replica, max_gap=limits.max_gap)
    return step.snapshot, at, Batch(health.facts(seen) + step.metrics, (), step.events, step.problems)


def _read(answer: _Answer, replica: str) -> Exposition:
    if isinstance(answer.content, _Failed):
        raise answer.content
    try:
        return read(answer.content)
    except ExpositionError as error:
        raise _Failed(
            f"{replica}'s answer cannot be read, {error.where}: {error.what}", error.remedy
        ) from None


@dataclass(frozen=True, slots=True)
class _Health:
    """How the scrape itself went."""

    at: datetime
    replica: str
    took: timedelta
    interval_s: float | None

    def facts(self, seen: Exposition | None) -> tuple[MetricFact, ...]:
        levels = {"up": float(seen is not None), "scrape_duration_s": self.took.total_seconds()}
        if seen:
            levels["scrape_samples"] = float(seen.samples)
        return tuple(
            MetricFact(self.at, SOURCE, self.replica, name, Kind.GAUGE, value, interval_s=self.interval_s)
            for name, value in levels.items()
        )


def _since(tried: datetime | None, at: datetime) -> float | None:
    return (at - tried).total_seconds() if tried and tried < at else None


def _twins(targets: Sequence[Target], named: Mapping[str, Target], now: datetime) -> tuple[Problem, ...]:
    """Two targets of one name would be compared with each other: the last one is scraped, the rest is not."""
    return tuple(
        Problem(
            now,
            SOURCE,
            name,
            f"two targets are called {name}; {_shown(target.url)} is left out",
            "Give each target a name of its own",
        )
        for target in targets
        if named[name := replica_name(target)] is not target
    )
