"""Populations with planted causes, and how many the ranking finds: `python -m tests.diagnose.planted`.

Every request is drawn by itself; its times follow from its lengths, from what was planted and from chance.
Nothing here knows how the ranking works. Lengths, correlated attributes and rare values are the decoys.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from collectors.diagnose.cohorts.answer import Scope
from collectors.diagnose.cohorts.cells import Attribute, Cells
from collectors.diagnose.cohorts.scope import scope

SEEDS = 200
REQUESTS = (8_000, 30_000)
VALUES: Mapping[str, tuple[str, ...]] = {
    "adapter": ("manga_domain_v3", "general_support_v2", "jp_style_v1", "llama-3-8b", "seasonal_v1"),
    "backend_version": ("0.24.0", "0.24.1"),
    "prompt_version": ("v42", "v43", "v44"),
    "replica": tuple(f"engine-{k}" for k in range(8)),
    "variant": ("control", "treatment"),
    "intent": ("recommendation", "order_tracking", "discovery", "chitchat"),
    "locale": ("ja-JP", "en-US", "fr-FR"),
    "turn": ("1", "2", "3-4", "5-8", "9-16"),
    "hour": tuple(f"{h:02}" for h in range(24)),
}
Named = frozenset[tuple[str, str]]
Column = NDArray[np.int64]


@dataclass(frozen=True)
class Planted:
    """A population with the truth about it."""

    columns: dict[str, Column]
    prompt_tokens: Column
    output_tokens: Column
    e2e_ms: NDArray[np.float64]
    causes: frozenset[Named] = frozenset()


@dataclass(frozen=True)
class Tally:
    """Over many populations: planted, found among them, named at all, and populations with a wrong name."""

    planted: int = 0
    found: int = 0
    named: int = 0
    right: int = 0
    misled: int = 0

    @property
    def precision(self) -> float:
        return self.right / self.named if self.named else 1.0

    @property
    def recall(self) -> float:
        return self.found / self.planted if self.planted else 1.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, f) + getattr(other, f) for f in self.__dataclass_fields__))


# ------------------------------------------------------------------------------------- a population
def population(case: str, seed: int) -> Planted:
    """A case's population of this seed."""
    rng = np.random.default_rng([seed, sorted(CASES).index(case)])
    n = int(rng.integers(*REQUESTS))
    columns = {name: _drawn(rng, len(values), n) for name, values in VALUES.items()}
    _correlated(rng, columns, exact="twin" in case)
    prompt, output = _lengths(rng, columns, n)
    causes = _causes(rng, columns, case)
    slowdown = np.zeros(n)
    for cause in causes:
        slowdown += _slowdown(rng, _hit(columns, cause))
    base = 40 + 0.06 * prompt + 11.0 * output
    e2e_ms = base * rng.lognormal(0, rng.uniform(0.15, 0.4), n) * np.exp(slowdown)
    return Planted(columns, prompt, output, e2e_ms, frozenset(causes))


def _drawn(rng: Generator, values: int, n: int) -> Column:
    """Unequal shares, the rarest a few per cent."""
    shares = rng.dirichlet(np.full(values, 4.0))
    return rng.choice(values, n, p=0.8 * shares + 0.2 / values)


def _correlated(rng: Generator, columns: dict[str, Column], *, exact: bool) -> None:
    """An adapter's locale, and a prompt version that came with an adapter; exactly or nearly always."""
    adapter, n = columns["adapter"], columns["adapter"].size
    japanese = (adapter == 2) if exact else (adapter == 2) & (rng.random(n) < 0.9)
    columns["locale"] = np.where(
        japanese, 0, np.maximum(columns["locale"], 1) if exact else columns["locale"]
    )
    released = (adapter == 4) & (rng.random(n) < 0.85)
    columns["prompt_version"] = np.where(released, 2, columns["prompt_version"])


def _lengths(rng: Generator, columns: dict[str, Column], n: int) -> tuple[Column, Column]:
    """Decoys: a value of one attribute has prompts of up to four times the length, another such answers."""
    prompt, output = rng.lognormal(7.0, 0.35, n), rng.lognormal(4.8, 0.5, n)
    for tokens in (prompt, output):
        for name in rng.choice(["adapter", "intent", "turn", "replica", "locale"], 2, replace=False):
            chosen = columns[name] == rng.integers(len(VALUES[name]))
            tokens[chosen] *= rng.uniform(1.5, 4.0)
    return np.clip(prompt, 16, 3800).astype(int), np.clip(output, 1, 2000).astype(int)


