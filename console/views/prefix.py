"""The prefix cache: what a prompt version finds there, what it lost, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence

from collectors.diagnose.prefix.loss import Loss
from collectors.signals.changes import release
from console.views import words
from console.views.frame import Frame, clock
from console.views.versions import Version

MS_PER_H = 3_600_000.0
CHART = "Prefix hits"


def names(found: Sequence[Version]) -> list[str]:
    """Prompt versions, the newest first."""
    ordered = sorted(found, key=lambda v: (v.first, release(v.name)), reverse=True)
    return [v.name for v in ordered]


def sentence(found: Loss) -> tuple[str, str]:
    """What the version lost, and the tone of it."""
    own = found.version.version
    if found.reference is None or found.cost is None:
        return f"{own} stands alone: no other version near it has prompts of like length to compare.", "none"
    against = found.reference.version
    if not found.lost:
        return f"{own} finds as much of its prefix in the cache as {against} does.", "ok"
    return f"{own} lost {found.cost.tokens:,.0f} cached tokens a request against {against}.", "bad"


def facts(found: Loss, frame: Frame) -> list[tuple[str, str]]:
    """The figures behind it."""
    own, other = found.version, found.reference
    told = [
        ("Since", clock(own.since, frame)),
        ("Requests", f"{own.requests:,}, {found.compared:,} compared at their length"),
        ("Cached a request", words.amount(found.found_tokens, "tokens")),
        ("TTFT P50", words.amount(found.ttft_ms, "ms")),
    ]
    if other is not None:
        told += [
            (f"Cached, {other.version}", words.amount(found.reference_found_tokens, "tokens")),
            (f"TTFT P50, {other.version}", words.amount(found.reference_ttft_ms, "ms")),
        ]
    return told


def costs(found: Loss) -> list[tuple[str, str, str]]:
    """(what, per request, per hour) of the loss; none without one."""
    cost = found.cost
    if cost is None or not found.lost:
        return []
    hours = None if cost.prefill_ms_per_h is None else cost.prefill_ms_per_h / MS_PER_H
    return [
        (
            "Tokens computed again",
            words.amount(cost.tokens, "tokens"),
            words.amount(cost.tokens_per_h, "tokens"),
        ),
        ("Prefill", words.amount(cost.prefill_ms, "ms"), words.amount(hours, "h")),
        ("First token later by", words.amount(cost.ttft_ms, "ms"), "–"),
    ]


def reasons(found: Loss) -> list[tuple[str, str, str]]:
    """(reason, how sure, in words), with where the gateway saw the text change."""
    told = [(words.title(r.name), str(r.sure), r.words) for r in found.reasons]
    if found.parted_as:
        kind, _, block = found.parted_as.partition("@")
        where = f"a {words.title(kind).lower()} stands in block {block} of the prefix (64 characters each)"
        told.insert(0, ("Volatile text", "proven", where))
    return told
