"""What a text calls its values: the label before one, such as session_id:, or behind it, such as 回目."""

from __future__ import annotations

import re
from collections.abc import Mapping

from collectors.diagnose.prefix.classes import Volatile

REACH = 60  # characters before a value in which its label stands


def _words(english: str, japanese: str) -> re.Pattern[str]:
    """English words on their own or before "id", as in sessionId; Japanese has no word ends."""
    edges = rf"(?<![a-z])(?:{english})(?![a-z])|(?<![a-z])(?:{english})(?=[ _-]?u?u?id(?![a-z]))"
    return re.compile(f"{edges}|{japanese}", re.IGNORECASE)


_LABELS: Mapping[Volatile, re.Pattern[str]] = {
    Volatile.SESSION_ID: _words(
        "sessions?|sess|ses|sid|conversation|conv|chat|thread|dialog(?:ue)?", "セッション|会話|対話|スレッド"
    ),
    Volatile.USER_ID: _words(
        "users?|usr|uid|customer|cust|member|account|acct|shopper|reader|visitor|client|login|mailto|e-?mail",
        "ユーザー?|会員|お客様|顧客|利用者|アカウント",
    ),
    Volatile.REQUEST_ID: _words(
        "requests?|req|rid|trace|tr|span|correlation|corr|traceparent|transaction|txn?|invocation|call",
        "リクエスト|要求|トレース|受付|問い?合わ?せ",
    ),
    Volatile.COUNTER: _words(
        "visits?|turns?|attempts?|retry|retries|count(?:er)?|seq(?:uence)?|iteration|index|serial|messages?|msg"
        "|hits|times|step|number|num|no|nr",
        "#|#|№|通し番号|来店|回数|連番|件数|第|ターン",
    ),
    Volatile.TIMESTAMP: _words(
        "timestamp|ts|time|now|generated|created|updated|rendered|as of|at|clock|epoch", "時刻|日時|現在|時点"
    ),
    Volatile.DATE: _words("date|today|day|dt", "日付|本日|今日"),
}
_IDS = frozenset({Volatile.SESSION_ID, Volatile.USER_ID, Volatile.REQUEST_ID})
# What may stand between a label and its value: signs, and words that only say "here it comes".
_JOIN = re.compile(
    r"(?:[\W_]|(?:u?u?id|ulid|guid|identifier|number|num|no|is|was|key|token|code|name|handle|ref|value)(?![a-z])"
    r"|番号|ナンバー|コード|名|は|が|の|識別子)*",
    re.IGNORECASE,
)
_SIGN = re.compile(r"[::=#<\[(「『]|(?<![a-z])u?u?id(?![a-z])|番号", re.IGNORECASE)
_BEHIND = re.compile(
    r"\s?(?:回目|番目|件目|度目|周目|巡目|回の|(?:st|nd|rd|th)?\s?(?:\w+\s)?"
    r"(?:visits?|turns?|attempts?|retry|messages?|requests? (?:so far|today|served)|times?)\b)",
    re.IGNORECASE,
)


def label_before(text: str, at: int, *, counts: bool = True) -> tuple[Volatile, str] | None:
    """(class, text between) of the nearest label before a place in its line, if it is about that place.

    Without `counts`, labels of counters are looked past: "reader #A77" is no count.
    """
    start = max(text.rfind("\n", 0, at) + 1, at - REACH)
    left = text[start:at]
    found = [
        (m.end(), kind in _IDS, kind) for kind, pattern in _LABELS.items() for m in pattern.finditer(left)
    ]
    # of labels in a row, the nearest that says whose the value is: "user id no. 42" is a user's
    for end, _, kind in sorted(found, reverse=True):
        between = left[end:]
        if not _JOIN.fullmatch(between):
            return None
        if kind is Volatile.COUNTER and not counts:
            continue
        if kind is Volatile.COUNTER and _NUMBER_WORD.fullmatch(left[:end]) and _owner(found, left, end):
            continue
        return kind, between
    return None


def named(between: str) -> bool:
    """Whether what stands between label and value says that a value follows: a colon, "id"."""
    return _SIGN.search(between) is not None


def counted_behind(text: str, end: int) -> bool:
    """Whether what follows a number makes it a count: 3回目, 18th visit."""
    return _BEHIND.match(text, end) is not None


_NUMBER_WORD = re.compile(r".*(?:number|num|no|nr)", re.IGNORECASE | re.DOTALL)


def _owner(found: list[tuple[int, bool, Volatile]], left: str, before: int) -> bool:
    """Whether a label of an id stands before a bare "number", which then only introduces it."""
    return any(is_id and end < before and _JOIN.fullmatch(left[end:before]) for end, is_id, _ in found)
