"""Where two prompts part, and of which class the thing is that parts them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from collectors.diagnose.prefix.classes import FIXES, Volatile
from collectors.diagnose.prefix.layout import (
    heads,
    history_follows,
    in_conversation,
    in_passages,
    moved,
    passages_among,
)
from collectors.diagnose.prefix.order import reordered
from collectors.diagnose.prefix.prompts import TURNS, Prompt
from collectors.diagnose.prefix.spans import Split, first_difference, line, regions, shown, split
from collectors.diagnose.prefix.values import known_id, looks_random, value_at, value_in

BLOCK_TOKENS = 16  # vLLM's usual block size
ASCII_PER_TOKEN = 4
_BLANK = re.compile(r"[\s\u200b\ufeff]+")
_SAME_TEXT = 64  # characters that follow alike: more than two speakers would say by chance
_SAME_BEHIND = 16  # characters that have to agree behind white space that does not
Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where prompts part: `character` counts within the segment, `token` and `block` from the head."""

    segment: str
    character: int
    token: int
    block: int


@dataclass(frozen=True, slots=True)
class Divergence:
    """What parts two prompts; `place` is None where nothing does.

    `shared_blocks` are the whole blocks that both begin with: an engine finds no less and no more again.
    `tokens` is the length of the second prompt. `estimated` says that tokens are counted from characters.
    """

    kind: Volatile
    place: Place | None
    one: str
    other: str
    shared_tokens: int
    shared_blocks: int
    tokens: int
    estimated: bool
    fix: str


def diverge(
    one: Prompt, other: Prompt, block: int = BLOCK_TOKENS, encode: Encode | None = None
) -> Divergence:
    """Where and why the prompts part; `block` is in tokens, `encode` the model's tokenizer."""
    found = split(one, other)
    shared, tokens = _tokens(one, other, found, encode)
    kind = Volatile.IDENTICAL if found is None else kind_of(found)
    place, spans = None, ("", "")
    if found is not None:
        name = next(s.name for s in reversed(found.segments) if s is not None)
        place = Place(name, found.at, shared, shared // block)
        spans = (shown(found.texts[0], found.at), shown(found.texts[1], found.at))
    return Divergence(
        kind, place, *spans, shared, shared // block, tokens, estimated=encode is None, fix=FIXES[kind]
    )


def kind_of(found: Split) -> Volatile:
    """The class of the first difference."""
    one, other = found.texts
    if _continues(found):
        return Volatile.APPENDED
    if known := known_id(one, other, found.at, (found.one.ids, found.other.ids)):
        return known
    if _blank(one, other, found.at):
        return Volatile.WHITESPACE
    if in_passages(found) and history_follows(found):
        return Volatile.RETRIEVAL_BEFORE_HISTORY
    if moved(found):
        return Volatile.RETRIEVAL_BEFORE_HISTORY if passages_among(found) else Volatile.TEMPLATE_CHANGE
    return _within(found, one, other)


def estimate(text: str) -> int:
    """Tokens of a text where no tokenizer is at hand: four characters of ASCII, or one of anything else."""
    plain = len(text.encode("ascii", "ignore"))
    return plain // ASCII_PER_TOKEN + len(text) - plain


def _within(found: Split, one: str, other: str) -> Volatile:
    """Of a difference inside a segment: an order, a value, or wording."""
    turn = any(s is not None and s.role in TURNS for s in found.segments)
    if turn and _in_newest_turn(found):
        return Volatile.CONVERSATION
    if order := reordered(one, other, found.at):
        return order
    value = _value(one, other, found.at)
    if in_conversation(found) and not (value and _stands_apart(found, one, other)):
        return Volatile.CONVERSATION
    return value or _wording(one, other, found.at)


def _value(one: str, other: str, at: int) -> Volatile | None:
    (a, place), (b, _) = line(one, at), line(other, at)
    if found := value_at(a, b, place):
        return found
    mine, theirs = regions(one, other, at)
    if bool(mine.strip()) != bool(theirs.strip()):
        return value_in(mine or theirs)
    return None


def _stands_apart(found: Split, one: str, other: str) -> bool:
    """Whether a value below a turn's heading is no talk: it stands alone there, or the same text follows."""
    if in_passages(found):
        return False
    mine, theirs = regions(one, other, found.at)
    same = first_difference(one[found.at + len(mine) :], other[found.at + len(theirs) :])
    turn = any(s is not None and s.role in TURNS for s in found.segments)
    return same >= _SAME_TEXT or (not turn and heads(one, found.at) and heads(other, found.at))


def _wording(one: str, other: str, at: int) -> Volatile:
    a, b = (shown(text, at).split(" ", 1)[0] for text in (one, other))
    return Volatile.UNKNOWN if looks_random(a) or looks_random(b) else Volatile.TEMPLATE_CHANGE


def _continues(found: Split) -> bool:
    """Whether one prompt ends where they part, so that the other only goes on."""
    return any(
        len(prompt.segments) <= found.number + 1 and found.at == len(text) and (text or found.number)
        for prompt, text in zip((found.one, found.other), found.texts, strict=True)
    )


def _blank(one: str, other: str, at: int) -> bool:
    """Whether the texts go on alike without their white space."""
    if not any(_BLANK.search(text[max(0, at - 1) : at + 1]) for text in (one, other)):
        return False
    a, b = (_BLANK.sub("", text[at : at + 1000])[: _SAME_BEHIND * 4] for text in (one, other))
    same = first_difference(a, b)
    return same >= _SAME_BEHIND or same == len(a) == len(b)


def _in_newest_turn(found: Split) -> bool:
    return all(found.number >= len(p.segments) - 1 for p in (found.one, found.other))


def _tokens(one: Prompt, other: Prompt, found: Split | None, encode: Encode | None) -> tuple[int, int]:
    """(tokens both begin with, tokens of the other prompt)."""
    if encode is not None:
        a, b = encode(one.text), encode(other.text)
        same = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        return same, len(b)
    whole = estimate(other.text)
    if found is None:
        return whole, whole
    heads = "".join(s.rendered for s in other.segments[: found.number])
    segment = found.segments[1]
    inside = segment.head + segment.text[: found.at] if segment and found.at else ""
    return estimate(heads + inside), whole
