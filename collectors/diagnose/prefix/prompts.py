"""A prompt as the doctor reads it: named segments in the order in which the engine gets them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TURNS = frozenset({"user", "assistant"})
_PLAIN = "prompt"


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a prompt. `role` is "" in a plain text, where no template stands around it."""

    name: str
    role: str
    text: str

    @property
    def rendered(self) -> str:
        """As a chat template puts it, near enough to count tokens."""
        return f"{self.role}\n\n{self.text}\n" if self.role else self.text

    @property
    def head(self) -> str:
        """What stands before its text in `rendered`."""
        return f"{self.role}\n\n" if self.role else ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Segments, and the ids of the request where they are known: request_id, session_id, user_id."""

    segments: tuple[Segment, ...]
    ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The whole, as it is counted and hashed."""
        return "".join(s.rendered for s in self.segments)


def of_text(text: str, ids: Mapping[str, str] | None = None) -> Prompt:
    """A prompt that was rendered already."""
    return Prompt((Segment(_PLAIN, "", text),), ids or {})


def of_messages(messages: Sequence[Mapping[str, Any]], ids: Mapping[str, str] | None = None) -> Prompt:
    """A chat: `role` and `content` a message; one may name its `segment`. A lone message is a plain text."""
    if len(messages) == 1:
        return of_text(content(messages[0]), ids)
    seen: Counter[str] = Counter()
    segments = []
    for message in messages:
        role = str(message.get("role") or "user")
        seen[role] += 1
        name = message.get("segment") or (role if seen[role] == 1 else f"{role} {seen[role]}")
        segments.append(Segment(str(name), role, content(message)))
    return Prompt(tuple(segments), ids or {})


def content(message: Mapping[str, Any]) -> str:
    """A message's text; of content in parts, the text of each."""
    found = message.get("content")
    if isinstance(found, str):
        return found
    parts = found if isinstance(found, list) else []
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))
