"""A drill as a file: what traffic comes in which phase, what is broken, and which alerts have to say so."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from collectors.diagnose.causes import Cause
from collectors.validation import ConfigError, Length, Strict, doubled, parse_yaml, validate
from loadtests.plan import parse as parse_plan

DRILLS = Path(__file__).parent / "drills"
FaultKind = Literal[
    "volatile_prefix",  # where: timestamp_head | session_middle
    "engine_stall",  # SIGSTOP, then SIGCONT
    "engine_kill",  # SIGKILL, then started again
    "metrics_blocked",  # the engine's metrics are not reached; chat is
    "mlflow_blocked",  # MLflow is stopped, then started again
    "rejections",  # the gateway admits next to nothing: a storm of 429
]


class Fault(Strict):
    """What is broken, and when, from the start of its phase; mended at the phase's end at the latest."""

    kind: FaultKind
    where: Literal["timestamp_head", "session_middle"] | None = None
    after: Length | None = None
    lasts: Length | None = None

    @model_validator(mode="after")
    def _a_place_for_the_prefix_alone(self) -> Fault:
        if (self.kind == "volatile_prefix") != (self.where is not None):
            raise ValueError("`where` belongs to volatile_prefix: timestamp_head or session_middle")
        return self


class Expected(Strict):
    """An alert that has to fire within a time of the fault, or of the phase's start without one."""

    alert: str
    within: Length
    component: str | None = None
    cause: Cause | None = None


class Phase(Strict):
    """A stretch of the drill. Everything under `traffic` goes to the load generator as it stands.

    `quiet` phases are controls: an alert that fires in one is false. `counts` is off for phases in which
    the drill only recovers: their requests and alerts are shown and not judged.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    lasts: Length
    traffic: dict[str, Any]
    faults: tuple[Fault, ...] = ()
    expect: tuple[Expected, ...] = ()
    quiet: bool = False
    counts: bool = True

    @property
    def broken(self) -> bool:
        """Whether something is wrong in it: a fault, or traffic that an alert has to speak of."""
        return bool(self.faults or self.expect)

    @model_validator(mode="after")
    def _fits(self) -> Phase:
        if self.quiet and (self.expect or self.faults):
            raise ValueError("a quiet phase breaks nothing and expects nothing")
        if {"seconds", "name"} & self.traffic.keys():
            raise ValueError("traffic takes its name and length from the phase")
        for fault in self.faults:
            if (fault.after or timedelta()) >= self.lasts:
                raise ValueError(f"{fault.kind} begins after the phase has ended")
        return self


class Limits(Strict):
    """What makes a measurement invalid, and what has to be held for a pass."""

    offered_share: float = 0.95  # of the planned sessions, begun
    schedule_lag_p99_ms: float = 250.0
    generator_cpu_share: float = 0.8  # of one core
    scrape_gap: Length = timedelta(seconds=5)
    hit_ratio_low: float = 0.4  # of the first quiet phase: production's conversations share about that much
    goodput_share: float = 0.5  # of the requests of phases without a fault, answered in time
    recovery: Length = timedelta(seconds=45)


class Drill(Strict):
    """A drill. `clock_scale` divides every window and `for` of rules and SLOs."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    proves: Literal["instrumentation", "capacity"]
    seed: int = 42
    clock_scale: float = Field(default=1.0, ge=1)
    load: dict[str, Any] = Field(default_factory=dict)  # of every phase: rate, mix, limits; loadtests/plan.py
    thresholds: dict[str, float] = Field(default_factory=dict)
    """Of rules, in place of their own: what this drill's engine has to keep, where it is not production's."""
    ttft_ms: float = 500.0  # a request is good if its first token came so soon after its intended time
    limits: Limits = Limits()
    phases: tuple[Phase, ...] = Field(min_length=1)

    @property
    def seconds(self) -> float:
        """How long its phases last together."""
        return sum(p.lasts.total_seconds() for p in self.phases)


def named(name: str) -> Path:
    """The file of a shipped drill, or the path that was meant. Raises ConfigError with the names."""
    shipped = DRILLS / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    if Path(name).is_file():
        return Path(name)
    raise ConfigError(name, [f"no such drill. There are: {', '.join(names())}; or give a file"])


def names() -> list[str]:
    """The shipped drills."""
    return sorted(f.stem for f in DRILLS.glob("*.yaml"))


def parse(text: str, file: str, rules: frozenset[str]) -> Drill:
    """The drill. Raises ConfigError with every mistake: its traffic's, and alerts that no rule fires."""
    data = parse_yaml(text, file)
    drill = validate(Drill, data, file, more=doubled(data, "phases"))
    wrong = [
        f"phases.{p.name}.expect: no rule is called {e.alert}. Correct its name"
        for p in drill.phases
        for e in p.expect
        if e.alert not in rules
    ]
    wrong += [f"thresholds: no rule is called {name}. Correct it" for name in drill.thresholds.keys() - rules]
    try:
        parse_plan(plan(drill), file)
    except ConfigError as error:
        wrong += error.mistakes
    if wrong:
        raise ConfigError(file, wrong)
    return drill


def plan(drill: Drill) -> str:
    """What the load generator is given."""
    phases = [{"name": p.name, "seconds": p.lasts.total_seconds(), **p.traffic} for p in drill.phases]
    whole = {"seed": drill.seed, "run": drill.name, **drill.load, "phases": phases}
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)
