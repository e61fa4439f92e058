"""Real servers for tests, each on a free port of this machine and stopped in the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

PROMETHEUS = shutil.which("prometheus")
NO_PROMETHEUS = "no prometheus: sudo apt-get install prometheus"
PATIENCE_S = 240.0  # MLflow sets up its tables first: 10 s, and minutes where much else runs


@contextmanager
def prometheus(
    folder: Path, jobs: Mapping[str, Sequence[str]], interval: str = "250ms", relabel: str = ""
) -> Iterator[str]:
    """A Prometheus that scrapes these targets, job by job; yields its address."""
    if PROMETHEUS is None:
        pytest.skip(NO_PROMETHEUS)
    port = free_port()
    listed = "".join(
        f"  - job_name: {job}\n    static_configs: [{{targets: {list(targets)}}}]\n{relabel}"
        for job, targets in jobs.items()
    )
    config = folder / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}\nscrape_configs:\n{listed}",
        encoding="utf-8",
    )
    command = [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with running(command, folder / "prometheus.log", f"http://127.0.0.1:{port}/-/ready") as address:
        yield address.removesuffix("/-/ready")


@contextmanager
def mlflow(folder: Path) -> Iterator[str]:
    """An MLflow server on SQLite; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with running(command, folder / "mlflow.log", f"http://127.0.0.1:{port}/health") as address:
        yield address.removesuffix("/health")


@contextmanager
def running(command: Sequence[str], log: Path, ready: str) -> Iterator[str]:
    """A process in a group of its own, once the address answers."""
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command), stdout=out, stderr=out, start_new_session=True, env=os.environ | quiet
        )
    try:
        ends = time.monotonic() + PATIENCE_S
        while not _answers(ready):
            assert process.poll() is None, log.read_text(encoding="utf-8")[-3000:]
            assert time.monotonic() < ends, f"{command[0]} is not ready after {PATIENCE_S:g} s"
            time.sleep(0.1)
        yield ready
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Exposing:
    """An engine's /metrics, as far as a scraper can tell: says the text it was given last, or fails."""

    def __init__(self, text: str) -> None:
        self.text: str | None = text
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = (outer.text or "").encode()
                self.send_response(200 if outer.text is not None else 503)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
