"""Configuration text to values, with every mistake reported at once: file, key, what, remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


class ConfigError(Exception):
    """All mistakes of one file, a line each."""

    def __init__(self, file: str, mistakes: Iterable[str]) -> None:
        self.file, self.mistakes = file, tuple(mistakes)
        super().__init__("\n".join(f"{file}: {m}" for m in self.mistakes))


def duration(value: object) -> object:
    """A text such as 30s, 5m, 1h30m or 30d as a timedelta; other values pass through."""
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or "".join(n + u for n, u in parts) != value.replace(" ", ""):
        raise ValueError(f"{value!r} is no duration. Write 30s, 5m, 1h30m or 30d")
    return timedelta(seconds=sum(float(n) * _UNITS[u] for n, u in parts))


Duration = Annotated[timedelta, BeforeValidator(duration)]


class Strict(BaseModel):
    """Base of everything read from a file: frozen, and an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


Model = TypeVar("Model", bound=BaseModel)


def parse_yaml(text: str, file: str) -> dict[str, Any]:
    """The mapping at the top of a YAML text. Raises ConfigError."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(file, [f"not YAML: {' '.join(str(error).split())}"]) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(file, [f"holds a {type(data).__name__}. Its top level has to be keys and values"])
    return data


def validate(model: type[Model], data: Mapping[str, Any], file: str) -> Model:
    """The data as the model. Raises ConfigError with every mistake."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(file, [_mistake(dict(e), model) for e in error.errors()]) from error


def _mistake(error: dict[str, Any], model: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "the file"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key. Remove it or correct its spelling"
    if error["type"] == "missing":
        return f"{where}: is missing. Add it"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {message} (it is {error['input']!r:.60})"
