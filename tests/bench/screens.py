"""How long a screen takes to run again with warm caches."""

from __future__ import annotations

from pathlib import Path

from tests.bench.report import Figure


def figures(root: Path) -> list[Figure]:
    """Milliseconds for each screen over the replayed recording."""
    raise NotImplementedError(root)
