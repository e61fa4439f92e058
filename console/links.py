"""Deep links: every selection is in the URL, so that what one person sees another can open."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

from console.views.frame import SPANS, Frame, instant_text, zone_label

DEFAULT_SPAN = "15m"


def to(path: str, frame: Frame, at: datetime | None = None, **selection: str | None) -> str:
    """A link to a screen as it is looked at now; `at` moves the instant, None keeps it (live stays live)."""
    shown = instant_text(at) if at is not None else None if frame.live else instant_text(frame.now)
    span = next((k for k, v in SPANS.items() if v == frame.span), DEFAULT_SPAN)
    query = {
        "tz": None if frame.zone == "UTC" else zone_label(frame.zone, frame.now),
        "at": shown,
        "span": None if span == DEFAULT_SPAN else span,
        **selection,
    }
    return _url(path, query)


def runbook(name: str, frame: Frame) -> str:
    """The runbook's page."""
    return to("runbooks", frame, page=name)


def request(request_id: str, frame: Frame) -> str:
    """The explanation of one request."""
    return to("slow-chat", frame, q=request_id)


def incident(name: str, frame: Frame) -> str:
    """The incident on the first screen."""
    return to("./", frame, incident=name)


def rule(name: str, frame: Frame) -> str:
    """The rule on the alerts screen."""
    return to("alerts", frame, rule=name)


def trace(ui: str, experiment: str, trace_id: str) -> str:
    """The trace in MLflow's own pages."""
    return f"{ui.rstrip('/')}/#/experiments/{experiment}/traces/tr-{trace_id}"


def _url(path: str, query: Mapping[str, str | None]) -> str:
    given = {k: v for k, v in query.items() if v}
    return f"{path}?{urlencode(given)}" if given else path or "./"
