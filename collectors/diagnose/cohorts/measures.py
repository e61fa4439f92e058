"""What can be asked about: a measure of each request, and which requests are marked by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

PROMPT, BOTH = ("prompt_tokens",), ("prompt_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Measure:
    """A quantity of one request. `lengths` are what its usual size depends on: only equal ones are compared.

    `answered`: only requests that succeeded have it, for a refusal is quick and tells nothing about speed.
    """

    name: str
    unit: str
    meaning: str
    lengths: tuple[str, ...]
    answered: bool = True


MEASURES: Mapping[str, Measure] = {
    m.name: m
    for m in (
        Measure("ttft_ms", "ms", "time to the first token", PROMPT),
        Measure("e2e_ms", "ms", "the whole time", BOTH),
        Measure("queue_ms", "ms", "waiting in the engine for a place", PROMPT),
        Measure("prefill_ms", "ms", "reading the prompt", PROMPT),
        Measure("decode_ms", "ms", "writing the answer", BOTH),
        Measure("tpot_ms", "ms", "decode time for each token after the first", BOTH),
        # a failed request has no lengths to speak of
        Measure("failed", "share", "HTTP status 400 and above", (), answered=False),
    )
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which requests are marked: measure in (above, up_to], end in (since, until]; None leaves a side open.

    With `above` alone these are the slow ones. All four are a box on a chart of latencies. Of `failed`, which
    is 0 or 1, everything above 0 is marked.
    """

    above: float | None = None
    up_to: float | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def slow(self) -> bool:
        """Whether what is marked is slow, and not any part of a chart."""
        return self.above is not None and self.up_to is None and self.since is None and self.until is None
