"""Conversations on a seeded schedule: the same plan gives the same words at the same instants, to the byte.

Open between sessions, closed inside one: sessions begin when the schedule says, whatever the server does; a
turn begins its think time after the answer before it has ended, as a reader's would. So a later turn's
`start_s` is a plan for a server as fast as the plan file's `expected`; it decides the turn's phase and with
that its mix, and the run counts offered against it.

Earlier answers in a prompt are the plan's own, of the planned length, and not what the engine said: a staging
engine's noise would make every prompt another one and of another length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from random import Random
from typing import Any, Literal

from loadtests import wording
from loadtests.plan import ROUTES, Mix, Phase, Plan
from loadtests.shapes import arrivals

Kind = Literal["plain", "long_context", "oversize"]

# 4.2 turns on average, 12 % over eight, one session in 200 of thirty and more.
TURNS = {1: 0.20, 2: 0.18, 3: 0.16, 4: 0.12, 5: 0.09, 6: 0.06, 7: 0.04, 8: 0.03}
OVER_EIGHT, OVER_THIRTY = 0.115, 0.005
OVER_EIGHT_MORE = 1.35  # mean of the turns beyond nine
MOST_TURNS = 34

SAME_INTENT = 0.7  # of later turns stay with what the session came for
SAME_TOPIC = 0.85
THINK_SIGMA, THINK_MOST = 0.7, 10.0  # log-normal, cut at ten times the median
USERS = 5000
LONG_CONTEXT_PASSAGES = 12  # about what a budget of 1,400 tokens for retrieval holds
OVERSIZE_TOKENS = 12_000  # several times the context, so that no estimate makes it fit
PASSAGES: Mapping[str, int] = {
    "recommendation": 3,
    "discovery": 3,
    "product_question": 3,
    "order": 2,
    "return": 2,
    "escalation": 1,
    "faq": 2,
}
POOL = 12  # passages on a subject, of which a question's wording may find others than the best
FOUND_OTHERS = 0.4  # of turns: an endless cache then hits 71 % of tokens, about as production's does
OF_NO_TITLE = ("order", "return", "escalation", "faq")  # their passages are the shop's rules, one set for all


@dataclass(frozen=True, slots=True)
class Turn:
    """One request to come: `start_s` seconds from the start, `think_s` after the answer before it."""

    number: int
    start_s: float
    think_s: float
    request_id: str
    phase: str
    intent: str
    adapter: str
    kind: Kind
    max_tokens: int
    topic: int


@dataclass(frozen=True, slots=True)
class Session:
    """One customer's conversation; `past` are turns from before the start, which are only history."""

    index: int
    session_id: str
    user_id: str
    locale: str
    model: str
    past: tuple[Turn, ...]
    turns: tuple[Turn, ...]

    @property
    def start_s(self) -> float:
        """When its first turn is due."""
        return self.turns[0].start_s


def sessions(plan: Plan, share: int = 0, of: int = 1) -> Iterator[Session]:
    """Every session that has a turn to send, in order of beginning. One is made when it is asked for.

    Of several generators each makes its own share, numbered from 0.
    """
    for index, (at_s, phase) in enumerate(_beginnings(plan)):
        if index % of == share and (session := _session(plan, index, at_s, phase)).turns:
            yield session


