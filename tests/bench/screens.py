"""How long a screen takes: run again unchanged (warm), and run at the next tick, as a live screen does.

Every figure is a whole run of the screen's code in Streamlit's own test runner, on the replayed recording.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

from streamlit import logger
from streamlit.testing.v1 import AppTest

from collectors.cli import wiring
from collectors.replay import replay
from collectors.settings import BUNDLED_RECORDING, Settings
from collectors.sources.tape import load
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from tests.bench.report import RUNS, Figure

SCREENS = ("now", "slow_chat", "slos", "alerts", "runbooks", "sources")
_BARE = "streamlit.runtime.scriptrunner_utils.script_run_context"
INSIDE_S = 480  # into the recording: all of its faults but the last are in view


def figures(root: Path) -> list[Figure]:
    """Milliseconds for each screen; the aim is for the warm run."""
    logger.get_logger(_BARE).disabled = True  # a bare run has no browser, and warns of it at every call
    tape = load(BUNDLED_RECORDING)
    book = wiring.book(Settings(clock_scale=20))
    replay(tape, DeltaWriter(str(root)), DuckReader(str(root)), book, lambda _: None)
    instants = [(tape.start + timedelta(seconds=INSIDE_S + 5 * k)).isoformat() for k in range(RUNS + 1)]
    found = []
    for screen in SCREENS:
        warm = _median_ms(screen, root, [instants[0]] * (RUNS + 1))
        found.append(Figure(f"{screen}, warm", "ms", warm, aim=300))
        found.append(Figure(f"{screen}, next tick", "ms", _median_ms(screen, root, instants)))
    return found


def _median_ms(screen: str, root: Path, instants: list[str]) -> float:
    app = AppTest.from_function(
        _show, kwargs={"screen": screen, "root": str(root), "at": instants[0]}, default_timeout=60
    )
    app.run()
    took = []
    for at in instants[1:]:
        app.session_state["bench_at"] = at
        began = perf_counter()
        app.run()
        took.append((perf_counter() - began) * 1000)
        assert not app.exception, app.exception
    return median(took)


def _show(screen: str, root: str, at: str) -> None:
    # Streamlit runs this text on its own, so what it needs is imported here.
    from datetime import datetime, timedelta
    from importlib import import_module

    import streamlit as st

    from collectors.settings import Settings
    from console.screens.store import desk
    from console.views.frame import Frame

    now = datetime.fromisoformat(st.session_state.get("bench_at", at))
    frame = Frame(now=now, live=False, span=timedelta(minutes=15), zone="UTC", other="Asia/Tokyo")
    import_module(f"console.screens.{screen}").show(desk(Settings(store=root)), lambda: frame)
