"""What locust runs in each worker: one user that walks the schedule and lets every session run by itself.

Locust has no open loop of its own: its users wait for their answers. So the one user here only looks at the
clock; each session is a greenlet, its first turn due when the schedule says, each later one its think time
after the answer before it. Latency counts from these instants, so that a generator or a server that falls
behind shows as latency and not as less load. Started by `loadtests.run`, never imported by anything.
"""

from __future__ import annotations

import gc
import json
import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import gevent  # type: ignore[import-untyped]
from gevent.lock import BoundedSemaphore  # type: ignore[import-untyped]
from gevent.pool import Group  # type: ignore[import-untyped]
from locust import FastHttpUser, events, task
from locust.env import Environment

from loadtests import plan as plans
from loadtests.meeting import READY, STARTED, WORKER, write_whole
from loadtests.plan import Plan
from loadtests.sent import Sent, SentLog
from loadtests.streaming import Due, Exchange, encoded, exchange, prepare
from loadtests.traffic import Session, Turn, body, sessions

LOOK_S = 0.02  # between two looks for the start
AHEAD_S = 0.2  # a body is made shortly before it is due, neither all at once nor when it should leave
SAMPLE_S = 1.0
FOREVER_S = 86_400.0
TOKEN = "MANGAOPS_TARGET_TOKEN"  # noqa: S105 - the variable's name; sent as a bearer token where it is set


@dataclass(frozen=True, slots=True)
class Clock:
    """The run's start on both clocks: instants are taken on the steady one and told on the wall's."""

    start_steady: float
    start_epoch: float

    def epoch(self, steady: float) -> float:
        """Seconds since the epoch of an instant on the steady clock."""
        return self.start_epoch + steady - self.start_steady


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--plan", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--generator", required=True, type=int)
    parser.add_argument("--generators", required=True, type=int)


@events.init.add_listener  # type: ignore[untyped-decorator]
def _prepared(environment: Environment, **_: Any) -> None:
    limits = plans.read(_given(environment).plan).limits
    Dispatcher.concurrency = limits.in_flight  # its default of 10 is a hidden queue
    Dispatcher.network_timeout = Dispatcher.connection_timeout = limits.silence_s


class Dispatcher(FastHttpUser):
    """The one user of a worker."""

    fixed_count = 1
    max_redirects = 0  # an answer from elsewhere is no answer
    insecure = False

    @task
    def walk(self) -> None:
        """The whole run, once; locust ends with it."""
        try:
            Run(self).walk()
        finally:
            gevent.spawn(_quit, self.environment)
            gevent.sleep(FOREVER_S)  # until quit ends this greenlet: else locust would walk again


class Run:
    """One worker's share of a run: what its sessions have in common."""

    def __init__(self, user: Dispatcher) -> None:
        options = _given(user.environment)
        self.user, self.out = user, options.out
        self.worker, self.of = options.generator, options.generators
        self.plan: Plan = plans.read(options.plan)
        self.group, self.slots = Group(), BoundedSemaphore(self.plan.limits.in_flight)
        self.log = SentLog(self.out)
        self.offered, self.stopping, self.parent = 0, False, os.getppid()
        token = os.environ.get(TOKEN)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def walk(self) -> None:
        """Wait for the start, begin every session on time, and let the last answers end."""
        prepare(self.user)
        self.user.environment.events.quitting.add_listener(self._stop)
        mine = sessions(self.plan, self.worker, self.of)
        under_way, first = _under_way(mine)  # before the start: thousands of them take seconds to make
        clock = self._met()
        watch = gevent.spawn(self._watch, clock)
        for session in chain(under_way, first, mine):
            _until(0.0 if session.past else clock.start_steady + session.start_s)
            self.offered += 1
            conversation = gevent.Greenlet(self._converse, session, clock)
            conversation.link_exception(self._lost)
            self.group.start(conversation)  # and on at once: when the schedule is behind, it comes first
        _until(clock.start_steady + self.plan.end_s)
        self.group.join(timeout=self.plan.limits.drain_s)
        watch.kill()
        self._stop()

    def _met(self) -> Clock:
        """Say that this worker is ready, and wait until all are: the start is one instant for everybody."""
        gc.collect()
        gc.freeze()  # what lives throughout is not looked at again: a collection costs milliseconds
        write_whole(self.out / READY.format(self.worker), {"pid": os.getpid()})
        while not (self.out / STARTED).exists():
            if os.getppid() != self.parent:
                raise RuntimeError("nobody is left to start this run. Start it again with loadtests.run")
            gevent.sleep(LOOK_S)
        epoch = float(json.loads((self.out / STARTED).read_text())["start_at"])
        return Clock(time.monotonic() + epoch - time.time(), epoch)

    def _converse(self, session: Session, clock: Clock) -> None:
        due = clock.start_steady + session.start_s
        for turn in session.turns:
            if due >= clock.start_steady + self.plan.end_s:
                return
            _until(due - AHEAD_S)
            content = encoded(body(self.plan, session, turn))
            _until(due)
            asked = time.monotonic()
            with self.slots:
                waited_s = time.monotonic() - asked
                phase = self.plan.phase_at(due - clock.start_steady).name
                done = exchange(self.user, self.plan, content, self.headers, Due(due, phase))
            self.log.write(_record(session, turn, done, clock, due, waited_s, phase, self.worker))
            if self.stopping:
                return
            due = done.ended_at + _think_after(session, turn)

    def _watch(self, clock: Clock) -> None:
        """Once a second: tell what this worker costs, and see whether anybody still wants it to run."""
        _until(clock.start_steady)
        began, before, most, at = time.process_time(), time.process_time(), 0.0, time.monotonic()
        while True:
            gevent.sleep(SAMPLE_S)
            self._end_with_parent()
            used, now = time.process_time(), time.monotonic()
            if now > clock.start_steady + self.plan.end_s + SAMPLE_S:
                continue  # the quiet time in which the last answers end would make the mean look better
            most, before, at = max(most, (used - before) / (now - at)), used, now
            mean = (used - began) / (now - clock.start_steady)
            told = {
                "cpu_share": mean,
                "cpu_share_max": most,
                "sessions": self.offered,
                "open": len(self.group),
            }
            write_whole(self.out / WORKER.format(self.worker), told)

    def _lost(self, _: Any) -> None:
        """A conversation that ended in a fault of ours makes the run fail; its traceback is in the log."""
        self.user.environment.process_exit_code = 1

    def _end_with_parent(self) -> None:
        """A generator whose starter was killed must not go on loading a server for hours."""
        if os.getppid() != self.parent:
            gevent.spawn(_quit, self.user.environment)

    def _stop(self, **_: Any) -> None:
        """End what is still open; every request that was sent gets its line."""
        self.stopping = True
        self.group.kill(timeout=self.plan.limits.silence_s)


