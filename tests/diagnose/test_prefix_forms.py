"""Forms of values and layouts that prompts are written in: what parts them, one and the other."""

from __future__ import annotations

import json

import pytest

from collectors.diagnose.prefix.classes import Volatile
from collectors.diagnose.prefix.divergence import diverge
from collectors.diagnose.prefix.prompts import Prompt, of_messages, of_text

RULES = (
    """
- Answer only about manga and light novels.
- Prices include tax; a price is never invented.
- Today only promotions are in the promotions list.
The session ends when the reader leaves.
第1条 作品名を創作しないこと。
"""
    * 3
)
POLICY = (
    """
## Policy
* One answer per question; at most 3 titles.
* Opening hours: 10:00-20:00, closed on 1 January.
* Use the customer's name only if given.
* 在庫は検索結果のみを使うこと。
"""
    * 3
)
Pair = tuple[Prompt, ...]


def ruled(one: str, other: str) -> Pair:
    """Texts before the same rules, that speak of days and sessions too."""
    return of_text(one + RULES), of_text(other + RULES)


def before(one: str, other: str) -> Pair:
    """Texts before the same policy."""
    return of_text(one + POLICY), of_text(other + POLICY)


def behind(one: str, other: str, *questions: str) -> Pair:
    """System messages that end so, each before its own question."""
    asked = questions or ("hi", "hello")
    return tuple(
        of_messages([{"role": "system", "content": POLICY + text}, {"role": "user", "content": question}])
        for text, question in zip((one, other), asked, strict=True)
    )


