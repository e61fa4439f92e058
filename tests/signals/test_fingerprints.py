"""What a fingerprint tells of two prefixes, and that it holds no text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.signals.fingerprints import (
    BLOCK_CHARACTERS,
    BLOCKS,
    DIGEST,
    DIVERGENCE,
    MAX_PROMPT,
    Fingerprint,
    apart,
    block_hashes,
    blocks_text,
    fingerprint,
    of_prompt,
    read,
    segment_at,
    written,
)
from collectors.signals.traces import MAX_TEXT

TEXT = "".join(f"Rule {n}: never invent a title.\n" for n in range(200))


def check(one: str, other: str) -> None:
    """Two prefixes part where their fingerprints say, to the blocks that these tell apart."""
    found = apart(fingerprint(one), fingerprint(other))
    if found is None:
        assert one == other
        return
    shared = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    same, within = found
    assert same * BLOCK_CHARACTERS <= shared < within * BLOCK_CHARACTERS


@pytest.mark.parametrize("at", [0, 1, 63, 64, 65, 128, 1000, 4000, len(TEXT) - 1])
def test_two_prefixes_part_within_the_blocks_that_are_told(at: int) -> None:
    check(TEXT, f"{TEXT[:at]}\0{TEXT[at + 1 :]}")
    check(TEXT, TEXT[:at])


@given(st.text(alphabet="ab", max_size=400), st.text(alphabet="ab", max_size=400))
def test_any_two_prefixes_part_within_the_blocks_that_are_told(one: str, other: str) -> None:
    check(one, other)


def test_hashes_are_chained() -> None:
    one, other = block_hashes([b"a", b"x", b"c"]), block_hashes([b"b", b"x", b"c"])
    assert not set(one) & set(other)
    assert block_hashes([b"a", b"x"]) == one[:2]


@given(st.text(max_size=2000), st.sampled_from(["", "timestamp@0", "retrieval_before_history@99999"]))
def test_a_fingerprint_is_read_as_it_was_written(text: str, divergence: str) -> None:
    made = fingerprint(text, (("system", 0), ("policy", len(text) // 2)))
    column = written({DIGEST: made.digest, BLOCKS: blocks_text(made), DIVERGENCE: divergence})
    found = read(column)
    assert found == Fingerprint(made.digest, made.blocks, made.marks, made.segments, divergence)


def test_the_longest_prefix_fits_its_column() -> None:
    made = fingerprint("漫" * 200_000, tuple((f"segment number {n}", 48_000 * n) for n in range(9)))
    column = written(
        {DIGEST: made.digest, BLOCKS: blocks_text(made), DIVERGENCE: "retrieval_before_history@12499"}
    )
    assert column is not None
    assert len(column) <= MAX_TEXT


def test_a_block_stands_in_its_segment() -> None:
    made = fingerprint(TEXT, (("system", 0), ("policy", 640)))
    assert [segment_at(made, block) for block in (0, 9, 10, 50)] == ["system", "system", "policy", "policy"]
    assert segment_at(fingerprint(TEXT), 3) is None


@pytest.mark.parametrize("text", ["0f3a", "0f3a:", "0f3a:x:y:z:", "0f3a:1", "0f3a:-1:a::", "0f3a:3:a.b:s:"])
def test_what_is_no_whole_fingerprint_is_its_digest(text: str) -> None:
    found = read(text)
    assert found is not None
    assert (found.digest, found.marks) == ("0f3a", ())


@pytest.mark.parametrize("text", [None, "", ":3:"])
def test_nothing_is_no_fingerprint(text: str | None) -> None:
    assert read(text) is None


def system(content: object) -> list[dict[str, object]]:
    return [{"role": "system", "content": content}, {"role": "user", "content": "Hi"}]


PROMPTED = {
    "messages": {"messages": system(TEXT)},
    "a list": system(TEXT),
    "content in parts": system([{"type": "text", "text": TEXT}]),
    "parts as OpenTelemetry has them": [{"role": "system", "parts": [{"type": "text", "content": TEXT}]}],
}


@pytest.mark.parametrize("name", PROMPTED)
def test_a_prompt_has_the_fingerprint_of_its_prefix(name: str) -> None:
    found = of_prompt(json.dumps(PROMPTED[name]))
    assert found[DIGEST] == fingerprint(TEXT).digest
    assert "Rule" not in str(found)


NONE = {
    "no JSON": '{"role": ',
    "no messages": '{"request_id": "r", "role": 1}',
    "no system": json.dumps([{"role": "user", "content": TEXT}]),
    "no content": json.dumps(system(None)),
    "numbers": json.dumps(system(7)),
    "deep brackets": '"role"' + "[" * 100_000,
    "too long": json.dumps(system("x" * MAX_PROMPT)),
    "no object": '["role"]',
}


@pytest.mark.parametrize("name", NONE)
def test_what_holds_no_prefix_has_no_fingerprint(name: str) -> None:
    assert of_prompt(NONE[name]) == {}
