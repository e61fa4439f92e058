"""A process that sends OTLP bodies as two exporters do, and prints the seconds until all were answered."""

from __future__ import annotations

import http.client
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from collectors.sources.otlp.decoding import PROTOBUF
from collectors.sources.otlp.forwarding import EXPERIMENT_HEADER

SENDERS = 2
HEADERS = {"Content-Type": PROTOBUF, EXPERIMENT_HEADER: "0"}


def main() -> None:
    """Arguments: the address, the folder of bodies, how many of them, and the cores to stay on."""
    url, folder, number, *cores = sys.argv[1:]
    os.sched_setaffinity(0, [int(c) for c in cores])
    bodies = [file.read_bytes() for file in sorted(Path(folder).iterdir())[: int(number)]]
    with ThreadPoolExecutor(SENDERS) as pool:
        began = time.perf_counter()
        list(pool.map(lambda k: _send(url, bodies[k::SENDERS]), range(SENDERS)))
        print(time.perf_counter() - began)


def _send(url: str, bodies: Sequence[bytes]) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
    for body in bodies:
        connection.request("POST", "/v1/traces", body, HEADERS)
        with connection.getresponse() as answer:
            assert answer.status == http.HTTPStatus.OK, answer.read()
            answer.read()


if __name__ == "__main__":
    main()
