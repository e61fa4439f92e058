"""What we ask of a Prometheus server, through prometheus-api-client; no source, but what one asks with.

The client has neither a limit on an answer's size nor on the time of a whole one. So it is given a session
of ours, which has both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import httpx
from prometheus_api_client.prometheus_connect import PrometheusConnect

from collectors.fetching import MAX_TOLD, FetchLimits, Unanswered, fetch_now, shown
from collectors.signals.samples import ENGINE_NAMES, Member, Series, selector, series

_REMEDY = "Name the address of Prometheus itself, such as http://host:9090"


@dataclass(frozen=True, slots=True)
class Server:
    """A Prometheus server, and what one of its answers may cost."""

    url: str
    limits: FetchLimits = field(default_factory=FetchLimits)


def raw(
    server: Server, names: Collection[str], instances: Collection[str], since: datetime, until: datetime
) -> list[Series]:
    """The samples of these metrics in (since, until], as they were scraped. Raises Unanswered.

    Prometheus before 3.0 also gives the one at `since` itself.
    """
    length_ms = max(1, round((until - since) / timedelta(milliseconds=1)))
    query = f"{selector(names, instances)}[{length_ms}ms]"
    found = _asked(server, lambda it: it.custom_query(query, {"time": f"{until.timestamp():.3f}"}))
    try:
        return series(found)
    except ValueError as error:
        raise _no_prometheus(server, error) from None


def engines(server: Server, since: datetime, until: datetime) -> set[Member]:
    """The targets that exposed what every vLLM release exposes. Raises Unanswered."""
    match = {"match[]": list(ENGINE_NAMES)}
    found = _asked(server, lambda it: it.get_series(since, until, match))
    try:
        return {Member(str(each.get("job", "")), str(each["instance"])) for each in found}
    except (TypeError, AttributeError, KeyError) as error:
        raise _no_prometheus(server, error) from None


def failures(server: Server, label: str) -> dict[str, str]:
    """By the label that names a replica: why it could not be scraped the last time. Raises Unanswered."""
    found = _asked(server, lambda it: it.get_targets("active"))
    try:
        return {
            str(each["labels"].get(label) or each["labels"].get("instance", "")): str(each["lastError"])[
                :MAX_TOLD
            ]
            for each in found["activeTargets"]
            if each.get("lastError")
        }
    except (TypeError, AttributeError, KeyError) as error:
        raise _no_prometheus(server, error) from None


def helps(server: Server, names: Collection[str]) -> dict[str, str]:
    """The HELP lines of these metrics; none where targets disagree. Raises Unanswered."""
    told: dict[str, set[str]] = {}
    for name in sorted(names):
        for each in _asked(server, lambda it, name=name: it.get_metric_metadata(name)):
            told.setdefault(each["metric_name"], set()).add(each["help"])
    return {name: texts.pop() for name, texts in told.items() if len(texts) == 1}


@dataclass(frozen=True, slots=True)
class _Answer:
    """As much of a requests.Response as the client looks at: only what could be read comes so far."""

    found: Any
    status_code: int = 200
    content: bytes = b""

    def json(self) -> Any:
        return self.found


@dataclass(slots=True)
class _Session:
    """As much of a requests.Session as the client uses. Queries go as a form: they outgrow a URL."""

    limits: FetchLimits
    verify: bool = True
    cert: None = None

    def mount(self, prefix: str, adapter: object) -> None:
        """The client's own retries are not wanted: a source asks again at its next turn."""

    def request(self, method: str, url: str, params: Mapping[str, Any] | None = None, **_: Any) -> _Answer:
        form = method == "POST"
        request = httpx.Request(method, url, params=None if form else params, data=params if form else None)
        return _Answer(fetch_now(request, self.limits))

    def get(self, url: str, **others: Any) -> _Answer:
        return self.request("GET", url, **others)


def _asked(server: Server, question: Any) -> Any:
    session = cast("Any", _Session(server.limits))  # all of a Session that the client needs
    client = PrometheusConnect(server.url.rstrip("/"), session=session, method="POST")
    try:
        return question(client)
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_prometheus(server, error) from None


def _no_prometheus(server: Server, error: Exception) -> Unanswered:
    what = f"{shown(server.url)}'s answer cannot be read as Prometheus's ({type(error).__name__}: {error})"
    return Unanswered(what, _REMEDY)