def body(plan: Plan, session: Session, turn: Turn) -> dict[str, Any]:
    """The turn's request, OpenAI's and what the gateway knows beyond it."""
    retrieval = _retrieval(plan, session, turn)
    inline = plan.passages == "message"
    return {
        "model": session.model,
        "request_id": turn.request_id,
        "messages": _messages(plan, session, turn, retrieval if inline else []),
        **({} if inline else {"retrieval": retrieval}),
        "metadata": {
            "session_id": session.session_id,
            "turn": str(turn.number),
            "intent": turn.intent,
            "locale": session.locale,
            "user_id": session.user_id,
        },
        # Both bounds, and no end of its own: a generated model would stop anywhere.
        "max_tokens": turn.max_tokens,
        "min_tokens": turn.max_tokens,
        "ignore_eos": True,
        # Greedy, so that no seed is needed: vLLM 0.32 on a CPU dies of a request's own seed when it splits
        # the prompt ("CPU Generator does not use offset").
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _beginnings(plan: Plan) -> Iterator[tuple[float, Phase]]:
    """When sessions begin, and in which phase; first those that the start finds under way."""
    first, run_in_s = plan.phases[0], plan.run_in_s / plan.time_scale
    level = first.rate(0)
    for at_s in arrivals(lambda _: level, level, run_in_s, Random(f"{plan.seed}/run-in")):
        yield at_s - run_in_s, first
    for phase, start_s, end_s in zip(plan.phases, plan.starts_s, plan.ends_s, strict=True):
        rng = Random(f"{plan.seed}/arrivals/{phase.name}")
        for at_s in arrivals(_on_the_clock(plan, phase), phase.most, end_s - start_s, rng):
            yield start_s + at_s, phase


def _on_the_clock(plan: Plan, phase: Phase) -> Any:
    return lambda at_s: phase.rate(at_s * plan.time_scale)


def _session(plan: Plan, index: int, at_s: float, phase: Phase) -> Session:
    rng = Random(f"{plan.seed}/session/{index}")
    names = Random(f"{plan.seed}/{plan.run}/session/{index}")
    asked, locale, intents = _party(phase.mix, rng)
    turns = tuple(_turns(plan, at_s, locale, intents, asked, rng, names))
    return Session(
        index=index,
        session_id=f"ses-{names.getrandbits(48):012x}",
        user_id=f"user-{rng.randrange(USERS):04}",
        locale=locale,
        model=asked or plan.model,
        past=tuple(each for each in turns if each.start_s < 0),
        turns=tuple(each for each in turns if each.start_s >= 0),
    )


def _party(mix: Mix, rng: Random) -> tuple[str | None, str, Mapping[str, float]]:
    """(adapter asked for by name if any, locale, weights of intents) of a session."""
    wanted = _drawn(mix.adapters, rng) if mix.adapters else None
    ways = {
        (locale, intent): by_locale * by_intent
        for locale, by_locale in mix.locales.items()
        for intent, by_intent in mix.intents.items()
        if wanted is None or ROUTES[locale, intent] == wanted
    }
    if not any(ways.values()):  # no intent leads there
        return wanted, _drawn(mix.locales, rng), mix.intents
    locale = _drawn(_summed(ways), rng)
    return None, locale, {intent: weight for (where, intent), weight in ways.items() if where == locale}


def _summed(ways: Mapping[tuple[Any, str], float]) -> dict[str, float]:
    by_locale: dict[str, float] = {}
    for (locale, _), weight in ways.items():
        by_locale[locale] = by_locale.get(locale, 0) + weight
    return by_locale


def _turns(
    plan: Plan,
    at_s: float,
    locale: str,
    intents: Mapping[str, float],
    asked: str | None,
    rng: Random,
    names: Random,
) -> Iterator[Turn]:
    came_for, topic, think_s = _drawn(intents, rng), _topic(locale, rng), 0.0
    for number in range(1, _length(rng) + 1):
        phase = plan.phase_at(at_s)
        intent = came_for if rng.random() < SAME_INTENT else _drawn(intents, rng)
        topic = topic if rng.random() < SAME_TOPIC else _topic(locale, rng)
        adapter = asked or ROUTES[locale, intent]
        turn = Turn(
            number=number,
            start_s=at_s,
            think_s=think_s,
            request_id=f"req-{names.getrandbits(64):016x}",
            phase=phase.name,
            intent=intent,
            adapter=adapter,
            kind=_kind(phase.mix, rng),
            max_tokens=_output(phase.mix, adapter, rng),
            topic=topic,
        )
        yield turn
        median_s = phase.mix.think_s / plan.time_scale
        think_s = median_s * min(THINK_MOST, rng.lognormvariate(0, THINK_SIGMA))
        at_s += plan.expected.ttft_s + plan.expected.token_s * turn.max_tokens + think_s


def _length(rng: Random) -> int:
    """How many turns a session has."""
    lot = rng.random()
    for turns, share in TURNS.items():
        if (lot := lot - share) < 0:
            return turns
    if lot >= OVER_EIGHT:
        return rng.randint(30, MOST_TURNS)
    more = math.log(1 - rng.random()) / math.log(OVER_EIGHT_MORE / (1 + OVER_EIGHT_MORE))
    return min(MOST_TURNS, 9 + int(more))


def _topic(locale: str, rng: Random) -> int:
    """A title by popularity: the k-th is asked for 1/k as often as the first (Zipf)."""
    return rng.choices(range(wording.topics(locale)), cum_weights=_popularity(locale))[0]


@cache
def _popularity(locale: str) -> list[float]:
    return list(accumulate(1 / (k + 1) for k in range(wording.topics(locale))))


def _kind(mix: Mix, rng: Random) -> Kind:
    lot = rng.random()
    if lot < mix.oversize:
        return "oversize"
    return "long_context" if lot < mix.oversize + mix.long_contexts else "plain"


def _output(mix: Mix, adapter: str, rng: Random) -> int:
    long = rng.random() < mix.long_answers
    bounds = mix.output_tokens or (mix.long_tokens if long else mix.short_tokens)
    tokens = rng.randint(*bounds)
    return mix.runaway.output_tokens if mix.runaway and mix.runaway.adapter == adapter else tokens


def _retrieval(plan: Plan, session: Session, turn: Turn) -> list[str]:
    locale = session.locale
    if turn.kind == "long_context":
        seeds = (f"{plan.seed}/{session.index}/{turn.number}/{k}" for k in range(LONG_CONTEXT_PASSAGES))
        return [wording.rare_passage(locale, turn.topic, seed) for seed in seeds]
    topic = 0 if turn.intent in OF_NO_TITLE else turn.topic
    about = turn.intent if turn.intent in OF_NO_TITLE else "title"
    rng, count = Random(f"{plan.seed}/found/{session.index}/{turn.number}"), PASSAGES.get(turn.intent, 0)
    best = range(count)
    found = rng.sample(range(POOL), count) if rng.random() < FOUND_OTHERS else best
    return [wording.passage(locale, topic, f"{about}/{k}") for k in found]


def _messages(plan: Plan, session: Session, turn: Turn, inline: list[str]) -> list[dict[str, str]]:
    """The conversation up to and with the turn's question, newest last."""
    said = [each for each in (*session.past, *session.turns) if each.number <= turn.number]
    messages: list[dict[str, str]] = []
    for before, _ in pairwise(said):
        seed = f"{plan.seed}/{session.index}/{before.number}"
        messages += [
            {"role": "user", "content": _asked(session, before, seed, history=True)},
            {"role": "assistant", "content": wording.answer(session.locale, before.max_tokens, seed)},
        ]
    question = _asked(session, turn, f"{plan.seed}/{session.index}/{turn.number}", history=False)
    return [*messages, {"role": "user", "content": "\n\n".join([*inline, question])}]


def _asked(session: Session, turn: Turn, seed: str, *, history: bool) -> str:
    """A turn's question. One that was oversize is not carried along: it got no answer."""
    if turn.kind == "oversize" and not history:
        return wording.oversize(session.locale, OVERSIZE_TOKENS, seed)
    return wording.question(session.locale, turn.intent, turn.topic, first=turn.number == 1, seed=seed)


def _drawn(weights: Mapping[str, float] | Mapping[Any, float], rng: Random) -> str:
    return str(rng.choices(list(weights), list(weights.values()))[0])
