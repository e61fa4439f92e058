"""What customers ask, what the shop answered and what it looked up, in two languages. Pure but for the file.

Every text follows from its seed and `phrases.yaml`. Lengths are in tokens as the staging model counts them,
estimated from characters; a verdict on lengths comes from the usage that the engine reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import yaml

PHRASES = Path(__file__).with_name("phrases.yaml")
# Measured with the staging model's tokenizer on 4,500 generated prompts.
CHARACTERS_PER_TOKEN: Mapping[str, float] = {"ja-JP": 3.0, "en-US": 4.3}
SEPARATORS: Mapping[str, str] = {"ja-JP": "", "en-US": " "}
PASSAGE_SENTENCES: Mapping[str, int] = {"ja-JP": 9, "en-US": 6}  # about 110 tokens
SENTENCES = 1000
NEW_TOPIC_SHARE = 0.35  # of later turns asks something of its own; the others follow up


@cache
def phrases() -> Mapping[str, Any]:
    """The phrases by locale."""
    loaded: Mapping[str, Any] = yaml.safe_load(PHRASES.read_text(encoding="utf-8"))
    return loaded


def topics(locale: str) -> int:
    """How many titles the shop has in a language."""
    return len(phrases()[locale]["titles"])


def question(locale: str, intent: str, topic: int, *, first: bool, seed: str) -> str:
    """What a customer asks: with the first turn always something of its own."""
    rng = Random(seed)
    own = first or rng.random() < NEW_TOPIC_SHARE
    source = phrases()[locale]
    templates = source["questions"][intent] if own else source["follow_ups"]
    return _filled(rng.choice(templates), locale, topic, rng)


def oversize(locale: str, tokens: int, seed: str) -> str:
    """A question with far too much pasted into it."""
    return answer(locale, tokens, seed)


def answer(locale: str, tokens: int, seed: str) -> str:
    """An answer of about so many tokens: a piece of one long text, from the start of some sentence on.

    Cut out, not composed: the load generator must not spend milliseconds on history while streams wait.
    """
    text, starts = _said(locale)
    begin = starts[crc32(seed.encode()) % len(starts)]
    end = begin + int(tokens * CHARACTERS_PER_TOKEN[locale])
    return (text * (end // len(text) + 1))[begin:end].rstrip()


@cache
def passage(locale: str, topic: int, about: str) -> str:
    """A passage on a title: the same for everybody who asks the same, so an engine may share its prefix."""
    return rare_passage(locale, topic, f"{locale}/{topic}/{about}")


def rare_passage(locale: str, topic: int, seed: str) -> str:
    """A passage that nobody else gets."""
    rng = Random(seed)
    sentences = rng.sample(phrases()[locale]["passages"], PASSAGE_SENTENCES[locale])
    return SEPARATORS[locale].join(_filled(each, locale, topic, rng) for each in sentences)


@cache
def _said(locale: str) -> tuple[str, list[int]]:
    """Everything the shop ever says, and where its sentences start."""
    rng, text, starts = Random(locale), "", []
    for _ in range(SENTENCES):
        starts.append(len(text))
        text += _filled(rng.choice(phrases()[locale]["answers"]), locale, rng.randrange(topics(locale)), rng)
        text += SEPARATORS[locale]
    return text, starts


def _filled(template: str, locale: str, topic: int, rng: Random) -> str:
    source = phrases()[locale]
    return template.format(
        title=source["titles"][topic],
        author=source["authors"][topic % len(source["authors"])],
        genre=source["genres"][topic % len(source["genres"])],
        volume=rng.randint(1, 24),
        order=f"M{rng.randrange(10**7):07}",
    )
