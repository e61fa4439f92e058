"""Runbooks with live values in their text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from collectors.model import Judgement
from collectors.signals.runbooks import Runbook, fill
from console.views import words
from console.views.facts import Told

MAX_GROUPS = 6  # of a reading by adapter or replica; the rest is counted
_PAGE = re.compile(r"\]\(([a-z0-9_]+)\.md(#[^)]*)?\)")


def live_values(told: Sequence[Told]) -> dict[str, str]:
    """Each reading's value as it goes into a page: a code span, in which nothing is markup."""
    return {t.reading.name: _code(_value(t)) for t in told}


def body(page: Runbook, values: Mapping[str, str], url: Callable[[str], str]) -> list[tuple[str, str]]:
    """The sections: (title, Markdown) with values filled in and links to other pages made the console's."""
    return [
        (s.title, _PAGE.sub(lambda m: f"]({url(m[1])})", fill(s.markdown, values))) for s in page.sections
    ]


def of_rules(pages: Iterable[Runbook]) -> list[tuple[Runbook, str, str]]:
    """The pages that alerts lead to, with their rule and its severity."""
    return [(p, p.rule, p.severity) for p in pages if p.rule is not None and p.severity is not None]


def of_causes(pages: Iterable[Runbook]) -> list[Runbook]:
    """The pages that causes lead to; a few of them are an alert's as well."""
    return [p for p in pages if p.cause is not None]


def worst(judged: Sequence[Judgement], rule: str) -> Judgement | None:
    """How the page's rule stands: the worst of its components."""
    order = ("firing", "pending", "inactive", "no_data")
    own = [j for j in judged if j.name == rule and j.state in order]
    return min(own, key=lambda j: order.index(j.state), default=None)


def _value(told: Told) -> str:
    if not told.points:
        return words.NO_DATA
    if not told.reading.by:
        return _one(told, 0)
    shown = [f"{'/'.join(p.group) or 'base'} {_one(told, i)}" for i, p in enumerate(told.points[:MAX_GROUPS])]
    more = len(told.points) - MAX_GROUPS
    return ", ".join([*shown, f"and {more} more"] if more > 0 else shown)


def _one(told: Told, index: int) -> str:
    point = told.points[index]
    if point.value is None:
        return f"{words.NO_DATA} ({point.missing})" if point.missing else words.NO_DATA
    return words.amount(point.value, told.reading.unit)


def _code(text: str) -> str:
    clean = text.replace("`", "'")
    return f"`{clean}`"
