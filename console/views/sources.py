"""Sources: freshness and gaps of each source and replica."""

from __future__ import annotations

from datetime import datetime, timedelta

from collectors.model import EventFact
from console.views import words
from console.views.facts import Inlet, Origin
from console.views.verdict import SILENT_SCRAPES

MLFLOW_INTERVAL = timedelta(seconds=15)  # MLflow is asked no more often, however often engines are scraped


def freshness(origin: Origin, now: datetime, interval: timedelta) -> tuple[str, str]:
    """A state word and its tone: up, failing or silent."""
    age = now - origin.newest
    if age > SILENT_SCRAPES * interval:
        return f"silent for {words.length(age)}", "bad"
    return ("up", "ok") if origin.up == 1 else ("last scrape failed", "bad")


def cell_tone(worst: float | None) -> str:
    """How a part of the history is drawn; a hole is no scrape, which is not a failed one."""
    if worst is None:
        return "hole"
    return "ok" if worst == 1 else "bad"


def history(origin: Origin) -> str:
    """The history in words, for those who do not see the cells."""
    silent = sum(c is None for c in origin.cells)
    failed = f"{origin.failed} of {origin.scrapes:,} scrapes failed"
    return f"{failed}; no scrape in {silent} of {len(origin.cells)} parts of the range"


def receiving(inlet: Inlet, now: datetime, interval: timedelta) -> tuple[str, str]:
    """How the receiver of traces stands: a word and its tone."""
    if (age := now - inlet.newest) > SILENT_SCRAPES * interval:
        return f"silent for {words.length(age)}", "bad"
    if inlet.levels.get("otlp_up") != 1:
        return "stopped", "bad"
    if inlet.count("otlp_spans", "rejected", "crowded", "evicted") or _refused(inlet):
        return "receiving, not all of it usable", "warn"
    return ("receiving", "ok") if inlet.count("otlp_spans", "received") else ("nothing received", "none")


def forwarding(inlet: Inlet, now: datetime, interval: timedelta) -> tuple[str, str] | None:
    """How forwarding to MLflow stands; None where nothing is forwarded."""
    if "forward_spans_queued" not in inlet.levels:
        return None
    if (age := now - inlet.newest) > SILENT_SCRAPES * interval:
        return f"silent for {words.length(age)}", "bad"
    reached = inlet.levels.get("forward_up")
    if reached is None:
        return "not tried yet", "none"
    if reached != 1:
        return "MLflow does not take them", "bad"
    return ("spans were dropped", "bad") if inlet.count("forward_spans", "dropped") else ("forwarding", "ok")


def received(inlet: Inlet) -> list[tuple[str, str]]:
    """What the receiver counted over the span."""
    late = inlet.count("otlp_spans", "late", "duplicate")
    unused = inlet.count("otlp_spans", "of_no_request", "crowded")
    return [
        ("Spans received", words.number(inlet.count("otlp_spans", "received"))),
        ("Requests written", words.number(inlet.count("otlp_rows"))),
        ("Rejected", words.counted(inlet.count("otlp_spans", "rejected"), "span")),
        ("Refused", words.counted(_refused(inlet), "export")),
        ("Late or twice", words.counted(late, "span")),
        ("Of no request", words.counted(unused, "span")),
        ("Of a start-up", words.counted(inlet.count("otlp_spans", "of_a_start"), "span")),
        ("Held", _held(inlet)),
        ("Written early", words.counted(inlet.count("otlp_spans", "evicted"), "trace")),
    ]


def forwarded(inlet: Inlet) -> list[tuple[str, str]]:
    """What became of the spans on their way to MLflow."""
    queued, batches = (inlet.levels.get(f"forward_{n}_queued") for n in ("spans", "batches"))
    waiting = words.counted(int(queued or 0), "span")
    return [
        ("Sent", words.counted(inlet.count("forward_spans", "sent"), "span")),
        ("Queued", f"{waiting} in {_batches(int(batches))}" if batches else waiting),
        ("Tried again", words.counted(inlet.count("forward_retries"), "time")),
        ("Dropped", words.counted(inlet.count("forward_spans", "dropped"), "span")),
    ]


def reading(inlet: Inlet, now: datetime, interval: timedelta) -> tuple[str, str]:
    """How reading traces from MLflow stands: a word and its tone."""
    if (age := now - inlet.newest) > SILENT_SCRAPES * max(interval, MLFLOW_INTERVAL):
        return f"silent for {words.length(age)}", "bad"
    if inlet.levels.get("mlflow_up") != 1:
        return "MLflow does not answer", "bad"
    return ("reading", "ok") if inlet.count("mlflow_rows") else ("no request found", "none")


def read(inlet: Inlet) -> list[tuple[str, str]]:
    """What was read from MLflow over the span."""
    waiting, engines = (inlet.levels.get(f"mlflow_{n}_waiting") for n in ("traces", "engines"))
    return [
        ("Traces read", words.number(inlet.count("mlflow_traces"))),
        ("Requests written", words.number(inlet.count("mlflow_rows"))),
        ("Late or twice", words.counted(inlet.count("mlflow_rows_late"), "request")),
        ("Not ended yet", words.counted(int(waiting or 0), "trace")),
        ("Engine alone so far", words.counted(int(engines or 0), "request")),
    ]


def _batches(n: int) -> str:
    return f"{n:,} batch" + ("" if n == 1 else "es")


def _refused(inlet: Inlet) -> int:
    return inlet.count("otlp_answers") - inlet.count("otlp_answers", "200")


def _held(inlet: Inlet) -> str:
    traces, spans = (inlet.levels.get(f"otlp_{n}_held") for n in ("traces", "spans"))
    if traces is None or spans is None:
        return words.NO_DATA
    return f"{words.counted(int(traces), 'trace')}, {words.counted(int(spans), 'span')}"


def problems(events: list[EventFact]) -> list[EventFact]:
    """What went wrong, newest first."""
    return [e for e in events if e.kind == "problem"]
