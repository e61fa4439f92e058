"""One family's samples → its series, by kind: levels, counts or distributions.

A family is read whole or not at all; `Damaged` says why not, with the line. Labels that are neither the
model, the engine nor the metric's own (a process id, a priority) are folded away.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from collectors.model import Kind
from collectors.signals.lines import ExpositionError, Sample, Scan, excerpt
from collectors.signals.metrics import BY_NAME, Metric, Spelling, sample_names

# A time of the year 2096: beyond it stands the sum of several processes' clocks.
_LATEST_S = 4e9
# The engine's way to say that prefix caching is off.
_SWITCHED_OFF = -1.0
_Labels = frozenset[tuple[str, str]]


class Key(NamedTuple):
    """Which series of a replica: canonical metric, model, engine index, distinguishing label."""

    metric: str
    model: str
    engine: str
    label: str


class Distribution(NamedTuple):
    """A histogram since the process began: `counts[i]` observations up to `bounds[i]`, the last being inf."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float


class Damaged(Exception):  # noqa: N818 - a state of the text, not of this program
    """This family of this text cannot be believed."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric as one text spells it."""

    metric: Metric
    spelling: Spelling
    text: Scan

    @property
    def names(self) -> tuple[str, ...]:
        """The family's own name and those of its samples."""
        return (self.spelling.name, *sample_names(self.metric.kind, self.spelling.name))


def find(metric: Metric, text: Scan) -> Family | None:
    """The metric under its newest name in the text, or None where no line has any of its names.

    Where the names of two releases stand side by side they count the same thing: one may be read.
    """
    for spelling in metric.spellings:
        family = Family(metric, spelling, text)
        if any(name in text.samples or name in text.unread for name in family.names):
            return family
    return None


def refuse_damage(family: Family) -> None:
    """Raise Damaged on a broken line, or on a TYPE other than the one we know."""
    for name in family.names:
        if broken := family.text.unread.get(name):
            raise Damaged(f'line {broken.line}, "{broken.excerpt}": no sample')
        declared = family.text.types.get(name, "untyped")
        if declared not in (family.metric.kind.value, "untyped", "unknown"):
            raise Damaged(f"declared as a {declared}, known as a {family.metric.kind.value}")


# ----------------------------------------------------------------------------------------- levels
def gauges(family: Family) -> dict[Key, float]:
    """Levels, in the metric's unit.

    Series that differ only in folded labels are one level seen by several processes, of which one alone
    keeps it up to date while the others stay at zero: the largest counts.
    """
    if family.spelling.from_label:
        return _from_labels(family)
    series: dict[Key, float] = {}
    for sample in family.text.samples[family.spelling.name]:
        ratio = family.metric.unit == "ratio"
        if ratio and sample.value == _SWITCHED_OFF:
            continue
        if ratio and sample.value > 1:
            raise Damaged(f"line {sample.line}: {sample.value} is no ratio")
        key = _key(family, sample.labels)
        series[key] = max(_sound(sample), series.get(key, 0.0))
    return series


