"""Fingerprints of prefixes: whether two differ and from about which block on, without a word of their text.

Blocks are chained as an engine's are: a block's hash covers its parent's. So two prefixes that agree on the
hash of block 8 agree on all eight. https://docs.vllm.ai/en/latest/design/prefix_caching/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

DIGEST, BLOCKS, DIVERGENCE = (
    f"mangaassist.prefix_{name}" for name in ("fingerprint", "blocks", "divergence")
)
# Attributes of spans that carry a prompt: MLflow's, and those of OpenTelemetry's conventions, new and old.
PROMPTS = frozenset({"mlflow.spanInputs", "gen_ai.input.messages", "gen_ai.prompt"})
BLOCK_CHARACTERS = 64  # sixteen tokens of four characters
MAX_PROMPT = 1_000_000  # characters of JSON that are read for one span
_HEX = 6  # digits of a block's hash: by chance, one pair in 16 million looks alike
_MAX_SEGMENTS, _MAX_NAME = 4, 12
_SYSTEM = frozenset({"system", "developer"})


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is kept of a prefix.

    `digest` changes with any byte. `marks` are (blocks, hash of all of them): 1, 2, 4, 8 … and all `blocks`.
    `segments` are (name, block in which it begins). `divergence` is how a sender's prompt differs from
    its version's, as class@block; "" where it does not, or nobody looked.
    """

    digest: str
    blocks: int = 0
    marks: tuple[tuple[int, str], ...] = ()
    segments: tuple[tuple[str, int], ...] = ()
    divergence: str = ""


def digest(text: str) -> str:
    """16 hex digits that change with any byte of a text."""
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


@lru_cache(64)  # a prefix that is as stable as it should be is hashed once
def fingerprint(text: str, segments: tuple[tuple[str, int], ...] = ()) -> Fingerprint:
    """The fingerprint of a prefix; `segments` are (name, first character)."""
    hashes = block_hashes(_blocks(text))
    named = tuple((name[:_MAX_NAME], at // BLOCK_CHARACTERS) for name, at in segments[:_MAX_SEGMENTS])
    marks = tuple((count, hashes[count - 1]) for count in _marked(len(hashes)))
    return Fingerprint(digest(text), len(hashes), marks, named)


def block_hashes(blocks: Iterable[bytes]) -> list[str]:
    """Each block's hash, chained; a block is the bytes of its characters or of its tokens."""
    found, parent = [], b""
    for block in blocks:
        parent = sha256(parent + block).digest()
        found.append(parent.hex()[:_HEX])
    return found


def apart(one: Fingerprint, other: Fingerprint) -> tuple[int, int] | None:
    """(blocks that both begin with, blocks within which they have parted); None where they are the same."""
    if one.digest == other.digest:
        return None
    mine, theirs = dict(one.marks), dict(other.marks)
    known = sorted(mine.keys() & theirs.keys())
    same = max((count for count in known if mine[count] == theirs[count]), default=0)
    parted = min((count for count in known if mine[count] != theirs[count]), default=None)
    return same, parted or max(one.blocks, other.blocks) + 1


def segment_at(found: Fingerprint, block: int) -> str | None:
    """The segment that holds a block; None where segments are not known."""
    return next((name for name, first in reversed(found.segments) if first <= block), None)


def blocks_text(found: Fingerprint) -> str:
    """All but the digest, as a span carries it: `blocks:hash.hash:segment@block,segment@block`."""
    marks = ".".join(hashed for _, hashed in found.marks)
    return f"{found.blocks}:{marks}:{','.join(f'{name}@{block}' for name, block in found.segments)}"


def written(told: Mapping[str, Any]) -> str | None:
    """The column's text from a span's attributes; None where it has none."""
    parts = [_text(told, name) for name in (DIGEST, BLOCKS, DIVERGENCE)]
    if not parts[0]:
        return None
    return parts[0] if not any(parts[1:]) else f"{parts[0]}:{parts[1] or '0::'}:{parts[2]}"


def read(text: str | None) -> Fingerprint | None:
    """A fingerprint from its column; of one that is a digest alone, that. None where it cannot be read."""
    parts = (text or "").split(":")
    if not parts[0]:
        return None
    try:
        count, hashes, segments, divergence = int(parts[1]), parts[2].split("."), parts[3], parts[4]
        named = tuple((s.rpartition("@")[0], int(s.rpartition("@")[2])) for s in segments.split(",") if s)
    except (IndexError, ValueError):
        return Fingerprint(parts[0])
    marks = tuple(zip(_marked(count), hashes, strict=False)) if 0 < count <= MAX_PROMPT else ()
    return Fingerprint(parts[0], count, marks, named, divergence)


def of_prompt(text: str) -> dict[str, str]:
    """Attributes for a span whose prompt this is, as JSON; none where no prefix can be told from it."""
    if len(text) > MAX_PROMPT or '"role"' not in text:
        return {}
    try:
        return of_messages(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def of_messages(data: Any) -> dict[str, str]:
    """The same of a list of messages, or of a body that holds one.

    The prefix is the first message, where that is the system's: what follows belongs to the conversation.
    """
    prefix = _prefix(data)
    if not prefix:
        return {}
    found = fingerprint(prefix)
    return {DIGEST: found.digest, BLOCKS: blocks_text(found)}


def _prefix(data: Any) -> str:
    messages = data.get("messages") if isinstance(data, Mapping) else data
    first = messages[0] if isinstance(messages, list) and messages else None
    if not isinstance(first, Mapping) or first.get("role") not in _SYSTEM:
        return ""
    content = first.get("content") or first.get("parts")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) else ()
    return "".join(str(p.get("text") or p.get("content") or "") for p in parts if isinstance(p, Mapping))


def _blocks(text: str) -> Iterator[bytes]:
    """The whole blocks: what is left at the end is none to an engine either."""
    for start in range(0, len(text) - BLOCK_CHARACTERS + 1, BLOCK_CHARACTERS):
        yield text[start : start + BLOCK_CHARACTERS].encode(errors="surrogatepass")


def _marked(count: int) -> list[int]:
    """1, 2, 4, 8 … and the last."""
    powers = [1 << n for n in range(count.bit_length())] if count else []
    return powers if not powers or powers[-1] == count else [*powers, count]


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    return value if isinstance(value, str) else ""
