"""Reads a recording directory into memory, losing no more than the lines that are broken."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO, TypeVar

from collectors.model import Kind, MetricFact, Problem, RequestFact
from collectors.signals.requests import error_kind, stages

METRICS, REQUESTS, SPANS, GPU = "metrics.prom.xz", "requests.jsonl.gz", "spans.jsonl.gz", "gpu.jsonl.gz"
REPLICA = "engine-0"  # a recording holds one engine and does not name it
MAX_PROBLEMS = 20  # a file: enough to see the pattern; the rest is counted
MAX_LINE = 8 * 1024 * 1024
T = TypeVar("T")
_SCRAPE = "# scrape "
_GPU = (
    ("gpu_utilization", "gpu_usage_ratio", 0.01),
    ("memory_used_mb", "gpu_memory_used_bytes", 1024.0 * 1024.0),
    ("power_w", "gpu_power_w", 1.0),
    ("temperature_c", "gpu_temperature_c", 1.0),
)


class RecordingError(Exception):
    """A directory that cannot be played at all: where, what, remedy."""


@dataclass(frozen=True, slots=True)
class Tape:
    """A recording in memory, each kind of fact in the order of its time."""

    name: str
    start: datetime
    end: datetime
    scrapes: tuple[tuple[datetime, str], ...]
    scrape_times: tuple[datetime, ...]
    requests: tuple[RequestFact, ...]
    request_times: tuple[datetime, ...]
    gpu: tuple[MetricFact, ...]
    gpu_times: tuple[datetime, ...]
    problems: tuple[Problem, ...]
    replica: str = REPLICA

    @property
    def source(self) -> str:
        """What its facts name as their source."""
        return f"recording:{self.name}"


def load(directory: Path) -> Tape:
    """Read a recording. Raises RecordingError where there is nothing to play."""
    if not (directory / METRICS).is_file() and not (directory / REQUESTS).is_file():
        raise RecordingError(
            f"{directory}: neither {METRICS} nor {REQUESTS} is there. Name a recording's directory"
        )
    source, faults = f"recording:{directory.name}", _Faults(directory)
    scrapes = sorted(_scrapes(directory / METRICS, faults), key=lambda s: s[0])
    engine = dict(_records(directory / SPANS, faults, _span))
    requests = sorted(
        _records(directory / REQUESTS, faults, lambda row: _request(row, engine, source)), key=lambda r: r.at
    )
    gpu = sorted(
        (f for found in _records(directory / GPU, faults, lambda row: _gpu(row, source)) for f in found),
        key=lambda f: f.at,
    )
    times = [s[0] for s in scrapes[:1] + scrapes[-1:]] + [r.at for r in requests[:1] + requests[-1:]]
    if not times:
        raise RecordingError(f"{directory}: no line could be read. First problem: {faults.first()}")
    return Tape(
        name=directory.name,
        start=min(times),
        end=max(times),
        scrapes=tuple(scrapes),
        scrape_times=tuple(s[0] for s in scrapes),
        requests=tuple(requests),
        request_times=tuple(r.at for r in requests),
        gpu=tuple(gpu),
        gpu_times=tuple(g.at for g in gpu),
        problems=faults.problems(min(times), source),
    )


class _Faults:
    """Collects what could not be read, bounded; every file's surplus is only counted."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._found: dict[str, list[str]] = {}

    def add(self, file: str, where: str, what: str) -> None:
        self._found.setdefault(file, []).append(f"{where}: {what}")

    def first(self) -> str:
        return next((f"{file} {texts[0]}" for file, texts in self._found.items()), "none")

    def problems(self, at: datetime, source: str) -> tuple[Problem, ...]:
        remedy = "Restore the file from a copy; the rest of the recording plays on"
        return tuple(
            Problem(at, source, file, text, remedy)
            for file, texts in self._found.items()
            for text in _bounded(texts)
        )


def _bounded(texts: list[str]) -> list[str]:
    if len(texts) <= MAX_PROBLEMS:
        return texts
    return [*texts[:MAX_PROBLEMS], f"and {len(texts) - MAX_PROBLEMS} more lines like these"]


def _lines(path: Path, faults: _Faults, opener: Callable[[Path], TextIO]) -> Iterator[tuple[int, str]]:
    """Numbered lines; a file that is missing or breaks off gives what it has."""
    number = 0
    try:
        with opener(path) as file:
            while line := file.readline(MAX_LINE):
                number += 1
                yield number, line
    except FileNotFoundError:
        faults.add(path.name, "file", "is missing")
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        faults.add(path.name, f"after line {number}", f"cannot be unpacked further ({error})")


def _scrapes(path: Path, faults: _Faults) -> Iterator[tuple[datetime, str]]:
    at, body = None, []
    for number, line in _lines(path, faults, _open_xz):
        if not line.startswith(_SCRAPE):
            body.append(line)
            continue
        if at is not None:
            yield at, "".join(body)
        body = []
        at = _instant(line[len(_SCRAPE) :].strip())
        if at is None:
            faults.add(path.name, f"line {number}", "the scrape's time is no number")
    if at is not None:
        yield at, "".join(body)


def _records(path: Path, faults: _Faults, convert: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    for number, line in _lines(path, faults, _open_gz):
        try:
            yield convert(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            faults.add(path.name, f"line {number}", f"{type(error).__name__}: {str(error)[:80]}")


def _span(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return str(row["trace_id"]), dict(row["attributes"])


def _request(row: dict[str, Any], engine: dict[str, dict[str, Any]], source: str) -> RequestFact:
    started, e2e_ms, status = float(row["start_unix_s"]), _number(row.get("e2e_ms")), row.get("http_status")
    trace_id = str(row["trace_id"])
    split = stages(e2e_ms, engine.get(trace_id, {}))
    return RequestFact(
        at=datetime.fromtimestamp(started, UTC) + timedelta(milliseconds=e2e_ms or 0.0),
        request_id=str(row["request_id"]),
        source=source,
        trace_id=f"{int(trace_id, 16):032x}",
        session_id=row.get("session_id"),
        turn=row.get("turn"),
        replica=row.get("replica") or REPLICA,
        variant=row.get("variant"),
        model=row.get("base_model"),
        adapter=row.get("adapter_id"),
        backend_version=row.get("backend_version"),
        prompt_version=row.get("prompt_version"),
        intent=row.get("intent"),
        locale=row.get("locale"),
        http_status=status,
        error_kind=error_kind(status, row.get("error")),
        prompt_tokens=row.get("prompt_tokens"),
        cached_tokens=row.get("cached_tokens"),
        output_tokens=row.get("completion_tokens"),
        frontend_ms=split.frontend_ms,
        gateway_ms=split.gateway_ms,
        queue_ms=split.queue_ms,
        prefill_ms=split.prefill_ms,
        decode_ms=split.decode_ms,
        ttft_ms=_number(row.get("ttft_ms")),
        e2e_ms=e2e_ms,
    )


def _gpu(row: dict[str, Any], source: str) -> list[MetricFact]:
    at = datetime.fromtimestamp(float(row["t"]), UTC)
    return [
        MetricFact(at, source, REPLICA, metric, Kind.GAUGE, float(row[name]) * scale)
        for name, metric, scale in _GPU
        if row.get(name) is not None
    ]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _open_xz(path: Path) -> TextIO:
    return lzma.open(path, "rt", encoding="utf-8")


def _open_gz(path: Path) -> TextIO:
    return gzip.open(path, "rt", encoding="utf-8")