def _given(environment: Environment) -> Namespace:
    return cast("Namespace", environment.parsed_options)


def _quit(environment: Environment) -> None:
    if environment.runner:
        environment.runner.quit()


def _under_way(mine: Iterator[Session]) -> tuple[list[Session], list[Session]]:
    """Those that the start finds under way, and the first that begins after it."""
    found: list[Session] = []
    for session in mine:
        if not session.past:
            return found, [session]
        found.append(session)
    return found, []


def _think_after(session: Session, turn: Turn) -> float:
    """Seconds from the end of the turn's answer to the next turn; the last has none."""
    last = session.turns[-1].number
    return 0.0 if turn.number == last else session.turns[turn.number - session.turns[0].number + 1].think_s


def _until(steady: float) -> None:
    """Sleep until an instant. In a loop: a timer that was set from a stale clock fires early."""
    while (left := steady - time.monotonic()) > 0:
        gevent.sleep(left)


def _record(
    session: Session,
    turn: Turn,
    done: Exchange,
    clock: Clock,
    due: float,
    waited_s: float,
    phase: str,
    worker: int,
) -> Sent:
    heard, usage = done.transcript, done.transcript.usage
    first = heard.first_token_at
    return Sent(
        request_id=turn.request_id,
        session_id=session.session_id,
        user_id=session.user_id,
        turn=turn.number,
        phase=phase,
        planned_phase=turn.phase,
        intent=turn.intent,
        locale=session.locale,
        kind=turn.kind,
        planned_adapter=turn.adapter,
        max_tokens=turn.max_tokens,
        intended_at=clock.epoch(due),
        sent_at=clock.epoch(done.sent_at),
        first_token_at=None if first is None else clock.epoch(first),
        ended_at=clock.epoch(done.ended_at),
        ttft_ms=None if first is None else (first - due) * 1000,
        ttft_from_send_ms=None if first is None else (first - done.sent_at) * 1000,
        e2e_ms=(done.ended_at - due) * 1000,
        e2e_from_send_ms=(done.ended_at - done.sent_at) * 1000,
        schedule_lag_ms=(done.sent_at - due) * 1000,
        pool_wait_ms=waited_s * 1000,
        status=done.status,
        error_kind=done.fault.kind if done.fault else None,
        error=str(done.fault) if done.fault else None,
        chunks=heard.chunks,
        answer_characters=heard.characters,
        answer_sha256=heard.sha256,
        prompt_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
        finish_reason=heard.finish_reason,
        adapter=done.header("x-adapter-id"),
        prompt_version=done.header("x-prompt-version"),
        answered_request_id=done.header("x-request-id"),
        retry_after_s=_seconds(done.header("retry-after")),
        worker=worker,
    )


def _seconds(header: str | None) -> float | None:
    try:
        return float(header) if header else None
    except ValueError:  # a date, which nobody here waits for
        return None
