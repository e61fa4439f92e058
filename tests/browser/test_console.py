"""The console as a person sees it: the real server, a real browser, a replayed drill."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from collectors.cli import wiring
from collectors.replay import replay
from collectors.settings import Settings
from collectors.sources.tape import Tape, load
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from console.drilling import process
from tests.conftest import CHROMIUM, ROOT

pytestmark = [pytest.mark.browser, pytest.mark.slow]
playwright = pytest.importorskip("playwright.sync_api")

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SLICE = timedelta(seconds=150)
TROUBLE = timedelta(seconds=140)  # into the recording: the prompt's template broke the prefix cache at 70 s
SCREENS = {
    "now": (
        "",
        [
            "Chat is slow",
            "Which part",
            "What changed",
            "Prefix cache broken · prompt v43",
            "prompt v42 → v43",
            "Prefix-cache degradation",
            "clock ×20",
        ],
    ),
    "slow chat": (
        "slow-chat",
        ["Five questions", "Where the time went", "The engine around it", "Just before", "peers"],
    ),
    "prefix cache": ("prefix?version=v43", ["v43 lost", "What it costs", "prompt v42 → v43"]),
    "versions": ("versions", ["manga_domain_v3", "no predecessor here", "What to do"]),
    "slos": ("slos", ["Availability", "History of the verdicts", "clock ×20", "target"]),
    "alerts": ("alerts", ["Timeline", "Transitions", "Prefix-cache degradation", "firing"]),
    "one alert": ("alerts?rule=high_ttft", ["ttft_p95_ms > 500 ms", "P95 time to first token"]),
    "runbooks": ("runbooks?page=prefix_cache_degradation", ["Diagnosis", "Rollback", "By alert", "By cause"]),
    "sources": ("sources", ["engine-0", "up", "Present at start", "judgements"]),
}
VIEWS = [(1440, "light"), (900, "dark")]  # layout and colours do not depend on each other

FAULTS = """() => {
  const shown = e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0; };
  const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  const name = e => (e.innerText || '').trim().slice(0, 60) + ' <' + e.tagName + ' ' + e.className + '>';
  const scrolls = e => { for (; e; e = e.parentElement) if (/auto|scroll/.test(getComputedStyle(e).overflowX)
    && e.dataset.testid !== 'stMain' && e.scrollWidth > e.clientWidth) return true; return false; };
  const found = [];
  const main = document.querySelector('[data-testid=stMain]');
  for (const e of [document.documentElement, main])
    if (e.scrollWidth > e.clientWidth + 1) found.push('overflows: ' + e.tagName + ' ' + e.scrollWidth);
  for (const e of document.querySelectorAll('[data-testid=stMain] *, [data-testid=stSidebar] *')) {
    if (!shown(e) || !own(e)) continue;
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    const hides = style.overflowX !== 'visible' && style.overflowX !== 'auto';
    if (hides && e.scrollWidth > e.clientWidth + 1) found.push('cut: ' + name(e));
    if (box.right > innerWidth + 1 && !scrolls(e)) found.push('off the screen: ' + name(e));
  }
  return found;
}"""


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    at: str


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, recording_dir: Path) -> tuple[Path, datetime]:
    tape = cut(load(recording_dir), SLICE)
    root = tmp_path_factory.mktemp("console") / "store"
    book = wiring.book(Settings(clock_scale=20))
    replay(tape, DeltaWriter(str(root)), DuckReader(str(root)), book, lambda _: None)
    return root, tape.start + TROUBLE


@pytest.fixture(scope="module")
def served(store: tuple[Path, datetime], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root, at = store
    with serving(root, tmp_path_factory.mktemp("log") / "console.log") as url:
        yield Served(url, at.strftime("%Y-%m-%dT%H:%M:%SZ"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


class serving:  # noqa: N801 - reads as a context
    """The console on a free port, stopped at the end."""

    def __init__(self, root: Path, log: Path, **environment: str) -> None:
        self.root, self.log, self.environment = root, log, {**os.environ, **environment}

    def __enter__(self) -> str:
        import socket

        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        command = [sys.executable, "-m", "console", "--store", str(self.root), "--port", str(port)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=self.environment)
        url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                if httpx.get(f"{url}/_stcore/health", timeout=1).is_success:
                    return url
            except httpx.HTTPError:
                time.sleep(0.2)
        raise AssertionError(self.log.read_text())

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_is_whole(browser, served: Served, screen: str, width: int, scheme: str) -> None:
    path, words = SCREENS[screen]
    with looking(browser, width, scheme) as (page, failed):
        page.goto(f"{served.url}/{path}{'&' if '?' in path else '?'}at={served.at}")
        for word in words:
            page.get_by_text(word).first.wait_for(timeout=30_000)
        settle(page)
        text = page.inner_text("body")
        assert page.evaluate(FAULTS) == []
        assert page.locator("[data-testid=stException], [data-testid=stAlert]").count() == 0
        assert not re.search(r'[{\[]\s*"\w+"\s*:', text), "raw JSON on the screen"
        assert not re.search(r"^(nan|None|NaT|undefined)$", text, re.MULTILINE), (
            "a missing value shows its name"
        )
        assert [url for url in failed if "127.0.0.1" not in url] == [], "nothing is fetched from elsewhere"


def test_from_a_complaint_to_its_cause_in_three_steps(browser, served: Served) -> None:
    """All that is known: a customer said that chat was slow around 07:23."""
    with looking(browser, 1440, "light") as (page, _):
        page.goto(f"{served.url}/?at={served.at}")
        page.get_by_role("link", name="Slow chat").first.click()
        page.get_by_text("Five questions").wait_for(timeout=30_000)
        settle(page)
        asked = page.get_by_label("Request, trace or session id, or a time")
        asked.fill("07:23")
        asked.press("Enter")
        page.get_by_text("Requests that ended from 07:23:00").wait_for(timeout=30_000)
        page.get_by_text("Prefix cache broken · prompt v43").first.wait_for(timeout=30_000)
        page.get_by_text("Broken since prompt_version=v43 came").wait_for(timeout=30_000)
        settle(page)
        page.get_by_role("link", name="Its incident").click()
        page.get_by_text("Just before").wait_for(timeout=30_000)
        page.get_by_text("First seen: prompt v43").wait_for(timeout=30_000)
        settle(page)
        assert page.evaluate(FAULTS) == []
        page.get_by_role("link", name="Runbook", exact=True).first.click()
        page.get_by_text("Told apart from").wait_for(timeout=30_000)


def test_from_the_headline_to_the_reason_in_one_click(browser, served: Served) -> None:
    with looking(browser, 1440, "light") as (page, _):
        page.goto(f"{served.url}/?at={served.at}&tz=JST")
        page.get_by_text("Find slow requests").click()
        page.get_by_text("Where the time went").wait_for(timeout=30_000)
        settle(page)
        assert re.search(r"[?&]id=req-", page.url)
        assert "tz=JST" in page.url


def test_the_selection_stays_in_the_url_from_screen_to_screen(browser, served: Served) -> None:
    with looking(browser, 1440, "light") as (page, _):
        page.goto(f"{served.url}/?at={served.at}&span=1h")
        page.get_by_text("Which part").wait_for(timeout=30_000)
        page.get_by_role("link", name="Sources").first.click()
        page.get_by_text("No source reported a problem").wait_for(timeout=30_000)
        page.get_by_text("last 1 h").first.wait_for(timeout=10_000)
        page.wait_for_function("location.search.includes('span=1h') && location.search.includes('at=')")


def test_a_click_while_the_page_is_still_drawn_keeps_the_selection(browser, served: Served) -> None:
    for _ in range(4):
        with looking(browser, 1440, "light") as (page, _failed):
            page.goto(f"{served.url}/?at={served.at}&span=1h")
            page.get_by_role("link", name="Sources").first.click()
            page.get_by_text("No source reported a problem").wait_for(timeout=30_000)
            page.wait_for_function("location.search.includes('span=1h') && location.search.includes('at=')")


def test_back_to_live_is_live_on_every_screen(browser, served: Served) -> None:
    with looking(browser, 1440, "light") as (page, _):
        page.goto(f"{served.url}/?at={served.at}&span=1h")
        page.get_by_role("button", name="Back to live").click()
        page.get_by_text("The collector has been silent").wait_for(timeout=30_000)
        page.get_by_role("link", name="SLOs").first.click()
        page.get_by_text("Availability").first.wait_for(timeout=30_000)
        page.wait_for_function("location.search.includes('span=1h') && !location.search.includes('at=')")
        page.get_by_text("Live ·").wait_for(timeout=10_000)


def test_a_store_that_is_not_there_yet_is_waited_for(browser, tmp_path: Path) -> None:
    with serving(tmp_path / "none", tmp_path / "log") as url, looking(browser, 1440, "light") as (page, _):
        page.goto(url)
        page.get_by_text("Waiting for the first scrape").wait_for(timeout=30_000)


def test_live_and_long_silent_says_so(browser, served: Served) -> None:
    with looking(browser, 1440, "light") as (page, _):
        page.goto(served.url)
        page.get_by_text("The collector has been silent").wait_for(timeout=30_000)
        page.get_by_text("Show the last known moment").click()
        page.get_by_text("Chat is").first.wait_for(timeout=30_000)


def test_a_drill_that_runs_is_followed_and_stopped(browser, tmp_path: Path) -> None:
    folder = tmp_path / "drills" / "smoke-1"
    says = "import time; print('engine is ready after 28 s', flush=True); time.sleep(300)"
    process.launch(folder, [sys.executable, "-c", says], os.environ)
    try:
        with serving(tmp_path / "none", tmp_path / "log", MANGAOPS_DRILLS=str(folder.parent)) as url:
            for width, scheme in (VIEWS[-1], VIEWS[0]):
                with looking(browser, width, scheme) as (page, _):
                    page.goto(f"{url}/drills?drill=smoke-1")
                    page.get_by_text("Drill to run").wait_for(timeout=90_000)
                    page.get_by_text("engine is ready after 28 s").wait_for(timeout=30_000)
                    settle(page)
                    assert page.evaluate(FAULTS) == []
                    assert page.get_by_role("button", name="Run", exact=True).is_disabled()
                    if (width, scheme) == VIEWS[0]:
                        page.get_by_role("button", name="Stop", exact=True).click()
                        page.get_by_text("What it said last").wait_for(timeout=30_000)
                        assert "drill=smoke-1" in page.url
    finally:
        process.ask_to_stop(folder)
    assert process.pid(folder) is None


class looking:  # noqa: N801 - reads as a context
    """A fresh page of a width and colour scheme, and the addresses that it could not fetch."""

    def __init__(self, browser, width: int, scheme: str) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)

    def __enter__(self):
        page, failed = self.context.new_page(), []
        page.on("requestfailed", lambda request: failed.append(request.url))
        return page, failed

    def __exit__(self, *_: object) -> None:
        self.context.close()


def settle(page) -> None:
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget], [data-stale=true]')")
    page.wait_for_timeout(400)


def cut(tape: Tape, length: timedelta) -> Tape:
    """The beginning of a recording."""
    end = tape.start + length
    n, r, g = (
        sum(t <= end for t in times) for times in (tape.scrape_times, tape.request_times, tape.gpu_times)
    )
    return replace(
        tape,
        end=end,
        scrapes=tape.scrapes[:n],
        scrape_times=tape.scrape_times[:n],
        requests=tape.requests[:r],
        request_times=tape.request_times[:r],
        gpu=tape.gpu[:g],
        gpu_times=tape.gpu_times[:g],
    )
