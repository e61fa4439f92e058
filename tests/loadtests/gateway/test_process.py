"""The gateway as a process: ready when it is warm, and gone without cutting anybody off."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from loadtests.staging import standin
from loadtests.staging.gateway.config import DEFAULT
from loadtests.staging.standin import Manner
from tests.loadtests.gateway.running import eventually, merged, question, served

ROOT = DEFAULT.parents[3]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration with a drain that a test can wait for."""
    data = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    found = tmp_path / "gateway.yaml"
    change = {"drain": {"notice": "800ms", "limit": "10s"}, "warm_up": {"retry": "100ms"}}
    found.write_text(yaml.safe_dump(merged(data, change)))
    return found


@pytest.fixture
def started(file: Path, tmp_path: Path, free_port: int) -> Iterator[Any]:
    """Starts the gateway before an engine; killed at the end, if it still runs."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(engine: str) -> tuple[subprocess.Popen[bytes], str, Path]:
        log = tmp_path / "gateway.log"
        command = [sys.executable, "-m", "loadtests.staging.gateway", "--config", str(file)]
        command += ["--engine", engine, "--port", str(free_port)]
        with log.open("wb") as out:
            processes.append(subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT))
        return processes[0], f"http://127.0.0.1:{free_port}", log

    yield start
    for process in processes:
        process.kill()
        process.wait()


def pinged(url: str) -> int | None:
    try:
        return httpx.get(f"{url}/ping", timeout=2, trust_env=False).status_code
    except httpx.TransportError:
        return None


def test_it_is_not_ready_before_every_adapter_has_answered(started: Any) -> None:
    with served(standin.build(Manner(first_ms=400))) as engine:
        _, url, _ = started(engine)
        assert eventually(lambda: pinged(url)) == 503
        told = httpx.get(f"{url}/ping", trust_env=False).json()
        assert told["status"] == "warming"
        assert told["waits_for"].startswith("adapter ")
        early = httpx.post(f"{url}/v1/chat/completions", json=question("Hi"), trust_env=False)
        assert (early.status_code, early.json()["error"]["code"]) == (503, "not_ready")
        assert early.headers["retry-after"] == "1"
        eventually(lambda: pinged(url) == 200 or None)
        asked = httpx.get(f"{engine}/standin", trust_env=False).json()["requests"]
        assert {r["body"]["model"] for r in asked} == {
            "manga-base",
            "manga_domain_v3",
            "general_support_v2",
            "jp_style_v1",
            "winter_event_v1",
            "summer_event_v1",
        }


def test_an_engine_that_comes_late_is_waited_for(started: Any) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    _, url, _ = started(f"http://127.0.0.1:{port}")
    assert eventually(lambda: pinged(url)) == 503
    eventually(lambda: "takes no" in told(url) or "is gone" in told(url) or None)


def told(url: str) -> str:
    return str(httpx.get(f"{url}/ping", trust_env=False).json().get("waits_for"))


def test_a_drain_lets_answers_end_and_says_so_first(started: Any) -> None:
    with served(standin.build(Manner(token_ms=100))) as engine:
        process, url, log = started(engine)
        eventually(lambda: pinged(url) == 200 or None)
        answers: list[str] = []
        body = question("Hi", stream=True, max_tokens=15, request_id="last")
        asking = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{url}/v1/chat/completions", json=body, trust_env=False, timeout=20).text
            )
        )
        asking.start()
        time.sleep(0.4)
        process.send_signal(signal.SIGTERM)
        assert eventually(lambda: pinged(url) == 503 or None)
        late = httpx.post(f"{url}/v1/chat/completions", json=question("Hi"), trust_env=False)
        assert (late.status_code, late.json()["error"]["code"]) == (503, "not_ready")
        assert process.wait(15) == 0
        asking.join(5)
        assert answers[0].endswith("data: [DONE]\n\n")
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        assert [r["status"] for r in rows if r["event"] == "request"] == [503, 200]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param((), "Give --engine", id="no engine"),
        pytest.param(("--config", "nowhere.yaml", "--engine", "http://x"), "cannot be read", id="no file"),
    ],
)
def test_what_is_missing_is_said_before_anything_starts(arguments: tuple[str, ...], says: str) -> None:
    command = [sys.executable, "-m", "loadtests.staging.gateway", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 2
    assert says in done.stderr
