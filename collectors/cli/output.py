"""How commands print: tables for people, JSON for programs, errors with a remedy on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

OK, NO, USAGE, UNUSABLE = 0, 1, 2, 3

PIPED_WIDTH = 120  # a pipe has no width; narrower tables would fold every name


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else PIPED_WIDTH)


out = _console(stderr=False)
err = _console(stderr=True)


def print_json(value: Any) -> None:
    """Machine-readable output: one JSON document; instants in ISO 8601, UTC."""
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False, indent=2) + "\n")


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str | None = None
) -> None:
    """A table; cells may carry rich markup made by us, data in them has to be escaped."""
    table = Table(
        title=title, caption=caption, title_justify="left", caption_justify="left", header_style="bold"
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table)


def complain(error: object) -> None:
    """An error as its own text: where, what, remedy."""
    err.print(f"[bold red]error[/] {escape(str(error))}", highlight=False)


def instant(at: datetime | None) -> str:
    """An instant to the second, UTC."""
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M:%S")


def time_of_day(at: datetime | None) -> str:
    """A time of day to the second, UTC."""
    return "" if at is None else at.strftime("%H:%M:%S")


def number(value: float | None, unit: str = "") -> str:
    """A value with its unit; "no data" where there is none."""
    if value is None:
        return "no data"
    if unit == "ratio":
        return f"{value:.2%}"
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"  # noqa: PLR2004 - three digits are enough
    return f"{digits} {unit}".strip()


STATE_STYLE: Mapping[str, str] = {
    "firing": "bold red",
    "pending": "yellow",
    "no_data": "dim",
    "inactive": "green",
    "met": "green",
    "missed": "bold red",
    "undetermined": "yellow",
}


def state(word: str) -> str:
    """A state word in its colour; the word itself always shows."""
    return f"[{STATE_STYLE.get(word, 'default')}]{escape(word)}[/]"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"no JSON for {type(value).__name__}")
