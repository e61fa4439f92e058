"""The prefix doctor over a store: what a version lost, against which, and how two requests differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.diagnose.prefix.reasons import Sure
from collectors.model import EventFact, Kind, MetricFact, RequestFact
from collectors.prefixes import loss, pair
from collectors.signals.fingerprints import BLOCKS, DIGEST, DIVERGENCE, blocks_text, fingerprint, written
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader

T = datetime(2026, 11, 21, 9, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
RULES = "Never invent a title, a price or a release date.\n" * 40
MS_A_TOKEN = 0.05


def column(text: str, divergence: str = "") -> str:
    made = fingerprint(text, (("system", 0), ("policy", 640)))
    found = written({DIGEST: made.digest, BLOCKS: blocks_text(made), DIVERGENCE: divergence})
    assert found is not None
    return found


def request(number: int, version: str, cached: int | None, **more: Any) -> RequestFact:
    """One a second; its prefill takes 20 ms and MS_A_TOKEN for each token that was not cached."""
    length = 1100 + number % 7
    prefill = None if cached is None else 20.0 + MS_A_TOKEN * (length - cached)
    told: dict[str, Any] = {
        "at": T + number * SECOND,
        "request_id": f"{version}-{number}",
        "source": "otlp",
        "prompt_version": version,
        "prompt_tokens": length,
        "cached_tokens": cached,
        "prefill_ms": prefill,
        "ttft_ms": None if prefill is None else prefill + 10,
    }
    return RequestFact(**{**told, **more})


def store(root: Path, requests: list[RequestFact], events: tuple[EventFact, ...] = ()) -> DuckReader:
    writer = DeltaWriter(str(root))
    writer.append("requests", requests)
    writer.append("events", list(events))
    return DuckReader(str(root))


STABLE = [request(n, "v42", 944) for n in range(60)]


def test_a_version_that_lost_its_prefix_is_told_with_its_cost(store_root: Path) -> None:
    broken = [
        request(n, "v43", 16, prefix_fingerprint=column(f"{n}{RULES}", "timestamp@0")) for n in range(60, 120)
    ]
    found = loss(store(store_root, [*STABLE, *broken]), "v43")
    assert found is not None
    assert found.cost is not None
    assert found.lost
    assert (found.version.requests, found.version.since) == (60, T + 60 * SECOND)
    assert found.reference is not None
    assert found.reference.version == "v42"
    assert found.cost.tokens == 928
    assert found.cost.prefill_ms == pytest.approx(928 * MS_A_TOKEN)
    assert found.cost.requests_per_h == pytest.approx(60 / 59 * 3600)
    assert (found.parted_as, found.distinct_prefixes) == ("timestamp@0", 60)
    assert [(r.name, r.sure) for r in found.reasons] == [("prompt_changes", Sure.PROVEN)]


def test_without_fingerprints_its_prompt_is_the_probable_reason(store_root: Path) -> None:
    found = loss(store(store_root, [*STABLE, *(request(n, "v43", 16) for n in range(60, 120))]), "v43")
    assert found is not None
    assert [(r.name, r.sure) for r in found.reasons] == [("prompt_changes", Sure.PROBABLE)]
    assert (found.parted_as, found.distinct_prefixes) == (None, None)


def test_a_restart_meanwhile_is_a_reason(store_root: Path) -> None:
    restart = EventFact(T + 70 * SECOND, "engine_restart", "r1", "engine")
    same = [request(n, "v43", 100, prefix_fingerprint=column(RULES)) for n in range(60, 120)]
    reader = store(store_root, [*STABLE, *same], (restart,))
    full = MetricFact(T + 70 * SECOND, "engine", "r1", "kv_usage_ratio", Kind.GAUGE, 1.0)
    DeltaWriter(reader.root).append("metrics", [full])
    found = loss(reader, "v43")
    assert found is not None
    assert found.reasons[0].name == "restart"
    assert found.distinct_prefixes == 1


NOTHING_LOST: dict[str, list[RequestFact]] = {
    "the same cached tokens": [*STABLE, *(request(n, "v43", 944) for n in range(60, 90))],
    "more cached tokens": [*STABLE, *(request(n, "v43", 1000) for n in range(60, 90))],
    "nobody to compare with": [request(n, "v43", 16) for n in range(30)],
    "others of another length": [
        *(request(n, "v42", 944, prompt_tokens=9000) for n in range(60)),
        *(request(n, "v43", 16) for n in range(60, 90)),
    ],
    "others of another day": [
        *(request(n, "v42", 944, at=T - 30 * HOUR) for n in range(60)),
        *(request(n, "v43", 16) for n in range(60, 90)),
    ],
    "too few of its own": [*STABLE, *(request(n, "v43", 16) for n in range(60, 64))],
}


@pytest.mark.parametrize("name", NOTHING_LOST)
def test_what_cannot_be_compared_lost_nothing(name: str, store_root: Path) -> None:
    found = loss(store(store_root, NOTHING_LOST[name]), "v43")
    assert found is not None
    assert not found.lost
    assert found.reasons == ()


@pytest.mark.parametrize("requests", [[], STABLE, [request(n, "v43", None) for n in range(9)]])
def test_a_version_without_known_tokens_is_unknown(requests: list[RequestFact], store_root: Path) -> None:
    assert loss(store(store_root, requests), "v43") is None


# ---------------------------------------------------------------------------------------- a pair
def paired(root: Path, one: str | None, other: str | None, **more: Any) -> Any:
    a, b = (request(n, "v42", 944, prefix_fingerprint=f, replica="r1") for n, f in ((1, one), (9, other)))
    restart = EventFact(T + 5 * SECOND, "engine_restart", "r1", "engine")
    b = RequestFact(**{**{f: getattr(b, f) for f in b.__slots__}, **more})
    return pair(store(root, [a, b], (restart,)), a, b)


def test_two_prefixes_part_between_blocks_of_a_segment(store_root: Path) -> None:
    changed = f"{RULES[:900]}ses-1{RULES[900:]}"
    found = paired(store_root, column(RULES), column(changed, "session_id@56"))
    assert (found.same, found.segment) == (False, "system")
    assert found.shared_blocks * 64 <= 900 < found.within_blocks * 64
    assert found.parted_as == (None, "session_id@56")
    assert [(r.name, r.sure) for r in found.reasons] == [("restart", Sure.PROVEN)]


def test_prefixes_that_part_within_the_engine_s_first_block_share_none(store_root: Path) -> None:
    block = MetricFact(T, "engine", "r1", "kv_block_tokens", Kind.GAUGE, 32.0)
    DeltaWriter(str(store_root)).append("metrics", [block])
    found = paired(store_root, column(RULES), column(f"It is 07:23. {RULES}", "timestamp@0"))
    assert [r.name for r in found.reasons] == ["restart", "shorter_than_a_block"]
    assert "about 15 tokens, less than a block of 32" in found.reasons[-1].words


def test_the_same_prefix_on_another_replica_is_cold(store_root: Path) -> None:
    found = paired(store_root, column(RULES), column(RULES), replica="r2", adapter="manga_v4")
    assert (found.same, found.within_blocks) == (True, None)
    assert [r.name for r in found.reasons] == ["cold_replica"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(None, column(RULES), None, id="none on one side"),
        pytest.param("0f3a", "0f3a", True, id="digests alone that agree"),
        pytest.param("0f3a", "0f3b", False, id="digests alone that differ"),
    ],
)
def test_what_fingerprints_do_not_hold_is_not_told(
    one: str | None, other: str, same: Any, store_root: Path
) -> None:
    found = paired(store_root, one, other)
    assert (found.same, found.shared_blocks, found.segment) == (same, None, None)
