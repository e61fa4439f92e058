"""Which adapter and prompt answer a request: by intent and locale, and by share of a candidate. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from loadtests.staging.gateway.config import Adapter, Canary, Candidate, GatewayConfig, Route
from loadtests.staging.gateway.refusals import Refusal

FULL_PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Target:
    """What answers. `variant` is primary, canary, fallback or shadow."""

    adapter: Adapter
    prompt_version: str
    variant: str = "primary"

    def backend_version(self, base: str) -> str:
        """Such as manga-base+manga_domain_v3; the base model alone has no plus."""
        return base if self.adapter.served == base else f"{base}+{self.adapter.name}"


def choose(config: GatewayConfig, model: str, intent: str | None, locale: str | None) -> Target:
    """The primary target: a model asked for by name, or the first route that fits. Raises Refusal."""
    known = config.by_name()
    if model == config.model:
        route = next(r for r in config.routes if _fits(r, intent, locale))
        return Target(known[route.adapter], config.prompt_version)
    named = known.get(model) or next((a for a in known.values() if a.served == model), None)
    if named is None:
        names = ", ".join([config.model, *known])
        raise Refusal(404, "model_not_found", f"no model {model!r}; there are {names}", param="model")
    return Target(named, config.prompt_version)


def vary(config: GatewayConfig, target: Target, key: str, now: datetime) -> Target:
    """The canary for its share of keys, else the target. A key stays with it while the share grows."""
    canary = config.canary
    if canary is None or not _concerns(canary, target) or bucket_percent(key) >= share_percent(canary, now):
        return target
    return _candidate(config, canary, target, "canary")


def shadow(config: GatewayConfig, target: Target, request_id: str) -> Target | None:
    """What is asked besides, for its share of requests."""
    tried = config.shadow
    if tried is None or not _concerns(tried, target) or bucket_percent(request_id) >= tried.percent:
        return None
    return _candidate(config, tried, target, "shadow")


def share_percent(canary: Canary, now: datetime) -> float:
    """0 before the start, then from from_percent to to_percent in a straight line."""
    if now < canary.start:
        return 0.0
    done = min(1.0, (now - canary.start) / canary.over)
    return canary.from_percent + done * (canary.to_percent - canary.from_percent)


def bucket_percent(key: str) -> float:
    """A number in [0, 100) that is always the same for the key, and even over keys."""
    return int.from_bytes(sha256(key.encode()).digest()[:4]) / 2**32 * FULL_PERCENT


def _fits(route: Route, intent: str | None, locale: str | None) -> bool:
    return (not route.intents or intent in route.intents) and (not route.locales or locale in route.locales)


def _concerns(candidate: Candidate, target: Target) -> bool:
    return candidate.replaces is None or candidate.replaces == target.adapter.name


def _candidate(config: GatewayConfig, candidate: Candidate, target: Target, variant: str) -> Target:
    adapter = config.by_name()[candidate.adapter] if candidate.adapter else target.adapter
    return Target(adapter, candidate.prompt_version or target.prompt_version, variant)
