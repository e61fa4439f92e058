"""Drills that the console starts: listed, refused, followed and stopped, as real processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from collectors.settings import load_settings
from console import __main__ as serving
from console import drillbook
from console.desk import Desk, open_desk
from console.drill_control import run_drill, stop_drill
from console.drilling import catalogue, process, start
from console.screens import running
from console.views import drills, offers
from console.views.drills import Drill
from console.views.facts import Failure
from console.views.frame import Frame
from console.views.offers import Catalogue, Offer
from tests.conftest import ROOT
from tests.console.conftest import EVIL, _draw

PATIENCE_S = 60.0
SMOKE = Offer(
    name="smoke",
    title="Smoke drill",
    seconds=285,
    clock_scale=10,
    proves="instrumentation",
    phases=("baseline", "engine_stall"),
    own_engine=True,
)
GPU = SMOKE.model_copy(
    update={"name": "gpu", "title": f"On a GPU {EVIL}", "seconds": 600, "clock_scale": 1, "own_engine": False}
)
COMPLETE = Catalogue(drills=(GPU, SMOKE), missing=(), missing_beside_engine=())
SLEEPER = (
    sys.executable,
    "-c",
    "import time; print('engine is ready after 28 s', flush=True); time.sleep(600)",
)
# A stack of two parts that take their time to stop, led as a drill leads its own.
STACK = """
import signal, sys, time
from pathlib import Path
from typing import Any
from loadtests.staging.parts import Part
from loadtests.staging.stack import free_ports, started

signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
SLOW = (
    "import http.server, signal, sys, time;"
    "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit()));"
    "http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')"
)
ports = free_ports(["web", "last"])
web, last = (Part(n, (sys.executable, "-c", SLOW, str(p)), p, "/") for n, p in ports.items())
last = Part(last.name, last.command, last.port, "/", outlives=("web",))
with started([web, last], Path(sys.argv[1]), lambda line: print(line, flush=True)) as stack:
    print(*(r.process.pid for r in stack.running.values()), flush=True)
    time.sleep(600)
