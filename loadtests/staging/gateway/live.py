"""The configuration in force: read, checked as a whole, and read again when its file changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from collectors.validation import ConfigError
from loadtests.staging.gateway import prompts
from loadtests.staging.gateway.assembly import rendered
from loadtests.staging.gateway.config import PROMPTS, GatewayConfig, parse
from loadtests.staging.gateway.prompts import Prompt
from loadtests.staging.gateway.tokens import Counter, counter

EVERY_S = 0.5
CONFIG_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Setup:
    """What a request is served with, from its first moment to its last."""

    config: GatewayConfig
    prompts: Mapping[str, Prompt]
    counter: Counter


def load(file: Path) -> Setup:
    """The file and everything that it names. Raises ConfigError with every mistake."""
    config = parse(_text(file), str(file))
    found: dict[str, Prompt] = {}
    mistakes: list[str] = []
    counts = counter(config.tokenizer)
    for version in config.prompt_versions():
        try:
            found[version] = prompts.load(config.prompts or PROMPTS, version)
        except ConfigError as error:
            mistakes += [f"{error.file}: {mistake}" for mistake in error.mistakes]
        else:
            mistakes += _too_long(config, found[version], counts)
    if mistakes:
        raise ConfigError(str(file), mistakes)
    return Setup(config, found, counts)


def unstable(setup: Setup) -> list[str]:
    """Prompts that are not the same bytes for two sessions at two instants, and where they differ."""
    fault = setup.config.faults.volatile_prefix
    one, other = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=1)
    found = {
        version: prompts.first_difference(
            rendered(prompt.text, fault, "session-a", one), rendered(prompt.text, fault, "session-b", other)
        )
        for version, prompt in setup.prompts.items()
    }
    return [
        f"prompt {version}: byte {at} differs between two requests; faults.volatile_prefix is {fault}"
        for version, at in found.items()
        if at is not None
    ]


class Live:
    """The setup in force. `watch` replaces it; whoever serves takes it once for each request."""

    def __init__(self, file: Path, setup: Setup) -> None:
        self._file = file
        self._seen = _look(file)
        self.setup = setup

    async def watch(self, told: Callable[[str, Mapping[str, Any]], None]) -> None:
        """Look every half second, until cancelled; `told` hears of what was taken and what was refused."""
        while True:
            await asyncio.sleep(EVERY_S)
            seen = _look(self._file)
            if seen != self._seen:
                self._seen = seen
                self._take(told)

    def _take(self, told: Callable[[str, Mapping[str, Any]], None]) -> None:
        try:
            self.setup = load(self._file)
        except ConfigError as error:
            told("config_refused", {"reasons": error.mistakes, "in_force": "the one before"})
        else:
            told("config_taken", described(self.setup))


def described(setup: Setup) -> dict[str, Any]:
    """What a reader of the log needs to know of a setup."""
    config = setup.config
    return {
        "prompt_version": config.prompt_version,
        "adapters": [a.name for a in config.adapters],
        "canary": config.canary.model_dump(mode="json") if config.canary else None,
        "shadow": config.shadow.model_dump(mode="json") if config.shadow else None,
        "tokens": "estimated from characters" if setup.counter.estimated else "counted",
        "faults": config.faults.model_dump(mode="json"),
        "unstable": unstable(setup),
    }


def _too_long(config: GatewayConfig, prompt: Prompt, counts: Counter) -> list[str]:
    tokens, allowed = counts.count(prompt.text), config.budget.prefix_tokens
    if tokens <= allowed:
        return []
    what = f"prompt {prompt.version} is {tokens} tokens, more than budget.prefix_tokens {allowed}"
    return [f"{what}. Shorten it, or give it more"]


def _text(file: Path) -> str:
    try:
        return file.read_bytes()[:CONFIG_BYTES].decode(errors="replace")
    except OSError as error:
        raise ConfigError(
            str(file), [f"cannot be read: {error.strerror}. Name a file with --config"]
        ) from error


def _look(file: Path) -> tuple[int, int] | None:
    """(mtime, size); None while the file is not there."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
