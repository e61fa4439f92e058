"""Drills as a person reads them: certificates, one beside another, and one that is still running."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.views import words

TONES: Mapping[str, str] = {
    "pass": "ok",
    "fail": "bad",
    "invalid": "warn",
    "running": "info",
    "stopping": "info",
    "stopped": "none",
    "not begun": "bad",
    "broken off": "none",
    "unreadable": "bad",
}
GOING = ("running", "stopping")
LAST_LINES, WIDEST = 20, 300
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")  # colours and the like
FIGURES = (
    ("TTFT P50", "ttft_p50_ms"),
    ("TTFT P95", "ttft_p95_ms"),
    ("TTFT P99", "ttft_p99_ms"),
    ("Total P99", "e2e_p99_ms"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """A line of a drill's progress."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Drill:
    """A drill's folder. `state` is its verdict, or how far it came without one; `data` its certificate.

    `said` is the end of what it printed, where a console started it; `stoppable`, that its process runs.
    """

    name: str
    state: str
    began: datetime | None
    steps: tuple[Step, ...] = ()
    data: Mapping[str, Any] | None = None
    said: tuple[str, ...] = ()
    stoppable: bool = False

    @property
    def title(self) -> str:
        """What it is called on screen."""
        return str(self.data["title"]) if self.data else self.name

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in GOING


def unfinished(*, runs: bool, asked: bool, begun: bool) -> str:
    """A drill without a certificate, in words: whether it runs, was asked to stop, and saw a phase begin."""
    if runs:
        return "stopping" if asked else "running"
    if asked:
        return "stopped"
    return "broken off" if begun else "not begun"


def last_words(text: str) -> tuple[str, ...]:
    """The last lines of what a drill printed, without blank ones and control characters, each bounded."""
    lines = [CONTROLS.sub("", line).rstrip()[:WIDEST] for line in text.splitlines()]
    return tuple([line for line in lines if line][-LAST_LINES:])


def steps(lines: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Progress lines in words."""
    said = {
        "inject": "{what} begins",
        "mend": "{what} is over",
        "phase": "phase {what}",
        "end": "all phases are over",
    }
    return tuple(
        Step(
            datetime.fromisoformat(str(line["at"])),
            said[str(line["do"])].format(what=words.title(str(line["what"]))),
        )
        for line in lines
        if line.get("do") in said
    )


def detections(data: Mapping[str, Any]) -> list[tuple[str, str, str, str, str, str, bool]]:
    """(phase, alert, allowed, after injection, after first harm, cause, in time) of each expected alert."""
    return [
        (
            words.title(d["phase"]),
            words.title(d["alert"]),
            _seconds(d["within_s"]),
            _seconds(d["since_injection_s"], "did not fire"),
            _seconds(d["since_harm_s"]),
            words.title(d["cause"]) if d.get("cause") else "–",
            bool(d["in_time"]) and d.get("right_cause") is not False,
        )
        for d in data["detections"]
    ]


def groups(data: Mapping[str, Any], kind: str) -> list[tuple[str, ...]]:
    """A row for each phase, adapter or turn: name, offered, failed, good, and the latencies."""
    return [
        (
            words.title(g["group"]),
            f"{g['offered']:,}",
            f"{g['failed']:,}",
            words.amount(g["goodput"], "ratio"),
            *(words.amount(g[key], "ms") for _, key in FIGURES),
        )
        for g in data.get(kind, ())
    ]


def compared(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(what, this, the other, change): the rate that was held, then latencies of what both have."""
    held = (one["knee"]["held"], other["knee"]["held"])
    rate = ("Requests a second that were held", _rate(held[0]), _rate(held[1]), _change(*held))
    return [rate, *(row for kind in ("phases", "prompts") for row in _latencies(one, other, kind))]


def _latencies(
    one: Mapping[str, Any], other: Mapping[str, Any], kind: str
) -> Iterator[tuple[str, str, str, str]]:
    theirs = {g["group"]: g for g in other.get(kind, ())}
    for g in one.get(kind, ()):
        for label, key in FIGURES if g["group"] in theirs else ():
            a, b = g[key], theirs[g["group"]][key]
            named = f"{words.title(g['group'])}: {label}"
            yield named, words.amount(a, "ms"), words.amount(b, "ms"), _change(a, b)


def _rate(held: float | None) -> str:
    return "none" if held is None else f"{held:.1f}"


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What makes two drills hard to compare: another drill, seed, clock or configuration."""
    pairs = (
        ("drill", one["drill"], other["drill"]),
        ("seed", one["seed"], other["seed"]),
        ("clock", f"×{one['clock_scale']:g}", f"×{other['clock_scale']:g}"),
        ("configuration", one["provenance"]["configuration"], other["provenance"]["configuration"]),
        ("engine", _engine(one), _engine(other)),
    )
    return [f"{name}: {a} here, {b} there" for name, a, b in pairs if a != b]


def load(data: Mapping[str, Any]) -> str:
    """How much was held, in a sentence."""
    k = data["knee"]
    if not k["held"]:
        return "No rate was held."
    broke = f"broke at {k['broken']:.1f}" if k["broken"] else "no rate of this drill broke it"
    return f"Held {k['held']:.1f} requests a second; {broke}."


def _engine(data: Mapping[str, Any]) -> str:
    return str(data["provenance"]["engine"].get("version") or "unknown")


def _seconds(value: float | None, otherwise: str = "–") -> str:
    return otherwise if value is None else f"{value:.1f} s"


def _change(a: float | None, b: float | None) -> str:
    return "–" if a is None or not b else f"{(a - b) / b:+.0%}"