"""


@pytest.fixture
def desk(tmp_path: Path, desks: dict[str, Desk], monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk in a place without vLLM; whatever was started on it is gone at the end."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    desk = replace(desks["healthy"], drills=tmp_path / "drills", catalogue=lambda: COMPLETE)
    yield desk
    for folder in (tmp_path / "drills").glob("*"):
        process.ask_to_stop(folder)
    until(lambda: not any(map(process.pid, (tmp_path / "drills").glob("*"))))


def until(so: Callable[[], object]) -> None:
    """Wait for it."""
    end = time.monotonic() + PATIENCE_S
    while not so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def the(desk: Desk, name: str) -> Drill:
    return next(d for d in drillbook.read(desk.drills, datetime.now(UTC)) if d.name == name)


def ended(desk: Desk, name: str) -> Drill:
    until(lambda: not the(desk, name).goes_on)
    return the(desk, name)


def alive(pid: int) -> bool:
    return bool(process._born(pid))


# ------------------------------------------------------------------------------ what may be started
@pytest.mark.parametrize(
    ("url", "fault"),
    [
        pytest.param("", None, id="none is fine"),
        pytest.param("http://gpu:8000", None, id="an engine"),
        pytest.param("https://gpu.example/a/path", None, id="behind a proxy"),
        pytest.param("http://[::1]:8000", None, id="IPv6"),
        pytest.param("gpu:8000", "neither http", id="no scheme"),
        pytest.param("file:///etc/passwd", "neither http", id="a file"),
        pytest.param("--help", "neither http", id="an option"),
        pytest.param("http://", "neither http", id="no host"),
        pytest.param("http://me:secret@gpu:8000", "user or password", id="credentials"),
        pytest.param("http://me@gpu", "user or password", id="half of the credentials"),
        pytest.param("http://gpu:80000", "is none", id="no such port"),
        pytest.param("http://[::1", "is none", id="half an address"),
        pytest.param("http://gpu:8000/?a=b", "query", id="a query"),
        pytest.param("http://gpu:8000/\nx", "blanks", id="a new line"),
        pytest.param("http://gpu 8000", "blanks", id="a blank"),
        pytest.param("http://gpu/" + "a" * 200, "longer than 200", id="endless"),
    ],
)
def test_an_engines_url_is_checked(url: str, fault: str | None) -> None:
    found = start.fault_of(url)
    assert found is None if fault is None else fault in str(found)


def test_a_drills_command_is_a_list_of_words() -> None:
    words = start.command("smoke", Path("/d/x; rm -r y"), "http://gpu:8000")
    assert words[:6] == [sys.executable, "-m", "collectors.cli", "drill", "run", "smoke"]
    assert words[6:] == ["--out", "/d/x; rm -r y", "--engine", "http://gpu:8000"]
    assert "--engine" not in start.command("smoke", Path("d"), "")


def test_a_drill_takes_over_rules_and_nothing_else_of_the_consoles_settings() -> None:
    ours = {"MANGAOPS_OTLP_TOKEN": "s", "MANGAOPS_STORE": "prod", "MANGAOPS_RULES": "r.yaml", "PATH": "/bin"}
    kept = start.environment(ours)
    assert kept.pop("COLUMNS")
    assert kept == {"MANGAOPS_RULES": "r.yaml", "PATH": "/bin"}


@pytest.mark.parametrize(
    ("name", "engine", "change", "why"),
    [
        pytest.param("../smoke", "", {}, "does not run that drill", id="a name that is not listed"),
        pytest.param("gpu", "http://a:b@c", {}, "password", id="an URL with a password"),
        pytest.param("smoke", "", {"drills_run": False}, "does not run", id="switched off"),
    ],
)
def test_what_may_not_run_is_refused_by_the_server(
    desk: Desk, name: str, engine: str, change: dict[str, Any], why: str
) -> None:
    done = run_drill(replace(desk, **change), COMPLETE, name, engine, datetime.now(UTC))
    assert isinstance(done, Failure)
    assert why in done.what
    assert not desk.drills.exists()


def test_a_folder_that_cannot_be_written_is_said(desk: Desk) -> None:
    desk.drills.write_text("a file")
    done = run_drill(desk, COMPLETE, "smoke", "", datetime.now(UTC))
    assert isinstance(done, Failure)
    assert "could not be started" in done.what
    desk.drills.unlink()


def test_the_setting_reaches_the_console_from_any_file(tmp_path: Path, desks: dict[str, Desk]) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(f"drills_run: false\ndrills: {tmp_path / 'd'}\n")
    told = serving._told(load_settings(file, {}))
    (tmp_path / "empty.yaml").write_text("")
    seen = load_settings(tmp_path / "empty.yaml", told)
    desk = open_desk(desks["empty"].reader, seen, lambda _: None)
    assert (desk.drills_run, desk.drills) == (False, tmp_path / "d")


# ---------------------------------------------------------------------------------- which there are
@pytest.mark.slow
def test_the_drills_are_listed_with_what_is_missing(desk: Desk) -> None:
    found = catalogue.ask()
    assert isinstance(found, Catalogue), found
    smoke = found.offer("smoke")
    assert smoke
    assert smoke.own_engine, "it stalls the engine"
    assert "baseline" in smoke.phases
    assert any("make staging-setup" in line for line in found.missing)
    assert not any("vLLM" in line for line in found.missing_beside_engine)


@pytest.mark.slow
def test_a_list_that_does_not_come_says_why(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANGAOPS_RULES", "nowhere.yaml")
    found = catalogue.ask()
    assert isinstance(found, Failure)
    assert "nowhere.yaml" in found.what


def test_without_the_load_tests_there_is_no_list() -> None:
    assert catalogue.ask("a_package_that_is_not_there") is None


def test_a_list_of_another_shape_is_a_failure() -> None:
    for text in ("", "{", '{"drills": 3}'):
        assert isinstance(catalogue._read(text), Failure)


def test_a_drill_is_described() -> None:
    assert offers.described(SMOKE).startswith("4.8 min of phases")
    assert "clock ×10 · proves instrumentation" in offers.described(SMOKE)
    assert "clock" not in offers.described(GPU)
    assert offers.course(SMOKE) == "Baseline → Engine stall"


# ---------------------------------------------------------------------------------- how far it came
@pytest.mark.parametrize(
    ("runs", "asked", "begun", "state"),
    [
        (True, False, False, "running"),
        (True, True, True, "stopping"),
        (False, True, True, "stopped"),
        (False, False, True, "broken off"),
        (False, False, False, "not begun"),
    ],
)
def test_a_drill_without_a_certificate_has_a_state(runs: bool, asked: bool, begun: bool, state: str) -> None:
    assert drills.unfinished(runs=runs, asked=asked, begun=begun) == state
    assert state in drills.TONES


def test_last_words_are_few_short_and_plain() -> None:
    text = "".join(f"line {n}\n\n" for n in range(100)) + "\x1b[1;31merror\x1b[0m \x07no\n" + "x" * 5000
    said = drills.last_words(text)
    assert len(said) == drills.LAST_LINES
    assert said[-2] == "error no"
    assert len(said[-1]) == drills.WIDEST


@pytest.mark.slow
def test_a_drill_that_cannot_start_says_why(desk: Desk) -> None:
    name = run_drill(desk, COMPLETE, "smoke", "", datetime.now(UTC))
    assert isinstance(name, str), name
    found = ended(desk, name)
    assert found.state == "not begun"
    assert "vLLM is not installed" in "\n".join(found.said)
    assert "make staging-setup" in "\n".join(found.said)


def test_one_drill_at_a_time(desk: Desk) -> None:
    process.launch(desk.drills / "first", SLEEPER, os.environ)
    refused = run_drill(desk, COMPLETE, "smoke", "", datetime.now(UTC))
    assert isinstance(refused, Failure)
    assert "first runs already" in refused.what
    assert [d.name for d in desk.drills.iterdir()] == ["first"]


def test_an_old_folder_is_never_run_into(desk: Desk) -> None:
    at = datetime.now(UTC)
    start.folder_of(desk.drills, "smoke", at).mkdir(parents=True)
    assert isinstance(run_drill(desk, COMPLETE, "smoke", "", at), Failure)


# -------------------------------------------------------------------------------------------- stop
def test_stop_ends_a_drill_and_all_its_parts(desk: Desk) -> None:
    folder = desk.drills / "tiny-1"
    process.launch(folder, [sys.executable, "-c", STACK, str(folder)], os.environ)
    until(lambda: len(the(desk, "tiny-1").said) == 3)
    said, leader = the(desk, "tiny-1").said, process.pid(folder)
    parts = [int(pid) for pid in said[-1].split()]
    assert "web is ready after" in said[0]
    assert leader
    assert all(map(alive, [leader, *parts]))
    assert stop_drill(desk, "tiny-1", datetime.now(UTC)) is None
    assert the(desk, "tiny-1").state == "stopping"
    time.sleep(0.3)
    process.ask_to_stop(folder)  # from another browser: it goes on stopping its parts
    assert ended(desk, "tiny-1").state == "stopped"
    assert not any(map(alive, [leader, *parts]))
    assert isinstance(stop_drill(desk, "tiny-1", datetime.now(UTC)), Failure)


def test_a_process_that_has_the_number_of_a_drill_is_left_alone(desk: Desk) -> None:
    folder = desk.drills / "tiny-1"
    (folder / "logs").mkdir(parents=True)
    (folder / process.PID).write_text(f"{os.getpid()} 1\n")  # ours, which began at another time
    assert process.pid(folder) is None
    assert not process.ask_to_stop(folder)
    assert isinstance(stop_drill(desk, "tiny-1", datetime.now(UTC)), Failure)
    assert the(desk, "tiny-1").state == "not begun"


@pytest.mark.parametrize("text", ["", "12", "a b", "1 2 3", "99999999 5"])
def test_a_number_that_cannot_be_read_is_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / process.PID).write_text(text)
    assert process.pid(tmp_path) is None


def test_a_process_that_waits_to_be_reaped_has_ended() -> None:
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
    try:
        until(lambda: not alive(child))
    finally:
        os.waitpid(child, 0)


# -------------------------------------------------------------------------------------- the screen
def drawn(desk: Desk, *, live: bool = True) -> AppTest:
    running._catalogue.clear()
    kwargs = {"screen": "drills", "desk": desk, "frame": Frame(datetime.now(UTC), live=live)}
    return AppTest.from_function(_draw, default_timeout=60, kwargs=kwargs).run()


def check(test: AppTest, words: list[str], absent: list[str]) -> None:
    """The screen ran, says these words and not those."""
    assert not test.exception, [e.message for e in test.exception]
    said = [*(e.proto.body for e in test.get("html")), *(b.label for b in test.button)]
    text = "\n".join(said)
    assert [w for w in words if w not in text] == []
    assert [w for w in absent if w in text] == []


def test_a_drill_can_be_run(desk: Desk) -> None:
    test = drawn(desk)
    check(test, ["Run a drill", "4.8 min of phases", "Baseline → Engine stall"], ["Staging is not complete"])
    assert test.selectbox(key=running.NAME).options == ["Smoke drill (smoke)", f"On a GPU {EVIL} (gpu)"]
    assert not test.button(key="run").disabled
    assert test.text_input(key=running.ENGINE).disabled, "the smoke drill stalls the engine"


def test_an_engine_that_is_none_is_refused_before_anything_runs(desk: Desk) -> None:
    test = drawn(desk)
    test.selectbox(key=running.NAME).select("gpu").run()
    test.text_input(key=running.ENGINE).input(f"http://a:{EVIL}@b").run()
    check(test, ["The engine&#x27;s URL is none", "&lt;script&gt;"], [EVIL])
    assert test.button(key="run").disabled
    test.text_input(key=running.ENGINE).input("http://gpu:8000").run()
    assert not test.button(key="run").disabled


@pytest.mark.slow
def test_pressing_run_starts_it_and_its_end_is_shown(desk: Desk) -> None:
    test = drawn(desk)
    test.button(key="run").click().run()
    (name,) = [d.name for d in desk.drills.iterdir()]
    assert test.session_state["drill"] == name
    ended(desk, name)
    check(test.run(), ["not begun", "What it said last", "vLLM is not installed"], ["running"])
    assert not test.button(key="run").disabled


def test_while_one_runs_the_button_says_which_and_what_the_stack_says(desk: Desk) -> None:
    process.launch(desk.drills / "tiny-1", SLEEPER, os.environ)
    until(lambda: the(desk, "tiny-1").said)
    test = drawn(desk)
    check(test, ["tiny-1</a> is running", "The stack is starting", "engine is ready after 28 s", "Stop"], [])
    assert test.button(key="run").disabled
    test.button(key="stop-drill").click().run()
    ended(desk, "tiny-1")
    check(test.run(), ["stopped"], ["Stop"])


def test_a_drill_of_a_terminal_is_stopped_there(desk: Desk) -> None:
    (desk.drills / "tiny-1" / "logs").mkdir(parents=True)
    (desk.drills / "tiny-1" / "logs" / "engine.log").write_text("up")
    test = drawn(desk)
    check(test, ["The stack is starting.", "Ctrl-C there stops it", "is running"], ["Stop"])
    assert test.button(key="run").disabled


def test_what_a_drill_says_is_escaped(desk: Desk) -> None:
    process.launch(desk.drills / "tiny-1", [sys.executable, "-c", f"print({EVIL!r})"], os.environ)
    ended(desk, "tiny-1")
    check(drawn(desk), ["not begun", "&lt;script&gt;"], [EVIL])


def lacking_vllm() -> Catalogue:
    line = "vLLM is not installed in .venv-vllm. Run: make staging-setup"
    return COMPLETE.model_copy(update={"missing": (line,)})


def test_what_is_missing_is_said_before_and_does_not_matter_beside_an_engine(desk: Desk) -> None:
    test = drawn(replace(desk, catalogue=lacking_vllm))
    check(test, ["Staging is not complete here", "make staging-setup", "Look again"], [])
    assert test.button(key="run").disabled
    test.selectbox(key=running.NAME).select("gpu").run()
    test.text_input(key=running.ENGINE).input("http://gpu:8000").run()
    check(test, ["Run a drill"], ["Staging is not complete here"])
    assert not test.button(key="run").disabled


def test_looking_again_sees_what_was_installed_since(desk: Desk) -> None:
    answers = iter([lacking_vllm(), COMPLETE])
    test = drawn(replace(desk, catalogue=lambda: next(answers)))
    check(test.run(), ["Staging is not complete here"], [])  # kept: it is not asked on every look
    test.button(key="look-again").click().run()
    check(test, [], ["Staging is not complete here"])


@pytest.mark.parametrize(
    ("change", "live", "said", "absent"),
    [
        pytest.param({"drills_run": False}, True, [], ["Run a drill", "Run\n"], id="switched off"),
        pytest.param({"catalogue": lambda: None}, True, [offers.CHECKOUT], ["Staging"], id="no source tree"),
        pytest.param(
            {"catalogue": lambda: Failure(f"no {EVIL}", "Look")},
            True,
            ["No drill can be run", "Look again"],
            [EVIL],
            id="no list",
        ),
        pytest.param({}, False, ["Back to live"], ["4.8 min"], id="a past instant"),
    ],
)
def test_where_no_drill_can_be_run_it_says_so(
    desk: Desk, change: dict[str, Any], live: bool, said: list[str], absent: list[str]
) -> None:
    test = drawn(replace(desk, **change), live=live)
    check(test, ["No drill was run yet", "make drill", *said], absent)
    assert not [b for b in test.button if b.key == "run"]


def test_switched_off_a_drill_that_runs_is_shown_without_stop(desk: Desk) -> None:
    process.launch(desk.drills / "tiny-1", SLEEPER, os.environ)
    off = replace(desk, drills_run=False)
    check(drawn(off), ["running"], ["Stop", "Run a drill"])
    assert isinstance(stop_drill(off, "tiny-1", datetime.now(UTC) + timedelta(seconds=1)), Failure)
    assert process.pid(desk.drills / "tiny-1")
