"""What a prompt version lost, as it is told: figures of its requests beside another version's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from collectors.diagnose.prefix.cost import Cost
from collectors.diagnose.prefix.divergence import BLOCK_TOKENS
from collectors.diagnose.prefix.reasons import Reason


@dataclass(frozen=True, slots=True)
class Presence:
    """A prompt version's requests with known cached tokens: how many, from the first to the last."""

    version: str
    requests: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Loss:
    """What a version's requests did not find cached, beside another version's of like length.

    `cost` is None where no other version had requests of like length; `found_tokens` is the median that its
    own requests found. `parted_as` is class@block, as the gateway told it; None where nobody did.
    """

    version: Presence
    reference: Presence | None
    found_tokens: float | None
    reference_found_tokens: float | None
    ttft_ms: float | None
    reference_ttft_ms: float | None
    compared: int
    cost: Cost | None
    ms_per_token: float | None
    parted_as: str | None
    distinct_prefixes: int | None
    reasons: tuple[Reason, ...]

    @property
    def lost(self) -> bool:
        """Whether it lost a block or more a request."""
        return self.cost is not None and self.cost.tokens >= BLOCK_TOKENS
