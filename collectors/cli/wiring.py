"""What several commands need: settings with their flags, the book of rules and SLOs, store and clock."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from collectors.judge.rules import parse_rules
from collectors.judge.slo import parse_slos
from collectors.judging import Book
from collectors.model import RequestFact
from collectors.settings import Settings, load_settings, runbook_pages
from collectors.store.opening import open_reader
from collectors.store.reader import Reader
from collectors.validation import ConfigError, duration

COLUMNS = tuple(f.name for f in fields(RequestFact))


def clock() -> datetime:
    """The present, UTC. Only the command line and the daemon's caller read it."""
    return datetime.now(UTC)


def settings(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Settings with the command line's flags on top. Raises ConfigError."""
    return load_settings(config, None, flags)


def book(chosen: Settings) -> Book:
    """Rules and SLOs as the settings name them. Raises ConfigError with the mistakes of both files."""
    rules_text, slos_text = _text(chosen.rules), _text(chosen.slos)
    pages = runbook_pages()
    digest = hashlib.sha256((rules_text + slos_text).encode()).hexdigest()[:12]
    mistakes: list[str] = []
    parsed: list[Any] = []
    for parse in (
        lambda: parse_rules(rules_text, str(chosen.rules), pages),
        lambda: parse_slos(slos_text, str(chosen.slos), COLUMNS, pages),
    ):
        try:
            parsed.append(parse())
        except ConfigError as error:
            mistakes += [f"{error.file}: {m}" for m in error.mistakes]
    if mistakes:
        raise ConfigError("rules and SLOs", mistakes)
    return Book(parsed[0], parsed[1], chosen.clock_scale, chosen.slo_interval, digest)


def reader(chosen: Settings) -> Reader:
    """The store's reader, by the engine of the settings."""
    return open_reader(chosen.store, chosen.query_engine, chosen.duckdb_memory)


_OFFSET = re.compile(r"^([+-])(\S+)$")


def parse_instant(text: str, now: datetime, first: datetime | None) -> datetime:
    """ISO 8601 (UTC unless it says otherwise), Unix seconds, -10m (before now), +70s (after the first fact).

    Raises ValueError with the forms that are understood.
    """
    if (offset := _OFFSET.match(text)) and isinstance(length := duration(offset[2]), timedelta):
        return now - length if offset[1] == "-" else (first or now) + length
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        forms = "Write 2026-11-21T07:22:30Z, Unix seconds, -10m (before now) or +70s (after the first fact)"
        raise ValueError(f"{text!r} is no instant. {forms}") from error
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read ({error.strerror}). Name another file"]) from error