FORMS: list[tuple[Volatile, Pair]] = [
    (
        Volatile.TIMESTAMP,
        ruled(
            "<time>2026-11-21T07:22:30.123456+00:00</time>", "<time>2026-11-21T07:22:30.223456+00:00</time>"
        ),
    ),
    (Volatile.TIMESTAMP, ruled("Rendered 21/Nov/2026:07:22:30 +0000", "Rendered 21/Nov/2026:07:22:39 +0000")),
    (Volatile.TIMESTAMP, ruled("Local time: 7:22 PM JST", "Local time: 7:23 PM JST")),
    (Volatile.TIMESTAMP, ruled("現在は2026/11/21(土) 19:05です", "現在は2026/11/21(土) 19:06です")),
    (Volatile.TIMESTAMP, ruled("Il est 19h05", "Il est 19h06")),
    (
        Volatile.TIMESTAMP,
        ruled(
            '{"system_time": 1795245749123, "shop":"tokyo"}', '{"system_time": 1795245749999, "shop":"tokyo"}'
        ),
    ),
    (Volatile.TIMESTAMP, ruled("2026-11-21 07:22", "2026-11-22 07:22")),
    (Volatile.TIMESTAMP, ruled("build=20261121072230", "build=20261121072231")),
    (Volatile.TIMESTAMP, ruled("令和8年11月21日 午後7時22分", "令和8年11月21日 午後7時23分")),
    (Volatile.TIMESTAMP, ruled("Now: Sat 21 Nov 2026 07:22:30 UTC", "Now: Sun 22 Nov 2026 00:00:01 UTC")),
    (Volatile.DATE, ruled("本日は11月21日(土)です", "本日は11月22日(日)です")),
    (Volatile.DATE, ruled("Knowledge as of 21.11.2026", "Knowledge as of 22.11.2026")),
    (Volatile.DATE, ruled("Date: 11/21/26", "Date: 11/22/26")),
    (Volatile.DATE, ruled("today: 21st of November 2026", "today: 22nd of November 2026")),
    (Volatile.DATE, ruled("Nov 2026 specials", "Dec 2026 specials")),
    (
        Volatile.DATE,
        ruled(
            "Cutting Knowledge Date: December 2023\nToday Date: 21 Nov 2026",
            "Cutting Knowledge Date: December 2023\nToday Date: 22 Nov 2026",
        ),
    ),
    (
        Volatile.SESSION_ID,
        ruled("You are helping in conversation conv_01HX7K.", "You are helping in conversation conv_99AB2Z."),
    ),
    (Volatile.SESSION_ID, ruled("sid:a8f3", "sid:b111")),
    (Volatile.SESSION_ID, ruled("SESSION=9f2c1d", "SESSION=1a2b3c")),
    (Volatile.SESSION_ID, ruled("「セッション」は abc-123 です", "「セッション」は xyz-999 です")),
    (Volatile.USER_ID, ruled("You are talking to user 42.", "You are talking to user 57.")),
    (Volatile.USER_ID, ruled("会員ID 0012345 のお客様です", "会員ID 0098765 のお客様です")),
    (Volatile.USER_ID, ruled('<user id="u-17">', '<user id="u-18">')),
    (Volatile.USER_ID, ruled("Customer number: 88123", "Customer number: 91234")),
    (Volatile.USER_ID, ruled("user: Tanaka Yuki\nlocale: ja", "user: Suzuki Ken\nlocale: ja")),
    (Volatile.USER_ID, ruled("account_id=AC-9921", "account_id=AC-1130")),
    (Volatile.REQUEST_ID, ruled("(request 7f3a9c)", "(request 1b2d3e)")),
    (Volatile.REQUEST_ID, ruled("x-correlation-id: 11-22-33", "x-correlation-id: 44-55-66")),
    (Volatile.REQUEST_ID, ruled("req_8f2k1", "req_9z3m2")),
    (Volatile.REQUEST_ID, ruled("お問い合わせ番号:A-10293", "お問い合わせ番号:B-55120")),
    (Volatile.UUID, ruled("salt 9f86d081884c7d65", "salt 1b4f0e9851971998")),
    (Volatile.UUID, ruled("cache-buster=k3j9x0q2m7", "cache-buster=p8w1z6t4r2")),
    (
        Volatile.UUID,
        ruled("{0b0f43f2-7a53-4e2b-9f57-1c1a4c1f8f10}", "{1b0f43f2-7a53-4e2b-9f57-1c1a4c1f8f10}"),
    ),
    (Volatile.COUNTER, ruled("Attempt 1 of 3", "Attempt 2 of 3")),
    (
        Volatile.COUNTER,
        ruled("You have answered 17 messages so far.", "You have answered 18 messages so far."),
    ),
    (Volatile.COUNTER, ruled("本日128件目のお問い合わせです", "本日129件目のお問い合わせです")),
    (Volatile.COUNTER, ruled("Ticket #1023", "Ticket #1024")),
    (Volatile.COUNTER, ruled('{"turn_index": 3}', '{"turn_index": 4}')),
    (Volatile.REORDERED_KEYS, ruled('<shop a="1" b="2"/>', '<shop b="2" a="1"/>')),
    (
        Volatile.REORDERED_KEYS,
        ruled("tier: gold\nlocale: ja\npoints: 12\n", "locale: ja\ntier: gold\npoints: 12\n"),
    ),
    (Volatile.REORDERED_KEYS, ruled("?locale=ja&tier=gold", "?tier=gold&locale=ja")),
    (
        Volatile.REORDERED_TOOLS,
        ruled(
            "Available tools: search, order_status, hand_over",
            "Available tools: order_status, search, hand_over",
        ),
    ),
    (
        Volatile.REORDERED_TOOLS,
        ruled(
            '<tool name="a">x</tool>\n<tool name="b">y</tool>\n',
            '<tool name="b">y</tool>\n<tool name="a">x</tool>\n',
        ),
    ),
    (
        Volatile.REORDERED_TOOLS,
        ruled(
            json.dumps([{"name": "a", "d": 1}, {"name": "b", "d": 2}], indent=2),
            json.dumps([{"name": "b", "d": 2}, {"name": "a", "d": 1}], indent=2),
        ),
    ),
    (Volatile.WHITESPACE, ruled("A  rule.", "A rule.")),
    (Volatile.WHITESPACE, ruled("A\tB", "A    B")),
    (Volatile.WHITESPACE, ruled("マンガ アシスト", "マンガ\u3000アシスト")),
    (Volatile.WHITESPACE, ruled("\n\nYou sell manga.", "You sell manga.")),
    (Volatile.TEMPLATE_CHANGE, ruled("You sell manga.", "You sell comics.")),
    (Volatile.TEMPLATE_CHANGE, ruled("You sell manga in 2 shops.", "You sell manga in 3 shops.")),
    (Volatile.TEMPLATE_CHANGE, ruled("Rule 1: be kind", "Rule 1: be polite")),
    (Volatile.TEMPLATE_CHANGE, ruled("Answer in English.", "日本語で答えてください。")),
    (Volatile.TEMPLATE_CHANGE, ruled("The customer is always right.", "The customer is king.")),
    (
        Volatile.TEMPLATE_CHANGE,
        ruled("Do not mention the date of today.", "Do not mention the time of today."),
    ),
    (Volatile.TEMPLATE_CHANGE, ruled("temperature of tone: warm", "temperature of tone: cold")),
    (Volatile.TEMPLATE_CHANGE, ruled("Request confirmation first.", "Request approval first.")),
    (Volatile.TEMPLATE_CHANGE, ruled("Each user may order 5 volumes.", "Each user may order 10 volumes.")),
    (
        Volatile.TEMPLATE_CHANGE,
        ruled("Sessions expire after 30 minutes.", "Sessions expire after 45 minutes."),
    ),
    (
        Volatile.TEMPLATE_CHANGE,
        ruled(
            "Support is open from Monday to Friday, ask by mail.", "Support is open all days, ask by mail."
        ),
    ),
    (
        Volatile.TEMPLATE_CHANGE,
        ruled("", "Always mention the shipping costs to readers outside Japan, in their currency.\n"),
    ),
    (Volatile.TEMPLATE_CHANGE, ruled("営業時間は店舗ごとに異なります。", "営業時間は全店共通です。")),
    (Volatile.TEMPLATE_CHANGE, ruled("model gpt-4o style", "model gpt-4.1 style")),
    (
        Volatile.CONVERSATION,
        (
            of_text("S" + RULES + "\n\nHuman: when is volume 9 out?\n\nAssistant:"),
            of_text("S" + RULES + "\n\nHuman: when is volume 10 out?\n\nAssistant:"),
        ),
    ),
    (
        Volatile.CONVERSATION,
        (
            of_text(
                "<|im_start|>system\nS" + RULES + "<|im_end|>\n<|im_start|>user\nHi 2026-11-21<|im_end|>\n"
            ),
            of_text(
                "<|im_start|>system\nS" + RULES + "<|im_end|>\n<|im_start|>user\nHi 2026-11-22<|im_end|>\n"
            ),
        ),
    ),
    (
        Volatile.CONVERSATION,
        (
            of_text(
                "<|start_header_id|>system<|end_header_id|>\n\nS"
                + RULES
                + "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nfind me Berserk<|eot_id|>"
            ),
            of_text(
                "<|start_header_id|>system<|end_header_id|>\n\nS"
                + RULES
                + "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nwhere is my order 12?<|eot_id|>"
            ),
        ),
    ),
    (
        Volatile.CONVERSATION,
        (
            of_text(f"<s>[INST] <<SYS>>\n{RULES}\n<</SYS>>\n\nfind Berserk [/INST]"),
            of_text(f"<s>[INST] <<SYS>>\n{RULES}\n<</SYS>>\n\nprice of Frieren? [/INST]"),
        ),
    ),
    (
        Volatile.CONVERSATION,
        (of_text(RULES + "\n質問:在庫はありますか\n"), of_text(RULES + "\n質問:いつ届きますか\n")),
    ),
    (
        Volatile.RETRIEVAL_BEFORE_HISTORY,
        (
            of_text(
                RULES + "<documents>\n1. Frieren 9 in stock\n</documents>\n"
                "<history>\nuser: hi\nassistant: hello\n</history>\nuser: and?"
            ),
            of_text(
                RULES + "<documents>\n1. Berserk 41 pre-order\n</documents>\n"
                "<history>\nuser: hi\nassistant: hello\n</history>\nuser: and?"
            ),
        ),
    ),
    (
        Volatile.RETRIEVAL_BEFORE_HISTORY,
        (
            of_text(
                RULES
                + "参考資料:\n・葬送のフリーレン 9巻\n\n会話履歴:\nお客様:こんにちは\n店員:いらっしゃいませ\n"
            ),
            of_text(
                RULES
                + "参考資料:\n・ベルセルク 41巻\n\n会話履歴:\nお客様:こんにちは\n店員:いらっしゃいませ\n"
            ),
        ),
    ),
    (
        Volatile.TIMESTAMP,
        behind(
            "Server clock 2026-11-21 16:22:30 JST (UTC+9)", "Server clock 2026-11-21 16:22:44 JST (UTC+9)"
        ),
    ),
    (
        Volatile.TIMESTAMP,
        behind("last_updated=2026-11-21T16:22:30.1Z", "last_updated=2026-11-21T16:22:30.2Z"),
    ),
    (Volatile.TIMESTAMP, behind("現在時刻は16時22分です", "現在時刻は16時23分です")),
    (Volatile.TIMESTAMP, behind("It's quarter: 4:15pm", "It's quarter: 4:30pm")),
    (
        Volatile.TIMESTAMP,
        before("[2026-11-21 16:22:30,123] prompt built", "[2026-11-21 16:22:30,456] prompt built"),
    ),
    (Volatile.TIMESTAMP, before("t=1795245749", "t=1795245750")),
    (
        Volatile.TIMESTAMP,
        before("Date: Sat, 21 Nov 2026 16:22:30 +0900", "Date: Sat, 21 Nov 2026 16:22:31 +0900"),
    ),
    (Volatile.TIMESTAMP, behind("unixtime 1795245749.12 sec", "unixtime 1795245750.98 sec")),
    (Volatile.DATE, behind("本日(2026-11-21)のおすすめ", "本日(2026-11-22)のおすすめ")),
    (Volatile.DATE, behind("Weekday: Fri", "Weekday: Sat")),
    (Volatile.DATE, behind("Campaign day 2026.11.21", "Campaign day 2026.11.22")),
    (Volatile.DATE, behind("Black Friday is November 27th.", "Black Friday is November 28th.")),
    (Volatile.DATE, before("今月は11月です。本日 11/21", "今月は11月です。本日 11/22")),
    (Volatile.SESSION_ID, behind("chat_session=ABCD-1234", "chat_session=WXYZ-9876")),
    (Volatile.SESSION_ID, behind("Conversation ID: 5f0c", "Conversation ID: 77ab")),
    (Volatile.SESSION_ID, behind("セッション番号 20391", "セッション番号 48210")),
    (Volatile.SESSION_ID, before('"session": {"id": "q81mz2"}', '"session": {"id": "w72kx9"}')),
    (Volatile.USER_ID, behind("Reader #A1029 (gold)", "Reader #B2210 (gold)")),
    (Volatile.USER_ID, behind('{"user": {"id": 1029}}', '{"user": {"id": 2210}}')),
    (Volatile.USER_ID, behind("ユーザー名:tanaka01", "ユーザー名:suzuki02")),
    (Volatile.USER_ID, before("member no 77210, since spring", "member no 81920, since spring")),
    (
        Volatile.REQUEST_ID,
        behind("trace-id 4bf92f3577b34da6a3ce929d0e0e4736", "trace-id 00f067aa0ba902b7a3ce929d0e0e4736"),
    ),
    (Volatile.REQUEST_ID, behind("span=00f067aa0ba902b7", "span=53995c3f42cd8ad8")),
    (Volatile.REQUEST_ID, before("REQ20391", "REQ20392")),
    (
        Volatile.UUID,
        behind(
            "Prompt instance {7d1e9a44-02c6-4b8e-8a7d-5f2f9a6f1e21}",
            "Prompt instance {0d1e9a44-02c6-4b8e-8a7d-5f2f9a6f1e21}",
        ),
    ),
    (Volatile.UUID, behind('etag W/"a94a8fe5ccb19ba61c4c0873"', 'etag W/"b94a8fe5ccb19ba61c4c0873"')),
    (Volatile.UUID, before("seed: 7f83b1657ff1fc53b92dc181", "seed: 4e07408562bedb8b60ce05c1")),
    (Volatile.COUNTER, behind("Prompt render count: 512", "Prompt render count: 513")),
    (Volatile.COUNTER, behind("これは第12回目の会話です", "これは第13回目の会話です")),
    (Volatile.COUNTER, behind("Retry 0", "Retry 1")),
    (Volatile.COUNTER, behind("(turn 4/10)", "(turn 5/10)")),
    (Volatile.REORDERED_KEYS, behind("limits: {'max': 3, 'min': 1}", "limits: {'min': 1, 'max': 3}")),
    (
        Volatile.REORDERED_KEYS,
        behind("currency=JPY; locale=ja; tier=gold", "tier=gold; currency=JPY; locale=ja"),
    ),
    (
        Volatile.REORDERED_KEYS,
        behind("genres:\n- fantasy\n- sport\n- horror\n", "genres:\n- sport\n- horror\n- fantasy\n"),
    ),
    (
        Volatile.REORDERED_TOOLS,
        behind(
            "functions: [search(q), stock(isbn), handover()]",
            "functions: [stock(isbn), search(q), handover()]",
        ),
    ),
    (
        Volatile.REORDERED_TOOLS,
        behind(
            "Tools:\n1. search\n2. stock\n".replace("1. ", "* ").replace("2. ", "* "),
            "Tools:\n* stock\n* search\n",
        ),
    ),
    (Volatile.WHITESPACE, behind("Be kind.\n\n\nBe short.", "Be kind.\n\nBe short.")),
    (Volatile.WHITESPACE, behind("Be kind. ", "Be kind.")),
    (
        Volatile.TEMPLATE_CHANGE,
        behind("Mention at most 3 titles per answer.", "Mention at most 5 titles per answer."),
    ),
    (Volatile.TEMPLATE_CHANGE, behind("Use polite Japanese (desu/masu).", "Use casual Japanese.")),
    (Volatile.TEMPLATE_CHANGE, behind("Opening hours: ask the shop.", "Opening days: ask the shop.")),
    (Volatile.TEMPLATE_CHANGE, behind("User satisfaction comes first.", "Reader satisfaction comes first.")),
    (Volatile.TEMPLATE_CHANGE, behind("Prompt v42", "Prompt v43")),
    (Volatile.TEMPLATE_CHANGE, behind("送料は500円です。", "送料は800円です。")),
    (Volatile.TEMPLATE_CHANGE, behind("Each request needs an answer.", "Each request needs a source.")),
    (
        Volatile.CONVERSATION,
        behind(
            "", "", "Please cancel order 88213 from 2026-11-20", "Please cancel order 99120 from 2026-11-21"
        ),
    ),
    (
        Volatile.CONVERSATION,
        (
            of_text(POLICY + "\n### User:\nBerserk?\n### Assistant:\n"),
            of_text(POLICY + "\n### User:\nFrieren 9?\n### Assistant:\n"),
        ),
    ),
    (
        Volatile.CONVERSATION,
        (
            of_text(POLICY + "\nContext:\n[1] Berserk 41\n\nQ: price?\nA:"),
            of_text(POLICY + "\nContext:\n[1] Frieren 9\n\nQ: stock?\nA:"),
        ),
    ),
    (
        Volatile.RETRIEVAL_BEFORE_HISTORY,
        tuple(
            of_messages(
                [
                    {"role": "system", "content": POLICY},
                    {"role": "system", "segment": "retrieval", "content": x},
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "b"},
                    {"role": "user", "content": "c"},
                ]
            )
            for x in ("Berserk 41: 800 yen", "Frieren 9: 600 yen")
        ),
    ),
    (
        Volatile.RETRIEVAL_BEFORE_HISTORY,
        tuple(
            of_text(POLICY + f"\n# Knowledge\n{x}\n\n# Chat\nUser: a\nAssistant: b\nUser: c\n")
            for x in ("Berserk 41: 800 yen", "Frieren 9: 600 yen")
        ),
    ),
    (Volatile.APPENDED, (of_text(POLICY), of_text(POLICY + "\nUser: hi"))),
]


@pytest.mark.parametrize(
    "number", range(len(FORMS)), ids=[f"{kind} {n}" for n, (kind, _) in enumerate(FORMS)]
)
def test_a_form_is_told(number: int) -> None:
    kind, (one, other) = FORMS[number]
    assert diverge(one, other).kind is kind
    assert diverge(other, one).kind is kind
