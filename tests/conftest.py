"""Fixtures for every test. Nothing here patches anything; each test gets a place of its own."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from tests.servers import mlflow

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium")

# Without a deadline: a busy CI machine is no counter-example. What it remembers goes when the run ends.
SCRATCH = tempfile.TemporaryDirectory(prefix="mangaops-hypothesis-")
set_hypothesis_home_dir(SCRATCH.name)
hypothesis.settings.register_profile("house", deadline=None, database=None)
hypothesis.settings.load_profile("house")


def pytest_unconfigure() -> None:
    """Take away what hypothesis kept."""
    SCRATCH.cleanup()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need a browser where there is none, and say what would bring it."""
    if CHROMIUM is not None:
        return
    missing = pytest.mark.skip(reason="no chromium: sudo apt-get install chromium fonts-noto-cjk")
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(missing)


@pytest.fixture(scope="session")
def recording_dir() -> Path:
    """The drill recorded on a real GPU engine. Read-only."""
    return ROOT / "loadtests" / "recordings" / "h200_release_drill"


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server for all tests; each makes an experiment of its own."""
    with mlflow(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture
def store_root(tmp_path: Path) -> Path:
    """An empty place for facts; the store creates it on first use."""
    return tmp_path / "store"


@pytest.fixture
def free_port() -> int:
    """A port on this machine that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
