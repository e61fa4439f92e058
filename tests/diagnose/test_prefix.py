"""Where two prompts part and why: over generated pairs, over a recorded drill, and to the character."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.diagnose.prefix.classes import FIXES, Volatile
from collectors.diagnose.prefix.divergence import BLOCK_TOKENS, Divergence, diverge
from collectors.diagnose.prefix.prompts import Prompt, of_messages, of_text
from collectors.diagnose.prefix.spans import first_difference
from collectors.sources.tape import REQUESTS
from tests.diagnose.prompt_pairs import pairs
from tests.recordings import rows

SEED, EACH = 20261121, 40
RIGHT = 0.95
SYSTEM = "You are MangaAssist.\n" * 20


@cache
def confusion() -> Counter[tuple[Volatile, Volatile]]:
    """(made, found) → how many pairs."""
    return Counter((p.kind, diverge(p.one, p.other).kind) for p in pairs(SEED, EACH))


def test_of_generated_pairs_95_in_100_are_told_right() -> None:
    found = confusion()
    for kind in Volatile:
        told = {other.value: n for (made, other), n in found.items() if made is kind}
        print(f"{kind:26}", told)
    right = sum(n for (made, told), n in found.items() if made is told)
    assert found.total() >= 200
    assert right / found.total() >= RIGHT


@pytest.mark.parametrize("kind", sorted({made for made, _ in confusion()}))
def test_no_class_is_told_badly(kind: Volatile) -> None:
    told = {other: n for (made, other), n in confusion().items() if made is kind}
    assert told[kind] / sum(told.values()) >= 0.85


def test_the_recorded_drill_parts_at_its_timestamp() -> None:
    samples = [r for r in rows(REQUESTS) if "messages" in r]
    stable, volatile = (
        [of_messages(r["messages"]) for r in samples if r["prompt_version"] == v] for v in ("v42", "v43")
    )
    assert len(stable) > 100 < 5 * len(volatile)
    among = Counter(diverge(a, b).kind for a, b in pairwise(volatile))
    across = Counter(diverge(a, b).kind for a, b in zip(stable, volatile, strict=False))
    assert set(among) == set(across) == {Volatile.TIMESTAMP}
    before = [diverge(a, b) for a, b in pairwise(stable)]
    assert {d.kind.is_fault for d in before} == {False}
    assert min(d.shared_tokens for d in before) > 800


def test_a_difference_is_placed_to_the_character() -> None:
    one, other = (
        of_messages(
            [
                {"role": "system", "content": SYSTEM, "segment": "policy"},
                {"role": "system", "content": f"The session is {session}.\nBe kind."},
                {"role": "user", "content": "Hi"},
            ]
        )
        for session in ("ses-1a2b", "ses-9c8d")
    )
    found = diverge(one, other)
    assert found.kind is Volatile.SESSION_ID
    assert found.place is not None
    assert (found.place.segment, found.place.character) == ("system 2", len("The session is ses-"))
    assert (found.one, found.other) == ("ses-1a2b.", "ses-9c8d.")
    assert found.place.token == found.shared_tokens > len(SYSTEM) // 4
    assert found.place.block == found.shared_blocks == found.shared_tokens // BLOCK_TOKENS
    assert found.estimated


def test_a_tokenizer_counts_where_there_is_one() -> None:
    one, other = of_text("a b c d now=1"), of_text("a b c d now=2")
    found = diverge(one, other, block=2, encode=lambda text: [hash(w) for w in text.split()])
    assert (found.shared_tokens, found.shared_blocks, found.tokens, found.estimated) == (4, 2, 5, False)


ODD = {
    "two empty prompts": ("", "", Volatile.IDENTICAL),
    "an empty one": ("", "Rules", Volatile.TEMPLATE_CHANGE),
    "control characters": ("\x00\x01\x02", "\x00\x01\x03", Volatile.TEMPLATE_CHANGE),
    "brackets without an end": ("[" * 3000 + "a", "[" * 3000 + "b", Volatile.TEMPLATE_CHANGE),
    "broken JSON": ('{"a": 1, "b"', '{"b": 1, "a"', Volatile.TEMPLATE_CHANGE),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_texts_have_an_answer(name: str) -> None:
    one, other, kind = ODD[name]
    assert diverge(of_text(one), of_text(other)).kind is kind


@given(st.text(), st.text(), st.text())
def test_any_two_texts_part_where_they_first_differ(same: str, one: str, other: str) -> None:
    found: Divergence = diverge(of_text(same + one), of_text(same + other))
    if found.place is None:
        assert same + one == same + other
        return
    at = found.place.character
    assert (same + one)[:at] == (same + other)[:at]
    assert (same + one)[at : at + 1] != (same + other)[at : at + 1]
    assert found.fix == FIXES[found.kind]


@given(st.text(alphabet="ab", max_size=9000), st.integers(0, 9000))
def test_the_first_difference_is_found_in_steps(text: str, at: int) -> None:
    at = min(at, len(text))
    assert first_difference(text, f"{text[:at]}c{text[at + 1 :]}") == at


def test_every_class_has_a_fix() -> None:
    assert set(FIXES) == set(Volatile)


def test_content_in_parts_is_read_as_one() -> None:
    parts = [{"type": "text", "text": "You are "}, {"type": "image_url"}, {"type": "text", "text": "kind."}]
    found: Prompt = of_messages([{"role": "system", "content": parts}, {"role": "user", "content": "Hi"}])
    assert found.segments[0].text == "You are kind."
