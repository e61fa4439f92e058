"""One gateway for the tests that only ask, and a maker of gateways for those that break something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.loadtests.gateway.running import Running, ready, running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that is ready, before a stand-in that answers at once."""
    with running(tmp_path_factory.mktemp("gateway")) as found:
        yield ready(found)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start a gateway of one's own; it ends with the test."""
    with ExitStack() as stack:

        def begin(**how: object) -> Running:
            return ready(stack.enter_context(running(tmp_path, **how)))  # type: ignore[arg-type]

        yield begin
