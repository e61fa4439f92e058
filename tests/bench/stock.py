"""A locustfile as locust's documentation has it: closed loop, `iter_lines`. Only locust imports it."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from itertools import count
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant_throughput, events, task

NUMBERS = count()
TOKENS = 20


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--to", type=Path)


class Stock(FastHttpUser):
    wait_time = constant_throughput(1)

    @task
    def ask(self) -> None:
        name = f"stock-{next(NUMBERS)}"
        asked: dict[str, Any] = {"request_id": name, "max_tokens": TOKENS, "stream": True, "messages": []}
        began, first = time.perf_counter(), None
        for line in self.client.iter_lines("/v1/chat/completions", method="POST", json=asked):
            if first is None and '"content": "' in line and '"content": ""' not in line:
                first = time.perf_counter()
        ttft_ms = None if first is None else (first - began) * 1000
        assert self.environment.parsed_options is not None
        with self.environment.parsed_options.to.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"request_id": name, "ttft_ms": ttft_ms}) + "\n")
