"""Parts are started, waited for, refused and stopped as real processes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from loadtests.faults import Bench, inject, lacking, mend
from loadtests.scenario import Fault
from loadtests.staging import files, needs
from loadtests.staging.parts import HOST, PORTS, Part, Place, parts
from loadtests.staging.relay import Relay
from loadtests.staging.stack import Stack, StackError, answers, free_ports, started
from tests.conftest import ROOT

SERVER = (sys.executable, "-m", "http.server", "--bind", HOST)


def server(name: str = "web", *, after: tuple[str, ...] = ()) -> Part:
    port = free_ports([name])[name]
    return Part(name, (*SERVER, str(port)), port, "/", after=after, patience_s=20)


def test_parts_are_ready_in_order_and_gone_at_the_end(tmp_path: Path) -> None:
    told: list[str] = []
    chain = [server("second", after=("first",)), server("first")]
    with started(chain, tmp_path, told.append) as stack:
        assert all(answers(p) for p in chain)
        assert [line.split()[0] for line in told] == ["first", "second"]
        pids = [r.process.pid for r in stack.running.values()]
    assert not any(answers(p) for p in chain)
    assert all(not Path(f"/proc/{pid}").exists() for pid in pids)
    assert "Serving HTTP" in (tmp_path / "logs" / "first.log").read_text()


def test_a_part_that_ends_says_its_last_words(tmp_path: Path) -> None:
    bad = Part("bad", (sys.executable, "-c", "print('no such model'); raise SystemExit(7)"), 1, "/")
    with (
        pytest.raises(StackError, match=r"(?s)bad ended with code 7.*no such model"),
        started([bad], tmp_path, lambda _: None),
    ):
        pass


def test_a_part_that_never_answers_is_given_up(tmp_path: Path) -> None:
    part = server()
    mute = Part("mute", (sys.executable, "-c", "import time; time.sleep(60)"), part.port, "/", patience_s=1)
    with pytest.raises(StackError, match="not ready after 1 s"), started([mute], tmp_path, lambda _: None):
        pass


def test_a_busy_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    busy, free = server("busy"), server("free")
    with socket.socket() as taken:
        taken.bind((HOST, busy.port))
        taken.listen()
        with (
            pytest.raises(StackError, match=f"busy: {HOST}:{busy.port} is taken"),
            started([free, busy], tmp_path, lambda _: None),
        ):
            pass
    assert not (tmp_path / "logs").exists()


def test_a_stopped_engine_is_silent_and_goes_on(tmp_path: Path) -> None:
    engine = server("engine")
    with started([engine], tmp_path, lambda _: None) as stack:
        bench, fault = Bench(stack, tmp_path / "gateway.yaml"), Fault(kind="engine_stall")
        assert lacking(fault, stack.running, relayed=False) is None
        inject(bench, fault)
        assert not answers(engine)
        mend(bench, fault)
        assert answers(engine)


WORKING_SOON = """
import http.server, sys, time
class Engine(http.server.BaseHTTPRequestHandler):
    began = time.monotonic()
    def do_GET(self):
        running = float(time.monotonic() - self.began > 2)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'vllm:num_requests_running{engine="0",model_name="m"} %.1f\\n' % running)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Engine).serve_forever()
