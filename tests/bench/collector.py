"""What the collector itself costs: CPU and memory with eight replicas, beside Prometheus on the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collectors.settings import BUNDLED_RECORDING
from collectors.sources.tape import load
from tests.bench.report import Figure

REPLICAS, EVERY_S = 8, 5
WARM_UP_S = 12  # imports, first commits


def figures(root: Path, seconds: int) -> list[Figure]:
    """Share of one core and resident memory over the time watched."""
    with _replicas(root) as urls:
        ours = _watch(_ours(root, urls), seconds)
        peer = _watch(_prometheus(root, urls), seconds) if shutil.which("prometheus") else None
    name = "Prometheus, same replicas" if peer else "Prometheus is not installed"
    cpu, memory = peer or (None, None)
    return [
        Figure("CPU", "% of a core", ours[0], cpu, name, 5),
        Figure("memory", "MB", ours[1], memory, name, 300),
    ]


@contextmanager
def _replicas(root: Path) -> Iterator[list[str]]:
    """Eight loopback servers in a process of their own, each playing the recording's metrics texts."""
    root.mkdir(parents=True, exist_ok=True)
    texts = root / "texts"
    texts.mkdir()
    for number, (_, text) in enumerate(load(BUNDLED_RECORDING).scrapes):
        (texts / f"{number:04}").write_text(text, encoding="utf-8")
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.fleet", str(texts), str(REPLICAS)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield [f"http://127.0.0.1:{port}" for port in server.stdout.readline().split()]
    finally:
        server.kill()
        server.wait()


def _ours(root: Path, urls: list[str]) -> list[str]:
    engines = [part for url in urls for part in ("--engine", url)]
    return [sys.executable, "-m", "collectors.cli", "collect", "--store", str(root / "collected"), *engines]


def _prometheus(root: Path, urls: list[str]) -> list[str]:
    targets = ", ".join(f"'{u.removeprefix('http://')}'" for u in urls)
    config = root / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: {EVERY_S}s}}\n"
        f"scrape_configs: [{{job_name: vllm, static_configs: [{{targets: [{targets}]}}]}}]\n",
        encoding="utf-8",
    )
    return [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={root / 'tsdb'}",
        "--web.listen-address=127.0.0.1:0",
    ]


def _watch(command: list[str], seconds: int) -> tuple[float, float]:
    """Percent of a core between warm-up and end, and the largest resident memory in MB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(WARM_UP_S)
        before, memory = _cpu_s(process.pid), 0.0
        for _ in range(seconds):
            time.sleep(1)
            memory = max(memory, _memory_mb(process.pid))
        return (_cpu_s(process.pid) - before) / seconds * 100, memory
    finally:
        process.terminate()
        process.wait()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
