"""`python -m loadtests.staging.gateway`: serve, or check configuration and prompts and say what is wrong."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import uvicorn

from collectors.validation import ConfigError
from loadtests.staging.gateway.app import Addresses, build
from loadtests.staging.gateway.config import DEFAULT
from loadtests.staging.gateway.draining import Server
from loadtests.staging.gateway.gathering import Gathering
from loadtests.staging.gateway.journal import Journal
from loadtests.staging.gateway.live import Live, load, unstable
from loadtests.staging.gateway.timing import Clock

IDLE_S = 75  # longer than clients keep a connection, so that it is they who close it
# Spans are packed in a thread of their own: at Python's usual 5 ms a turn, answers would wait for it.
SWITCH_S = 0.0005
LAST_S = 2  # after the drain, for what still hangs on


def main() -> int:
    """0 after a drain or a clean check, 1 for a fault found, 2 for a configuration that cannot be used."""
    chosen = _arguments()
    try:
        setup = load(chosen.config)
    except ConfigError as error:
        print(f"{error}", file=sys.stderr)
        return 1 if chosen.check else 2
    if chosen.check:
        return _checked(chosen.config, unstable(setup))
    if not chosen.engine:
        print("Where is the engine? Give --engine http://host:8000", file=sys.stderr)
        return 2
    sys.setswitchinterval(SWITCH_S)
    clock = Clock(time.time_ns, time.perf_counter_ns)
    addresses = Addresses(chosen.engine, chosen.fallback, chosen.otlp)
    app, service = build(Live(chosen.config, setup), addresses, clock, Journal())
    config = uvicorn.Config(
        app,
        host=chosen.host,
        port=chosen.port,
        http=Gathering,
        access_log=False,  # the journal has a line for each request
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=LAST_S,
        limit_concurrency=None,  # admission counts requests, and says so in OpenAI's words
    )
    Server(config, service).run()
    return 0


def _checked(file: Path, faults: list[str]) -> int:
    for fault in faults:
        print(fault)
    if not faults:
        print(f"{file}: valid; its prompts are the same bytes for every request")
    return 1 if faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="loadtests.staging.gateway", description=__doc__)
    parser.add_argument(
        "--config", type=Path, default=DEFAULT, help="its YAML file, read again when it changes"
    )
    parser.add_argument("--engine", help="URL of the vLLM before which it stands")
    parser.add_argument("--fallback", help="URL of a second OpenAI-compatible server")
    parser.add_argument("--otlp", help="URL that takes spans at /v1/traces")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--check", action="store_true", help="check configuration and prompts, then end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
