"""Whatever can be set or called is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from collectors.cli.main import app
from collectors.settings import HOME, Settings
from collectors.signals.metrics import METRICS
from collectors.signals.readings import READINGS

DOCS = HOME / "docs"


def check(page: Path, words: set[str]) -> None:
    """Every word stands on the page."""
    text = page.read_text(encoding="utf-8")
    assert {w for w in words if w not in text} == set()


def commands() -> dict[str, set[str]]:
    """Each command with its long options, as typer offers them."""
    root = typer.main.get_command(app)
    found: dict[str, set[str]] = {}
    stack = [("mangaops", root)]
    while stack:
        name, command = stack.pop()
        inner = getattr(command, "commands", {})
        stack += [(f"{name} {n}", c) for n, c in inner.items()]
        if not inner:
            found[name] = {o for p in command.params for o in p.opts if o.startswith("--")}
    return found


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_and_option_is_documented(command: str) -> None:
    check(DOCS / "cli.md", {command, *commands()[command]})


def test_every_setting_is_documented_and_no_other() -> None:
    check(DOCS / "configuration.md", {f"| `{name}` |" for name in Settings.model_fields})
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE)) == set(Settings.model_fields)


def test_every_reading_says_what_it_is() -> None:
    assert all(r.help and r.unit for r in READINGS.values())
    assert all(m.help for m in METRICS)


def test_the_walk_over_the_commands_finds_them() -> None:
    assert {"mangaops up", "mangaops replay", "mangaops rules check"} <= set(commands())
