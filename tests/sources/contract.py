"""What every source that asks over HTTP promises, whatever answers: tried on a real server.

A source passes when each case below costs it the sick replica's facts and nothing else: no exception, no
delay beyond its own time-out, no wrong number, one problem that says what and what to do.
"""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from collectors.model import Batch
from collectors.signals.changes import PRESENT_AT_START

SICK, WELL = "sick", ("well-1", "well-2")


@dataclass(frozen=True)
class Subject:
    """A source under test. `poll` asks the replicas at these addresses once, from a blank state.

    `whole` is an answer it can read. `health` are the facts it tells of a replica that it cannot read.
    It allows a replica `max_body_bytes` and is done `within_s`.
    """

    poll: Callable[[Mapping[str, str]], Batch]
    whole: bytes
    health: frozenset[str]
    max_body_bytes: int
    within_s: float


@dataclass(frozen=True)
class Request:
    """One request as an answer sees it: `over` is set when the test is."""

    handler: BaseHTTPRequestHandler
    subject: Subject
    over: threading.Event

    def say(self, body: bytes, status: int = 200, /, **headers: str) -> None:
        self.start(status, **{"Content-Length": str(len(body)), **headers})
        self.handler.wfile.write(body)

    def start(self, status: int = 200, /, **headers: str) -> None:
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()


Answer = Callable[[Request], None]


def whole(request: Request) -> None:
    request.say(request.subject.whole, Content_Type="text/plain; version=0.0.4; charset=utf-8")


# ------------------------------------------------------------------------------------- sick answers
def says(body: bytes, status: int = 200, **headers: str) -> Answer:
    return lambda request: request.say(body, status, **headers)


def hangs(request: Request) -> None:
    request.over.wait(30)


def hangs_half_way(request: Request) -> None:
    body = request.subject.whole
    request.start(Content_Length=str(len(body)))
    request.handler.wfile.write(body[: len(body) // 2])
    request.over.wait(30)


def drips(request: Request) -> None:
    """A byte now and then: no read ever times out, only the whole does."""
    request.start(Content_Length=str(len(request.subject.whole)))
    for byte in request.subject.whole:
        request.handler.wfile.write(bytes([byte]))
        if request.over.wait(0.05):
            return


def hangs_up(request: Request) -> None:
    request.handler.connection.shutdown(socket.SHUT_RDWR)


def breaks_off(request: Request) -> None:
    body = request.subject.whole
    request.start(Content_Length=str(len(body)))
    request.handler.wfile.write(body[: len(body) // 2])


def cut(request: Request) -> None:
    """Half a text, handed on by something that believes it whole."""
    body = request.subject.whole
    request.say(body[: body.index(b"\n", len(body) // 2) - 1])


def endless(request: Request) -> None:
    """More than may be read, without a length and without an end."""
    request.start()
    for _ in range(10_000):
        if request.over.is_set():
            return
        request.handler.wfile.write(request.subject.whole)


def bomb(request: Request) -> None:
    """A small answer that unpacks to a large one, although no compression was asked for."""
    request.say(gzip.compress(b"\n" * (4 * request.subject.max_body_bytes)), Content_Encoding="gzip")


def in_a_circle(request: Request) -> None:
    request.say(b"", 307, Location=request.handler.path)


@dataclass(frozen=True)
class Case:
    """What a sick replica does, and the words that tell a person; no answer: nobody listens there."""

    answer: Answer | None
    words: str


CASES = [
    pytest.param(Case(None, "cannot connect"), id="nobody listens"),
    pytest.param(Case(hangs, "no whole answer"), id="it accepts and never answers"),
    pytest.param(Case(hangs_half_way, "no whole answer"), id="it stops in the middle"),
    pytest.param(Case(drips, "no whole answer"), id="it drips a byte at a time"),
    pytest.param(Case(hangs_up, "broke off"), id="it hangs up at once"),
    pytest.param(Case(breaks_off, "broke off"), id="it hangs up in the middle"),
    pytest.param(Case(says(b"no", 503), "HTTP 503 Service Unavailable"), id="it is not ready"),
    pytest.param(Case(says(b"", 404), "HTTP 404 Not Found"), id="it has no such page"),
    pytest.param(Case(says(b"", 204), "HTTP 204"), id="it has nothing to say"),
    pytest.param(Case(says(b""), "empty"), id="an empty body"),
    pytest.param(Case(says(b"<!doctype html><title>Sign in</title>"), "HTML"), id="a login page"),
    pytest.param(Case(says(b'{"status":"ok"}\n'), "cannot be read"), id="JSON"),
    pytest.param(Case(says(bytes(range(256)) * 9), "no text"), id="bytes that are no text"),
    pytest.param(Case(says(b"\x00\x01\x02garbage\n" * 9), "cannot be read"), id="garbage"),
    pytest.param(Case(cut, "breaks off"), id="a text cut in the middle of a line"),
    pytest.param(Case(endless, "more than"), id="an answer without end"),
    pytest.param(Case(bomb, "more than"), id="a small answer that unpacks to a large one"),
    pytest.param(Case(says(b"not gzip", Content_Encoding="gzip"), "broke off"), id="packed wrongly"),
    pytest.param(
        Case(says(b"", 302, Location="http://elsewhere.invalid/metrics"), "another host"), id="sent elsewhere"
    ),
    pytest.param(Case(in_a_circle, "in a circle"), id="sent round in a circle"),
]


def check(subject: Subject, case: Case) -> None:
    """Poll a sick replica between two healthy ones."""
    answers = {WELL[0]: whole, SICK: case.answer, WELL[1]: whole}
    with serving(subject, answers) as urls:
        began = time.monotonic()
        batch = subject.poll(urls)
        took_s = time.monotonic() - began
    assert took_s < subject.within_s
    assert [(p.subject, case.words in p.what, bool(p.remedy)) for p in batch.problems] == [(SICK, True, True)]
    told = {name: {fact.metric for fact in batch.metrics if fact.replica == name} for name in answers}
    assert told[SICK] == subject.health
    assert told[WELL[0]] == told[WELL[1]] > subject.health
    up = {fact.replica: fact.value for fact in batch.metrics if fact.metric == "up"}
    assert up == {SICK: 0.0, WELL[0]: 1.0, WELL[1]: 1.0}
    assert not [e for e in batch.events if e.kind != PRESENT_AT_START or SICK in e.subject]


# ------------------------------------------------------------------------------------ a real server
@contextmanager
def serving(subject: Subject, answers: Mapping[str, Answer | None]) -> Iterator[dict[str, str]]:
    """A server on a free port of this machine, one path a replica; yields the addresses by name."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            answer = answers.get(self.path.split("/")[1])
            with suppress(ConnectionError):  # the client left, as it should where the answer is sick
                (answer or says(b"", 404))(Request(self, subject, over))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        here = f"http://127.0.0.1:{server.server_address[1]}"
        closed = f"http://127.0.0.1:{closed_port()}"
        yield {name: f"{here if answer else closed}/{name}/metrics" for name, answer in answers.items()}
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for every answer, so a test leaves nothing behind
    request_queue_size = 128  # with the usual 5, connections made at once wait a second for each other


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
