"""Pairs of prompts of a manga shop that part for a known reason, made from a seed.

Values are written with strftime, uuid4 and the like; nothing here knows how they are recognised.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID

from collectors.diagnose.prefix.classes import Volatile
from collectors.diagnose.prefix.prompts import Prompt, of_messages, of_text

ENGLISH = """You are MangaAssist, the shopping assistant of a manga store in Tokyo.
Answer only about manga, light novels and orders.
Never invent a title, a price or a release date.
Keep answers under five sentences unless asked for more.
Use the reader's language and honorifics.
Hand over to a colleague when a refund is disputed.
Mark mature titles with their age rating.
Shipping is free above 5,000 yen within Japan.
"""
JAPANESE = """あなたは漫画専門店のアシスタント「マンガアシスト」です。
漫画、ライトノベル、注文についてのみ答えてください。
作品名、価格、発売日を作り出さないでください。
回答は五文以内にまとめてください。
です・ます調で、結論から先に答えてください。
返金でもめた場合は担当者に引き継いでください。
成人向け作品には年齢区分を示してください。
国内では五千円以上のご注文で送料無料です。
"""
QUESTIONS = ("Is Frieren volume 9 in stock?", "「葬送のフリーレン」の続きはありますか?", "Where is my order?")
ANSWERS = ("Yes, it ships tomorrow.", "はい、第13巻まで在庫がございます。", "It left Tokyo this morning.")
TITLES = (
    "葬送のフリーレン",
    "Spy x Family",
    "ブルーロック",
    "Vinland Saga",
    "呪術廻戦",
    "Berserk",
    "聖☆おにいさん",
)
MONTHS = ("January", "November", "December")


@dataclass(frozen=True)
class Pair:
    """Two prompts, the class of what parts them, and how it was written."""

    one: Prompt
    other: Prompt
    kind: Volatile
    how: str


def pairs(seed: int, each: int) -> Iterator[Pair]:
    """`each` pairs of every class, from a seed."""
    rng = random.Random(seed)
    for kind, make in MAKERS.items():
        for _ in range(each):
            one, other, how = make(rng)
            yield Pair(one, other, kind, how)


# ------------------------------------------------------------------------------------------ values
def moments(rng: random.Random) -> tuple[datetime, datetime]:
    one = datetime(
        2026, rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23), rng.randint(0, 59), tzinfo=UTC
    )
    return one, one + timedelta(seconds=rng.choice([1, 7, 59, 600, 4000, 90_000]), milliseconds=137)


STAMPS: dict[str, Callable[[datetime], str]] = {
    "ISO with zone": lambda t: t.isoformat(timespec="milliseconds"),
    "ISO in Zulu": lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "ISO basic": lambda t: t.strftime("%Y%m%dT%H%M%SZ"),
    "ISO with a space": lambda t: t.strftime("%Y-%m-%d %H:%M:%S"),
    "RFC 2822": format_datetime,
    "HTTP": lambda t: t.strftime("%a, %d %b %Y %H:%M:%S GMT"),
    "seconds": lambda t: str(int(t.timestamp())),
    "seconds with a fraction": lambda t: f"{t.timestamp():.6f}",
    "milliseconds": lambda t: str(int(t.timestamp() * 1000)),
    "nanoseconds": lambda t: str(int(t.timestamp() * 1000) * 1_000_000),
    "Japanese": lambda t: t.strftime("%Y年%m月%d日 %H時%M分%S秒"),
    "Japanese, clock": lambda t: t.strftime("%Y年%m月%d日 %H:%M:%S"),
    "American": lambda t: t.strftime("%m/%d/%Y, %I:%M:%S %p"),
    "slashes": lambda t: t.strftime("%Y/%m/%d %H:%M:%S"),
    "a clock alone": lambda t: t.strftime("%H:%M:%S"),
    "C": lambda t: t.strftime("%a %b %d %H:%M:%S %Y"),
    "in words": lambda t: t.strftime("%A, %d %B %Y at %I:%M:%S %p"),
}
DATES: dict[str, Callable[[datetime], str]] = {
    "ISO": lambda t: t.strftime("%Y-%m-%d"),
    "Japanese": lambda t: f"{t.year}年{t.month}月{t.day}日",
    "Japanese with a weekday": lambda t: f"{t.year}年{t.month}月{t.day}日({'月火水木金土日'[t.weekday()]})",
    "era": lambda t: f"令和{t.year - 2018}年{t.month}月{t.day}日",
    "slashes": lambda t: t.strftime("%Y/%m/%d"),
    "American": lambda t: t.strftime("%m/%d/%Y"),
    "in words": lambda t: t.strftime("%d %B %Y"),
    "American in words": lambda t: f"{t.strftime('%B')} {t.day}, {t.year}",
    "a weekday first": lambda t: t.strftime("%A, %B %d, %Y"),
    "compact": lambda t: t.strftime("%Y%m%d"),
    "German": lambda t: t.strftime("%d.%m.%Y"),
}
NOW = (
    "generated_at: {}",
    "Current time: {}",
    "現在時刻:{}",
    "It is now {}.",
    '{{"now": "{}"}}',
    "{}",
    "[{}]",
    "# built {}",
)
TODAY = ("Today is {}.", "今日は{}です。", "date: {}", "本日の日付: {}", "<today>{}</today>", "as of {}")


def written(rng: random.Random, forms: dict[str, Callable[[datetime], str]]) -> tuple[str, str, str]:
    while True:
        how = rng.choice(list(forms))
        one, other = moments(rng)
        if forms is DATES:
            other = one + timedelta(days=rng.choice([1, 2, 30]))
        if forms[how](one) != forms[how](other):
            return forms[how](one), forms[how](other), how


def digits(rng: random.Random, length: int) -> str:
    return str(rng.randint(1, 9)) + "".join(rng.choices(string.digits, k=length - 1))


def hexes(rng: random.Random, length: int) -> str:
    return f"{rng.getrandbits(4 * length):0{length}x}"


def any_id(rng: random.Random, short: str) -> Callable[[], str]:
    """A way to write ids, the same for both requests."""
    return rng.choice(
        [
            lambda: str(UUID(int=rng.getrandbits(128), version=4)),
            lambda: UUID(int=rng.getrandbits(128)).hex,
            lambda: f"{short}-{hexes(rng, 8)}",
            lambda: f"{short}_{digits(rng, 6)}",
            lambda: f"{short}-{rng.randint(1, 9999):04d}",
            lambda: digits(rng, 7),
            lambda: f"01J{''.join(rng.choices('0123456789ABCDEFGHJKMNPQRSTVWXYZ', k=23))}",
            lambda: f"{short}{digits(rng, 5)}",
        ]
    )


# ------------------------------------------------------------------------------------------ prompts
def placed(rng: random.Random, line_one: str, line_other: str) -> tuple[Prompt, Prompt]:
    """A line put into the system prompt, at its head, middle or end; as text or as a chat."""
    lines = rng.choice([ENGLISH, JAPANESE]).splitlines()
    where = rng.choice([0, len(lines) // 2, len(lines)])
    systems = ["\n".join([*lines[:where], line, *lines[where:]]) for line in (line_one, line_other)]
    return framed(rng, *systems)


def framed(rng: random.Random, one: str, other: str) -> tuple[Prompt, Prompt]:
    """Two system prompts as texts, with a question or without, or as chats."""
    question = rng.choice(QUESTIONS)
    questions = rng.choice([(question, question), rng.sample(QUESTIONS, 2)])
    how = rng.randrange(4)
    if how == 0:
        return of_text(one), of_text(other)
    if how == 1:
        return of_text(f"{one}\n\nUser: {questions[0]}\nAssistant:"), of_text(
            f"{other}\n\nUser: {questions[1]}\nAssistant:"
        )
    if how == 2:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": rng.choice(ANSWERS)}]
        return chat(one, [*turns, user(questions[0])]), chat(other, [*turns, user(questions[1])])
    return chat(one, [user(questions[0])]), chat(other, [user(questions[1])])


def chat(system: str, turns: list[dict[str, str]]) -> Prompt:
    return of_messages([{"role": "system", "content": system}, *turns])


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


# ------------------------------------------------------------------------------------------ makers
Made = tuple[Prompt, Prompt, str]


def timestamp(rng: random.Random) -> Made:
    one, other, how = written(rng, STAMPS)
    form = rng.choice(NOW)
    return *placed(rng, form.format(one), form.format(other)), f"{how} in {form}"


def date(rng: random.Random) -> Made:
    one, other, how = written(rng, DATES)
    form = rng.choice(TODAY)
    return *placed(rng, form.format(one), form.format(other)), f"{how} in {form}"


def labelled(short: str, forms: tuple[str, ...]) -> Callable[[random.Random], Made]:
    def make(rng: random.Random) -> Made:
        write, form = any_id(rng, short), rng.choice(forms)
        one = write()
        other = next(x for x in iter(write, None) if x != one)
        return *placed(rng, form.format(one), form.format(other)), form.format(one)

    return make


def uuid(rng: random.Random) -> Made:
    write: Callable[[], str] = rng.choice(
        [
            lambda: str(UUID(int=rng.getrandbits(128), version=4)),
            lambda: UUID(int=rng.getrandbits(128), version=4).hex,
            lambda: str(UUID(int=rng.getrandbits(128), version=4)).upper(),
            lambda: f"01J{''.join(rng.choices('0123456789ABCDEFGHJKMNPQRSTVWXYZ', k=23))}",
            lambda: hexes(rng, 40),
        ]
    )
    form = rng.choice(["{}", "nonce: {}", "id={}", "<!-- {} -->", "build {}", "識別子:{}", '{{"id": "{}"}}'])
    return *placed(rng, form.format(write()), form.format(write())), form


def counter(rng: random.Random) -> Made:
    form = rng.choice(
        [
            "This is visit {}.",
            "turn: {}",
            "Request #{} of today.",
            "{}回目のご来店です。",
            "attempt={}",
            "message no. {}",
            "第{}回のご相談です。",
            '{{"seq": {}}}',
            "This is your {}th visit to the store.",
            "counter {}",
            "通し番号:{}",
        ]
    )
    one = rng.choice([4, 9, 17, 99, 128])
    return *placed(rng, form.format(one), form.format(one + rng.randint(1, 3))), form


def reordered_keys(rng: random.Random) -> Made:
    data: dict[str, Any] = {
        "currency": "JPY",
        "locale": "ja-JP",
        "tier": "gold",
        "points": 120,
        "genres": ["fantasy", "sport"],
    }
    one = list(data)
    other = next(keys for keys in iter(lambda: rng.sample(one, len(one)), None) if keys != one)
    indent = rng.choice([None, 2])
    how = rng.randrange(3)
    if how == 0:
        lines = [
            json.dumps({k: data[k] for k in keys}, indent=indent, ensure_ascii=False) for keys in (one, other)
        ]
    elif how == 1:
        lines = [str({k: data[k] for k in keys}) for keys in (one, other)]
    else:
        lines = ["\n".join(f"{k}: {data[k]}" for k in keys) for keys in (one, other)]
    form = rng.choice(["Store settings:\n{}", "店舗設定 = {}", "{}"])
    if how == 2:
        form = "Store settings\n{}\n"
    return *placed(rng, form.replace("{}", lines[0]), form.replace("{}", lines[1])), f"{how} {indent} {form}"


TOOLS = [
    {"name": "search_catalog", "description": "Finds titles", "parameters": {"query": "string"}},
    {"name": "order_status", "description": "Where an order is", "parameters": {"order": "integer"}},
    {"name": "check_stock", "description": "Whether a volume is in stock", "parameters": {"isbn": "string"}},
    {"name": "hand_over", "description": "Calls a colleague", "parameters": {}},
]


def reordered_tools(rng: random.Random) -> Made:
    other = next(tools for tools in iter(lambda: rng.sample(TOOLS, len(TOOLS)), None) if tools != TOOLS)
    how = rng.randrange(4)
    if how == 0:
        texts = [json.dumps(tools, indent=rng.choice([None])) for tools in (TOOLS, other)]
    elif how == 1:
        texts = [
            json.dumps({"tools": [{"type": "function", "function": t} for t in tools]}, indent=2)
            for tools in (TOOLS, other)
        ]
    elif how == 2:
        texts = ["\n".join(f"- {t['name']}: {t['description']}" for t in tools) for tools in (TOOLS, other)]
    else:
        texts = ["\n".join(json.dumps(t) for t in tools) for tools in (TOOLS, other)]
    form = rng.choice(["You may call these tools:\n{}", "使えるツール:\n{}\n", "# Functions\n{}\n"])
    return *placed(rng, form.replace("{}", texts[0]), form.replace("{}", texts[1])), f"{how} {form}"


def passages(rng: random.Random) -> str:
    return "\n".join(
        f"[{n}] {title}: volume {rng.randint(1, 99)}, {rng.choice(['in stock', 'pre-order', '在庫あり'])}"
        for n, title in enumerate(rng.sample(TITLES, 3), start=1)
    )


def history(rng: random.Random, turns: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for _ in range(turns):
        found += [user(rng.choice(QUESTIONS)), {"role": "assistant", "content": rng.choice(ANSWERS)}]
    return found


def retrieval(rng: random.Random) -> Made:
    turns, system = history(rng, rng.randint(1, 4)), rng.choice([ENGLISH, JAPANESE])
    title = rng.choice(
        ["Passages for this turn:", "Context:", "検索結果:", "## Retrieved documents", "<context>"]
    )
    found = [f"{title}\n{passages(rng)}" for _ in range(2)]
    more = [[*turns, user(QUESTIONS[0])], [*turns, user(QUESTIONS[0]), *history(rng, 1)]]
    how = rng.randrange(3)
    if how == 0:  # a message of its own before the history
        one, other = (
            chat(system, [{"role": "system", "content": f}, *m]) for f, m in zip(found, more, strict=True)
        )
    elif how == 1:  # in the system prompt
        one, other = (chat(f"{system}\n{f}", m) for f, m in zip(found, more, strict=True))
    else:  # one text
        talk = ["\n".join(f"{m['role'].title()}: {m['content']}" for m in ms) for ms in more]
        one, other = (
            of_text(f"{system}\n{f}\n\nConversation\n{t}\n") for f, t in zip(found, talk, strict=True)
        )
    return one, other, f"{how} {title}"


def whitespace(rng: random.Random) -> Made:
    base = rng.choice([ENGLISH, JAPANESE])
    middle = base.index("\n", len(base) // 2)
    changes: dict[str, str] = {
        "CRLF": base.replace("\n", "\r\n"),
        "a blank line": base[:middle] + "\n" + base[middle:],
        "a space at the head": " " + base,
        "trailing spaces": base.replace("\n", "  \n"),
        "indented": "\n".join("    " + line for line in base.splitlines()),
        "a full-width space": base[:middle] + "\u3000" + base[middle:],
        "one line": base.replace("\n", " "),
        "a byte order mark": "\ufeff" + base,
    }
    how = rng.choice(list(changes))
    return *framed(rng, base, changes[how]), how


def template(rng: random.Random) -> Made:
    base, other = rng.choice(
        [
            (ENGLISH, ENGLISH.replace("five sentences", "three sentences")),
            (ENGLISH, ENGLISH.replace("Never invent", "Do not make up")),
            (ENGLISH, ENGLISH.replace("5,000", "3,000")),
            (ENGLISH, ENGLISH.replace("MangaAssist", "ComicHelper")),
            (ENGLISH, ENGLISH.replace("Mark mature", "Always begin with the answer.\nMark mature")),
            (ENGLISH, ENGLISH.replace("Use the reader's language and honorifics.\n", "")),
            (ENGLISH, ENGLISH.replace("a manga store", "a big manga store")),
            (JAPANESE, JAPANESE.replace("五文以内", "三文以内")),
            (JAPANESE, JAPANESE.replace("です・ます調で", "親しみやすい口調で")),
            (JAPANESE, JAPANESE.replace("アシスタント「", "店員「")),
            (JAPANESE, JAPANESE.replace("成人向け", "年齢制限のある")),
        ]
    )
    return *framed(rng, *rng.choice([(base, other), (other, base)])), "wording"


def appended(rng: random.Random) -> Made:
    system, turns = rng.choice([ENGLISH, JAPANESE]), history(rng, 1)
    if rng.random() < 0.5:
        return (
            chat(system, [*turns, user(QUESTIONS[0])]),
            chat(system, [*turns, user(QUESTIONS[0]), *history(rng, 1)]),
            "chat",
        )
    return of_text(system), of_text(system + rng.choice(QUESTIONS)), "text"


def conversation(rng: random.Random) -> Made:
    system = rng.choice([ENGLISH, JAPANESE])
    a, b = rng.sample(QUESTIONS, 2)
    how = rng.randrange(3)
    if how == 0:
        return chat(system, [user(a)]), chat(system, [user(b)]), "the question"
    if how == 1:
        return (
            of_text(f"{system}\nUser: {a}\nAssistant:"),
            of_text(f"{system}\nUser: {b}\nAssistant:"),
            "in a text",
        )
    one, other = (
        chat(system, [{"role": "system", "content": f"Context:\n{passages(rng)}"}, user(q)]) for q in (a, b)
    )
    return one, other, "passages in the newest turn"


def identical(rng: random.Random) -> Made:
    one, _ = placed(rng, "date: 2026-11-21", "date: 2026-11-21")
    return one, one, "the same"


MAKERS: dict[Volatile, Callable[[random.Random], Made]] = {
    Volatile.TIMESTAMP: timestamp,
    Volatile.DATE: date,
    Volatile.UUID: uuid,
    Volatile.SESSION_ID: labelled(
        "ses",
        (
            "session_id: {}",
            "The session is {}.",
            "Session {}",
            '{{"sessionId": "{}"}}',
            "セッションID:{}",
            "[session={}]",
        ),
    ),
    Volatile.USER_ID: labelled(
        "user",
        (
            "user_id: {}",
            "User ID: {}",
            "customer {}",
            '{{"userId": "{}"}}',
            "会員番号:{}",
            "member id={}",
            "お客様番号は{}です",
        ),
    ),
    Volatile.REQUEST_ID: labelled(
        "req",
        (
            "request_id: {}",
            "X-Request-Id: {}",
            "trace_id={}",
            '{{"requestId": "{}"}}',
            "リクエストID:{}",
            "[req {}]",
        ),
    ),
    Volatile.COUNTER: counter,
    Volatile.REORDERED_KEYS: reordered_keys,
    Volatile.REORDERED_TOOLS: reordered_tools,
    Volatile.RETRIEVAL_BEFORE_HISTORY: retrieval,
    Volatile.WHITESPACE: whitespace,
    Volatile.TEMPLATE_CHANGE: template,
    Volatile.APPENDED: appended,
    Volatile.CONVERSATION: conversation,
    Volatile.IDENTICAL: identical,
}