def _from_labels(family: Family) -> dict[Key, float]:
    """What a label holds in the newest series of each engine.

    Such gauges keep every series they ever had; its value is the time at which it was last true.
    """
    samples, spelling = family.text.samples[family.spelling.name], family.spelling
    if spelling.unlike and _same_lists(samples, spelling):
        return {}
    groups: dict[Key, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[_key(family, sample.labels)].append(sample)
    held = {key: _held(_newest(group, spelling), spelling) for key, group in groups.items()}
    return {key: value for key, value in held.items() if value is not None}


def _same_lists(samples: list[Sample], spelling: Spelling) -> bool:
    pairs = {(s.labels.get(spelling.from_label), s.labels.get(spelling.unlike)) for s in samples}
    return all(one == other for one, other in pairs) and any(one for one, _ in pairs)


def _newest(group: list[Sample], spelling: Spelling) -> Sample:
    newest = max(group, key=lambda sample: sample.value)
    if _contents(group, spelling) == 1:
        return newest
    if _sound(newest) > _LATEST_S:
        raise Damaged(
            f"line {newest.line}: several API servers add up their clocks, so no series is the newest"
        )
    if _contents([each for each in group if each.value == newest.value], spelling) > 1:
        raise Damaged(f"line {newest.line}: several series are equally new and disagree")
    return newest


def _contents(group: list[Sample], spelling: Spelling) -> int:
    return len({sample.labels.get(spelling.from_label) for sample in group})


def _held(sample: Sample, spelling: Spelling) -> float | None:
    """The label's content as a number; None where the engine writes that it has none."""
    content = sample.labels.get(spelling.from_label, "")
    if spelling.counts_names:
        return float(len({name.strip() for name in content.split(",")} - {""}))
    if content in ("", "None"):
        return None
    try:
        return _sound(sample._replace(value=float(content)))
    except ValueError:
        raise Damaged(
            f'line {sample.line}: {spelling.from_label}="{excerpt(content)}" is no number'
        ) from None


# ----------------------------------------------------------------------------------------- counts
def counters(family: Family) -> dict[Key, float]:
    """Counts since the process began, in the metric's unit."""
    names = sample_names(Kind.COUNTER, family.spelling.name)
    # With and without `_total` is one counter twice, should both stand there.
    samples = next(found for name in names if (found := family.text.samples.get(name)))
    scale = _tokens_each(family) or 1.0
    series: dict[Key, float] = defaultdict(float)
    for sample in _once(samples).values():
        series[_key(family, sample.labels)] += _sound(sample) * scale
    return dict(series)


def unit_unclear(family: Family) -> bool:
    """Whether the counter is kept as the engine counts it for want of a word about its unit."""
    try:
        return _tokens_each(family) is None
    except Damaged:
        return False  # then it is not kept at all


def _tokens_each(family: Family) -> float | None:
    """Tokens in what the counter counts, None where the text does not say.

    The HELP line decides, not the release: the same name counted blocks up to 0.8.5 and tokens after.
    """
    if not family.spelling.maybe_blocks:
        return 1.0
    texts = (family.text.helps.get(name, "") for name in family.names)
    help_text = next(filter(None, texts), "")
    if "block" in help_text:
        return _block_tokens(family.text)
    return 1.0 if "token" in help_text else None


def _block_tokens(text: Scan) -> float | None:
    """Tokens in a KV block, where the text says it and all its engines agree."""
    family = find(BY_NAME["kv_block_tokens"], text)
    if family is None:
        return None
    # A damaged answer is no answer: a unit that changed from one scrape to the next would look like a reset.
    refuse_damage(family)
    sizes = set(gauges(family).values())
    return sizes.pop() if len(sizes) == 1 else None


# ---------------------------------------------------------------------------------- distributions
def histograms(family: Family) -> dict[Key, Distribution]:
    """Distributions since the process began. Raises ExpositionError where the text ends inside one."""
    bucket, total, count = sample_names(Kind.HISTOGRAM, family.spelling.name)
    buckets = _buckets(family.text.samples.get(bucket, []))
    sums = _once(family.text.samples.get(total, []))
    counts = _once(family.text.samples.get(count, []))
    series: dict[Key, Distribution] = {}
    for labels in {**buckets, **sums, **counts}:
        if labels not in sums or labels not in counts or math.inf not in buckets.get(labels, ()):
            _refuse_cut(family)
            raise Damaged("a series lacks its +Inf bucket, its sum or its count")
        fresh = _distribution(buckets[labels], sums[labels], counts[labels])
        key = _key(family, dict(labels))
        series[key] = _together(series[key], fresh) if key in series else fresh
    return series


def _buckets(samples: list[Sample]) -> dict[_Labels, dict[float, float]]:
    """Cumulative counts by bound, by series. `le="2"` and `le="2.0"` are one bound."""
    found: dict[_Labels, dict[float, float]] = defaultdict(dict)
    for line, labels, value in samples:
        others = labels.copy()
        try:
            bound = float(others.pop("le", ""))
        except ValueError:
            raise Damaged(f"line {line}: a bucket without a bound") from None
        other = found[frozenset(others.items())].setdefault(bound, value)
        if other is not value and other != value:
            raise Damaged(f"line {line}: two counts up to {bound}")
    return found


def _refuse_cut(family: Family) -> None:
    """Raise where the half series ends the text: then more than this series is missing."""
    if family.text.last in family.names:
        raise ExpositionError(
            f"the end, after {family.text.last}",
            "the text breaks off in the middle of a histogram",
            "Scrape again; if it stays so, look for a proxy that limits the size of answers",
        )


def _distribution(piece: dict[float, float], total: Sample, count: Sample) -> Distribution:
    bounds = tuple(sorted(piece))
    counts = tuple(piece[bound] for bound in bounds)
    if not (counts[0] >= 0 and all(low <= high for low, high in pairwise(counts))):
        raise Damaged(f"the buckets before line {count.line} do not grow")
    if counts[-1] != count.value or not math.isfinite(count.value):
        raise Damaged(f"line {count.line}: the count is {count.value}, its buckets hold {counts[-1]}")
    if not math.isfinite(total.value):
        raise Damaged(f"line {total.line}: the sum is {total.value}")
    return Distribution(bounds, counts, total.value)


def _together(one: Distribution, other: Distribution) -> Distribution:
    if one.bounds != other.bounds:
        raise Damaged("two series of one engine have different buckets")
    counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
    return Distribution(one.bounds, counts, one.sum + other.sum)


# ---------------------------------------------------------------------------------- single samples
def _once(samples: list[Sample]) -> dict[_Labels, Sample]:
    """The samples by all their labels. Two values for one series cannot both be right."""
    found: dict[_Labels, Sample] = {}
    for sample in samples:
        other = found.setdefault(frozenset(sample.labels.items()), sample)
        if other is not sample and other.value != sample.value:
            raise Damaged(f"lines {other.line} and {sample.line} give one series two values")
    return found


def _key(family: Family, labels: Mapping[str, str]) -> Key:
    own = family.metric.label
    label = labels.get(own, "") if own else ""
    return Key(family.metric.name, labels.get("model_name", ""), labels.get("engine", ""), label)


def _sound(sample: Sample) -> float:
    """The value; none of our levels and counts can be negative or without end."""
    if not 0 <= sample.value < math.inf:
        raise Damaged(f"line {sample.line}: the value is {sample.value}")
    return sample.value
