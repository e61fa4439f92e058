"""Raw samples of a Prometheus server → each replica's scrapes, as if we had made them ourselves.

A scrape's samples all carry the instant at which it began, and so does its `up`: that is what brings them
together again. A series that went stale has no sample at that instant, as it has no line in the text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from collectors.signals.lines import Sample, Scan
from collectors.signals.metrics import BY_NAME, HELP_NEEDED

UP, TOOK, COUNT = "up", "scrape_duration_seconds", "scrape_samples_scraped"
HEALTH = (UP, TOOK, COUNT)
# Every release exposes one of these, so what has one is an engine.
ENGINE_NAMES = tuple(spelling.name for spelling in BY_NAME["requests_running"].spellings)
_NAME = "__name__"
_LATEST_MS = 4_000_000_000_000  # the year 2096: a later time is none of ours
_NO_LABELS = frozenset({_NAME, "job", "instance"})


class Member(NamedTuple):
    """A target as Prometheus tells it apart."""

    job: str
    instance: str


class Series(NamedTuple):
    """One series: its labels, and its samples as (unix milliseconds, value)."""

    labels: Mapping[str, str]
    points: tuple[tuple[int, float], ...]

    @property
    def member(self) -> Member:
        """The target it was scraped from."""
        return Member(self.labels.get("job", ""), self.labels.get("instance", ""))


@dataclass(frozen=True, slots=True)
class Health:
    """How one scrape went, as Prometheus tells it."""

    at: datetime
    up: bool
    took_s: float | None
    samples: float | None


def series(found: Any) -> list[Series]:
    """The matrix that Prometheus answers a range selector with. Raises ValueError where it is none."""
    try:
        return [
            Series(
                {str(k): str(v) for k, v in each["metric"].items()},
                tuple((_ms(at), float(value)) for at, value in each["values"]),
            )
            for each in found
        ]
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"no range of samples ({type(error).__name__}: {error})") from error


def healths(found: Iterable[Series], after: Mapping[Member, datetime]) -> dict[Member, list[Health]]:
    """By target: its scrapes after the instant given for it, oldest first."""
    told: dict[Member, dict[int, dict[str, float]]] = {}
    for each in found:
        of = told.setdefault(each.member, {})
        for ms, value in each.points:
            of.setdefault(ms, {})[each.labels.get(_NAME, "")] = value
    return {
        member: [
            Health(instant(ms), said[UP] == 1, said.get(TOOK), said.get(COUNT))
            for ms, said in sorted(of.items())
            if UP in said and (member not in after or instant(ms) > after[member])
        ]
        for member, of in told.items()
    }


def scans(
    found: Iterable[Series], wanted: Mapping[Member, Collection[datetime]], helps: Mapping[str, str]
) -> dict[tuple[Member, datetime], Scan]:
    """The samples of every wanted scrape, taken apart as its text would have been."""
    sought = {member: {milliseconds(at): at for at in instants} for member, instants in wanted.items()}
    gathered: dict[tuple[Member, datetime], dict[str, list[Sample]]] = {
        (member, at): {} for member, instants in wanted.items() for at in instants
    }
    for each in found:
        name, instants = each.labels.get(_NAME, ""), sought.get(each.member, {})
        labels = {k: v for k, v in each.labels.items() if k not in _NO_LABELS}
        for ms, value in each.points:
            if ms in instants:
                samples = gathered[each.member, instants[ms]].setdefault(name, [])
                samples.append(Sample(len(samples) + 1, labels, value))
    return {key: _scan(samples, helps) for key, samples in gathered.items()}


def names_unclear(found: Iterable[Series]) -> set[str]:
    """Names whose unit only their HELP line tells."""
    return {name for each in found if (name := each.labels.get(_NAME, "")) in HELP_NEEDED}


def instant(ms: int) -> datetime:
    """Unix milliseconds as an instant, exactly."""
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)


def milliseconds(at: datetime) -> int:
    """The way back."""
    return int(at.replace(microsecond=0).timestamp()) * 1000 + at.microsecond // 1000


def selector(names: Iterable[str], instances: Iterable[str]) -> str:
    """The selector of these metrics of these targets."""
    named, of = "|".join(sorted(names)), "|".join(map(_plain, sorted(instances)))
    return f"{{{_NAME}=~{_quoted(named)},instance=~{_quoted(of)}}}"


def _ms(at: Any) -> int:
    ms = round(float(at) * 1000)
    if not 0 <= ms < _LATEST_MS:
        raise ValueError(f"{at!r} is no time")
    return ms


def _plain(text: str) -> str:
    """A regular expression that matches just this text; RE2 takes any punctuation escaped."""
    return "".join(c if c.isalnum() or c in "_:" or ord(c) > 127 else f"\\{c}" for c in text)  # noqa: PLR2004 - ASCII


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _scan(samples: dict[str, list[Sample]], helps: Mapping[str, str]) -> Scan:
    return Scan(samples, {}, helps, {}, frozenset(samples), sum(map(len, samples.values())), "")
