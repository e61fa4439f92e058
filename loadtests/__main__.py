"""`mangaops drill`: list drills, and run one to its certificate.

Exit codes: 0 pass, 1 fail, 2 wrong usage or something missing, 3 invalid (nothing was proved).
"""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from collectors.cli import wiring
from collectors.cli.output import print_json
from collectors.judging import Book
from collectors.store.errors import StoreError
from collectors.validation import ConfigError
from loadtests import conduct, listing, measuring, rendering, scenario, thresholds
from loadtests.certificate import Certificate, certify
from loadtests.detection import Detection
from loadtests.driver import DriverError
from loadtests.scenario import Drill
from loadtests.staging.needs import missing
from loadtests.staging.parts import PORTS, Place
from loadtests.staging.stack import StackError, free_ports

PASS, FAIL, USAGE, INVALID = 0, 1, 2, 3
CODES = {"pass": PASS, "fail": FAIL, "invalid": INVALID}
STYLES = {"pass": "bold green", "fail": "bold red", "invalid": "bold yellow"}

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def main() -> int:
    """Run the command; its exit code."""
    chosen = _arguments()
    try:
        if chosen.command == "list":
            _list(as_json=chosen.json)
            return PASS
        return _run(chosen)
    except ConfigError as error:
        err.print(f"[bold red]error[/] {escape(str(error))}")
        return USAGE
    except (conduct.DrillError, DriverError, StackError, StoreError) as error:
        err.print(f"[bold red]error[/] {escape(str(error))}")
        err.print("Nothing was proved.")
        return INVALID


def _run(chosen: argparse.Namespace) -> int:
    file = scenario.named(chosen.name)
    text = file.read_text(encoding="utf-8")
    settings = wiring.settings()
    drill = scenario.parse(text, str(file), frozenset(r.name for r in wiring.book(settings).rules))
    if chosen.seed is not None:
        drill, text = drill.model_copy(update={"seed": chosen.seed}), f"{text}\n# seed {chosen.seed}"
    folder = (
        chosen.out or Path(".mangaops/drills") / f"{drill.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    ).resolve()
    place = Place(folder, free_ports(list(PORTS)), engine_url=chosen.engine, clock_scale=drill.clock_scale)
    lacking = missing(place)
    if lacking:
        raise ConfigError("drill", lacking)
    conduct.refuse_what_cannot_be_broken(drill, place)  # before anything is written
    if drill.thresholds:
        place = replace(place, rules=thresholds.written(settings.rules, drill.thresholds, folder))
        settings = settings.model_copy(update={"rules": place.rules})
    book = replace(wiring.book(settings), clock_scale=drill.clock_scale)
    signal.signal(signal.SIGTERM, _end)
    said = f"[bold]{drill.title}[/]: {len(drill.phases)} phases, {drill.seconds:.0f} s; kept in {folder}"
    out.print(said, soft_wrap=True)
    certificate = _certified(drill, text, place, book)
    files = rendering.write(certificate, folder)
    _show(certificate, files)
    return CODES[certificate.verdict]


def _end(*_: object) -> None:
    """A drill that is told to end leaves nothing running; told again, it goes on ending."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # what is started again to be mended would inherit SIG_IGN
    sys.exit(INVALID)


def _certified(drill: Drill, text: str, place: Place, book: Book) -> Certificate:
    facts: dict[str, object] = {}

    def told(line: str) -> None:
        out.print(escape(line))
        if line.startswith("engine is ready"):
            facts.update(measuring.engine_facts(place.url("engine")))

    outcome = conduct.run(drill, place, book, told)
    found = measuring.measured(drill, outcome, place, book)
    return certify(drill, book.slos, found, measuring.provenance(text, book, place, facts))


def _show(c: Certificate, files: list[Path]) -> None:
    table = Table(
        title=f"{c.title}: {c.verdict}",
        title_justify="left",
        title_style=STYLES[c.verdict],
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in ("phase", "alert", "allowed", "fired", "from harm", "cause found"):
        table.add_column(column, overflow="fold")
    for d in c.detections:
        table.add_row(
            d.phase,
            d.expected.alert,
            f"{d.expected.within.total_seconds():.0f} s",
            _fired(d),
            "–" if d.since_harm_s is None else f"{d.since_harm_s:.1f} s",
            _cause(d),
        )
    out.print(table)
    out.print(f"False alerts in controls: {len(c.false_alerts)}. {c.face}")
    for reason in c.reasons:
        out.print(f"[{STYLES[c.verdict]}]{c.verdict}[/] {escape(reason)}")
    out.print("Certificate: " + escape(", ".join(map(str, files))), soft_wrap=True)


def _fired(d: Detection) -> str:
    said = "did not fire" if d.since_injection_s is None else f"{d.since_injection_s:.1f} s"
    return said if d.in_time else f"[bold red]{said}, too late[/]" if d.fired_at else f"[bold red]{said}[/]"


def _cause(d: Detection) -> str:
    said = d.cause or "none"
    return f"[bold red]{said}, wrong[/]" if d.right_cause is False else said


def _list(*, as_json: bool) -> None:
    book = wiring.book(wiring.settings())
    found = listing.drills(frozenset(r.name for r in book.rules))
    if as_json:
        print_json(listing.data(found))
    else:
        out.print(listing.table(found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mangaops drill", description="Will it hold, and would we have noticed?"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    drills = commands.add_parser("list", help="the drills there are")
    drills.add_argument("--json", action="store_true", help="for programs, with what is not installed")
    run = commands.add_parser("run", help="run one; exit code 0 pass, 1 fail, 3 invalid")
    run.add_argument("name", help="a drill's name, or a file")
    run.add_argument("--out", type=Path, help="where everything is kept")
    run.add_argument("--engine", help="an OpenAI-compatible vLLM that runs already, such as one on a GPU")
    run.add_argument("--seed", type=int, help="other traffic of the same kind")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
