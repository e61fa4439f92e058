"""How far the load generator's clock is from the truth, beside stock locust on the same server.

Of ours, requests count of the half of the seconds in which the hypervisor took least from the machine; of
stock locust, whose error is in its reading and not in the machine, all.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import Any

from loadtests.run import start
from loadtests.sent import sent
from loadtests.summary import spread
from tests.bench.quiet import Quiet
from tests.bench.report import Figure

SESSIONS_PER_S = 50  # what the schedule is held to
CLOCK_SESSIONS_PER_S = 10  # what the clocks are compared at: about 42 requests a second
SECONDS = 20
WORKERS = 2  # that share the many sessions, as one is advised to have a worker for each core
FIRST_TOKEN_S, TOKEN_S, MOST_TOKENS = 0.2, 0.02, 20  # the server's: TTFT's SLO, 50 tokens a second, short
STOCK_USERS = 42  # one request a second each: as many as 10 sessions of 4.2 turns bring


def figures(root: Path) -> list[Figure]:
    """Our client and stock locust on one server, one after the other at the same rate of requests."""
    root.mkdir(parents=True, exist_ok=True)
    with _server(root / "server.jsonl") as url:
        _, ours = _ours(root / "ours", url, CLOCK_SESSIONS_PER_S, "clock")
        lags, _ = _ours(root / "many", url, SESSIONS_PER_S, "many", WORKERS)
        stock = _stock(root / "stock.jsonl", url)
    truth = {told["request_id"]: told for told in _lines(root / "server.jsonl")}
    (mine, _), (theirs, lost) = _errors(ours, truth), _errors(stock, truth)
    name = f"iter_lines ({lost} unread)" if lost else "iter_lines"
    return [
        Figure(
            f"TTFT error, p99, {CLOCK_SESSIONS_PER_S} sessions/s", "ms", mine["p99"], theirs["p99"], name, 5
        ),
        Figure(f"TTFT error, p50, {CLOCK_SESSIONS_PER_S} sessions/s", "ms", mine["p50"], theirs["p50"], name),
        Figure(
            f"schedule lag, p99, {SESSIONS_PER_S} sessions/s, {WORKERS} workers", "ms", lags["p99"], aim=10
        ),
    ]


def _ours(
    out: Path, url: str, rate: int, run: str, workers: int = 1
) -> tuple[dict[str, float], dict[str, float | None]]:
    """(spread of the schedule lag, TTFT in milliseconds by request)."""
    plan = out.with_suffix(".yaml")
    phase = {"name": "bench", "seconds": SECONDS, "sessions_per_s": rate}
    plan.write_text(json.dumps({"seed": 42, "run": run, "phases": [phase]}), encoding="utf-8")
    with Quiet() as machine:
        assert start(plan, url, out, workers).wait() == 0, (out / "run.log").read_text()
        every = list(sent(out))
        found = list(compress(every, machine.quiet([each.sent_at for each in every])))
    failed = Counter(each.error for each in every if each.error)
    assert not failed, f"the machine is too busy to measure on: {failed.most_common(3)}"
    lags = spread([each.schedule_lag_ms for each in found])
    assert lags
    return lags, {each.request_id: each.ttft_from_send_ms for each in found}


def _stock(out: Path, url: str) -> dict[str, float | None]:
    """TTFT in milliseconds by request, None where stock locust saw no token."""
    command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("stock.py")), "--headless"]
    command += [
        "--only-summary",
        "--host",
        url,
        "--users",
        str(STOCK_USERS),
        "--spawn-rate",
        str(STOCK_USERS),
    ]
    command += ["--run-time", f"{SECONDS}s", "--stop-timeout", "5", "--to", str(out)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return {told["request_id"]: told["ttft_ms"] for told in _lines(out)}


def _errors(found: dict[str, float | None], truth: dict[str, dict[str, Any]]) -> tuple[dict[str, float], int]:
    """(spread of the distance from the server's own TTFT in milliseconds, how many saw no token)."""
    errors = [
        abs(ttft_ms - (truth[name]["first_token_at"] - truth[name]["received_at"]) * 1000)
        for name, ttft_ms in found.items()
        if ttft_ms is not None
    ]
    ranked = spread(errors)
    assert ranked
    return ranked, len(found) - len(errors)


@contextmanager
def _server(log: Path) -> Iterator[str]:
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.loadtests.server",
            log,
            *map(str, (FIRST_TOKEN_S, TOKEN_S, MOST_TOKENS)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def _lines(file: Path) -> Iterable[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines)
