"""Which kind of value parts two lines: by the ids that are known, by its form, by what the text calls it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from collectors.diagnose.prefix.classes import Volatile
from collectors.diagnose.prefix.labels import counted_behind, label_before, named
from collectors.diagnose.prefix.times import instant_at, instants

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_LONG_HEX = re.compile(r"(?=.*\d)(?=.*[a-f])[0-9a-f]{12,}|[0-9a-f]{32,}", re.IGNORECASE)
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.IGNORECASE)
_TURNS_FOR_RANDOM = 3  # from letters to digits and back: words with a number in them turn once or twice
_RANDOM_LENGTH = 8
_FEW_WORDS = 8  # an insertion of more words than these around a value is a sentence that somebody wrote
_IDS = (Volatile.REQUEST_ID, Volatile.SESSION_ID, Volatile.USER_ID)
_LETTERS: Mapping[str, Volatile] = {
    "s": Volatile.SESSION_ID,
    "u": Volatile.USER_ID,
    "c": Volatile.USER_ID,
    "r": Volatile.REQUEST_ID,
}


@dataclass(frozen=True, slots=True)
class Word:
    """The run of characters without a space or bracket that holds a place: a value as a program prints it."""

    text: str
    start: int
    end: int
    before: str  # of its characters, those before the place


def known_id(
    one: str, other: str, at: int, ids: tuple[Mapping[str, str], Mapping[str, str]]
) -> Volatile | None:
    """The id that was handed in for both requests and stands in both texts where they part."""
    for kind in _IDS:
        mine, theirs = ids[0].get(kind), ids[1].get(kind)
        if mine and theirs and mine != theirs and _holds(one, at, mine) and _holds(other, at, theirs):
            return kind
    return None


def value_at(one: str, other: str, at: int) -> Volatile | None:
    """The class of the value that two lines write differently from `at` on; None where it is no value."""
    a, b = _word(one, at), _word(other, at)
    label = label_before(one, a.start, counts=bool(_number(a.text) and _number(b.text)))
    inside = _inside(a, b)
    if inside in _IDS:
        return inside
    found = _instant(one, other, at)
    if found and not (label and label[0] in (*_IDS, Volatile.COUNTER) and _may_be_id(a, b, label[1])):
        return found
    return _labelled(label, a, b, one, other) or _unlabelled(a, b, one, other)


def value_in(inserted: str) -> Volatile | None:
    """The first value in a text that only one of two prompts has; None where that is wording."""
    if len(inserted.split()) > _FEW_WORDS or len(inserted) > _FEW_WORDS * 16:
        return None
    first = next(instants(inserted), None)
    if first and label_before(inserted, first[0]) is None:
        return first[2]
    for word in re.finditer(r"[\w\-.@+]*\d[\w\-.@+]*", inserted, re.ASCII):
        here = word.start()
        label = label_before(inserted, here)
        if found := value_at(inserted, inserted[:here] + "?", here) if label is None else label[0]:
            return found
    return first[2] if first else None


def looks_random(word: str) -> bool:
    """Whether a generator wrote it rather than a person."""
    if _UUID.fullmatch(word) or _LONG_HEX.fullmatch(word) or _ULID.fullmatch(word):
        return True
    plain = re.sub(r"[\W_]", "", word)
    turns = len(re.findall(r"(?<=\d)(?=[a-z])|(?<=[a-z])(?=\d)", plain, re.IGNORECASE))
    return len(plain) >= _RANDOM_LENGTH and turns >= _TURNS_FOR_RANDOM


def _holds(text: str, at: int, wanted: str) -> bool:
    start = text.find(wanted, max(0, at - len(wanted)))
    return 0 <= start <= at


def _word(text: str, at: int) -> Word:
    start = end = at
    while start > 0 and _IN_WORD.match(text[start - 1]):
        start -= 1
    while end < len(text) and _IN_WORD.match(text[end]):
        end += 1
    while end > start and text[end - 1] in ".-":
        end -= 1
    return Word(text[start:end], start, end, text[start:at])


_IN_WORD = re.compile(r"[\w\-.@+]", re.ASCII)


def _inside(a: Word, b: Word) -> Volatile | None:
    """What the word's own beginning calls it: ses-1a2b, req_77, user-0042, s-9."""
    prefix = re.match(r"([A-Za-z]+)(?:[-_]|(?=\d))", a.before)
    if prefix is None or not (_digit(a.text) and _digit(b.text)):
        return None
    if len(prefix[1]) == 1:
        return _LETTERS.get(prefix[1].lower())
    found = label_before(prefix[0], len(prefix[0]))
    return found[0] if found else None


def _instant(one: str, other: str, at: int) -> Volatile | None:
    a, b = instant_at(one, at), instant_at(other, at)
    if a is None or b is None or a[1] == b[1]:
        return None
    return Volatile.TIMESTAMP if Volatile.TIMESTAMP in (a[0], b[0]) else Volatile.DATE


def _may_be_id(a: Word, b: Word, between: str) -> bool:
    """Whether what looks like an instant may be an id: plain digits, or where the text says "id"."""
    plain = all(word.text.replace(".", "").isdigit() for word in (a, b))
    return plain or re.search(r"(?<![a-z])id(?![a-z])|番号", between, re.IGNORECASE) is not None


def _labelled(label: tuple[Volatile, str] | None, a: Word, b: Word, one: str, other: str) -> Volatile | None:
    if label is None:
        return None
    kind, between = label
    if kind is Volatile.COUNTER:
        return kind if _number(a.text) and _number(b.text) else None
    if kind in _IDS:
        if _digit(a.text) and _digit(b.text):
            return Volatile.COUNTER if _counted(a, b, one, other) else kind
        return kind if named(between) and (a.text or b.text) else None
    return kind if _digit(a.text) and _digit(b.text) and named(between) else None


def _unlabelled(a: Word, b: Word, one: str, other: str) -> Volatile | None:
    if looks_random(a.text) and looks_random(b.text):
        return Volatile.UUID
    return Volatile.COUNTER if _counted(a, b, one, other) else None


def _counted(a: Word, b: Word, one: str, other: str) -> bool:
    """Whether both are numbers, and what follows makes them a count."""
    numbers = _number(a.text), _number(b.text)
    return all(numbers) and all(
        counted_behind(line, word.start + len(number))
        for line, word, number in ((one, a, numbers[0]), (other, b, numbers[1]))
    )


def _number(text: str) -> str:
    """The digits of a plain number or an ordinal; "" of any other word."""
    found = re.fullmatch(r"(\d{1,9})(?:st|nd|rd|th)?", text, re.IGNORECASE)
    return found[1] if found else ""


def _digit(text: str) -> bool:
    return any(c.isdigit() for c in text)
