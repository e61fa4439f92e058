"""Runs a plan against any OpenAI-compatible server and keeps what happened.

    python -m loadtests.run --plan plan.yaml --host http://127.0.0.1:8080 --out DIR [--workers N]

DIR then holds `requests.jsonl` (a line for each request sent), `start.json` (the instant that plans count
from), `summary.json` and the workers' logs. SIGTERM ends a run early: open requests are noted as stopped, the
summary says how far it came. Exit code 0: run to its end, or stopped so; 1: a worker failed; 2: wrong input.

A worker is a locust process of its own, and about 1,000 streams of 25 tokens a second are what one core can
read. Locust is never imported here: it patches the process that imports it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from collectors.validation import ConfigError
from loadtests.meeting import READY, STARTED, SUMMARY, WORKER, write_whole
from loadtests.plan import Plan, digest, read
from loadtests.sent import RECORDS, sent
from loadtests.summary import summarise

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 60.0  # locust takes one second to start, thirty times that on a machine that is all busy
LEAD_S = 0.5  # from the word to the start, so that every worker has read it
LOOK_S = 0.05
GRACE_S = 90.0  # beyond end and drain: what locust itself may take before it is ended
MOST_WORKERS = 64
WRONG_INPUT = 2


def start(plan_file: Path, host: str, out: Path, workers: int = 1) -> subprocess.Popen[bytes]:
    """The run as a process of its own, its messages in OUT/run.log. SIGTERM stops it cleanly; wait for it."""
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "loadtests.run", "--plan", str(plan_file.resolve()), "--host", host]
    command += ["--out", str(out.resolve()), "--workers", str(workers)]
    with (out / "run.log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603 - our own


def main() -> int:
    """Run, and say in a line what came of it."""
    parser = argparse.ArgumentParser(prog="loadtests.run", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--plan", type=Path, required=True, help="a YAML file; see loadtests/plan.py")
    parser.add_argument(
        "--host", required=True, help="an OpenAI-compatible server, such as http://127.0.0.1:8080"
    )
    parser.add_argument("--out", type=Path, required=True, help="a folder without an earlier run in it")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the load")
    options = parser.parse_args()
    try:
        plan = read(options.plan)
        _check(options.host, options.out, options.workers)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return WRONG_INPUT
    options.out.mkdir(parents=True, exist_ok=True)
    return _run(plan, options.plan, options.host, options.out, options.workers)


def _check(host: str, out: Path, workers: int) -> None:
    """Raises ConfigError with every mistake on the command line."""
    url = urlsplit(host)
    mistakes = []
    if url.scheme not in {"http", "https"} or not url.hostname:
        mistakes.append(f"--host: {host!r} is no URL. Write it like http://127.0.0.1:8080")
    if (out / RECORDS).exists() or (out / STARTED).exists():
        mistakes.append(f"--out: {out} holds an earlier run. Name another folder")
    if not 1 <= workers <= MOST_WORKERS:
        mistakes.append(
            f"--workers: {workers} is not between 1 and {MOST_WORKERS}. One for each core to spare"
        )
    if find_spec("locust") is None:
        mistakes.append("locust is not installed here. Install the extra: pip install 'mangaops[staging]'")
    if mistakes:
        raise ConfigError("loadtests.run", mistakes)


def _run(plan: Plan, file: Path, host: str, out: Path, workers: int) -> int:
    kept = out / "plan.yaml"
    if kept.resolve() != file.resolve():
        shutil.copyfile(file, kept)
    generators = [_generator(plan, kept, host, out, number, workers) for number in range(workers)]
    stops: list[float] = []

    def stop(*_: object) -> None:
        stops.append(time.time())
        _end(generators)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        start_at = _begin(plan, kept, host, out, generators)
        codes = [each.wait() for each in generators] if start_at else []
    finally:
        _end(generators)
    if start_at is None:
        print("" if stops else f"a worker did not start. Read {out}/locust-0.log", file=sys.stderr)
        return 0 if stops else 1
    until_s = max(0.0, stops[0] - start_at) if stops else plan.end_s
    print(_summed_up(plan, out, workers, until_s))
    return 0 if stops or not any(codes) else 1


def _generator(
    plan: Plan, file: Path, host: str, out: Path, number: int, workers: int
) -> subprocess.Popen[bytes]:
    most_s = math.ceil(READY_WITHIN_S + plan.end_s + plan.limits.drain_s + GRACE_S)
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / "locustfile.py")]
    command += ["--headless", "--only-summary", "--loglevel", "WARNING", "--exit-code-on-error", "0"]
    command += ["--users", "1", "--host", host.rstrip("/"), "--run-time", f"{most_s}s"]
    command += ["--plan", str(file.resolve()), "--out", str(out.resolve())]
    command += ["--generator", str(number), "--generators", str(workers)]
    with (out / f"locust-{number}.log").open("wb") as log:
        # No terminal: locust would take its keys for commands.
        return subprocess.Popen(  # noqa: S603 - our own
            command,
            cwd=ROOT,
            env={**os.environ, **_resolving(host)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _resolving(host: str) -> dict[str, str]:
    """An address needs no look-up in another thread, which takes milliseconds on a busy machine."""
    try:
        ip_address(urlsplit(host).hostname or "")
    except ValueError:
        return {}
    return {"GEVENT_RESOLVER": "block"}


def _begin(
    plan: Plan, file: Path, host: str, out: Path, generators: list[subprocess.Popen[bytes]]
) -> float | None:
    """Let all workers start at one instant, once every one is ready; None where one is not in time."""
    until = time.monotonic() + READY_WITHIN_S
    while not all((out / READY.format(number)).exists() for number in range(len(generators))):
        if time.monotonic() > until or any(each.poll() is not None for each in generators):
            return None
        time.sleep(LOOK_S)
    start_at = time.time() + LEAD_S
    text = file.read_text(encoding="utf-8")
    told = {"start_at": start_at, "end_at": start_at + plan.end_s, "host": host, "workers": len(generators)}
    write_whole(out / STARTED, {**told, "seed": plan.seed, "plan_sha256": digest(text)})
    return start_at


def _end(generators: list[subprocess.Popen[bytes]]) -> None:
    for each in generators:
        if each.poll() is None:
            each.terminate()


def _summed_up(plan: Plan, out: Path, workers: int, until_s: float) -> str:
    """Write the summary, and give it in a line."""
    files = [out / WORKER.format(number) for number in range(workers)]
    told = [json.loads(each.read_text(encoding="utf-8")) for each in files if each.exists()]
    summary: dict[str, Any] = summarise(plan, list(sent(out)), told, until_s)
    write_whole(out / SUMMARY, summary)
    requests, lag = summary["requests"], summary["schedule_lag_ms"]
    late = f"schedule lag p99 {lag['p99']:.1f} ms" if lag else "nothing was sent"
    return (
        f"{requests['offered']} of {requests['planned']} requests, {requests['failed']} failed, {late}: {out}"
    )


if __name__ == "__main__":
    sys.exit(main())
