"""A template is refused where something volatile stands before text that never changes."""

from __future__ import annotations

import pytest

from collectors.diagnose.prefix.classes import Volatile
from collectors.diagnose.prefix.templates import inspect, rendered

RULES = "Answer only about manga. Never invent a title, a price or a release date.\n" * 4
CASES: dict[str, tuple[str, Volatile | None]] = {
    "nothing but text": (RULES, None),
    "a clock at the head": (f"Now: {{{{ now() }}}}\n{RULES}", Volatile.TIMESTAMP),
    "a clock at the end": (f"{RULES}\nNow: {{{{ now() }}}}", None),
    "a clock with a filter": ("{{ clock | strftime('%H:%M') }} " + RULES, Volatile.TIMESTAMP),
    "a date by str.format": (f"Today is {{today:%Y-%m-%d}}.\n{RULES}", Volatile.DATE),
    "a session in the middle": (f"{RULES}Session {{session_id}}\n{RULES}", Volatile.SESSION_ID),
    "a session by its label": (f"{RULES}Session: {{value}}\n{RULES}", Volatile.SESSION_ID),
    "a user of an object": (f"Reader {{{{ user.id }}}}\n{RULES}", Volatile.USER_ID),
    "a request by percent": (f"%(request_id)s\n{RULES}", Volatile.REQUEST_ID),
    "a shell's variable": (f"Trace $trace_id\n{RULES}", Volatile.REQUEST_ID),
    "a nonce": (f"${{nonce}}\n{RULES}", Volatile.UUID),
    "a history at the end": (f"{RULES}{{% for m in history %}}{{{{ m.content }}}}{{% endfor %}}", None),
    "a question before a few words": (f"{RULES}User: {{question}}\nAssistant:", None),
    "passages before rules": (f"{{{{ passages }}}}\n{RULES}", Volatile.RETRIEVAL_BEFORE_HISTORY),
    "a name that tells nothing": (f"{{thing}}\n{RULES}", Volatile.UNKNOWN),
    "a comment": (f"{{# {{{{ now() }}}} #}}{RULES}", None),
    "JSON that is no placeholder": ('{"locale": "ja", "n": 1}\n' + RULES, None),
    "nothing at all": ("", None),
}


def check(text: str, kind: Volatile | None) -> None:
    found = inspect(text)
    assert (found.hole.kind if found.hole else None) is kind
    assert (found.lost_tokens >= 16) is (kind is not None)
    assert found.fix


@pytest.mark.parametrize("name", CASES)
def test_a_template_is_judged(name: str) -> None:
    check(*CASES[name])


def test_what_is_lost_and_shared_is_counted() -> None:
    found = inspect(f"{RULES}Session {{session_id}}\n{RULES}")
    assert found.line == 5
    assert found.shared_tokens == pytest.approx(len(RULES) / 4, abs=8)
    assert found.lost_tokens == pytest.approx(len(RULES) / 4, abs=2)


def test_a_placeholder_may_be_named_a_constant() -> None:
    text = f"{{{{ shop.name }}}} {{thing}}\n{RULES}"
    assert inspect(text, ["shop", "thing"]).hole is None
    assert inspect(text, ["shop"]).hole is not None


def test_two_requests_differ_in_their_placeholders_alone() -> None:
    assert rendered("a {now} b {shop} c", ["shop"]) == (
        "a 2026-11-21T07:22:30Z b  c",
        "a 2026-11-21T07:22:31Z b  c",
    )
