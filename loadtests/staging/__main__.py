"""`mangaops staging up`: the whole stack until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtests.staging import files
from loadtests.staging.needs import missing
from loadtests.staging.parts import BASE_MODEL, BINARIES, PORTS, Part, Place, installed, parts
from loadtests.staging.stack import StackError, started

ENDED, STARTED_BADLY, USAGE = 0, 1, 2
LOOK_S = 0.5

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def main() -> None:
    """Start, show, wait, stop."""
    chosen = _arguments()
    place = Place(
        chosen.root.resolve(),
        {name: port + chosen.ports for name, port in PORTS.items()},
        engine_url=chosen.engine,
        mlflow_store=chosen.mlflow_store,
    )
    lacking = missing(place)
    if lacking:
        err.print("[bold red]error[/] staging cannot start:\n" + "\n".join(f"  {line}" for line in lacking))
        sys.exit(USAGE)
    sys.exit(_run(place))


def _run(place: Place) -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: stop.set())
    files.write(place)
    wanted = parts(place, console=True)
    try:
        with started(wanted, place.root, out.print, stop.is_set) as stack:
            if not stop.is_set():
                _show(place, wanted)
            while not stop.wait(LOOK_S):
                for gone in stack.dead():
                    err.print(f"[bold red]{gone.part.name} ended with code {gone.code}[/]; see {gone.log}")
                    stack.running.pop(gone.part.name)
            err.print("stopping")
    except StackError as error:
        err.print(f"[bold red]error[/] {escape(str(error))}")
        return STARTED_BADLY
    return ENDED


def _show(place: Place, wanted: list[Part]) -> None:
    table = Table(title="staging", title_justify="left")
    table.add_column("part")
    table.add_column("address")
    table.add_column("log")
    if place.engine_url:
        table.add_row("engine", place.engine_url, "not ours")
    for part in wanted:
        table.add_row(part.name, place.url(part.name), f"logs/{part.name}.log")
    out.print(table)
    absent = [name for name in BINARIES if not installed(name)]
    out.print(f"Everything is kept in {place.root}. Not installed here: {', '.join(absent) or 'nothing'}.")
    out.print(
        f"Ask it something:  curl {place.url('gateway')}/v1/chat/completions "
        """-H 'content-type: application/json' -d '{"model": "mangaassist", "max_tokens": 40, """
        """"messages": [{"role": "user", "content": "Which manga is like Yotsuba?"}]}'""",
        soft_wrap=True,
    )
    out.print(f"The base model is called {BASE_MODEL}. Ctrl-C stops everything.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mangaops staging up", description="The whole staging stack.")
    parser.add_argument("--engine", help="an OpenAI-compatible vLLM that runs already, such as one on a GPU")
    parser.add_argument("--root", type=Path, default=Path(".mangaops/staging"), help="where all is kept")
    parser.add_argument("--mlflow-store", help="a database URL for MLflow, such as postgresql+psycopg2://…")
    parser.add_argument("--ports", type=int, default=0, metavar="N", help="add N to every port")
    return parser.parse_args()


if __name__ == "__main__":
    main()
