"""Prompts: the byte-identical head of every request, and the check that keeps it so.

An engine's prefix cache compares tokens from the first one on: one timestamp at the head of the prompt, and
nothing behind it is found again. Such content belongs below the prefix, into the turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from collectors.diagnose.prefix.divergence import diverge
from collectors.diagnose.prefix.prompts import of_text
from collectors.diagnose.prefix.spans import first_difference as split_at
from collectors.signals import fingerprints
from collectors.validation import ConfigError, Strict, parse_yaml, validate

BYTES = 200_000  # no prompt is longer; a wrong file may be


@dataclass(frozen=True, slots=True)
class Prompt:
    """One version's prefix; `segments` are its parts with their first characters."""

    version: str
    text: str
    segments: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What a trace says of a prefix: fingerprint, block hashes, and where it leaves its version's text."""

    fingerprint: str
    blocks: str
    divergence: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Content that would change from request to request: what, and where it stands."""

    what: str
    line: int
    column: int
    excerpt: str

    def __str__(self) -> str:
        return f"line {self.line} column {self.column}: {self.what} {self.excerpt!r}"


class _File(Strict):
    version: str
    system: str
    policy: str


def load(folder: Path, version: str) -> Prompt:
    """The prompt of a version. Raises ConfigError with every mistake and all volatile content."""
    file = folder / f"{version}.yaml"
    found = validate(_File, parse_yaml(_text(file), str(file)), str(file))
    mistakes = [
        f"{part} {finding}. Move it below the prefix, or leave it out"
        for part, text in (("system", found.system), ("policy", found.policy))
        for finding in volatile(text)
    ]
    if found.version != version:
        mistakes.append(
            f"version: says {found.version!r}, and the file is called {version}. Make them the same"
        )
    if mistakes:
        raise ConfigError(str(file), mistakes)
    system = f"{found.system.rstrip()}\n\n"
    return Prompt(version, f"{system}{found.policy.rstrip()}\n", (("system", 0), ("policy", len(system))))


@lru_cache(64)  # a prefix that is as stable as it should be is looked at once
def told(prompt: Prompt, prefix: str) -> Told:
    """What a trace says of the prefix that was sent for a version; it holds none of its text."""
    found = fingerprints.fingerprint(prefix, prompt.segments)
    at = split_at(prompt.text, prefix)
    where = None if prefix == prompt.text else _parted(_Sent(prompt, at, len(prefix), prefix))
    return Told(found.digest, fingerprints.blocks_text(found), where)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A prefix as it was sent, known by where it leaves its version's text and by its length."""

    prompt: Prompt
    at: int
    length: int
    text: str = field(compare=False)


@lru_cache(
    64
)  # what changes with every request changes in one way: classing it each time takes a millisecond
def _parted(sent: _Sent) -> str | None:
    """class@block of where a prefix leaves its version's text; None where it does not."""
    found = diverge(of_text(sent.prompt.text), of_text(sent.text))
    return f"{found.kind}@{found.place.block}" if found.place else None


def volatile(text: str) -> list[Finding]:
    """Everything in the text that is not the same for every request, in order of place."""
    found = [*_matches(text), *_unsorted(text)]
    return sorted(found, key=lambda f: (f.line, f.column))


def first_difference(one: str, other: str) -> int | None:
    """Byte offset at which two renderings of one version part; None where they are identical."""
    a, b = one.encode(), other.encode()
    if a == b:
        return None
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


# In this order: of two that begin at the same place, the first names it.
_VOLATILE: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "a timestamp": r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?\b",
        "a Japanese date": r"\d{4}年\d{1,2}月\d{1,2}日",
        "a time of day": r"\b\d{1,2}:\d\d:\d\d(?:\.\d+)?\b",
        "seconds or milliseconds since 1970": r"\b1[5-9]\d{8}(?:\d{3})?\b",
        "a UUID": r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
        "an identifier": r"\b(?:session|request|trace|user|conversation|customer)[ _-]?id\b\s*[:=]\s*\S+",
        "a session or request number": r"\b(?:sess(?:ion)?|req(?:uest)?|trace|conv)[-_]\w*\d\w*",
        "a long random number": r"\b(?=[0-9a-f]*\d)[0-9a-f]{16,}\b",
        "a placeholder": (
            r"\{\{.*?\}\}|\{%.*?%\}|\$\{[^}]*\}|\{[a-z_][\w.]*(?:![rsa])?(?::[^{}]*)?\}"
            r"|%\([a-z_]\w*\)[sdrf]|<(?:session|request|user|date|time|now)[^>]*>"
        ),
    }.items()
}
_EXCERPT = 60


def _matches(text: str) -> Iterator[Finding]:
    taken: list[tuple[int, int]] = []
    for what, pattern in _VOLATILE.items():
        for match in pattern.finditer(text):
            if not any(start < match.end() and match.start() < end for start, end in taken):
                taken.append(match.span())
                yield _finding(what, text, match.start(), match.group())


def _unsorted(text: str) -> Iterator[Finding]:
    """JSON with keys in no order: it was written from a dict, and the next build may order it otherwise."""
    decoder = json.JSONDecoder()
    for start in (m.start() for m in re.finditer(r'\{\s*"', text)):
        try:
            data, end = decoder.raw_decode(text, start)
        except ValueError:
            continue
        if list(data) != sorted(data):
            yield _finding("JSON with unsorted keys", text, start, text[start:end])


def _finding(what: str, text: str, start: int, excerpt: str) -> Finding:
    before = text[:start]
    column = start - (before.rfind("\n") + 1) + 1
    return Finding(what, before.count("\n") + 1, column, excerpt[:_EXCERPT])


def _text(file: Path) -> str:
    try:
        raw = file.read_bytes()[: BYTES + 1]
    except OSError as error:
        raise ConfigError(
            str(file), [f"cannot be read: {error.strerror}. Write it, or name another"]
        ) from error
    if len(raw) > BYTES:
        raise ConfigError(str(file), [f"is longer than {BYTES} bytes. No prompt is; name the right file"])
    return raw.decode(errors="replace")
