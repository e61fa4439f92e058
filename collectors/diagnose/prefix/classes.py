"""What parts two prompts, as data: the classes, which of them are no fault, and what mends the others."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Volatile(StrEnum):
    """The class of the first difference between two prompts. The values are API."""

    IDENTICAL = "identical"
    APPENDED = "appended"
    CONVERSATION = "conversation"
    TIMESTAMP = "timestamp"
    DATE = "date"
    UUID = "uuid"
    SESSION_ID = "session_id"
    USER_ID = "user_id"
    REQUEST_ID = "request_id"
    COUNTER = "counter"
    REORDERED_KEYS = "reordered_keys"
    REORDERED_TOOLS = "reordered_tools"
    RETRIEVAL_BEFORE_HISTORY = "retrieval_before_history"
    WHITESPACE = "whitespace"
    TEMPLATE_CHANGE = "template_change"
    UNKNOWN = "unknown"

    @property
    def is_fault(self) -> bool:
        """Whether the prompts should have agreed further than they do."""
        return self not in _NO_FAULT


_NO_FAULT = frozenset({Volatile.IDENTICAL, Volatile.APPENDED, Volatile.CONVERSATION})
_BELOW = "Move it below the prefix, into the newest turn, or leave it out"
FIXES: Mapping[Volatile, str] = {
    Volatile.IDENTICAL: "Nothing: the prompts are the same.",
    Volatile.APPENDED: "Nothing: one prompt continues the other, so all of the shorter is found again.",
    Volatile.CONVERSATION: "Nothing: the prefix agrees; the conversations behind it differ, as they should.",
    Volatile.TIMESTAMP: f"{_BELOW}: an instant is never the same twice.",
    Volatile.DATE: f"{_BELOW}: every midnight empties the cache, and time zones part requests all day.",
    Volatile.UUID: f"{_BELOW}: a random identifier is never the same twice.",
    Volatile.SESSION_ID: f"{_BELOW}: a model needs no session id, and the trace carries it.",
    Volatile.USER_ID: f"{_BELOW}: who is served belongs behind what all readers share.",
    Volatile.REQUEST_ID: f"{_BELOW}: a model needs no request id, and the trace carries it.",
    Volatile.COUNTER: f"{_BELOW}: a number that counts up is never the same twice.",
    Volatile.REORDERED_KEYS: "Write keys and sets in one order, such as json.dumps(…, sort_keys=True).",
    Volatile.REORDERED_TOOLS: "Sort the tools by name before they are rendered.",
    Volatile.RETRIEVAL_BEFORE_HISTORY: (
        "Put the retrieved passages behind the history, into the newest turn: they change with every turn, "
        "and the history does not."
    ),
    Volatile.WHITESPACE: "Render with one template, and trim and join the parts the same way everywhere.",
    Volatile.TEMPLATE_CHANGE: (
        "Where the change is meant, give it a version of its own and expect one cold start; where it is not, "
        "send one text to all."
    ),
    Volatile.UNKNOWN: "Look at both spans, and keep whatever changes between requests below the prefix.",
}