"""


def test_an_engine_is_stopped_in_the_middle_of_its_work(tmp_path: Path) -> None:
    port = free_ports(["engine"])["engine"]
    engine = Part("engine", (sys.executable, "-c", WORKING_SOON, str(port)), port, "/", patience_s=20)
    with started([engine], tmp_path, lambda _: None) as stack:
        began = time.monotonic()
        bench, fault = Bench(stack, tmp_path / "gateway.yaml"), Fault(kind="engine_stall")
        inject(bench, fault)
        assert 1 < time.monotonic() - began < 8
        assert not answers(engine)
        mend(bench, fault)


def test_a_stack_stops_what_a_drill_left_standing_still(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    running = stack.start(server("engine"))
    running.send(signal.SIGSTOP)
    began = time.monotonic()
    stack.stop()
    assert time.monotonic() - began < 10
    assert running.code is not None


def test_a_part_outlives_those_that_still_tell_it_things(tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    script = (
        "import signal, sys, time\n"
        "def end(*_):\n    time.sleep(float(sys.argv[2]))\n"
        "    open(sys.argv[3], 'a').write(sys.argv[1])\n    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\ntime.sleep(60)"
    )
    stack = Stack(tmp_path)
    for name, seconds, outlives in (("c", "0", ("a", "b")), ("a", "0.6", ()), ("b", "0.1", ("a",))):
        command = (sys.executable, "-c", script, name, seconds, str(ends))
        running = stack.start(Part(name, command, 1, outlives=outlives))
        until = time.monotonic() + 10
        while "up" not in running.log.read_text() and time.monotonic() < until:
            time.sleep(0.05)
    stack.stop()
    assert ends.read_text() == "abc"
    assert not stack.running


def test_a_killed_engine_comes_back(tmp_path: Path) -> None:
    engine = server("engine")
    with started([engine], tmp_path, lambda _: None) as stack:
        bench, fault = Bench(stack, tmp_path / "gateway.yaml"), Fault(kind="engine_kill")
        inject(bench, fault)
        assert not answers(engine)
        mend(bench, fault)
        until = time.monotonic() + 20
        while not answers(engine) and time.monotonic() < until:
            time.sleep(0.1)
        assert answers(engine)


def test_what_was_not_started_here_cannot_be_broken(tmp_path: Path) -> None:
    assert "does not start engine itself" in str(lacking(Fault(kind="engine_stall"), (), relayed=True))
    assert "without a relay" in str(lacking(Fault(kind="metrics_blocked"), (), relayed=False))


def test_a_drill_that_cannot_break_what_it_wants_starts_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtests", "run", "smoke", "--out", str(tmp_path / "out")]
    command += ["--engine", "http://127.0.0.1:9"]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 3, done.stderr
    assert "does not start engine itself" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_prompt_fault_is_one_line_of_the_gateways_configuration(tmp_path: Path) -> None:
    place = Place(tmp_path, free_ports(list(PORTS)))
    files.write(place)
    before = yaml.safe_load(place.gateway_config.read_text())
    bench, fault = (
        Bench(Stack(tmp_path), place.gateway_config),
        Fault(kind="volatile_prefix", where="session_middle"),
    )
    inject(bench, fault)
    broken = yaml.safe_load(place.gateway_config.read_text())
    assert {k for k in before if before[k] != broken[k]} == {"faults"}
    assert broken["faults"] == {**before["faults"], "volatile_prefix": "session_middle"}
    mend(bench, fault)
    assert yaml.safe_load(place.gateway_config.read_text()) == before


def test_a_blocked_relay_answers_nobody_and_lives_on() -> None:
    behind = server()
    process = subprocess.Popen(behind.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    relay = Relay(behind.port)
    try:
        relay.start()
        url = f"http://{HOST}:{relay.port}/"
        until = time.monotonic() + 10
        while not answers(behind) and time.monotonic() < until:
            time.sleep(0.1)
        assert httpx.get(url).status_code == 200
        relay.block()
        with pytest.raises(httpx.HTTPError):
            httpx.get(url, timeout=2)
        relay.unblock()
        assert httpx.get(url).status_code == 200
    finally:
        relay.stop()
        process.terminate()
        process.wait(5)


def test_what_is_missing_comes_with_its_command(tmp_path: Path) -> None:
    place = Place(tmp_path, engine_python=tmp_path / "none" / "bin" / "python", models=tmp_path / "models")
    found = needs.missing(place)
    assert len(found) == 2
    assert all("make staging-setup" in line for line in found)
    assert needs.missing(Place(tmp_path, engine_url="http://gpu:8000")) == []


def test_an_engine_that_is_there_is_not_started(tmp_path: Path) -> None:
    names = {p.name for p in parts(Place(tmp_path, engine_url="http://gpu:8000/"), console=True)}
    assert "engine" not in names
    assert {"gateway", "collector", "mlflow", "aws", "console"} <= names


def test_staging_that_lacks_something_starts_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtests", "run", "smoke", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "make staging-setup" in done.stderr
    assert not (tmp_path / "out").exists()
