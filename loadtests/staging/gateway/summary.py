"""What older turns said, in a few lines. Extractive and deterministic: the same turns give the same bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from loadtests.staging.gateway.asking import Turn
from loadtests.staging.gateway.tokens import Counter

TITLE = "Earlier in this conversation ({turns} older turns, first sentences only):"
LEFT_OUT = "[… {turns} still older turns left out …]"
SENTENCE = re.compile(r".*?[.!?。！？](?=\s|$|[^\x00-\x7f])|.+", re.DOTALL)
SENTENCE_CHARACTERS = 160


def summarise(older: Sequence[Turn], tokens: int, counter: Counter) -> str:
    """The first sentence of as many turns as fit, newest kept, in the order in which they were said."""
    title = TITLE.format(turns=len(older))
    left = tokens - counter.count(title) - counter.count(LEFT_OUT)
    kept: list[str] = []
    for turn in reversed(older):
        line = f"{turn.role}: {first_sentence(turn.content)}"
        left -= counter.count(line) + 1
        if left < 0:
            break
        kept.append(line)
    missing = len(older) - len(kept)
    gap = [LEFT_OUT.format(turns=missing)] if missing else []
    return "\n".join([title, *gap, *reversed(kept)])


def first_sentence(text: str) -> str:
    """Up to its end mark, English or Japanese, and never longer than 160 characters."""
    begin = " ".join(text[: 4 * SENTENCE_CHARACTERS].split())
    found = SENTENCE.match(begin)
    sentence = found.group() if found else begin
    return sentence if len(sentence) <= SENTENCE_CHARACTERS else sentence[: SENTENCE_CHARACTERS - 1] + "…"
