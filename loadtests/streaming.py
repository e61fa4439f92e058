"""Sends a turn with locust's FastHttpUser and reads its stream as it comes.

Imports locust: never import this outside a locust process. Locust's own `iter_lines` waits for whole blocks,
cuts characters in two and takes a killed stream for a finished one; `readline` on the response hands each
line over the moment it arrives.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gevent  # type: ignore[import-untyped]
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS, FastHttpUser

from loadtests.plan import Plan
from loadtests.sse import Fault, Transcript, events, refusal

MOST_EVENT_BYTES = 1 << 20  # one event; a chunk of an answer is a few hundred bytes
AFTER_DONE_S = 1.0  # for the end of the body after [DONE], so that the connection can be used again
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream",
    "Accept-Encoding": "identity",  # a compressed stream arrives when the compressor pleases
}


@dataclass(slots=True)
class Exchange:
    """One request and what came of it, filled in as it goes; instants are `time.monotonic()`."""

    sent_at: float
    transcript: Transcript
    ended_at: float = 0.0
    status: int | None = None
    headers: Mapping[str, Any] | None = None
    fault: Fault | None = None

    def header(self, name: str) -> str | None:
        """A response header's value, None where it is missing or there was no response."""
        value = self.headers.get(name) if self.headers else None
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class Due:
    """When a request was meant to start (`time.monotonic()`), and what locust's table calls it."""

    at: float
    name: str


def prepare(user: FastHttpUser) -> None:
    """Make the user's client fit for streams: refusals are read here, within bounds."""
    agent = user.client.client
    # Else it reads a refusal's whole body, however long.
    agent.valid_response_codes = frozenset(range(100, 600))  # type: ignore[misc]
    agent.cookiejar = None  # one client stands for many customers


def exchange(user: FastHttpUser, plan: Plan, body: bytes, headers: Mapping[str, str], due: Due) -> Exchange:
    """Send the body and read the answer to its end; locust's statistics hear of it once.

    What goes wrong is the exchange's fault and never an exception. Being stopped is one too.
    """
    going = Exchange(sent_at=time.monotonic(), transcript=Transcript())
    limit = Fault("timeout", f"no end after {plan.limits.request_s:g} s")
    try:
        with gevent.Timeout(plan.limits.request_s, limit):
            _ask(user, plan.path, body, {**HEADERS, **headers}, going)
    except Fault as fault:
        going.fault = fault
    except FAILURE_EXCEPTIONS as error:
        going.fault = _broken(error, going)
    except gevent.GreenletExit:
        if not going.transcript.done:
            going.fault = Fault("stopped", "the run was stopped before the answer ended")
    finally:
        going.ended_at = going.ended_at or time.monotonic()
        _report(user, going, due)
    return going


def _report(user: FastHttpUser, going: Exchange, due: Due) -> None:
    user.environment.events.request.fire(
        request_type="SSE",
        name=due.name,
        response_time=(going.ended_at - due.at) * 1000,
        response_length=going.transcript.characters,
        exception=going.fault,
        context={},
    )


def _ask(user: FastHttpUser, path: str, body: bytes, headers: dict[str, str], going: Exchange) -> None:
    # catch_response without its `with` block: locust then fires no event of its own.
    answer = user.client.post(path, data=body, headers=headers, stream=True, catch_response=True)  # type: ignore[arg-type]
    if not answer.status_code:
        raise _unreached(getattr(answer, "error", None))
    going.status, going.headers = answer.status_code, answer.headers
    stream = answer.stream
    try:
        _bounded(stream)
        if going.status != 200:  # noqa: PLR2004 - the one status that carries a stream
            raise refusal(going.status, stream.read())
        _hear(stream, going)
    finally:
        stream.release()  # closes it, unless it was read to its end


def _hear(stream: Any, going: Exchange) -> None:
    for event in events(_lines(stream)):
        now = time.monotonic()
        going.transcript.hear(event, now)
        if going.transcript.done:
            going.ended_at = now
            _finish(stream)
            return
    raise Fault("no_done", "the stream ended without [DONE]")


def _lines(stream: Any) -> Iterator[bytes]:
    """Each line when it arrives; what follows the last line break comes last."""
    while line := stream.readline(b"\n"):
        if not line.strip():
            stream.heard = 0
        yield line
    if rest := stream.read():
        yield rest


def _finish(stream: Any) -> None:
    """Read the end of the body. The answer is whole already, so nothing here is a failure."""
    try:
        with gevent.Timeout(AFTER_DONE_S, False):
            stream.read()
    except FAILURE_EXCEPTIONS:
        return


def _bounded(stream: Any) -> None:
    """Let no event and no refusal grow beyond `MOST_EVENT_BYTES`: the library buffers without a bound."""
    feed = stream.feed
    stream.heard = 0

    def counted(data: bytes) -> None:
        stream.heard += len(data)
        if stream.heard > MOST_EVENT_BYTES:
            raise Fault("too_long", f"one event or refusal is longer than {MOST_EVENT_BYTES:,} bytes")
        feed(data)

    stream.feed = counted


def _unreached(error: BaseException | None) -> Fault:
    """No status line came: nobody listens, or the connection broke or timed out."""
    cause = getattr(error, "original", None) or getattr(error, "last_error", None) or error
    kind = "timeout" if isinstance(cause, TimeoutError | gevent.Timeout) else "connection"
    return Fault(kind, f"no answer: {type(cause).__name__}: {cause}"[:300])


def _broken(error: BaseException, going: Exchange) -> Fault:
    if isinstance(error, TimeoutError):
        return Fault("timeout", f"the server fell silent after {going.transcript.chunks} chunks")
    return Fault(
        "broken", f"the stream broke after {going.transcript.chunks} chunks: {type(error).__name__}: {error}"
    )


def encoded(body: Mapping[str, Any]) -> bytes:
    """A request's body as it goes over the wire."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
