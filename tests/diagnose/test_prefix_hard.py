"""Prompts that tell badly what parts them, written by hand."""

from __future__ import annotations

import json

import pytest

from collectors.diagnose.prefix.classes import Volatile
from collectors.diagnose.prefix.divergence import diverge
from collectors.diagnose.prefix.prompts import Prompt, of_messages, of_text

RULES = "\nAnswer only about manga.\nNever invent a price.\nRefuse spoilers unless asked for them.\n" * 3
TOOL_A = {"type": "function", "function": {"name": "search", "parameters": {"q": {"type": "string"}}}}
TOOL_B = {"type": "function", "function": {"name": "orders", "parameters": {"id": {"type": "integer"}}}}


def texts(one: str, other: str) -> tuple[Prompt, Prompt]:
    """Each before the same rules."""
    return of_text(one + RULES), of_text(other + RULES)


def chats(*sides: list[tuple[str, str]]) -> tuple[Prompt, ...]:
    return tuple(of_messages([{"role": r, "content": c} for r, c in side]) for side in sides)


SYSTEM = ("system", f"You sell manga.{RULES}")
CASES: dict[str, tuple[Volatile, tuple[Prompt, ...]]] = {
    "an hour that differs in its tens alone": (
        Volatile.TIMESTAMP,
        texts("Now 2026-11-21T09:22Z", "Now 2026-11-21T19:22Z"),
    ),
    "a zone that differs": (
        Volatile.TIMESTAMP,
        texts("2026-11-21T09:22:00+09:00", "2026-11-21T09:22:00+00:00"),
    ),
    "noon against midnight": (
        Volatile.TIMESTAMP,
        texts("It is 12:30 a.m. in Tokyo", "It is 12:30 p.m. in Tokyo"),
    ),
    "a Japanese half hour": (Volatile.TIMESTAMP, texts("ただいま午後3時半です。", "ただいま午後5時です。")),
    "a day that grows a digit": (
        Volatile.DATE,
        texts("Today is November 9, 2026.", "Today is November 10, 2026."),
    ),
    "a year alone behind a month": (
        Volatile.DATE,
        texts("Summary for December 2026:", "Summary for January 2027:"),
    ),
    "a weekday alone": (Volatile.DATE, texts("It is Saturday in the store.", "It is Sunday in the store.")),
    "a Japanese weekday": (Volatile.DATE, texts("本日は土曜日です。", "本日は日曜日です。")),
    "a week of the year": (Volatile.DATE, texts("Specials of 2026-W47", "Specials of 2026-W48")),
    "a timestamp that only one has": (Volatile.TIMESTAMP, texts("", "generated_at: 1795245749.717\n")),
    "a session that only one has": (Volatile.SESSION_ID, texts("", "Session: 8f2c-11\n")),
    "an id with an instant in it": (
        Volatile.REQUEST_ID,
        texts("req-20261121-072230-aa", "req-20261121-072231-ab"),
    ),
    "digits of an epoch's length that are a user's": (
        Volatile.USER_ID,
        texts("user_id=1795245749", "user_id=1795245750"),
    ),
    "a uuid that the text calls a session": (
        Volatile.SESSION_ID,
        texts(
            "Session 0b0f43f2-7a53-4e2b-9f57-1c1a4c1f8f10.", "Session 7b0f43f2-7a53-4e2b-9f57-1c1a4c1f8f10."
        ),
    ),
    "a uuid that parts in its last digit": (
        Volatile.UUID,
        texts("k 0b0f43f2-7a53-4e2b-9f57-1c1a4c1f8f10", "k 0b0f43f2-7a53-4e2b-9f57-1c1a4c1f8f11"),
    ),
    "a camel-case key": (
        Volatile.USER_ID,
        texts('{"customerId":"A-77","shop":1}', '{"customerId":"B-12","shop":1}'),
    ),
    "an e-mail address for a user": (
        Volatile.USER_ID,
        texts("Reader: aoi7@example.org", "Reader: ken42@example.org"),
    ),
    "a traceparent": (
        Volatile.REQUEST_ID,
        texts(f"traceparent: 00-{'a1' * 16}-{'b2' * 8}-01", f"traceparent: 00-{'c3' * 16}-{'b2' * 8}-01"),
    ),
    "an id handed in that looks like nothing": (
        Volatile.USER_ID,
        (
            of_text(f"Dear tanaka,{RULES}", {"user_id": "tanaka"}),
            of_text(f"Dear suzuki,{RULES}", {"user_id": "suzuki"}),
        ),
    ),
    "an id handed in against what the label says": (
        Volatile.REQUEST_ID,
        (
            of_text(f"session: Kuma-1{RULES}", {"request_id": "Kuma-1"}),
            of_text(f"session: Kuma-2{RULES}", {"request_id": "Kuma-2"}),
        ),
    ),
    "a counter that grows a digit": (
        Volatile.COUNTER,
        texts("Conversation turn 9 of many", "Conversation turn 10 of many"),
    ),
    "a Japanese ordinal": (Volatile.COUNTER, texts("今日3番目のお客様です。", "今日4番目のお客様です。")),
    "keys in another order, deep inside": (
        Volatile.REORDERED_KEYS,
        texts(json.dumps({"shop": {"a": {"x": 1, "y": 2}}}), json.dumps({"shop": {"a": {"y": 2, "x": 1}}})),
    ),
    "keys in another order, and a value too": (
        Volatile.REORDERED_KEYS,
        texts('{"locale": "ja", "tier": "gold"}', '{"tier": "silver", "locale": "ja"}'),
    ),
    "a value before keys in another order": (
        Volatile.TIMESTAMP,
        texts(
            '{"now": "2026-11-21T07:22:30Z", "a": 1, "b": 2}',
            '{"now": "2026-11-21T07:22:31Z", "b": 2, "a": 1}',
        ),
    ),
    "a set as Python prints it": (
        Volatile.REORDERED_KEYS,
        texts("genres = ['a', 'b', 'c']", "genres = ['c', 'a', 'b']"),
    ),
    "fields of a line in another order": (
        Volatile.REORDERED_KEYS,
        texts("Reader likes: fantasy, sport, horror", "Reader likes: sport, fantasy, horror"),
    ),
    "tools in another order inside a body": (
        Volatile.REORDERED_TOOLS,
        texts(json.dumps({"tools": [TOOL_A, TOOL_B]}), json.dumps({"tools": [TOOL_B, TOOL_A]})),
    ),
    "tools as paragraphs": (
        Volatile.REORDERED_TOOLS,
        texts(
            "## Tools\n### search\nFinds.\n### orders\nLists.\n",
            "## Tools\n### orders\nLists.\n### search\nFinds.\n",
        ),
    ),
    "a tool that is new": (
        Volatile.TEMPLATE_CHANGE,
        texts("Tools:\n- search: finds titles\n", "Tools:\n- search: finds titles\n- orders: lists orders\n"),
    ),
    "passages moved behind the history": (
        Volatile.RETRIEVAL_BEFORE_HISTORY,
        chats(
            [
                SYSTEM,
                ("system", "Context:\nFrieren 9"),
                ("user", "Hi"),
                ("assistant", "Hello"),
                ("user", "And?"),
            ],
            [
                SYSTEM,
                ("user", "Hi"),
                ("assistant", "Hello"),
                ("system", "Context:\nFrieren 9"),
                ("user", "And?"),
            ],
        ),
    ),
    "passages of a turn that has none": (
        Volatile.RETRIEVAL_BEFORE_HISTORY,
        chats(
            [
                SYSTEM,
                ("system", "検索結果:\n在庫あり"),
                ("user", "やあ"),
                ("assistant", "はい"),
                ("user", "次は?"),
            ],
            [
                SYSTEM,
                ("system", "検索結果:\nなし"),
                ("user", "やあ"),
                ("assistant", "はい"),
                ("user", "次は?"),
            ],
        ),
    ),
    "an instant in an old turn that was written anew": (
        Volatile.TIMESTAMP,
        chats(
            [SYSTEM, ("user", f"[07:22:30] Hi{RULES}"), ("assistant", "Hello"), ("user", "And?")],
            [SYSTEM, ("user", f"[07:24:11] Hi{RULES}"), ("assistant", "Hello"), ("user", "And?")],
        ),
    ),
    "a reader who asks for another date": (
        Volatile.CONVERSATION,
        chats(
            [SYSTEM, ("user", "Does it ship before 2026-11-21?")],
            [SYSTEM, ("user", "Does it ship before 2026-12-01?")],
        ),
    ),
    "readers who give their order's number": (
        Volatile.CONVERSATION,
        chats([SYSTEM, ("user", "Order 7781 please")], [SYSTEM, ("user", "Order 9913 please")]),
    ),
    "line ends of another system": (Volatile.WHITESPACE, texts("One.\nTwo.\n", "One.\r\nTwo.\r\n")),
    "JSON with and without spaces": (
        Volatile.WHITESPACE,
        texts(json.dumps({"a": [1, 2], "b": 3}), json.dumps({"a": [1, 2], "b": 3}, separators=(",", ":"))),
    ),
    "a lost space between words": (Volatile.WHITESPACE, texts("Answer in short.", "Answer inshort.")),
    "one limit for another": (
        Volatile.TEMPLATE_CHANGE,
        texts("Use at most 5 sentences.", "Use at most 4 sentences."),
    ),
    "a version in the wording": (Volatile.TEMPLATE_CHANGE, texts("System prompt v42.", "System prompt v43.")),
    "a word about sessions": (
        Volatile.TEMPLATE_CHANGE,
        texts("A session lasts an hour.", "A session ends at night."),
    ),
    "a rule about users": (
        Volatile.TEMPLATE_CHANGE,
        texts("Users must pay first.", "Users should pay first."),
    ),
    "punctuation": (Volatile.TEMPLATE_CHANGE, texts("Be kind!", "Be kind.")),
    "a model's name": (
        Volatile.TEMPLATE_CHANGE,
        texts("You are llama-3-8b-chat.", "You are llama-3-70b-chat."),
    ),
    "a title with a number": (
        Volatile.TEMPLATE_CHANGE,
        texts("Promote 20th Century Boys.", "Promote 21st Century Boys."),
    ),
    "nothing against something": (Volatile.APPENDED, (of_text("Rules"), of_text("Rules and more"))),
    "a random word against a plain one": (
        Volatile.UNKNOWN,
        texts("Cache key a8f3k2l9q1 set", "Cache key default set"),
    ),
    "an answer added": (
        Volatile.APPENDED,
        chats([SYSTEM, ("user", "Hi")], [SYSTEM, ("user", "Hi"), ("assistant", "Hello"), ("user", "And?")]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_hard_case(name: str) -> None:
    kind, (one, other) = CASES[name]
    assert diverge(one, other).kind is kind
    assert diverge(other, one).kind is kind
