"""Why one request was slow: the incident whose mark it bears, or its own stages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from collectors.diagnose.questions import questions
from collectors.diagnose.stages import Peers, PeerTimes, leading, split
from collectors.diagnose.why import Why, why
from collectors.model import EventFact, RequestFact

AT = datetime(2026, 11, 21, 7, 23, tzinfo=UTC)
USUAL = {"gateway": 5.0, "frontend": 14.0, "queue": 0.1, "prefill": 40.0, "decode": 1200.0}
PEERS = Peers("peers", 500, {s: PeerTimes(ms, 2 * ms) for s, ms in USUAL.items()}, 944.0)


def request(**changed: Any) -> RequestFact:
    stages = {f"{name}_ms": changed.pop(name, ms) for name, ms in USUAL.items()}
    plain = RequestFact(AT, "req-1", "otlp", adapter="manga_v3", prompt_version="v42", replica="r0")
    told = {"http_status": 200, "prompt_tokens": 1200, "cached_tokens": 944, "e2e_ms": sum(stages.values())}
    return replace(plain, **(told | stages | changed))


def incident(cause: str, component: str | None = None, **changed: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": f"inc-{cause}",
        "cause": cause,
        "component": component,
        "scope": "systemic",
        "start": 1.0,
    }
    harm = {"requests": 900, "requests_hurt": 400}
    told |= {"confidence": 0.9, "sentence": "It happened.", "consequences": [], "changes": [], "harm": harm}
    return told | changed


@dataclass(frozen=True)
class Case:
    asked: RequestFact
    cause: str
    scope: str = "isolated"
    meanwhile: list[dict[str, Any]] = field(default_factory=list)
    peers: Peers = PEERS


STALLED = request(frontend=5000.0)
LATE = request(prefill=400.0, cached_tokens=0)
FEW = replace(PEERS, count=3)
OTHER = incident("prefix_cache_broken", "prompt_version=v43")
ITS_OWN = incident("adapter_regression", "adapter=manga_v3")
CASES = {
    "it took as long as its peers": Case(request(), "normal"),
    "nobody to compare with": Case(request(queue=900.0), "undetermined", "undetermined", peers=FEW),
    "it waited alone": Case(request(queue=2000.0), "capacity_short"),
    "its tokens came slowly, alone": Case(request(decode=4000.0), "decode_slow"),
    "it waited before the engine, alone": Case(STALLED, "frontend_slow"),
    "it alone missed its prefix": Case(LATE, "prefix_cache_broken"),
    "the prefix was broken for many": Case(
        LATE, "prefix_cache_broken", "systemic", [incident("prefix_cache_broken", "prompt_version=v42")]
    ),
    "another version's prefix was broken, and held nobody up": Case(
        request(prefill=400.0),
        "undetermined",
        "isolated",
        [incident("prefix_cache_broken", "prompt_version=v43")],
    ),
    "another version's prefix was broken, and the queue was everybody's": Case(
        request(queue=900.0),
        "prefix_cache_broken",
        "systemic",
        [incident("prefix_cache_broken", "prompt_version=v43", consequences=["capacity_short"])],
    ),
    "a stall explains a late front end": Case(
        STALLED, "engine_stall", "systemic", [incident("engine_stall", "replica=r0")]
    ),
    "an adapter's incident explains no prefill": Case(
        request(prefill=400.0),
        "undetermined",
        "isolated",
        [incident("adapter_regression", "adapter=manga_v3")],
    ),
    "its own incident counts though all its peers are in it": Case(
        request(), "adapter_regression", "systemic", [incident("adapter_regression", "adapter=manga_v3")]
    ),
    "it was too long": Case(request(http_status=400, error_kind="context_overflow"), "context_overflow"),
    "it was turned away in a storm": Case(
        request(http_status=429, error_kind="rejected"), "rejected", "systemic", [incident("rejected")]
    ),
    "it was lost with its engine": Case(
        request(http_status=502, error_kind="connection_lost"),
        "replica_down",
        "systemic",
        [incident("replica_down", "replica=r0")],
    ),
    "it failed for no known reason": Case(
        request(http_status=500, error_kind="server_error"), "undetermined"
    ),
}


def told(case: Case) -> Why:
    lead = leading(case.asked, split(case.asked, case.peers), case.peers)
    return why(case.asked, lead, case.peers, case.meanwhile, case.peers.cached_tokens)


@pytest.mark.parametrize("name", CASES)
def test_a_request_has_its_cause(name: str) -> None:
    found = told(CASES[name])
    assert (found.cause, found.scope) == (CASES[name].cause, CASES[name].scope)
    assert (found.incident is None) is (found.scope != "systemic")


def test_the_five_questions_are_answered() -> None:
    case = CASES["the prefix was broken for many"]
    changed = incident(
        "prefix_cache_broken", "prompt_version=v42", changes=[{"subject": "prompt_version=v42", "lag_s": 0.0}]
    )
    lead = leading(case.asked, split(case.asked, PEERS), PEERS)
    events = [EventFact(AT, "first_seen", "prompt_version=v42", "otlp", "v41", "v42")]
    answers = [a for _, a in questions(case.asked, told(case), lead, PEERS, [changed], events, (0.5, 0.97))]
    assert answers == [
        "prefill (reading the prompt): 400 ms, usually 40 ms",
        "0 of 1,200 tokens found (0%); its peers' median is 944. Broken since prompt_version=v42 came",
        "manga_v3, v42; prompt_version=v42 came 0 s before, in place of v41",
        "systemic: 400 of 900 requests hurt (inc-prefix_cache_broken)",
        "KV cache at most 97% in use, rising (50% a minute before); it is full",
    ]


def test_what_is_not_known_is_said() -> None:
    bare = RequestFact(AT, "req-2", "otlp")
    unknown = Why(told(Case(bare, "")).cause, None, "undetermined", 0.0, None, "")
    answers = [a for _, a in questions(bare, unknown, None, FEW, [], [], (None, None))]
    assert answers == [
        "cannot be told: 3 peers are too few",
        "not known: nobody told how many tokens were cached",
        "not known; none of them new",
        "undetermined",
        "not known: no scrape while it ran",
    ]
