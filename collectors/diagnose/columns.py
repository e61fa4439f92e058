"""Facts as columns, for a diagnosis to compute on: times in seconds since the epoch, missing numbers nan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

REQUEST_NUMBERS = (
    *("ttft_ms", "e2e_ms", "frontend_ms", "gateway_ms", "queue_ms", "prefill_ms", "decode_ms"),
    *("prompt_tokens", "cached_tokens", "output_tokens", "http_status", "oom_caught"),
)
REQUEST_WORDS = ("adapter", "prompt_version", "replica", "model", "error_kind")
ENGINE_NUMBERS = (
    *("up", "requests_running", "requests_waiting", "kv_usage_ratio", "adapters_waiting", "adapter_slots"),
    *("preemptions", "generation_tokens", "interval_s", "process_start_s"),
)


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows in the order of `at`. Numbers are float arrays, words arrays of text; an unknown word is ""."""

    at: Numbers
    numbers: Mapping[str, Numbers]
    words: Mapping[str, NDArray[np.object_]]

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, name: str) -> Numbers:
        return self.numbers[name]

    def word(self, name: str) -> NDArray[np.object_]:
        """A column of text."""
        return self.words[name]

    def where(self, rows: Flags | slice) -> Self:
        """Some of the rows."""
        return type(self)(self.at[rows], Picked(self.numbers, rows), Picked(self.words, rows))

    def between(self, after: float, upto: float) -> Self:
        """The rows with `at` in (after, upto]."""
        first, end = np.searchsorted(self.at, [after, upto], side="right")
        return self.where(slice(int(first), int(end)))

    def whole(self) -> Self:
        """The same rows by themselves: what they were taken from may go."""
        return type(self)(self.at.copy(), {**self.numbers}, {**self.words})

    def with_rows(self, more: Self) -> Self:
        """These rows and later ones."""
        return type(self)(
            np.concatenate([self.at, more.at]),
            {n: np.concatenate([c, more.numbers[n]]) for n, c in self.numbers.items()},
            {n: np.concatenate([c, more.words[n]]) for n, c in self.words.items()},
        )


class Picked(Mapping[str, NDArray[Any]]):
    """Some rows of columns, taken when they are asked for: most columns of most selections never are."""

    def __init__(self, columns: Mapping[str, NDArray[Any]], rows: Flags | slice) -> None:
        self._columns, self._rows = columns, rows
        self._taken: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """One column."""
        if name not in self._taken:
            self._taken[name] = self._columns[name][self._rows]
        return self._taken[name]

    def __iter__(self) -> Iterator[str]:
        """The names of all columns."""
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class Requests(Columns):
    """Requests by their end. A time per output token is `decode_ms` over the tokens after the first."""

    @property
    def start(self) -> Numbers:
        """When each was sent; one without a duration, when it was told of."""
        return self.at - np.nan_to_num(self["e2e_ms"]) / 1000

    @property
    def tpot_ms(self) -> Numbers:
        """Milliseconds for each output token after the first; nan for answers of fewer than two."""
        tokens = self["output_tokens"] - 1
        return np.asarray(np.where(tokens >= 1, self["decode_ms"] / np.maximum(tokens, 1), np.nan))

    @property
    def uncached_tokens(self) -> Numbers:
        """Prompt tokens that had to be computed."""
        return self["prompt_tokens"] - self["cached_tokens"]

    @property
    def failed(self) -> Flags:
        """Answered with 4xx or 5xx."""
        return np.asarray(self["http_status"] >= 400)  # noqa: PLR2004 - the first HTTP error status


class Scrapes(Columns):
    """What each scrape of one replica told; counters as increments since the scrape before."""


def requests_of(rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]) -> Requests:
    """Requests from columns by name (`at` in seconds)."""
    return Requests(*_columns(rows, REQUEST_NUMBERS, REQUEST_WORDS))


def scrapes_of(rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]) -> Scrapes:
    """One replica's scrapes from columns by name (`at` in seconds)."""
    return Scrapes(*_columns(rows, ENGINE_NUMBERS, ()))


def _columns(
    rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]],
    numbers: Sequence[str],
    words: Sequence[str],
) -> tuple[Numbers, dict[str, Numbers], dict[str, NDArray[np.object_]]]:
    told = rows if isinstance(rows, Mapping) else _turned(rows, ("at", *numbers, *words))
    at = np.asarray(told["at"], dtype=float)
    order = np.argsort(at, kind="stable")
    found = {n: _number(told.get(n), len(at))[order] for n in numbers}
    named = {n: _word(told.get(n), len(at))[order] for n in words}
    return at[order], found, named


def _turned(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in names}


def _number(column: Sequence[Any] | None, count: int) -> Numbers:
    if column is None:
        return np.full(count, np.nan)
    return np.asarray(column, dtype=float)


def _word(column: Sequence[Any] | None, count: int) -> NDArray[np.object_]:
    if column is None:
        return np.full(count, "", dtype=object)
    found = np.asarray(column, dtype=object)
    return np.where(found == None, "", found)  # noqa: E711 - by element
