"""Files that `mangaops prefix` reads: prompts, templates, and a model's tokenizer."""

from __future__ import annotations

from pathlib import Path

from collectors.diagnose.prefix.divergence import Encode
from collectors.diagnose.prefix.prompts import Prompt
from collectors.diagnose.prefix.reading import MAX_BYTES, MAX_TEMPLATE, decoded, prompt
from collectors.validation import ConfigError


def prompt_file(path: Path) -> Prompt:
    """The prompt in a file. Raises ConfigError."""
    return prompt(_bytes(path), str(path))


def template_file(path: Path) -> str:
    """The text of a template. Raises ConfigError."""
    return decoded(_bytes(path), str(path), MAX_TEMPLATE)


def tokenizer(path: Path | None) -> Encode | None:
    """The tokenizer in a tokenizer.json; None without one. Raises ConfigError."""
    if path is None:
        return None
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        remedy = "Install mangaops[staging], or leave --tokenizer out to estimate"
        raise ConfigError("--tokenizer", [f"needs the library tokenizers. {remedy}"]) from error
    try:
        loaded = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises the bare class
        remedy = "Name the tokenizer.json of the engine's model, or leave it out to estimate"
        raise ConfigError(str(path), [f"is no tokenizer: {error}. {remedy}"]) from error
    return lambda text: list(loaded.encode(text, add_special_tokens=False).ids)


def _bytes(path: Path) -> bytes:
    """A file's bytes, one more than are allowed where it is longer."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        remedy = "Name a file with a rendered prompt, or a request's id"
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}. {remedy}"]) from error
