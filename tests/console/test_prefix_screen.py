"""The prefix cache's screen: what a version lost, in words, figures and reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from collectors.diagnose.prefix.loss import Loss
from collectors.store.delta import DeltaWriter
from console import diagnosis
from console.views import prefix
from console.views.frame import Frame
from tests.console.conftest import EVIL, NOW, desk_on, requests


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """v43 took the place of v42 five minutes ago, and finds next to nothing."""
    made = [
        replace(r, prompt_version="v43", cached_tokens=16, prefill_ms=90.0, ttft_ms=120.0)
        if r.at > NOW - timedelta(minutes=5)
        else replace(r, prompt_version="v42", cached_tokens=944, prefill_ms=40.0, ttft_ms=60.0)
        for r in requests(trouble=False)
    ]
    DeltaWriter(str(tmp_path)).append("requests", made)
    return tmp_path


def test_a_loss_is_said_with_its_cost(root: Path) -> None:
    found = diagnosis.prefix_loss(desk_on(root), "v43")
    assert isinstance(found, Loss)
    assert prefix.sentence(found) == ("v43 lost 928 cached tokens a request against v42.", "bad")
    assert prefix.costs(found)[0][0] == "Tokens computed again"
    assert dict(prefix.facts(found, Frame(NOW)))["Cached a request"] == "16 tokens"


def test_the_version_before_lost_nothing(root: Path) -> None:
    found = diagnosis.prefix_loss(desk_on(root), "v42")
    assert isinstance(found, Loss)
    assert prefix.sentence(found)[1] == "ok"
    assert prefix.costs(found) == []


def test_an_unknown_version_has_no_answer(root: Path) -> None:
    assert diagnosis.prefix_loss(desk_on(root), "v99") is None


@pytest.mark.parametrize("state", ["healthy", "incident", "empty", "broken"])
def test_the_screen_is_drawn(look: Callable[..., tuple[str, object]], state: str) -> None:
    said, _ = look("prefix", state)
    assert "<h1>Prefix cache</h1>" in said
    assert EVIL not in said
