"""A conversation as the engine reads it: prefix, passages, summary, recent turns, message, within the budget.

Pure. What had to go is marked where it was, so that neither the model nor a reader of a trace is misled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from loadtests.staging.gateway.asking import Chat, Turn
from loadtests.staging.gateway.config import Budget
from loadtests.staging.gateway.summary import summarise
from loadtests.staging.gateway.tokens import Counter

MARK = "[… {left} characters left out …]"
JOIN_TOKENS = 2  # an empty line between two parts
TEMPLATE_TOKENS = 6  # role, line ends and end mark that a chat template puts around a message
PASSAGES = "Passages for this turn:"
DROPPED = "[… {dropped} passages left out …]"


@dataclass(frozen=True, slots=True)
class Assembled:
    """What is sent. `input_tokens` is our own count; `trimmed` says that something was left out."""

    messages: tuple[Mapping[str, str], ...]
    input_tokens: int
    max_tokens: int
    trimmed: bool


def assemble(prefix: str, chat: Chat, budget: Budget, counter: Counter) -> Assembled:
    """The messages, the prefix first. The newest is cut only where it alone exceeds the recent turns."""
    message, cut = clip(chat.turns[-1].content, budget.recent_tokens, counter)
    recent, older = _split(
        chat.turns[:-1], budget.recent_tokens - counter.count(message) - TEMPLATE_TOKENS, counter
    )
    passages, less = _passages(chat.retrieval, budget.retrieval_tokens, counter)
    summary = summarise(older, budget.summary_tokens, counter) if older else ""
    context = "\n\n".join(part for part in (passages, summary) if part)
    messages = _messages(prefix, context, [*recent, Turn("user", message)])
    tokens = sum(counter.count(m["content"]) + TEMPLATE_TOKENS for m in messages)
    room = max(1, budget.context_tokens - tokens)
    wanted = chat.max_tokens or budget.generation_tokens
    return Assembled(messages, tokens, min(wanted, room), bool(cut or older or less))


def unbounded(prefix: str, chat: Chat, budget: Budget, counter: Counter) -> Assembled:
    """Everything as it came, for the drill that skips the budget."""
    context = "\n\n".join([PASSAGES, *chat.retrieval]) if chat.retrieval else ""
    messages = _messages(prefix, context, chat.turns)
    tokens = sum(counter.count(m["content"]) + TEMPLATE_TOKENS for m in messages)
    return Assembled(messages, tokens, chat.max_tokens or budget.generation_tokens, trimmed=False)


def clip(text: str, tokens: int, counter: Counter) -> tuple[str, bool]:
    """The text within its tokens, with a mark at its end where something is missing; and whether it is."""
    if counter.head(text, tokens) == text:
        return text, False
    mark_tokens = counter.count(f" {MARK.format(left=len(text))}")
    kept = counter.head(text, max(1, tokens - mark_tokens - 1))
    return f"{kept} {MARK.format(left=len(text) - len(kept))}", True


def rendered(text: str, fault: str, session: str, now: datetime) -> str:
    """The prefix as a drill breaks it: with a timestamp at its head, or a session id in its middle."""
    if fault == "timestamp_head":
        return f"Current time: {now.isoformat(timespec='milliseconds')}\n{text}"
    if fault == "session_middle":
        lines = text.splitlines(keepends=True)
        middle = len(lines) // 2
        return "".join([*lines[:middle], f"The session is {session}.\n", *lines[middle:]])
    return text


def _messages(prefix: str, context: str, turns: Sequence[Turn]) -> tuple[Mapping[str, str], ...]:
    head = [Turn("system", text) for text in (prefix, context) if text]
    return tuple({"role": turn.role, "content": turn.content} for turn in [*head, *turns])


def _split(turns: Sequence[Turn], tokens: int, counter: Counter) -> tuple[Sequence[Turn], Sequence[Turn]]:
    """(recent, older): as many of the newest turns as fit whole."""
    for number, turn in enumerate(reversed(turns)):
        tokens -= TEMPLATE_TOKENS
        # asked first, because it looks no further than the tokens that are left
        if tokens < 0 or counter.head(turn.content, tokens) != turn.content:
            return turns[len(turns) - number :], turns[: len(turns) - number]
        tokens -= counter.count(turn.content)
    return turns, ()


def _passages(passages: Sequence[str], tokens: int, counter: Counter) -> tuple[str, bool]:
    """The best passages that fit, the last of them cut; they come best first."""
    if not passages:
        return "", False
    reserved = counter.count(DROPPED.format(dropped=len(passages))) + JOIN_TOKENS
    kept, cut, left = [PASSAGES], False, tokens - counter.count(PASSAGES) - reserved
    for number, passage in enumerate(passages):
        left -= JOIN_TOKENS
        if left <= reserved:  # a cut passage would be little more than its mark
            return "\n\n".join([*kept, DROPPED.format(dropped=len(passages) - number)]), True
        text, clipped = clip(passage, left, counter)
        kept, cut, left = [*kept, text], cut or clipped, left - counter.count(text)
    return "\n\n".join(kept), cut
