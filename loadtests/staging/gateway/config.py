"""What the gateway can be told: one YAML file, checked as a whole."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from collectors.validation import Length, Strict, doubled, parse_yaml, validate

DEFAULT = Path(__file__).parent / "gateway.yaml"
PROMPTS = Path(__file__).parent / "prompts"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Adapter(Strict):
    """A LoRA adapter or the base model: our name for it, and the engine's."""

    name: Name
    served: Name


class Route(Strict):
    """Intents and locales that an adapter answers; empty is any."""

    adapter: Name
    intents: tuple[str, ...] = ()
    locales: tuple[str, ...] = ()


class Budget(Strict):
    """Tokens that each part of a request may take."""

    context_tokens: Count = 4096
    prefix_tokens: Count = 1500
    retrieval_tokens: Count = 900
    recent_tokens: Count = 900
    summary_tokens: Count = 300
    generation_tokens: Count = 400

    @model_validator(mode="after")
    def _fits(self) -> Self:
        parts = (self.prefix_tokens, self.retrieval_tokens, self.recent_tokens, self.summary_tokens)
        if (total := sum(parts) + self.generation_tokens) > self.context_tokens:
            raise ValueError(
                f"its parts are {total} tokens, more than context_tokens {self.context_tokens}. Lower a part"
            )
        return self

    def halved(self) -> Budget:
        """The budget of a second try after an engine ran out of memory; the prefix cannot shrink."""
        parts = ("retrieval_tokens", "recent_tokens", "summary_tokens")
        return self.model_copy(update={part: max(1, getattr(self, part) // 2) for part in parts})


class Admission(Strict):
    """How many requests are let in."""

    concurrent: Count = 256
    queued: Annotated[int, Field(ge=0, le=100_000)] = 256
    wait: Length
    rate_per_s: Annotated[float, Field(gt=0, le=100_000)] = 200
    burst: Count = 400


class Limits(Strict):
    """Bounds of a request's body and of the time that its answer takes."""

    body_bytes: Count = 524_288
    messages: Count = 400
    answer: Length


class Engine(Strict):
    """How patient the gateway is with the engine."""

    connect: Length
    silence: Length


class Failure(StrEnum):
    """Why an engine could not serve, as far as another may."""

    OOM = "oom"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"


class Fallback(Strict):
    """The backend that takes over."""

    kind: Literal["none", "openai", "bedrock"] = "none"
    model: Name = "manga-base"
    after: tuple[Failure, ...] = (Failure.OOM, Failure.UNAVAILABLE)
    region: str = "ap-northeast-1"
    endpoint: str | None = None


class Candidate(Strict):
    """What is tried beside the primary: another adapter, another prompt, or both; None stays as it was."""

    replaces: Name | None = None  # whose requests; None is everybody's
    adapter: Name | None = None
    prompt_version: Name | None = None

    @model_validator(mode="after")
    def _differs(self) -> Self:
        if self.adapter is None and self.prompt_version is None:
            raise ValueError("changes nothing. Name an adapter, a prompt_version or both")
        return self


class Canary(Candidate):
    """A candidate that answers a growing share of sessions."""

    start: AwareDatetime
    from_percent: Percent = 0
    to_percent: Percent
    over: Length


class Shadow(Candidate):
    """A candidate that is asked the same, and whose answer only the comparison log sees."""

    percent: Percent
    concurrent: Annotated[int, Field(ge=1, le=64)] = 4


class Comparison(Strict):
    """Where the figures of shadow and canary are kept."""

    file: Path | None = None
    max_bytes: Count = 10_000_000


class WarmUp(Strict):
    """What happens before the first client is served."""

    enabled: bool = True
    max_tokens: Count = 4
    retry: Length


class Drain(Strict):
    """How the gateway ends."""

    notice: Length
    limit: Length


class Faults(Strict):
    """What drills break."""

    volatile_prefix: Literal["none", "timestamp_head", "session_middle"] = "none"
    skip_budget: bool = False
    reject_share: Annotated[float, Field(ge=0, le=1)] = 0.0


class GatewayConfig(Strict):
    """The whole file."""

    model: Name = "mangaassist"
    prompt_version: Name
    prompts: Path | None = None
    tokenizer: Path | None = None
    capture_text: bool = False
    base: Adapter
    adapters: tuple[Adapter, ...] = ()
    routes: tuple[Route, ...]
    budget: Budget = Budget()
    admission: Admission
    limits: Limits
    engine: Engine
    fallback: Fallback = Fallback()
    canary: Canary | None = None
    shadow: Shadow | None = None
    comparison: Comparison = Comparison()
    warm_up: WarmUp
    drain: Drain
    faults: Faults = Faults()

    @model_validator(mode="after")
    def _known(self) -> Self:
        unknown = sorted({n for n in self._mentioned() if n is not None} - set(self.by_name()))
        if unknown:
            raise ValueError(
                f"unknown adapter {', '.join(unknown)}. Known are {', '.join(self.by_name())}; add it"
            )
        if not self.routes or self.routes[-1].intents or self.routes[-1].locales:
            raise ValueError("the last route has to fit every request: leave out its intents and locales")
        return self

    def by_name(self) -> dict[str, Adapter]:
        """Base model and adapters by our names."""
        return {each.name: each for each in (self.base, *self.adapters)}

    def prompt_versions(self) -> list[str]:
        """Every prompt that a request may get."""
        tried = (c.prompt_version for c in (self.canary, self.shadow) if c)
        return sorted({self.prompt_version, *(v for v in tried if v)})

    def _mentioned(self) -> list[str | None]:
        candidates = [c for c in (self.canary, self.shadow) if c]
        return [r.adapter for r in self.routes] + [n for c in candidates for n in (c.replaces, c.adapter)]


def parse(text: str, file: str) -> GatewayConfig:
    """The file's text as configuration. Raises ConfigError with every mistake."""
    data: dict[str, Any] = parse_yaml(text, file)
    return validate(GatewayConfig, data, file, more=doubled(data, "adapters"))
