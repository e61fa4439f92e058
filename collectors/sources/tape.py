"""Reads a recording directory into memory, losing no more than the lines that are broken."""

from __future__ import annotations

import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BufferedIOBase
from math import inf, isfinite
from pathlib import Path
from typing import Any, TypeVar

from collectors.model import Kind, MetricFact, Problem, RequestFact
from collectors.signals.requests import error_kind, stages

METRICS, REQUESTS, SPANS, GPU = "metrics.prom.xz", "requests.jsonl.gz", "spans.jsonl.gz", "gpu.jsonl.gz"
REPLICA = "engine-0"  # a recording holds one engine and does not name it
MAX_PROBLEMS = 20  # a file: enough to see the pattern; the rest is counted
MAX_LINE = 8 * 1024 * 1024
MAX_COUNT = 2**31 - 1  # what a column of counts holds
# A drill lasts hours: a time so far from the others has a wrong digit, and would stretch the tape over years.
MAX_DISTANCE = timedelta(days=7)
T = TypeVar("T")
_SCRAPE = b"# scrape "
_TRACE = re.compile(r"[0-9a-fA-F]{1,32}")
_LATENCY = "gen_ai.latency."
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
    source, faults = f"recording:{directory.name}", _Faults()
    engine = dict(found for _, found in _records(directory / SPANS, faults, _span))
    scrapes = list(_scrapes(directory / METRICS, faults))
    requests = list(_records(directory / REQUESTS, faults, lambda row: _request(row, engine, source)))
    samples = list(_records(directory / GPU, faults, lambda row: _gpu(row, source)))
    times = sorted([at for _, (at, _) in scrapes] + [r.at for _, r in requests])
    if not times:
        raise RecordingError(f"{directory}: no line could be read. {faults.first()}")
    middle = times[len(times) // 2]
    texts = _near(middle, scrapes, lambda scrape: scrape[0], METRICS, faults)
    rows = _near(middle, requests, lambda request: request.at, REQUESTS, faults)
    gpu = [f for found in _near(middle, samples, lambda found: found[0].at, GPU, faults) for f in found]
    ends = [each for each in times if abs(each - middle) < MAX_DISTANCE]
    return Tape(
        name=directory.name,
        start=ends[0],
        end=ends[-1],
        scrapes=tuple(texts),
        scrape_times=tuple(at for at, _ in texts),
        requests=tuple(rows),
        request_times=tuple(r.at for r in rows),
        gpu=tuple(gpu),
        gpu_times=tuple(f.at for f in gpu),
        problems=faults.problems(ends[0], source),
    )


def _near(
    middle: datetime, found: Sequence[tuple[int, T]], at: Callable[[T], datetime], file: str, faults: _Faults
) -> list[T]:
    """What lies near the middle of the recording, in the order of its time."""
    for number, each in found:
        if abs(at(each) - middle) >= MAX_DISTANCE:
            faults.add(file, f"line {number}", f"its time, {at(each)}, is days away from the others")
    return sorted((each for _, each in found if abs(at(each) - middle) < MAX_DISTANCE), key=at)


class _Faults:
    """Collects what could not be read, bounded; every file's surplus is only counted."""

    def __init__(self) -> None:
        self._said: dict[str, list[str]] = {}
        self._more: dict[str, int] = {}

    def add(self, file: str, where: str, what: str) -> None:
        said = self._said.setdefault(file, [])
        if len(said) < MAX_PROBLEMS:
            said.append(f"{where}: {what}")
        else:
            self._more[file] = self._more.get(file, 0) + 1

    def first(self) -> str:
        return "; ".join(f"{file} {texts[0]}" for file, texts in self._said.items()) or "Every file is empty"

    def problems(self, at: datetime, source: str) -> tuple[Problem, ...]:
        remedy = "Restore the file from a copy; the rest of the recording plays on"
        more = {file: [f"and {number} more lines like these"] for file, number in self._more.items()}
        return tuple(
            Problem(at, source, file, text, remedy)
            for file, texts in self._said.items()
            for text in texts + more.get(file, [])
        )


def _lines(
    path: Path, faults: _Faults, opener: Callable[[Path], BufferedIOBase]
) -> Iterator[tuple[int, bytes]]:
    """Numbered lines; a file that is missing or breaks off gives what it has."""
    number = 0
    try:
        with opener(path) as file:
            while line := file.readline(MAX_LINE):
                number += 1
                yield number, line
    except FileNotFoundError:
        faults.add(path.name, "file", "is missing")
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        faults.add(path.name, f"after line {number}", f"cannot be unpacked further ({error})")


def _scrapes(path: Path, faults: _Faults) -> Iterator[tuple[int, tuple[datetime, str]]]:
    """Each scrape by its heading's number; bytes that are no text are left to the reader of the metrics."""
    begun, at, body = 0, None, bytearray()
    for number, line in _lines(path, faults, _open_xz):
        if not line.startswith(_SCRAPE):
            body += line
            continue
        if at is not None:
            yield begun, (at, body.decode(errors="replace"))
        begun, at, body = number, _heading(line), bytearray()
        if at is None:
            faults.add(path.name, f"line {number}", "the scrape's time is no number")
    if at is not None:
        yield begun, (at, body.decode(errors="replace"))


def _heading(line: bytes) -> datetime | None:
    try:
        return _instant(float(line[len(_SCRAPE) :]))
    except (ValueError, OverflowError, OSError):
        return None


def _records(
    path: Path, faults: _Faults, convert: Callable[[Mapping[str, Any]], T]
) -> Iterator[tuple[int, T]]:
    for number, line in _lines(path, faults, _open_gz):
        try:
            yield number, convert(json.loads(line.decode()))
        except KeyError as error:
            faults.add(path.name, f"line {number}", f"{error} is missing")
        except (ValueError, TypeError, AttributeError, OverflowError, OSError, RecursionError) as error:
            faults.add(path.name, f"line {number}", f"{type(error).__name__}: {str(error)[:80]}")


def _span(row: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    attributes = dict(row["attributes"])
    for name in attributes:
        if name.startswith(_LATENCY):
            _measure(attributes, name)
    return str(row["trace_id"]), attributes


def _request(row: Mapping[str, Any], engine: Mapping[str, Mapping[str, Any]], source: str) -> RequestFact:
    e2e_ms, status, trace_id = _measure(row, "e2e_ms"), _count(row, "http_status"), str(row["trace_id"])
    if not _TRACE.fullmatch(trace_id):
        raise ValueError(f"trace_id {trace_id!r:.40} is not 32 hex digits")
    split = stages(e2e_ms, engine.get(trace_id, {}))
    return RequestFact(
        at=_instant(row["start_unix_s"]) + timedelta(milliseconds=e2e_ms or 0.0),
        request_id=str(row["request_id"]),
        source=source,
        trace_id=f"{int(trace_id, 16):032x}",
        session_id=_text(row, "session_id"),
        turn=_count(row, "turn"),
        replica=_text(row, "replica") or REPLICA,
        variant=_text(row, "variant"),
        model=_text(row, "base_model"),
        adapter=_text(row, "adapter_id"),
        backend_version=_text(row, "backend_version"),
        prompt_version=_text(row, "prompt_version"),
        intent=_text(row, "intent"),
        locale=_text(row, "locale"),
        http_status=status,
        error_kind=error_kind(status, _text(row, "error")),
        prompt_tokens=_count(row, "prompt_tokens"),
        cached_tokens=_count(row, "cached_tokens"),
        output_tokens=_count(row, "completion_tokens"),
        frontend_ms=split.frontend_ms,
        gateway_ms=split.gateway_ms,
        queue_ms=split.queue_ms,
        prefill_ms=split.prefill_ms,
        decode_ms=split.decode_ms,
        ttft_ms=_measure(row, "ttft_ms"),
        e2e_ms=e2e_ms,
    )


def _gpu(row: Mapping[str, Any], source: str) -> list[MetricFact]:
    at = _instant(row["t"])
    read = ((metric, _measure(row, name), scale) for name, metric, scale in _GPU)
    found = [
        MetricFact(at, source, REPLICA, metric, Kind.GAUGE, value * scale)
        for metric, value, scale in read
        if value is not None
    ]
    if not found:
        raise ValueError("none of the measurements is there")
    return found


def _measure(row: Mapping[str, Any], name: str) -> float | None:
    """A finite number, not below 0; None where the row does not tell. Raises ValueError."""
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ValueError(f"{name} {value!r:.40} is no measurement")
    return float(value)


def _count(row: Mapping[str, Any], name: str) -> int | None:
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{name} {value!r:.40} is no count")
    return value


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} {value!r:.40} is no text")
    return value


def _instant(unix_s: object) -> datetime:
    """Raises ValueError, or OverflowError or OSError for a year that no clock knows."""
    if isinstance(unix_s, bool) or not isinstance(unix_s, int | float) or not 0 < unix_s < inf:
        raise ValueError(f"{unix_s!r:.40} is no time")
    return datetime.fromtimestamp(unix_s, UTC)


def _open_xz(path: Path) -> BufferedIOBase:
    return lzma.open(path, "rb")


def _open_gz(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb")
