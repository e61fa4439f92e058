"""An engine's configuration: told once, a change told with what differs, and known again after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from collectors.model import EventFact
from collectors.signals.configuration import digest, replica_of, settings, subject, told, unheard
from collectors.signals.exposition import read
from collectors.signals.lines import Sample

T = datetime(2026, 11, 22, tzinfo=UTC)
INFO = "vllm:cache_config_info"
BEFORE = {"block_size": "16", "gpu_memory_utilization": "0.92"}
AFTER = {"block_size": "16", "gpu_memory_utilization": "0.5"}


def text(**labels: str) -> str:
    held = {"engine": "0", "block_size": "16", "num_gpu_blocks": "6675", "_resolved": "True"} | labels
    shown = ",".join(f'{k}="{v}"' for k, v in held.items())
    running = 'vllm:num_requests_running{engine="0",model_name="m"} 1.0'
    return f"{INFO}{{{shown}}} 1.0\n{running}\n"


def event(kind: str, after: str, replica: str = "r", before: str | None = None) -> EventFact:
    return EventFact(T, kind, subject(replica), "engine", before, after)


def test_a_scrape_tells_what_is_set_and_not_what_was_found_or_where() -> None:
    assert read(text(gpu_memory_utilization="0.92")).configuration == BEFORE


def test_without_other_series_labels_of_the_place_cannot_be_told_apart() -> None:
    assert settings({INFO: [Sample(1, BEFORE | {"pod": "a"}, 1.0)]}) == {}


def test_several_engines_of_one_address_are_one_configuration() -> None:
    found = settings(
        {
            INFO: [
                Sample(1, {"engine": "1", "block_size": "32"}, 1.0),
                Sample(2, {"engine": "0", "block_size": "16"}, 1.0),
            ],
            "vllm:num_requests_running": [Sample(3, {"engine": "0"}, 0.0)],
        }
    )
    assert found == {"block_size": "16,32"}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({}, {}, None),
        (BEFORE, {}, None),
        (BEFORE, dict(reversed(BEFORE.items())), None),
        ({}, BEFORE, ("present_at_start", "", digest(BEFORE))),
        (
            BEFORE,
            AFTER,
            (
                "configuration",
                f"gpu_memory_utilization=0.92; {digest(BEFORE)}",
                f"gpu_memory_utilization=0.5; {digest(AFTER)}",
            ),
        ),
        (
            BEFORE,
            BEFORE | {"new": "x" * 500},
            ("configuration", f"new=unset; {digest(BEFORE)}", None),
        ),
    ],
)
def test_a_change_names_what_differs(
    before: Mapping[str, str], now: Mapping[str, str], expected: tuple[str, str, str | None] | None
) -> None:
    found = told(before, now)
    if expected is None or found is None:
        assert found == expected
        return
    assert found[:2] == expected[:2]
    assert found[2] == expected[2] if expected[2] else len(found[2]) < 100


def test_many_changes_are_counted() -> None:
    found = told({f"s{n}": "1" for n in range(9)}, {f"s{n}": "2" for n in range(9)})
    assert found is not None
    assert found[2].startswith("s0=2, s1=2, s2=2, 6 more; ")


def test_what_was_known_is_not_told_again_and_what_is_new_is_a_change() -> None:
    old, new = digest(BEFORE), digest(AFTER)
    known, kept = unheard({}, [event("present_at_start", old), event("present_at_start", old, "other")])
    assert (known, len(kept)) == ({"r": old, "other": old}, 2)
    again = unheard(known, [event("present_at_start", old)])
    assert again == (known, [])
    later = unheard(known, [event("present_at_start", new)])
    assert later == (known | {"r": new}, [event("configuration", new, before=old)])
    assert unheard(*later) == later, "what could not be stored is given again, and still told"
    whole = event("configuration", f"gpu_memory_utilization=0.5; {new}", before=old)
    assert unheard(known, [whole]) == (known | {"r": new}, [whole])


def test_a_declared_configuration_is_no_engine_s() -> None:
    declared = EventFact(T, "configuration", "gateway", "declared", None, "v2")
    assert replica_of(declared) is None
    assert unheard({}, [declared]) == ({}, [declared])
