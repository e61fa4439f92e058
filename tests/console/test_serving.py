"""How the console is served, and that its two palettes agree."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from console import __main__ as serving
from console import theme
from console.desk import Desk, read_runbooks
from console.services import pulse
from console.views.facts import Failure
from tests.console.conftest import NOW

CONFIG = Path(serving.__file__).parent / ".streamlit" / "config.toml"


def test_it_is_headless_silent_and_protected() -> None:
    command = serving.streamlit("127.0.0.1", 8600)
    wanted = {
        "--server.headless=true",
        "--browser.gatherUsageStats=false",
        "--server.fileWatcherType=none",
        "--server.enableXsrfProtection=true",
        "--server.enableCORS=true",
        "--server.address=127.0.0.1",
        "--server.port=8600",
        "--client.toolbarMode=minimal",
    }
    assert wanted <= set(command)


def test_a_wrong_setting_is_said_and_not_served(capsys: pytest.CaptureFixture[str]) -> None:
    assert serving.main(["--config", "/nowhere/mangaops.yaml"]) == serving.MISTAKE
    assert "there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_streamlits_colours_are_the_palettes(mode: str) -> None:
    found = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["theme"][mode]
    tokens = theme.PALETTES[mode]  # type: ignore[index]
    assert (found["primaryColor"], found["backgroundColor"], found["textColor"], found["borderColor"]) == (
        tokens.accent,
        tokens.page,
        tokens.text,
        tokens.border,
    )


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("ink", ["text", "muted", "ok", "warn", "bad", "none", "accent"])
def test_text_can_be_read_on_its_surface(mode: str, ink: str) -> None:
    tokens = theme.PALETTES[mode]  # type: ignore[index]
    grounds = [tokens.surface, getattr(tokens, f"{ink}_soft", tokens.surface)]
    assert min(contrast(getattr(tokens, ink), ground) for ground in grounds) >= 4.5


def contrast(a: str, b: str) -> float:
    """WCAG 2.2, relative luminance."""
    lights = sorted((luminance(a), luminance(b)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_a_broken_table_is_an_answer_with_a_remedy(desks: dict[str, Desk]) -> None:
    assert pulse(desks["broken"], NOW) == Failure(
        "/store/metrics: the table cannot be used", "Restore it from a copy"
    )


def test_a_broken_runbook_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("no front matter", encoding="utf-8")
    pages, faults = read_runbooks(tmp_path)
    assert (pages, len(faults)) == ({}, 1)
