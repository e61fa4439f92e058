"""The gateway's own start as a trace: how long it waited for the engine, and what it warmed up after that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.staging.gateway.timing import NS_PER_MS, Anchor
from loadtests.staging.gateway.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Warmed:
    """An adapter, or the base model, that has answered: readings of the steady clock in ns.

    `asked_ns` is when the request was sent that was answered, after however many that were not.
    """

    adapter: str
    base: bool
    asked_ns: int
    answered_ns: int


def tell(tracing: Tracing, began: Anchor, warming_ns: int, warmed: Sequence[Warmed], ready_ns: int) -> None:
    """Send it, once the gateway is ready: only then is it known when the engine was there."""
    root = tracing.start_up(began)
    if warmed:
        if warmed[0].asked_ns - warming_ns >= NS_PER_MS:  # it was not there at the first asking
            tracing.child(root, "wait_for_engine", warming_ns).end(warmed[0].asked_ns)
        warm_up = tracing.child(root, "warm_up", warmed[0].asked_ns)
        for before, each in zip((None, *warmed), warmed, strict=False):
            if not each.base:  # the base model's first answer is what warms up the engine itself
                span = tracing.child(warm_up, "load_adapter", before.answered_ns if before else each.asked_ns)
                span.end(each.answered_ns, {"mangaassist.adapter_id": each.adapter})
        warm_up.end(warmed[-1].answered_ns)
    root.end(ready_ns)
