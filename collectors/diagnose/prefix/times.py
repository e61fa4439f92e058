"""Instants in a text: dates and times of day in the forms that people and programs write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from collectors.diagnose.prefix.classes import Volatile

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DAY = (
    r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\b\.?"
    r"|[月火水木金土日]曜日?|[((][月火水木金土日][))]"
)
_NUMBER = r"(?<![\w.])(?<!\d[-/])"
_YEAR = r"(?:19|20|21)\d\d"
_DATE = re.compile(
    "|".join(
        [
            rf"{_NUMBER}{_YEAR}([-/.])\d{{1,2}}\1\d{{1,2}}(?!\d)",
            rf"{_NUMBER}{_YEAR}-(?:W\d\d(?:-\d)?|\d\d(?:\d)?)(?![-\d])",
            rf"(?<![\d.]){_YEAR}[01]\d[0-3]\d(?!\d)",
            r"(?<![\d./-])\d{1,2}([/-])\d{1,2}\2(?:\d{4}|\d\d)(?![\d/-])",
            r"(?<![\d.])\d{1,2}\.\d{1,2}\.\d{4}(?!\.?\d)",
            r"(?:(?:令和|平成|昭和)?(?:\d{1,4}|元)年\s*)?\d{1,2}月\s*\d{1,2}日",
            r"\d{4}年\s*\d{1,2}月",
            r"(?:本日|今日|today|date)[\s::は(]{0,3}\d{1,2}/\d{1,2}(?![\d/])",
            rf"\b\d{{1,2}}(?:st|nd|rd|th)?(?:\s+of)?[\s/-]+{_MONTH}(?:,?[\s/-]+{_YEAR})?\b",
            rf"\b{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s+{_YEAR})?\b",
            rf"\b{_MONTH}\s+{_YEAR}\b",
            rf"(?:\b|(?<=[^\x00-\x7f]))(?:{_DAY})",
        ]
    ),
    re.IGNORECASE | re.ASCII,  # 今日はNovember 9 has word ends too
)
_ZONE = r"(?:\s?(?:Z|UTC|GMT|JST|[ECMP][SD]T|[+-]\d\d:?\d\d)(?![A-Za-z\d]))?"
_CLOCK = re.compile(
    "|".join(
        [
            rf"(?<!\d)(?<!\d:)\d{{1,2}}:\d\d(?::\d\d(?:[.,]\d+)?)?(?![\d:])(?:\s?[ap]\.?m\b\.?)?{_ZONE}",
            rf"(?<=\d{{4}}:)\d\d:\d\d:\d\d{_ZONE}",
            rf"(?<![\d.]){_YEAR}[01]\d[0-3]\d[0-2]\d[0-5]\d(?:[0-5]\d)?(?!\d)",
            rf"(?<=\dT)\d{{4}}(?:\d\d)?(?:\.\d+)?{_ZONE}",
            r"\b\d{1,2}\s?[ap]\.?m\b\.?",
            r"(?:午前|午後)?\s?\d{1,2}時(?:\s?\d{1,2}分(?:\s?\d{1,2}秒)?|半)?(?!間)",
            r"\b\d{1,2}h\d\d\b",
        ]
    ),
    re.IGNORECASE | re.ASCII,  # 今日はNovember 9 has word ends too
)
_SINCE_1970 = re.compile(r"(?<![\w.])\d{10}(?:\d{3}){0,3}(?:\.\d{1,9})?(?!\w)", re.ASCII)
_FIRST_S, _LAST_S = 1_000_000_000, 2_500_000_000  # 2001 to 2049: other numbers of ten digits are ids
_TOGETHER = re.compile(r"(?:[\sT,、._|/·・:@(-]|at|の|of|on){0,4}", re.IGNORECASE)


def instant_at(text: str, at: int) -> tuple[Volatile, str] | None:
    """The instant that holds or touches the place: a timestamp where it has a time of day, else a date."""
    for start, end, kind in instants(text):
        if start <= at <= end:
            return kind, text[start:end]
    return None


def instants(text: str) -> Iterator[tuple[int, int, Volatile]]:
    """(start, end, kind) of every instant; a date and a time that stand together are one."""
    pieces = sorted(
        [
            *((*m.span(), Volatile.DATE) for m in _DATE.finditer(text)),
            *((*m.span(), Volatile.TIMESTAMP) for m in _CLOCK.finditer(text)),
            *((*m.span(), Volatile.TIMESTAMP) for m in _SINCE_1970.finditer(text) if _plausible(m[0])),
        ]
    )
    if not pieces:
        return
    groups = [[pieces[0]]]
    for before, piece in pairwise(pieces):
        if _TOGETHER.fullmatch(text[before[1] : piece[0]]):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    for group in groups:
        kinds = {kind for _, _, kind in group}
        whole = Volatile.TIMESTAMP if Volatile.TIMESTAMP in kinds else Volatile.DATE
        yield group[0][0], max(end for _, end, _ in group), whole


def _plausible(number: str) -> bool:
    whole = number.partition(".")[0]
    seconds = int(whole[:10])
    return _FIRST_S <= seconds <= _LAST_S
