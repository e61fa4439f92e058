"""A certificate as JSON for programs, Markdown for a pull request, and HTML for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from loadtests.certificate import Certificate
from loadtests.promises import Kept

HERE = Path(__file__).parent
TABLES = ("phases", "adapters", "turns", "prompts")
JSON, MARKDOWN, HTML = "certificate.json", "certificate.md", "certificate.html"


def write(c: Certificate, out: Path) -> list[Path]:
    """All three files; what was there before is replaced."""
    files = {
        JSON: as_json(c),
        MARKDOWN: _templated(c, "certificate.md.j2"),
        HTML: _templated(c, "certificate.html.j2"),
    }
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    return [out / name for name in files]


def as_json(c: Certificate) -> str:
    """One document; instants in ISO 8601, lengths in seconds."""
    return json.dumps(_data(c), default=_plain, ensure_ascii=False, indent=1)


def _data(c: Certificate) -> dict[str, Any]:
    def groups(found: tuple[Kept, ...]) -> list[dict[str, Any]]:
        return [_group(k) for k in found]

    return {
        **{k: v for k, v in asdict(c).items() if k not in {*TABLES, "detections"}},
        "detections": [
            {
                "phase": d.phase,
                "alert": d.expected.alert,
                "component": d.expected.component,
                "within_s": d.expected.within.total_seconds(),
                "fired_at": d.fired_at,
                "since_injection_s": d.since_injection_s,
                "since_harm_s": d.since_harm_s,
                "in_time": d.in_time,
                "expected_cause": d.expected.cause,
                "cause": d.cause,
                "right_cause": d.right_cause,
            }
            for d in c.detections
        ],
        "phases": groups(c.phases),
        "adapters": groups(c.adapters),
        "turns": groups(c.turns),
        "prompts": groups(c.prompts),
    }


def _group(k: Kept) -> dict[str, Any]:
    slos = [
        {
            "name": v.slo.name,
            "verdict": v.verdict,
            "share": v.share,
            "low": v.low,
            "high": v.high,
            "count": v.count,
        }
        for v in k.slos
    ]
    return {n: getattr(k, n) for n in k.__slots__ if n != "slos"} | {"slos": slos}


def _templated(c: Certificate, name: str) -> str:
    # a Markdown text is not HTML; everything that lands in HTML is escaped
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(ms=_ms, tenths=_tenths, share=_share, seconds=_seconds, instant=_instant)
    tables = [("Phases", c.phases), ("Adapters", c.adapters), ("Turns", c.turns), ("Prompts", c.prompts)]
    return environment.get_template(name).render(c=c, tables=tables)


def _ms(value: float | None) -> str:
    return "no data" if value is None else f"{value:,.0f} ms"


def _tenths(value: float | None) -> str:
    return "not told" if value is None else f"{value:,.1f} ms"


def _share(value: float | None) -> str:
    return "no data" if value is None else f"{value:.1%}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def _instant(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"no JSON for {type(value).__name__}")
