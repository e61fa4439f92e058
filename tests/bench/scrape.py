"""Parsing and storing one scrape, beside prometheus_client's parser alone on the same texts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from collectors.settings import BUNDLED_RECORDING
from collectors.signals.exposition import read
from collectors.signals.increments import advance
from collectors.sources.recording import play, start
from collectors.sources.tape import Tape, load
from collectors.store.delta import DeltaWriter
from tests.bench.report import Figure, timed_ms

SCRAPES = 60  # a minute of the recording, and one commit every five of them, as the collector does
COMMIT_EVERY = 5


def figures(root: Path) -> list[Figure]:
    """Milliseconds for each scrape."""
    tape = load(BUNDLED_RECORDING)
    texts = [text for _, text in tape.scrapes[100 : 100 + SCRAPES]]
    peer = timed_ms(lambda: [list(text_string_to_metric_families(t)) for t in texts], 3) / SCRAPES
    name = "prometheus_client's parser alone"
    return [
        Figure("parse, increments", "ms", timed_ms(lambda: _parse(tape), 3) / SCRAPES, peer, name),
        Figure(
            "parse, increments, store", "ms", timed_ms(lambda: _store(tape, root), 3) / SCRAPES, peer, name
        ),
    ]


def _parse(tape: Tape) -> None:
    snapshot = None
    for at, text in tape.scrapes[100 : 100 + SCRAPES]:
        step = advance(snapshot, read(text), at, source="bench", replica="r", max_gap=timedelta(minutes=5))
        snapshot = step.snapshot


def _store(tape: Tape, root: Path) -> None:
    writer = DeltaWriter(str(root))
    head, _ = play(tape, start(tape), tape.scrape_times[99])
    for k in range(100, 100 + SCRAPES, COMMIT_EVERY):
        head, batch = play(tape, head, tape.scrape_times[k + COMMIT_EVERY - 1])
        writer.append("metrics", batch.metrics)
