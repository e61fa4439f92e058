"""The first difference of two texts, and the spans around it that differ."""

from __future__ import annotations

from dataclasses import dataclass

from collectors.diagnose.prefix.prompts import Prompt, Segment

STEP = 4096
NEAR, FAR = 160, 2000  # characters behind a difference in which the texts may meet again
MEET = 8  # as many equal characters are a meeting; fewer are chance, more would miss short fields
SHOWN = 60


@dataclass(frozen=True, slots=True)
class Split:
    """Two prompts and where they part: in segment `number`, at the character `at` of its text."""

    one: Prompt
    other: Prompt
    number: int
    at: int

    @property
    def texts(self) -> tuple[str, str]:
        """The texts of the segment in which they part; "" where a prompt has ended before."""
        return _text(self.one, self.number), _text(self.other, self.number)

    @property
    def segments(self) -> tuple[Segment | None, Segment | None]:
        """The segment in which they part, of either."""
        return _segment(self.one, self.number), _segment(self.other, self.number)


def split(one: Prompt, other: Prompt) -> Split | None:
    """Where two prompts part; None where they are the same."""
    for number, (a, b) in enumerate(zip(one.segments, other.segments, strict=False)):
        if (a.role, a.text) != (b.role, b.text):
            return Split(one, other, number, first_difference(a.text, b.text) if a.role == b.role else 0)
    same = min(len(one.segments), len(other.segments))
    return None if len(one.segments) == len(other.segments) else Split(one, other, same, 0)


def first_difference(one: str, other: str) -> int:
    """How many characters two texts share from their first one on."""
    at, end = 0, min(len(one), len(other))
    while at < end and one[at : at + STEP] == other[at : at + STEP]:
        at = min(at + STEP, end)
    low, high = at, min(at + STEP, end)
    while low < high:  # the longest equal piece of a step, by halves
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[at:middle] == other[at:middle] else (low, middle - 1)
    return low


def regions(one: str, other: str, at: int) -> tuple[str, str]:
    """What differs from `at` on, until the texts meet again or FAR is over."""
    met = None
    for reach in (NEAR, FAR):  # nearly always they meet near by, and looking far takes a millisecond
        met = met or _meeting(one[at : at + reach], other[at : at + reach])
    a_length, b_length = met or (FAR, FAR)
    return one[at : at + a_length], other[at : at + b_length]


def _meeting(a: str, b: str) -> tuple[int, int] | None:
    """Where two texts first go on alike, with the least of both left out; None where they do not."""
    first: dict[str, int] = {}
    for place in range(len(b) - MEET, -1, -1):
        first[b[place : place + MEET]] = place
    met = [
        (place + first[gram], place, first[gram])
        for place in range(len(a) - MEET + 1)
        if (gram := a[place : place + MEET]) in first
    ]
    return min(met)[1:] if met else None


def line(text: str, at: int, reach: int = 120) -> tuple[str, int]:
    """The line that holds the character `at`, cut to `reach` on both sides, and where in it that stands."""
    start = max(text.rfind("\n", 0, at) + 1, at - reach)
    end = text.find("\n", at)
    return text[start : min(end if end >= 0 else len(text), at + reach)], at - start


def shown(text: str, at: int) -> str:
    """The word at a place with what follows it, short enough for a line."""
    start = at
    while start > 0 and at - start < SHOWN // 2 and not text[start - 1].isspace():
        start -= 1
    found = text[start : at + SHOWN].split("\n", 1)
    return found[0] if found[0] or len(found) == 1 else "⏎" + found[1].split("\n", 1)[0][:SHOWN]


def _segment(prompt: Prompt, number: int) -> Segment | None:
    return prompt.segments[number] if number < len(prompt.segments) else None


def _text(prompt: Prompt, number: int) -> str:
    found = _segment(prompt, number)
    return found.text if found else ""
