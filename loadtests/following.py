"""One request, looked up wherever it was kept: the gateway's log, its row, its trace in MLflow, `explain`.

Four programs wrote those numbers down or worked them out, so they check each other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from collectors.model import RequestFact
from collectors.signals.traces import Span, is_root

ROOT = Path(__file__).parent.parent  # a checkout runs without being installed
EXPLAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one place says of the request, in milliseconds; None where it does not say."""

    where: str
    ttft_ms: float | None
    e2e_ms: float | None


@dataclass(frozen=True, slots=True)
class Followed:
    """A request and all that is told of it. `spans` are the names in its trace, outermost first."""

    request_id: str
    trace_id: str
    spans: tuple[str, ...]
    sightings: tuple[Sighting, ...]

    @property
    def spread_ms(self) -> float | None:
        """The largest difference between two places; None where one of them does not say."""
        columns = ([s.ttft_ms for s in self.sightings], [s.e2e_ms for s in self.sightings])
        told = [[v for v in column if v is not None] for column in columns]
        if any(len(values) < len(self.sightings) for values in told):
            return None
        return max((max(values) - min(values) for values in told if values), default=None)


def followed(row: RequestFact, log: Path, spans: Sequence[Span], store: Path) -> Followed:
    """The request of a stored row, with the spans that MLflow gave. Raises OSError, SubprocessError."""
    return Followed(
        row.request_id,
        row.trace_id or "",
        tuple(s.name for s in _outermost_first(spans)),
        (
            _logged(row.request_id, log.read_text(encoding="utf-8", errors="replace").splitlines()),
            Sighting("request row", row.ttft_ms, row.e2e_ms),
            _traced(spans),
            _explained(row.request_id, store),
        ),
    )


def _logged(request_id: str, lines: Iterable[str]) -> Sighting:
    said = next((line for line in _objects(lines) if line.get("request_id") == request_id), {})
    return Sighting("gateway's log", said.get("ttft_ms"), said.get("e2e_ms"))


def _objects(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """Lines that are JSON objects; a server's own banner stands among them."""
    for line in lines:
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if isinstance(data, dict):
            yield data


def _traced(spans: Sequence[Span]) -> Sighting:
    root = next((s for s in spans if is_root(s)), None)
    if root is None:
        return Sighting("MLflow trace", None, None)
    first = root.attributes.get("mangaassist.ttft_ms")
    return Sighting("MLflow trace", first, (root.end - root.start) / timedelta(milliseconds=1))


def _explained(request_id: str, store: Path) -> Sighting:
    """What the command prints; its stages have to make up the whole."""
    command = (sys.executable, "-m", "collectors.cli", "explain", request_id, "--store", str(store), "--json")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=EXPLAIN_S)  # noqa: S603
    if done.returncode:
        return Sighting("mangaops explain", None, None)
    said = json.loads(done.stdout)
    whole = sum(stage["ms"] for stage in said["stages"] if stage["ms"] is not None)
    return Sighting("mangaops explain", said["request"]["ttft_ms"], whole)


def _outermost_first(spans: Sequence[Span]) -> list[Span]:
    return sorted(spans, key=lambda s: (s.start, -s.end.timestamp()))