def _causes(rng: Generator, columns: dict[str, Column], case: str) -> list[Named]:
    """The case's causes: values of distinct attributes, each cause with a fair number of requests."""
    names = list(rng.permutation(list(VALUES)))
    found: list[Named] = []
    for size in CASES[case]:
        chosen, names = names[:size], names[size:]
        if "twin" in case:
            found.append(frozenset([("adapter", VALUES["adapter"][2])]))
            continue
        for _ in range(1000):
            cause = frozenset((str(c), VALUES[c][rng.integers(len(VALUES[c]))]) for c in chosen)
            if 150 <= int(_hit(columns, cause).sum()) <= 0.6 * columns["adapter"].size:
                found.append(cause)
                break
    return found


def _hit(columns: dict[str, Column], cause: Named) -> NDArray[np.bool_]:
    parts = [columns[name] == VALUES[name].index(value) for name, value in cause]
    return np.asarray(np.logical_and.reduce(parts), dtype=np.bool_)


def _slowdown(rng: Generator, hit: NDArray[np.bool_]) -> NDArray[np.float64]:
    """ln of the factor: all of the requests by 1.8 to 4, or a third to two thirds of them by 3 to 8."""
    if rng.random() < 0.5:
        return np.where(hit, np.log(rng.uniform(1.8, 4.0)), 0.0)
    some = hit & (rng.random(hit.size) < rng.uniform(0.33, 0.67))
    return np.where(some, np.log(rng.uniform(3.0, 8.0)), 0.0)


CASES: Mapping[str, tuple[int, ...]] = {
    "nothing": (),
    "one value": (1,),
    "a pair": (2,),
    "two values": (1, 1),
    "a value and a pair": (1, 2),
    "a value with an exact twin": (1,),
}


# --------------------------------------------------------------------------------------- the scoring
def ranked(planted: Planted, slow_share: float = 0.05) -> Scope:
    """What the ranking says of the slowest: those beyond the population's own P95."""
    return scope(cells(planted, slow_share), None, ("prompt_tokens", "output_tokens"))


def cells(planted: Planted, slow_share: float = 0.05) -> Cells:
    """One cell a request; lengths in buckets of half an octave."""
    ln = np.log(planted.e2e_ms)
    return Cells(
        attributes=tuple(Attribute(name, (None, *values)) for name, values in VALUES.items()),
        codes=np.array([planted.columns[name] + 1 for name in VALUES]),
        lengths=np.array(
            [1 + np.floor(2 * np.log2(t)).astype(int) for t in (planted.prompt_tokens, planted.output_tokens)]
        ),
        count=np.ones(ln.size),
        marked=(planted.e2e_ms > np.quantile(planted.e2e_ms, 1 - slow_share)).astype(float),
        total=ln,
        squares=ln * ln,
    )


def tally(planted: Planted, found: Scope) -> Tally:
    """A cohort is right if it is a planted cause, or says that it cannot be told apart from one."""
    names = [{_named(c.attributes), *map(_named, c.twins)} for c in found.ranking]
    right = sum(bool(own & planted.causes) for own in names)
    return Tally(
        planted=len(planted.causes),
        found=sum(any(cause in own for own in names) for cause in planted.causes),
        named=len(names),
        right=right,
        misled=int(right < len(names)),
    )


def _named(attributes: Mapping[str, str | None]) -> Named:
    return frozenset((name, str(value)) for name, value in attributes.items())


def score(case: str, seeds: int = SEEDS) -> Tally:
    """A case over so many seeds."""
    found = Tally()
    for seed in range(seeds):
        planted = population(case, seed)
        found += tally(planted, ranked(planted))
    return found


def main() -> None:
    """Print precision and recall of every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = parser.parse_args().seeds
    table = Table(title=f"Planted causes, {seeds} populations a case", title_justify="left")
    for column in ("planted", "causes", "named", "precision", "recall", "populations with a wrong name"):
        table.add_column(column, justify="left" if column == "planted" else "right")
    for case in CASES:
        t = score(case, seeds)
        table.add_row(
            case, f"{t.planted}", f"{t.named}", f"{t.precision:.3f}", f"{t.recall:.3f}", f"{t.misled}"
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
