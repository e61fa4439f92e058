"""A completion stream, from lines of bytes to what a reader saw and when. Pure: instants are handed in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

DONE = "[DONE]"


class Fault(Exception):  # noqa: N818 - the server's, not ours
    """Why a request counts as failed: `kind` to count by, the message to read."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


def events(lines: Iterable[bytes]) -> Iterator[str]:
    """The data of each server-sent event, as the WHATWG's standard reads them; raises Fault.

    Whole lines are decoded, never chunks: a chunk may end in the middle of a character, a line cannot.
    """
    data: list[str] = []
    for line in lines:
        text = _text(line).rstrip("\r\n")
        if text.startswith("data:"):
            data.append(text[5:].removeprefix(" "))
        elif not text and data:
            yield "\n".join(data)
            data.clear()
    if data:  # a server may close without the last empty line
        yield "\n".join(data)


@dataclass(slots=True)
class Transcript:
    """What one stream has brought so far. Mutable on purpose: one that dies half-way has still said this.

    `first_token_at` is the first text that a reader can see: a chunk with only a role in it is none.
    """

    first_token_at: float | None = None
    chunks: int = 0
    characters: int = 0
    usage: dict[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None
    done: bool = False
    _digest: Any = field(default_factory=sha256)

    def hear(self, event: str, at: float) -> None:
        """Take one event's data. Raises Fault for an error that the server sent, or for what is no JSON."""
        if event == DONE:
            self.done = True
            return
        message = _object(event)
        if error := message.get("error"):
            raise Fault("stream_error", f"the server sent an error mid-stream: {_said(error)}")
        try:
            self._take(message, at)
        except (AttributeError, TypeError) as unfit:
            raise Fault("bad_json", f"an event is no completion chunk: {event[:80]!r}") from unfit

    @property
    def sha256(self) -> str:
        """Of the whole answer's text in UTF-8."""
        return str(self._digest.hexdigest())

    def _take(self, message: dict[str, Any], at: float) -> None:
        self.usage = dict(message.get("usage") or self.usage)
        for choice in message.get("choices") or ():
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            if text := _visible(choice):
                self._read(text, at)

    def _read(self, text: str, at: float) -> None:
        if self.first_token_at is None:
            self.first_token_at = at
        self.chunks += 1
        self.characters += len(text)
        self._digest.update(text.encode("utf-8", "surrogatepass"))


def refusal(status: int, content: bytes) -> Fault:
    """The fault that an answer with another status than 200 stands for."""
    try:
        said = _said(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        said = content[:200].decode("utf-8", "replace")
    return Fault(f"http_{status}", f"HTTP {status}: {said}")


def _visible(choice: dict[str, Any]) -> str:
    delta = choice.get("delta") or {}
    return str(delta.get("content") or delta.get("reasoning_content") or choice.get("text") or "")


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Fault("bad_utf8", f"a line of the stream is no UTF-8: {error}") from error


def _object(event: str) -> dict[str, Any]:
    try:
        message = json.loads(event)
    except ValueError as error:
        raise Fault("bad_json", f"an event of the stream is no JSON: {event[:80]!r}") from error
    if not isinstance(message, dict):
        raise Fault("bad_json", f"an event of the stream is no JSON object: {event[:80]!r}")
    return message


def _said(error: Any) -> str:
    return str(error.get("message", error) if isinstance(error, dict) else error)[:200]
