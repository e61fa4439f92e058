"""Configuration text to values, with every mistake reported at once: file, key, what, remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


class ConfigError(Exception):
    """All mistakes of one file, a line each."""

    def __init__(self, file: str, mistakes: Iterable[str]) -> None:
        self.file, self.mistakes = file, tuple(mistakes)
        super().__init__("\n".join(f"{file}: {m}" for m in self.mistakes))


def duration(value: object) -> object:
    """A text such as 30s, 5m, 1h30m or 30d as a timedelta. A bare number has no unit, so it is refused."""
    if isinstance(value, timedelta):
        return value
    parts = _DURATION.findall(value) if isinstance(value, str) else []
    if not parts or "".join(n + u for n, u in parts) != str(value).replace(" ", ""):
        raise ValueError(f"{value!r} is no duration. Write 30s, 5m, 1h30m or 30d")
    return timedelta(seconds=sum(float(n) * _UNITS[u] for n, u in parts))


def _above_zero(value: timedelta) -> timedelta:
    if value <= timedelta():
        raise ValueError("has to be longer than 0s")
    return value


Duration = Annotated[timedelta, BeforeValidator(duration)]
Length = Annotated[Duration, AfterValidator(_above_zero)]


class Strict(BaseModel):
    """Base of everything read from a file: frozen, and an unknown key or a number like .nan is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


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


def validate(
    model: type[Model],
    data: Mapping[str, Any],
    file: str,
    context: Mapping[str, Any] | None = None,
    more: Iterable[str] = (),
) -> Model:
    """The data as the model. Raises ConfigError with every mistake, those in `more` among them.

    `context` is what the model's validators look things up in.
    """
    mistakes = list(more)
    try:
        valid = model.model_validate(data, context=context)
    except ValidationError as error:
        raise ConfigError(file, [_mistake(dict(e), data) for e in error.errors()] + mistakes) from error
    if mistakes:
        raise ConfigError(file, mistakes)
    return valid


def doubled(data: Mapping[str, Any], key: str) -> list[str]:
    """A mistake for every name that two entries of the list under the key share."""
    entries = data.get(key)
    names = [str(e.get("name")) for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    twice = sorted({n for n in names if names.count(n) > 1} - {"None"})
    return [f"{key}.{name}: is there twice. Rename one" for name in twice]


def _mistake(error: dict[str, Any], data: Mapping[str, Any]) -> str:
    where = _where(error["loc"], data)
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key. Remove it or correct its spelling"
    if error["type"] == "missing":
        return f"{where}: is missing. Add it"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {message} (it is {error['input']!r:.60})"


def _where(loc: Iterable[int | str], data: object) -> str:
    """The way to a key, with an entry's name in place of its number in the list."""
    parts: list[str] = []
    for step in loc:
        data = data[step] if isinstance(data, list) and isinstance(step, int) else _below(data, step)
        name = data.get("name") if isinstance(data, dict) and isinstance(step, int) else None
        parts.append(str(name or step))
    return ".".join(parts) or "the file"


def _below(data: object, step: int | str) -> object:
    return data.get(step) if isinstance(data, dict) else None
