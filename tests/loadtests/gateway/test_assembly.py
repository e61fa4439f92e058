"""A conversation is read within its budget, whatever its length, and what was left out is visible."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from loadtests.staging.gateway.asking import Chat, Turn
from loadtests.staging.gateway.assembly import TEMPLATE_TOKENS, assemble, clip
from loadtests.staging.gateway.config import PROMPTS, Budget
from loadtests.staging.gateway.prompts import load
from loadtests.staging.gateway.summary import first_sentence, summarise
from loadtests.staging.gateway.tokens import Counter, Estimated, Exact

PREFIX = load(PROMPTS, "v42").text
BUDGET = Budget()


def trained() -> Exact:
    """A byte-level tokenizer as staging's, trained on the shipped prompts."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, initial_alphabet=alphabet, show_progress=False)
    raw.train_from_iterator([PREFIX], trainer)
    return Exact(raw)


COUNTERS: dict[str, Counter] = {"exact": trained(), "estimated": Estimated()}


@pytest.fixture(params=COUNTERS)
def counter(request: pytest.FixtureRequest) -> Counter:
    return COUNTERS[request.param]


def chat(turns: list[tuple[str, str]], **more: Any) -> Chat:
    known: dict[str, Any] = dict.fromkeys(
        ("request_id", "session_id", "user_id", "turn", "intent", "locale", "max_tokens")
    )
    known |= {"retrieval": (), "sampling": {}, "stream": True, "include_usage": False}
    return Chat(model="m", turns=tuple(Turn(*t) for t in turns), **(known | more))


def conversation(length: int) -> list[tuple[str, str]]:
    """So many turns; the user's newest is the last."""
    roles = ["user" if (length - n) % 2 else "assistant" for n in range(length)]
    return [
        (role, f"Turn {n} is about volume {n}. " + "静かな旅の物語が好きです。" * 6)
        for n, role in enumerate(roles)
    ]


def test_a_short_conversation_goes_through_whole(counter: Counter) -> None:
    made = assemble(PREFIX, chat(conversation(3), retrieval=("In stock.",)), BUDGET, counter)
    assert not made.trimmed
    assert [m["role"] for m in made.messages] == ["system", "system", "user", "assistant", "user"]
    assert made.messages[0]["content"] == PREFIX
    assert [m["content"] for m in made.messages[2:]] == [text for _, text in conversation(3)]
    assert made.max_tokens == BUDGET.generation_tokens


def test_a_session_of_41_turns_is_served_with_its_older_turns_summarised(counter: Counter) -> None:
    made = assemble(PREFIX, chat(conversation(41)), BUDGET, counter)
    assert made.trimmed
    summary = made.messages[1]["content"]
    assert summary.startswith("Earlier in this conversation (")
    assert "still older turns left out …]" in summary
    recent = [m["content"] for m in made.messages[2:]]
    assert recent == [text for _, text in conversation(41)][-len(recent) :]
    older = 41 - len(recent)
    assert f"Turn {older - 1} is about volume {older - 1}." in summary
    assert counter.count(summary) <= BUDGET.summary_tokens


def test_the_prefix_is_the_same_bytes_however_the_conversation_goes_on(counter: Counter) -> None:
    made = [assemble(PREFIX, chat(conversation(n)), BUDGET, counter) for n in (1, 9, 41)]
    assert {m.messages[0]["content"] for m in made} == {PREFIX}


def test_passages_are_kept_best_first_and_the_rest_is_counted(counter: Counter) -> None:
    passages = tuple(f"Passage {n}. " + "The volume is in stock in Tokyo. " * 30 for n in range(9))
    made = assemble(PREFIX, chat(conversation(1), retrieval=passages), BUDGET, counter)
    context = made.messages[1]["content"]
    assert made.trimmed
    assert passages[0] in context
    assert "characters left out …]" in context
    assert "passages left out …]" in context
    assert counter.count(context) <= BUDGET.retrieval_tokens


def test_a_message_longer_than_the_budget_is_cut_with_a_mark(counter: Counter) -> None:
    text = "漫画を探しています。" * 20_000
    made = assemble(PREFIX, chat([("user", text)]), BUDGET, counter)
    kept = made.messages[-1]["content"]
    assert made.trimmed
    assert text.startswith(kept.partition(" [… ")[0])
    left = len(text) - len(kept.partition(" [… ")[0])
    assert kept.endswith(f"[… {left} characters left out …]")
    assert counter.count(kept) <= BUDGET.recent_tokens


@pytest.mark.parametrize(("asked", "given_tokens"), [(None, 400), (50, 50), (100_000, None)])
def test_the_answer_gets_what_it_asked_for_as_far_as_there_is_room(
    asked: int | None, given_tokens: int | None
) -> None:
    made = assemble(PREFIX, chat(conversation(1), max_tokens=asked), BUDGET, COUNTERS["exact"])
    assert made.max_tokens == (given_tokens or BUDGET.context_tokens - made.input_tokens)


texts = st.text(max_size=400) | st.builds(lambda t, n: t * n, st.text(max_size=20), st.integers(0, 300))


@pytest.mark.parametrize("name", COUNTERS)
@given(turns=st.lists(texts, min_size=1, max_size=25), passages=st.lists(texts, max_size=5))
def test_nothing_makes_a_request_exceed_the_context(name: str, turns: list[str], passages: list[str]) -> None:
    roles = ["user", "assistant"] * 13
    pairs = list(zip(roles[: len(turns)], turns, strict=True))
    counter = COUNTERS[name]
    made = assemble(PREFIX, chat(pairs, retrieval=tuple(passages)), BUDGET, counter)
    assert made.input_tokens + made.max_tokens <= BUDGET.context_tokens
    assert made.input_tokens == sum(counter.count(m["content"]) + TEMPLATE_TOKENS for m in made.messages)


@pytest.mark.parametrize("name", COUNTERS)
@given(text=texts, tokens=st.integers(0, 300))
def test_a_head_is_a_beginning_within_its_tokens(name: str, text: str, tokens: int) -> None:
    counter = COUNTERS[name]
    head = counter.head(text, tokens)
    assert text.startswith(head)
    # cutting can split a merge, so that what is left needs a token or two more
    assert counter.count(head) <= tokens + 2
    assert (head == text) or counter.count(text) > tokens


def test_a_text_that_fits_is_left_alone(counter: Counter) -> None:
    assert clip("Short. 短い。", 20, counter) == ("Short. 短い。", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("I finished volume 3. What now?", "I finished volume 3.", id="English"),
        pytest.param("第3巻を読みました。次は?", "第3巻を読みました。", id="Japanese"),
        pytest.param("It costs 3.50 today! Really.", "It costs 3.50 today!", id="a point inside a number"),
        pytest.param("no end mark", "no end mark", id="no end mark"),
        pytest.param("", "", id="nothing"),
        pytest.param("x" * 500, "x" * 159 + "…", id="a sentence without end"),
    ],
)
def test_the_first_sentence_stands_for_a_turn(text: str, expected: str) -> None:
    assert first_sentence(text) == expected


def test_the_same_turns_give_the_same_summary() -> None:
    turns = [Turn(*t) for t in conversation(30)]
    summaries = {summarise(turns, 200, Estimated()) for _ in range(3)}
    assert len(summaries) == 1
