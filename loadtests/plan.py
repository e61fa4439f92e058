"""A plan file: seed, phases and what their traffic is made of. Pure but for `read`.

    seed: 7
    run: drill-0042        # optional: changes request and session ids, never the traffic
    time_scale: 1          # divides the phases' lengths and the think times, never rates or answers
    sessions_per_s: 0.8    # of every phase that has none of its own
    mix: {locales: {ja-JP: 0.7, en-US: 0.3}}
    expected: {ttft_s: 0.05, token_s: 0.005}   # a server's speed; see loadtests/traffic.py
    phases:
      - {name: baseline, seconds: 60}
      - {name: burst, seconds: 30, sessions_per_s: 3}
      - {name: release, seconds: 1800, shape: release}
      - {name: knee, seconds: 240, shape: {kind: step, factor: 8, steps: 6}}
      - {name: long, seconds: 60, mix: {long_contexts: 0.4}}
      - {name: runaway, seconds: 60, mix: {runaway: {adapter: manga_domain_v3, output_tokens: 800}}}
      - {name: slots, seconds: 60, mix: {adapters: {manga_domain_v3: 1, jp_style_v1: 1, extra_v1: 1}}}
      - {name: oversize, seconds: 30, mix: {oversize: 0.12}}

A phase's `mix` overrides the plan's key by key. `locales`, `intents` and `adapters` are settled when a
session begins; everything else turn by turn, by the phase in which the turn is planned to start.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from collectors.validation import ConfigError, Strict, doubled, parse_yaml, validate
from loadtests.shapes import AnyShape, Shape, multiple, peak

MOST_SESSIONS = 1_000_000  # a day at more than 11 a second; beyond, somebody mistyped a rate
ROUTES: Mapping[tuple[str, str], str] = {
    **{("ja-JP", each): "jp_style_v1" for each in ("recommendation", "discovery", "product_question")},
    **{("en-US", each): "manga_domain_v3" for each in ("recommendation", "discovery", "product_question")},
    **{
        (loc, i): "general_support_v2"
        for loc in ("ja-JP", "en-US")
        for i in ("order", "return", "escalation")
    },
    **{(loc, each): "manga-base" for loc in ("ja-JP", "en-US") for each in ("chitchat", "faq")},
}
"""Which adapter a gateway chooses for a locale and an intent: what `adapters` and `runaway` are aimed by."""
LOCALES = tuple(sorted({locale for locale, _ in ROUTES}))
INTENTS = tuple(dict.fromkeys(intent for _, intent in ROUTES))

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Tokens = Annotated[int, Field(ge=1, le=32_768)]


def _some_weight(weights: Mapping[str, float]) -> Mapping[str, float]:
    if not any(weights.values()):
        raise ValueError("every weight is 0. Give one of them some weight")
    return weights


def _rising(bounds: tuple[int, int]) -> tuple[int, int]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"runs from {bounds[0]} down to {bounds[1]}. Write the smaller one first")
    return bounds


Weights = Annotated[dict[str, Weight], AfterValidator(_some_weight)]
Bounds = Annotated[tuple[Tokens, Tokens], AfterValidator(_rising)]


class Runaway(Strict):
    """An adapter that does not know when to stop: its answers take this many tokens."""

    adapter: str
    output_tokens: Tokens


class Mix(Strict):
    """What traffic is made of; shares are of turns, weights need not sum to anything."""

    locales: Annotated[dict[Literal["ja-JP", "en-US"], Weight], AfterValidator(_some_weight)] = Field(
        default={"ja-JP": 0.6, "en-US": 0.4}
    )
    intents: Weights = Field(
        default={
            "recommendation": 0.22,
            "discovery": 0.14,
            "product_question": 0.22,
            "order": 0.14,
            "return": 0.06,
            "escalation": 0.03,
            "chitchat": 0.09,
            "faq": 0.10,
        }
    )
    adapters: Weights | None = None
    """Weights of adapters. One that no intent leads to is asked for by name, as the request's model."""
    short_tokens: Bounds = (20, 40)
    long_tokens: Bounds = (200, 400)
    long_answers: Share = 0.3
    output_tokens: Bounds | None = None
    """Every answer's length, in place of the short and long ones."""
    long_contexts: Share = 0.0
    oversize: Share = 0.0
    runaway: Runaway | None = None
    think_s: float = Field(default=12.0, gt=0, le=3600)
    """Median of the time between an answer and the next question."""

    @field_validator("intents")
    @classmethod
    def _known_intents(cls, intents: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(set(intents) - set(INTENTS)):
            raise ValueError(f"{', '.join(unknown)}: no such intent. There are {', '.join(INTENTS)}")
        return intents


class Phase(Strict):
    """A stretch of time with one rate, shape and mix."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    seconds: float = Field(gt=0, le=86_400)
    sessions_per_s: float = Field(ge=0, le=1000)
    shape: AnyShape = Shape()
    mix: Mix = Mix()

    @field_validator("shape")
    @classmethod
    def _room_for_the_ramp(cls, shape: Shape, info: ValidationInfo) -> Shape:
        if shape.kind == "release" and "seconds" in info.data and shape.ramp_s > info.data["seconds"]:
            raise ValueError(
                f"a ramp of {shape.ramp_s:g} s does not fit. Lengthen the phase, or set a smaller ramp_s"
            )
        return shape

    def rate(self, at_s: float) -> float:
        """Sessions a second, `at_s` of the plan's own seconds into the phase."""
        return self.sessions_per_s * multiple(self.shape, at_s, self.seconds)

    @property
    def most(self) -> float:
        """The largest rate it reaches, sessions a second."""
        return self.sessions_per_s * peak(self.shape)


class Expected(Strict):
    """How fast a server is taken to answer, where a later turn's planned start depends on it."""

    ttft_s: float = Field(default=0.2, ge=0, le=60)
    token_s: float = Field(default=0.02, ge=0, le=10)


class Limits(Strict):
    """What keeps a run that goes wrong from running away."""

    in_flight: int = Field(default=2000, ge=1, le=50_000)
    """Requests open at once in one worker; the next ones wait, and their records say for how long."""
    request_s: float = Field(default=120.0, gt=0, le=3600)
    silence_s: float = Field(default=60.0, gt=0, le=3600)
    """How long a server may send nothing."""
    drain_s: float = Field(default=30.0, ge=0, le=3600)
    """How long requests that are open at the end may go on. No turn starts after the end."""


class Plan(Strict):
    """A whole run. `seed` decides every word and instant of it."""

    seed: int
    run: str = ""
    model: str = "mangaassist"
    path: str = Field(default="/v1/chat/completions", pattern="^/")
    passages: Literal["field", "message"] = "field"
    """Retrieved passages in a field of their own, or, for an engine without a gateway, in the message."""
    time_scale: float = Field(default=1.0, gt=0, le=1000)
    run_in_s: float = Field(default=300.0, ge=0, le=3600)
    """Sessions that began within this time before the start are met in the middle, so that the request rate
    is at its level from the first second on."""
    sessions_per_s: float | None = Field(default=None, ge=0, le=1000)
    mix: Mix = Mix()
    expected: Expected = Expected()
    phases: tuple[Phase, ...] = Field(max_length=200)
    limits: Limits = Limits()

    @field_validator("phases")
    @classmethod
    def _some_and_not_endless(cls, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        if not phases:
            raise ValueError("there is none. Write at least one, with name and seconds")
        if (most := sum(phase.most * phase.seconds for phase in phases)) > MOST_SESSIONS:
            raise ValueError(f"up to {most:,.0f} sessions, over {MOST_SESSIONS:,}. Lower a rate or a length")
        return phases

    @cached_property
    def ends_s(self) -> tuple[float, ...]:
        """When each phase ends, in seconds of the clock from the start."""
        return tuple(accumulate(phase.seconds / self.time_scale for phase in self.phases))

    @property
    def starts_s(self) -> tuple[float, ...]:
        """When each phase begins."""
        return (0.0, *self.ends_s[:-1])

    @property
    def end_s(self) -> float:
        """When the last phase ends."""
        return self.ends_s[-1]

    def phase_at(self, at_s: float) -> Phase:
        """The phase at an instant; before the start the first, after the end the last."""
        return self.phases[min(bisect_right(self.ends_s, at_s), len(self.phases) - 1)]


def read(file: Path) -> Plan:
    """The plan in a file. Raises ConfigError with every mistake in it."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), [f"cannot be read: {error}. Name a plan file"]) from error
    return parse(text, str(file))


def parse(text: str, file: str = "plan") -> Plan:
    """The plan in a text. Raises ConfigError with every mistake in it."""
    data = parse_yaml(text, file)
    return validate(Plan, _inherited(data), file, more=doubled(data, "phases"))


def digest(text: str) -> str:
    """What identifies a plan file in a report."""
    return hashlib.sha256(text.encode()).hexdigest()


def _inherited(data: Mapping[str, Any]) -> dict[str, Any]:
    """Each phase with the plan's rate and mix below its own."""
    phases = data.get("phases")
    if not isinstance(phases, list):
        return dict(data)
    return {**data, "phases": [_below(data, each) if isinstance(each, dict) else each for each in phases]}


def _below(data: Mapping[str, Any], phase: Mapping[str, Any]) -> dict[str, Any]:
    base, own = data.get("mix") or {}, phase.get("mix") or {}
    whole = dict(phase)
    if data.get("sessions_per_s") is not None:
        whole.setdefault("sessions_per_s", data["sessions_per_s"])
    if isinstance(base, dict) and isinstance(own, dict):
        whole["mix"] = {**base, **own}
    return whole
