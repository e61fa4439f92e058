"""How many tokens a text is: by the engine's own tokenizer, or estimated where none is configured."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer

from collectors.validation import ConfigError

# Rough, and on the safe side for English in a large vocabulary; Japanese is about a token a character.
ASCII_PER_TOKEN = 4
REMEMBERED = 1024  # texts: the prefix comes with every request, the history with every turn
LONGEST_REMEMBERED = 16_384  # characters, so that the memory stays below 64 MB
# No token of a byte-level vocabulary of chat texts is longer; text beyond it need not be tokenised to be cut.
CHARACTERS_PER_TOKEN = 24


class Counter(Protocol):
    """Counts, and cuts."""

    estimated: bool

    def count(self, text: str) -> int:
        """Tokens of the text."""

    def head(self, text: str, tokens: int) -> str:
        """The longest beginning of the text with at most so many tokens."""


class Exact:
    """The engine's own tokenizer."""

    estimated = False

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._remembered = lru_cache(REMEMBERED)(self._count)

    def count(self, text: str) -> int:
        """Tokens of the text, special marks of a chat template not among them."""
        return self._remembered(text) if len(text) <= LONGEST_REMEMBERED else self._count(text)

    def head(self, text: str, tokens: int) -> str:
        """Cut at a token's end; a character that is several tokens is left out whole."""
        if len(text) <= LONGEST_REMEMBERED and self.count(text) <= tokens:
            return text
        near = text[: max(0, tokens) * CHARACTERS_PER_TOKEN]
        offsets = self._tokenizer.encode(near, add_special_tokens=False).offsets
        return near if len(offsets) <= tokens else near[: offsets[tokens][0]]

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))


class Estimated:
    """By character: four of ASCII, or one of anything else, is a token."""

    estimated = True

    def __init__(self) -> None:
        self._remembered = lru_cache(REMEMBERED)(self._count)

    def count(self, text: str) -> int:
        """Tokens of the text, rounded up."""
        return self._remembered(text) if len(text) <= LONGEST_REMEMBERED else self._count(text)

    def head(self, text: str, tokens: int) -> str:
        """Cut where the estimate is spent."""
        near = text[: max(0, tokens) * ASCII_PER_TOKEN]
        if self.count(near) <= tokens:
            return near
        quarters = tokens * ASCII_PER_TOKEN
        for end, character in enumerate(near):
            quarters -= 1 if character.isascii() else ASCII_PER_TOKEN
            if quarters < 0:
                return near[:end]
        return near

    def _count(self, text: str) -> int:
        plain = len(text.encode("ascii", "ignore"))
        return -(-plain // ASCII_PER_TOKEN) + len(text) - plain


def counter(file: Path | None) -> Counter:
    """The tokenizer in the file, or the estimate where there is none. Raises ConfigError."""
    if file is None:
        return Estimated()
    try:
        return Exact(Tokenizer.from_file(str(file)))
    except Exception as error:  # the library raises the bare class
        remedy = "Name the tokenizer.json of the engine's model, or null to estimate"
        raise ConfigError("tokenizer", [f"{file} is no tokenizer: {error}. {remedy}"]) from error
