"""Server-sent events as bytes: split as they arrive, looked into only where something has to be known."""

from __future__ import annotations

import json
from typing import Any

DONE = b"data: [DONE]"
END = b"\n\n"
LONGEST_EVENT = 1_048_576  # bytes; an engine's piece of an answer is a few hundred


class EventTooLong(Exception):  # noqa: N818 - a fact about the other side
    """An event that does not end."""


class Splitter:
    """Cuts bytes into events, whatever pieces they arrive in."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The events that these bytes complete, without the empty line that ends each."""
        text = self._rest + piece
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        *events, self._rest = text.split(END)
        if len(self._rest) > LONGEST_EVENT:
            raise EventTooLong(f"an event is longer than {LONGEST_EVENT} bytes")
        return [event for event in events if event]


def data(event: bytes) -> dict[str, Any] | None:
    """The JSON object of an event; None for a comment, [DONE], or what is no object."""
    if not event.startswith(b"data:") or event == DONE:
        return None
    try:
        found = json.loads(event[5:])
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def event(found: dict[str, Any]) -> bytes:
    """An object as an event, without the empty line that ends it."""
    return b"data: " + json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


def content(chunk: dict[str, Any]) -> str:
    """The text that a chunk adds; empty for one that carries a role, an end or usage alone."""
    choices = chunk.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return ""
    delta = choices[0].get("delta") or choices[0].get("message")
    text = delta.get("content") if isinstance(delta, dict) else None
    return text if isinstance(text, str) else ""
