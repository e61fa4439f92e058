"""A prompt's template before it is merged: does something volatile stand before text that never changes?

Jinja ({{ name }}), str.format ({name}), $name and %(name)s are read as text; nothing of them is run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

from collectors.diagnose.prefix.classes import FIXES, Volatile
from collectors.diagnose.prefix.divergence import BLOCK_TOKENS, diverge, estimate
from collectors.diagnose.prefix.labels import label_before
from collectors.diagnose.prefix.prompts import of_text

MAX_HOLES = 1000  # placeholders that are looked at: the first bad one is what is told
_HOLE = re.compile(
    r"\{\{-?\s*(?P<jinja>.{0,300}?)\s*-?\}\}|\{%-?\s*(?P<block>.{0,300}?)\s*-?%\}|\$\{(?P<braced>\w+)\}|\$(?P<bare>[A-Za-z_]\w*)"
    r"|%\((?P<percent>\w+)\)[sdrf]|(?<!\{)\{(?P<format>[A-Za-z_][\w.\[\]]*)(?:![rsa])?(?::[^{}\n]*)?\}(?!\})",
    re.DOTALL,
)
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_WORDS: Mapping[Volatile, re.Pattern[str]] = {
    Volatile.TIMESTAMP: re.compile(
        r"now|time|clock|timestamp|generated|strftime|epoch|時刻|日時", re.IGNORECASE
    ),
    Volatile.DATE: re.compile(r"date|today|day|日付", re.IGNORECASE),
    Volatile.UUID: re.compile(r"uuid|ulid|guid|nonce|random|salt", re.IGNORECASE),
    Volatile.RETRIEVAL_BEFORE_HISTORY: re.compile(
        r"passage|context|document|docs|retriev|search|result|snippet|knowledge|source", re.IGNORECASE
    ),
    Volatile.REORDERED_TOOLS: re.compile(r"tool|function", re.IGNORECASE),
}
_TALK = re.compile(r"history|message|turn|question|query|input|conversation|chat|dialog", re.IGNORECASE)
_SAMPLES: Mapping[Volatile, tuple[str, str]] = {
    Volatile.TIMESTAMP: ("2026-11-21T07:22:30Z", "2026-11-21T07:22:31Z"),
    Volatile.DATE: ("2026-11-21", "2026-11-22"),
    Volatile.UUID: ("0b0f43f2-7a53-4e2b-9f57-1c1a4c1f8f10", "7d1e9a44-02c6-4b8e-8a7d-5f2f9a6f1e21"),
    Volatile.SESSION_ID: ("ses-1a2b3c4d", "ses-9f8e7d6c"),
    Volatile.USER_ID: ("user-0042", "user-1177"),
    Volatile.REQUEST_ID: ("req-1a2b3c4d", "req-9f8e7d6c"),
    Volatile.COUNTER: ("17", "18"),
}
_ANY = ("first value", "second value")


@dataclass(frozen=True, slots=True)
class Hole:
    """A placeholder: its expression, where it begins and ends, and what it stands for; None is a constant."""

    expression: str
    start: int
    end: int
    kind: Volatile | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of a template: the first volatile placeholder with a block of fixed text behind it, and what it costs.

    `hole` is None where there is none: the template is sound. Tokens are estimated from characters.
    """

    hole: Hole | None
    line: int | None
    shared_tokens: int
    lost_tokens: int
    fix: str


def inspect(text: str, constants: Collection[str] = (), block: int = BLOCK_TOKENS) -> Verdict:
    """Whether requests that differ in time and ids would share the template's fixed text.

    `constants` are names of placeholders that are the same for all requests. A placeholder of a name that
    tells nothing counts as changing.
    """
    text = _COMMENT.sub("", text)
    holes = list(_holes(text, constants))
    changing = [hole for hole in holes if hole.kind is not None]
    for hole, lost in zip(changing, _fixed_behind(text, changing), strict=True):
        if hole.kind is not Volatile.CONVERSATION and lost >= block:
            return Verdict(hole, text.count("\n", 0, hole.start) + 1, _before(text, holes), lost, _fix(hole))
    return Verdict(None, None, _before(text, holes), 0, FIXES[Volatile.IDENTICAL])


def rendered(text: str, constants: Collection[str] = ()) -> tuple[str, str]:
    """The template as two requests would send it: at two instants, with two sets of ids."""
    text = _COMMENT.sub("", text)
    pieces: tuple[list[str], list[str]] = ([], [])
    end = 0
    for hole in _holes(text, constants):
        values = ("", "") if hole.kind is None else _SAMPLES.get(hole.kind, _ANY)
        for piece, value in zip(pieces, values, strict=True):
            piece += [text[end : hole.start], value]
        end = hole.end
    one, other = ("".join([*piece, text[end:]]) for piece in pieces)
    return one, other


def _before(text: str, holes: list[Hole]) -> int:
    """Tokens that two requests share, told by rendering it for both."""
    one, other = rendered(text, [h.expression for h in holes if h.kind is None])
    return diverge(of_text(one), of_text(other)).shared_tokens


def _holes(text: str, constants: Collection[str]) -> Iterator[Hole]:
    for match in islice(_HOLE.finditer(text), MAX_HOLES):
        expression = next(v for v in match.groupdict().values() if v is not None)
        tag = match.lastgroup == "block"
        if tag and not expression.startswith(("include", "import", "for")):
            continue
        constant = expression in constants or re.split(r"\W", expression)[0] in constants
        kind = None if constant else _kind(text, match.start(), expression)
        yield Hole(expression, match.start(), match.end(), kind)


def _kind(text: str, start: int, expression: str) -> Volatile:
    """What a placeholder stands for: by its own name first, then by the label before it."""
    if labelled := label_before(f"{expression} ", len(expression)):
        return labelled[0]
    for kind, pattern in _WORDS.items():
        if pattern.search(expression):
            return kind
    if _TALK.search(expression):
        return Volatile.CONVERSATION
    found = label_before(text, start)
    return found[0] if found else Volatile.UNKNOWN


def _fixed_behind(text: str, holes: Sequence[Hole]) -> list[int]:
    """Tokens of fixed text behind each placeholder."""
    ends = [*(hole.start for hole in holes[1:]), len(text)]
    pieces = [
        estimate(_HOLE.sub("", text[hole.end : end]))
        for hole, end in zip(holes, ends[: len(holes)], strict=True)
    ]
    return list(accumulate(reversed(pieces)))[::-1]


def _fix(hole: Hole) -> str:
    if hole.kind is Volatile.UNKNOWN:
        return f"Move {hole.expression} below the fixed text, or name it with --constant if it never changes."
    return FIXES[hole.kind or Volatile.UNKNOWN]
