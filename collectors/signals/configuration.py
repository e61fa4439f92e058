"""An engine's configuration as its metrics tell it: a short hash, and what differs from the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from collectors.model import EventFact
from collectors.signals.changes import PRESENT_AT_START
from collectors.signals.lines import Sample
from collectors.signals.metrics import CACHE_CONFIG

CONFIGURATION = "configuration"
# What an engine finds out at its start, from free memory say: it differs between two starts of the same.
_FOUND = frozenset({"num_gpu_blocks", "num_cpu_blocks", "kv_cache_size_tokens", "kv_cache_max_concurrency"})
_SHOWN = 3  # settings that an event names
_LONGEST = 80  # characters of one of them
_OF = "configuration of "


def settings(samples: Mapping[str, Sequence[Sample]]) -> dict[str, str]:
    """The settings in the labels of vLLM's info series; empty where they cannot be told from other labels.

    Labels that other series carry too (engine, model_name, and what Prometheus adds) say where, not how.
    """
    rest = [s for family, found in samples.items() if family != CACHE_CONFIG for s in found]
    others = {name for sample in rest for name in sample.labels}
    if not others:
        return {}
    held: dict[str, set[str]] = {}
    for sample in samples.get(CACHE_CONFIG, ()):
        for name, value in sample.labels.items():
            if name not in others | _FOUND and not name.startswith("_"):
                held.setdefault(name, set()).add(value)
    return {name: ",".join(sorted(values)) for name, values in sorted(held.items())}


def digest(found: Mapping[str, str]) -> str:
    """Eight hexadecimal digits that are the same for the same settings."""
    return sha256("\n".join(f"{k}={v}" for k, v in sorted(found.items())).encode()).hexdigest()[:8]


def told(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, str, str] | None:
    """(kind, before, after) of the event; None where nothing is known, or nothing changed."""
    if not now or before == now:
        return None
    if not before:
        return PRESENT_AT_START, "", digest(now)
    names = [n for n in sorted(before.keys() | now.keys()) if before.get(n) != now.get(n)]
    return CONFIGURATION, _text(before, names), _text(now, names)


def subject(replica: str) -> str:
    """What the event happened to."""
    return f"{_OF}{replica}"


def replica_of(event: EventFact) -> str | None:
    """The replica whose configuration the event tells of; None where it tells of something else."""
    known = event.kind in (PRESENT_AT_START, CONFIGURATION) and event.subject.startswith(_OF)
    return event.subject.removeprefix(_OF) if known and event.after else None


def unheard(known: Mapping[str, str], events: Sequence[EventFact]) -> tuple[dict[str, str], list[EventFact]]:
    """(a hash by replica, the events without first sights of what was known).

    A source forgets when it starts anew: what it then sees for the first time may be known, or a change.
    """
    heard, kept = dict(known), []
    for event in events:
        replica, seen = replica_of(event), (event.after or "")[-8:]
        before = heard.get(replica) if replica else None
        if replica:
            heard[replica] = seen
        if event.kind == PRESENT_AT_START and before is not None:
            if before == seen:
                continue
            event = replace(event, kind=CONFIGURATION, before=before)  # noqa: PLW2901 - told as what it is
        kept.append(event)
    return heard, kept


def _text(found: Mapping[str, str], names: Sequence[str]) -> str:
    """Settings that differ, then the hash of all: the last eight characters."""
    parts = [f"{n}={found.get(n, 'unset')}"[:_LONGEST] for n in names[:_SHOWN]]
    if len(names) > _SHOWN:
        parts.append(f"{len(names) - _SHOWN} more")
    return f"{', '.join(parts)}; {digest(found)}"
