"""Breaks the real stack, and mends it again.

A fault is a change that could happen to production: a line of the gateway's configuration, a signal to a
process, a process that is gone. Each kind is a pair of functions; what was broken is always mended.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from collectors.signals.exposition import ExpositionError, read
from loadtests.scenario import Fault
from loadtests.staging.parts import HOST
from loadtests.staging.relay import Relay
from loadtests.staging.stack import Stack

FOR_WORK_S = 10.0  # a drill's traffic brings a request in less
ANSWER_S = 2.0


@dataclass(slots=True)
class Bench:
    """What faults take hold of."""

    stack: Stack
    gateway_config: Path
    metrics: Relay | None = None  # stands between the collector and the engine's metrics


def inject(bench: Bench, fault: Fault) -> None:
    """Break it. Raises ValueError where this stack has nothing of the kind."""
    _PAIRS[fault.kind][0](bench, fault)


def mend(bench: Bench, fault: Fault) -> None:
    """Undo it."""
    _PAIRS[fault.kind][1](bench, fault)


def lacking(fault: Fault, parts: Collection[str], *, relayed: bool) -> str | None:
    """Why a stack of these parts cannot be broken so; None where it can. `relayed`: the metrics are."""
    need = {"engine_stall": "engine", "engine_kill": "engine", "mlflow_blocked": "mlflow"}.get(fault.kind)
    if need and need not in parts:
        return f"{fault.kind}: this stack does not start {need} itself, so it cannot break it"
    if fault.kind == "metrics_blocked" and not relayed:
        return "metrics_blocked: the collector reaches the engine's metrics without a relay"
    return None


def _configure(bench: Bench, change: Mapping[str, Any]) -> None:
    """Change values of the gateway's configuration, which it reads again within half a second."""
    data = yaml.safe_load(bench.gateway_config.read_text(encoding="utf-8"))
    written = bench.gateway_config.with_suffix(".new")
    written.write_text(yaml.safe_dump(_merged(data, change), sort_keys=False), encoding="utf-8")
    written.replace(bench.gateway_config)  # never half a file


def _merged(data: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    below = {k: _merged(data.get(k) or {}, v) for k, v in change.items() if isinstance(v, Mapping)}
    return {**data, **change, **below}


def _volatile(bench: Bench, fault: Fault) -> None:
    _configure(bench, {"faults": {"volatile_prefix": fault.where}})


def _stable(bench: Bench, _: Fault) -> None:
    _configure(bench, {"faults": {"volatile_prefix": "none"}})


def _stall(bench: Bench, _: Fault) -> None:
    _wait_for_work(bench.stack.running["engine"].part.port)
    for process in _core(bench):
        process.send_signal(signal.SIGSTOP)


def _resume(bench: Bench, _: Fault) -> None:
    for process in _core(bench):
        process.send_signal(signal.SIGCONT)


def _wait_for_work(port: int) -> None:
    """Until the engine has a request: no alert sees one that stops while it is idle before it goes on."""
    until = time.monotonic() + FOR_WORK_S
    while time.monotonic() < until and _running(port) == 0:
        time.sleep(0.05)


def _running(port: int) -> float | None:
    """Requests that the engine has; None where it tells nothing."""
    try:
        told = read(httpx.get(f"http://{HOST}:{port}/metrics", timeout=ANSWER_S).text)
    except (httpx.HTTPError, ExpositionError):
        return None
    found = [value for key, value in told.gauges.items() if key.metric == "requests_running"]
    return max(found, default=None)


def _core(bench: Bench) -> list[psutil.Process]:
    """What computes: the processes behind vLLM's front end, which answers scrapes while they hang."""
    front = psutil.Process(bench.stack.running["engine"].process.pid)
    return front.children(recursive=True) or [front]


def _kill(name: str) -> Callable[[Bench, Fault], None]:
    def kill(bench: Bench, _: Fault) -> None:
        bench.stack.running[name].send(signal.SIGKILL)
        bench.stack.running[name].process.wait()

    return kill


def _again(name: str) -> Callable[[Bench, Fault], None]:
    def again(bench: Bench, _: Fault) -> None:
        bench.stack.start(bench.stack.running[name].part)

    return again


def _block(bench: Bench, _: Fault) -> None:
    if bench.metrics:
        bench.metrics.block()


def _unblock(bench: Bench, _: Fault) -> None:
    if bench.metrics:
        bench.metrics.unblock()


def _turn_away(bench: Bench, _: Fault) -> None:
    _configure(bench, {"faults": {"reject_share": 0.5}})


def _admit(bench: Bench, _: Fault) -> None:
    _configure(bench, {"faults": {"reject_share": 0.0}})


_PAIRS: Mapping[str, tuple[Callable[[Bench, Fault], None], Callable[[Bench, Fault], None]]] = {
    "volatile_prefix": (_volatile, _stable),
    "engine_stall": (_stall, _resume),
    "engine_kill": (_kill("engine"), _again("engine")),
    "metrics_blocked": (_block, _unblock),
    "mlflow_blocked": (_kill("mlflow"), _again("mlflow")),
    "rejections": (_turn_away, _admit),
}
