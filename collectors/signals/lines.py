"""Exposition text → checked samples. Knows the text format, and nothing of what a metric means.

Only the lines that someone asks for go through the parser, and their labels only when they are new; every
line is matched against one pattern. That is cheaper than parsing all, and notices every line that is broken.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

# An engine with a hundred adapters writes lines of 8 kB. The parser takes time in the square of a
# line's length where a label value is full of quotes, so a hostile line must not reach it.
LONGEST_LINE = 64 * 1024
EXCERPT = 120
# A scrape names the same series as the one before it: their labels are parsed once. Bounded twice, so that
# neither many series nor long ones can fill the memory.
_REMEMBERED = 16_384
_LONGEST_REMEMBERED = 1024
_NAME = re.compile(r"[a-z_:][a-z0-9_:]*", re.IGNORECASE | re.ASCII)
_SAMPLE = re.compile(
    r"(?P<series>(?P<name>[a-z_:][a-z0-9_:]*)(?:\{.*\}|))[ \t]+"
    r"(?P<value>[-+]?(?:[0-9.]+(?:e[-+]?[0-9]+)?|inf|nan))(?:[ \t]+-?[0-9]+)?",
    re.IGNORECASE | re.ASCII,
)
_SUFFIXES = ("_bucket", "_sum", "_count", "_total", "_created")


class ExpositionError(ValueError):
    """A text that cannot be trusted as a whole. Says where, what and the remedy."""

    def __init__(self, where: str, what: str, remedy: str) -> None:
        super().__init__(f"{where}: {what}. {remedy}")
        self.where, self.what, self.remedy = where, what, remedy


class Sample(NamedTuple):
    """One parsed line; `labels` belongs to the reader, `line` counts from 1."""

    line: int
    labels: dict[str, str]
    value: float


class Broken(NamedTuple):
    """A line that is no sample, though it says whose it would have been."""

    line: int
    name: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Scan:
    """A text taken apart. `samples` holds the wanted names only; `count` counts every sample line.

    `types` and `helps` are as the text declares them; `last` is the name of its last sample. `unread` has
    the first broken line of each name.
    """

    samples: Mapping[str, list[Sample]]
    types: Mapping[str, str]
    helps: Mapping[str, str]
    unread: Mapping[str, Broken]
    names: frozenset[str]
    count: int
    last: str


def scan(text: str, wanted: Collection[str], help_wanted: Collection[str] = ()) -> Scan:
    """Take a scrape apart. Raises ExpositionError where a line cannot even be told whose it is."""
    _refuse_other_answers(text)
    types: dict[str, str] = {}
    helps: dict[str, str] = {}
    names: set[str] = set()
    samples: dict[str, list[Sample]] = {}
    suspect: list[tuple[int, str]] = []
    count, last = 0, ""
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line:
            continue
        if line[0] == "#":
            _declare(line, types, helps, help_wanted)
            continue
        match = _SAMPLE.fullmatch(line) if len(line) <= LONGEST_LINE else None
        if match is None:
            suspect.append((number, line))
            continue
        count, last = count + 1, match["name"]
        names.add(last)
        if last in wanted:
            _keep(number, match, samples, suspect)
    known = {*types, *names, *wanted}
    unread: dict[str, Broken] = {}
    for broken in (_broken(number, line, known) for number, line in suspect):
        unread.setdefault(broken.name, broken)
    return Scan(samples, types, helps, unread, frozenset(names | types.keys()), count, last)


def excerpt(line: str) -> str:
    """A line made safe to print: escaped, and no longer than EXCERPT characters."""
    safe = line[:EXCERPT].encode("unicode_escape").decode("ascii")
    return safe if len(safe) <= EXCERPT and len(line) <= EXCERPT else safe[: EXCERPT - 1] + "…"


def _refuse_other_answers(text: str) -> None:
    """Raise on what is no scrape at all, and on one whose end is missing."""
    first = text.lstrip()[:EXCERPT]
    if not first:
        raise ExpositionError("the whole text", "it is empty", "Ask the engine's /metrics, once it is up")
    if first[0] == "<":
        raise ExpositionError(
            f'the start, "{excerpt(first.splitlines()[0])}"',
            "this is an HTML page, not metrics",
            "Point the target at the engine's /metrics, past any login page or proxy error",
        )
    if not text.endswith("\n"):
        # A cut number is still a number: nothing of such a text may be believed. Counters lose
        # nothing by it, for the next good scrape is compared with the last good one.
        line = text.rsplit("\n", 1)[-1]
        raise ExpositionError(
            f'line {text.count(chr(10)) + 1}, "{excerpt(line)}"',
            "the text breaks off in the middle of a line",
            "Scrape again; if it stays so, look for a proxy that limits the size of answers",
        )


def _declare(line: str, types: dict[str, str], helps: dict[str, str], help_wanted: Collection[str]) -> None:
    parts = line.split(None, 3)
    if len(parts) < 4:  # noqa: PLR2004 - "# TYPE name kind"; anything shorter is a comment
        return
    if parts[1] == "TYPE":
        types[parts[2]] = parts[3]
    elif parts[1] == "HELP" and parts[2] in help_wanted:
        helps[parts[2]] = parts[3]


def _keep(
    number: int, match: re.Match[str], samples: dict[str, list[Sample]], suspect: list[tuple[int, str]]
) -> None:
    """Put a wanted line with the samples of its name, or with the suspects where the parser refuses it."""
    series = match["series"]
    try:
        labels = _known_labels(series) if len(series) <= _LONGEST_REMEMBERED else _labels(series)
        sample = Sample(number, dict(labels), float(match["value"]))
    except ValueError:
        suspect.append((number, match[0]))
        return
    samples.setdefault(match["name"], []).append(sample)


def _labels(series: str) -> dict[str, str]:
    """The labels in "name{...}". Raises ValueError where the parser does."""
    (family,) = text_string_to_metric_families(f"{series} 0")
    labels: dict[str, str] = family.samples[0].labels
    return labels


_known_labels = lru_cache(_REMEMBERED)(_labels)


def _broken(number: int, line: str, known: Collection[str]) -> Broken:
    """Raise where the line names no metric of this text: then it may have been any of them."""
    match = _NAME.match(line)
    name = match[0] if match else ""
    if name in known or any(name.removesuffix(suffix) in known for suffix in _SUFFIXES):
        return Broken(number, name, excerpt(line))
    raise ExpositionError(
        f'line {number}, "{excerpt(line)}"',
        "this is no line of a metrics text",
        "Look at the address in a browser: something other than the engine may answer there",
    )
