"""The text of a file to a prompt: a rendered prompt as it is, messages in JSON, or a request's whole body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from collectors.diagnose.prefix.prompts import Prompt, Segment, of_messages, of_text
from collectors.validation import ConfigError

MAX_BYTES = 2_000_000  # no model reads more; what is longer is no prompt
MAX_TEMPLATE = 200_000  # bytes; as much as a gateway takes for a prefix
_SHAPE = 'Write [{"role": "system", "content": "…"}, …], or a body with "messages"'
_IDS = {"request_id": "request_id", "session_id": "session_id", "user_id": "user_id", "user": "user_id"}


def prompt(raw: bytes, where: str) -> Prompt:
    """The prompt in a file's bytes. Raises ConfigError: where, what, remedy."""
    text = decoded(raw, where)
    if not (where.endswith(".json") or _looks_like_json(text)):
        return of_text(text)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not where.endswith(".json"):
            return of_text(text)  # a prompt may begin with a bracket
        raise _fault(where, f"is no JSON: {_told(error)}", "Mend it, or name a plain text .txt") from error
    return _prompt(data, text, where)


def decoded(raw: bytes, where: str, limit: int = MAX_BYTES) -> str:
    """A file's bytes as text. Raises ConfigError for what is empty, too long or no text."""
    if not raw.strip():
        raise _fault(where, "is empty", "Name a file that holds a rendered prompt")
    if len(raw) > limit:
        raise _fault(where, f"is longer than {limit:,} bytes", "No prompt is; name the right file")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _fault(
            where, f"is no UTF-8 text: byte {error.start}", "Name a text, or write it anew"
        ) from error
    if "\0" in text:
        raise _fault(where, f"is no text: byte {raw.index(0)} is zero", "Name a file that holds a prompt")
    return text


def _prompt(data: Any, text: str, where: str) -> Prompt:
    messages = data.get("messages") if isinstance(data, dict) else data
    if messages is None or (isinstance(data, list) and not _is_chat(data)):
        if where.endswith(".json"):
            raise _fault(where, "holds no messages", _SHAPE)
        return of_text(text)
    for number, message in enumerate(messages if isinstance(messages, list) else [None]):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise _fault(where, f"messages[{number}] is no message", _SHAPE)
    if not messages:
        raise _fault(where, "holds no messages", _SHAPE)
    told = data if isinstance(data, dict) else {}
    made = of_messages(messages, _ids(told))
    tools = told.get("tools")
    if not tools:
        return made
    # as they were written: which order they come in is what may part two prompts
    head = Segment("tools", "tools", json.dumps(tools, ensure_ascii=False))
    return replace(made, segments=(head, *made.segments))


def _is_chat(data: list[Any]) -> bool:
    return any(isinstance(each, dict) and "role" in each for each in data)


def _ids(told: Mapping[str, Any]) -> dict[str, str]:
    """The request's ids, which it names beside its messages or under "metadata"."""
    more = told.get("metadata")
    both = {**(more if isinstance(more, dict) else {}), **told}
    return {kind: both[key] for key, kind in _IDS.items() if isinstance(both.get(key), str)}


def _looks_like_json(text: str) -> bool:
    return text.lstrip()[:1] in {"[", "{"}


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else "its brackets go too deep"


def _fault(where: str, what: str, remedy: str) -> ConfigError:
    return ConfigError(where, [f"{what}. {remedy}"])
