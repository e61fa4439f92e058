"""The same bytes on to MLflow, from a bounded queue, so that a slow or dead MLflow costs no request row."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import httpx

# MLflow on SQLite takes half a second for a batch of 512 spans, and longer while somebody searches.
TIMEOUT_S = 30.0
MAX_RETRY_AFTER_S = 60.0
PROBE_S = 15.0  # with nothing to send, how often it is asked whether it is there
EXPERIMENT_HEADER = "x-mlflow-experiment-id"
_AWAY = frozenset({408, 425, 429, 502, 503, 504})
_PERHAPS = 422
_SERVER_ERROR = 500
_NOT_IMPLEMENTED = 501


@dataclass(frozen=True, slots=True)
class Export:
    """One export as it came: its bytes, how they are written and packed, and how many spans they hold."""

    body: bytes
    media_type: str
    encoding: str
    spans: int


@dataclass(frozen=True, slots=True)
class Patience:
    """What may wait, and how long one batch may keep the others waiting.

    2,000 batches are half an hour of a gateway that exports once a second; a request's spans take 3 kB.
    MLflow answers 422 and 500 also where its database was busy, so such a batch is sent `attempts` times,
    over most of a minute. `pauses_s` lie between two attempts; the last one repeats.
    """

    batches: int = 2_000
    body_bytes: int = 64 * 1024 * 1024
    attempts: int = 10
    pauses_s: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why nothing gets through: what and remedy."""

    what: str
    remedy: str


class Forwarder:
    """Sends what it was offered, one batch after another. All in one event loop; `counts` are spans."""

    def __init__(
        self, url: str, experiment: str, client: httpx.AsyncClient, patience: Patience | None = None
    ) -> None:
        self.url, self._patience = httpx.URL(url), patience or Patience()
        self._base, self._experiment, self._client = url.rstrip("/"), experiment, client
        self._queue: deque[Export] = deque()
        self._sending: Export | None = None
        self._news, self._idle = asyncio.Event(), asyncio.Event()
        self.bytes = 0
        self.counts: Counter[str] = Counter()
        self.retries = 0
        self.fault: Fault | None = None
        self.reached: bool | None = None  # None: not tried yet
        self.refusal: Fault | None = None  # why a batch was given up since this was last taken

    @property
    def name(self) -> str:
        """Where it sends to, without the password that the address may carry."""
        return f"{self.url.host}:{self.url.port}" if self.url.port else self.url.host

    @property
    def queued(self) -> tuple[int, int]:
        """Batches and spans that are not sent yet."""
        waiting = [*self._queue, *([self._sending] if self._sending else [])]
        return len(waiting), sum(e.spans for e in waiting)

    def offer(self, export: Export) -> None:
        """Queue an export; where there is no room the oldest give way and are counted."""
        self._idle.clear()
        self._queue.append(export)
        self.bytes += len(export.body)
        while len(self._queue) > self._patience.batches or self.bytes > self._patience.body_bytes:
            oldest = self._queue.popleft()
            self.bytes -= len(oldest.body)
            self.counts["dropped"] += oldest.spans
        self._news.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            if not self._queue:
                self._idle.set()
                await self._rest()
                continue
            self._sending = self._queue.popleft()
            self.bytes -= len(self._sending.body)
            self.counts[await self._deliver(self._sending)] += self._sending.spans
            self._sending = None

    async def drained(self) -> None:
        """Returns when everything is sent or given up."""
        await self._idle.wait()

    def give_up(self) -> None:
        """Count what is left as dropped: the collector stops."""
        self.counts["dropped"] += self.queued[1]
        self._queue.clear()
        self._sending, self.bytes = None, 0

    async def _rest(self) -> None:
        """Until there is something to send; meanwhile see from time to time whether MLflow is there."""
        self._news.clear()
        if self.reached is not True:
            await self._probe()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), PROBE_S)
            return
        await self._probe()

    async def _probe(self) -> None:
        try:
            response = await self._client.get(f"{self._base}/health", timeout=TIMEOUT_S)
        except httpx.HTTPError as error:
            self._note(_unreached(self.name, error))
        else:
            self._note(None if response.is_success else _answered(self.name, response))

    async def _deliver(self, export: Export) -> str:
        """Send one export until it is taken or refused for good: "sent" or "dropped"."""
        attempts, pauses_s = 0, self._patience.pauses_s
        for tries in count():
            wait_s = pauses_s[min(tries, len(pauses_s) - 1)]
            try:
                response = await self._post(export)
            except httpx.HTTPError as error:
                self._note(_unreached(self.name, error))
            else:
                fault = None if response.is_success else _answered(self.name, response)
                self._note(fault)
                if fault is None:
                    return "sent"
                attempts += response.status_code not in _AWAY
                if _is_final(response.status_code) or attempts >= self._patience.attempts:
                    self.refusal = fault
                    return "dropped"
                wait_s = max(wait_s, _retry_after_s(response.headers))
            self.retries += 1
            await asyncio.sleep(wait_s)
        return "dropped"  # never reached: counting does not end

    async def _post(self, export: Export) -> httpx.Response:
        headers = {"content-type": export.media_type, EXPERIMENT_HEADER: self._experiment}
        if export.encoding:
            headers["content-encoding"] = export.encoding
        return await self._client.post(
            f"{self._base}/v1/traces", content=export.body, headers=headers, timeout=TIMEOUT_S
        )

    def _note(self, fault: Fault | None) -> None:
        self.fault, self.reached = fault, fault is None


def _is_final(status: int) -> bool:
    """Whether trying again is in vain."""
    return status == _NOT_IMPLEMENTED or (status < _SERVER_ERROR and status not in _AWAY | {_PERHAPS})


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """What the answer asks for, in seconds; a date is not understood, and no answer may ask for long."""
    text = headers.get("retry-after", "")
    return min(float(text), MAX_RETRY_AFTER_S) if text.isdecimal() else 0.0


def _unreached(name: str, error: httpx.HTTPError) -> Fault:
    return Fault(
        f"MLflow at {name} cannot be reached ({type(error).__name__})",
        "Start it; its spans are queued and sent then, and what does not fit the queue is counted",
    )


def _answered(name: str, response: httpx.Response) -> Fault:
    return Fault(
        f"MLflow at {name} answers HTTP {response.status_code} to a batch of spans: "
        f"{' '.join(response.text.split())[:160]}",
        "See MLflow's log. 404: is there such an experiment? 501: its store has to be a SQL database",
    )
