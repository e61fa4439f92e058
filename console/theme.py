"""Colour and type tokens, one palette for light and one for dark.

Hues follow Okabe and Ito, so that no two meanings differ by red and green alone; shapes and words stand
beside every colour. Contrast of text to its surface is at least 4.5.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from console.views.frame import Mode

STYLESHEET = Path(__file__).with_name("console.css")


@dataclass(frozen=True, slots=True)
class Palette:
    """Tokens of one mode. `*_soft` are fills behind text of the same tone."""

    page: str
    surface: str
    sunken: str
    border: str
    text: str
    muted: str
    accent: str
    accent_soft: str
    ok: str
    ok_soft: str
    warn: str
    warn_soft: str
    bad: str
    bad_soft: str
    none: str
    none_soft: str
    gateway: str
    frontend: str
    queue: str
    prefill: str
    decode: str


LIGHT = Palette(
    page="#f7f8fa",
    surface="#ffffff",
    sunken="#f2f4f7",
    border="#e1e5eb",
    text="#151b26",
    muted="#596372",
    accent="#3b5bdb",
    accent_soft="#e9edfd",
    ok="#0b7a5e",
    ok_soft="#e2f4ee",
    warn="#955800",
    warn_soft="#fdf1dc",
    bad="#bf3400",
    bad_soft="#fdeae2",
    none="#596372",
    none_soft="#eceff3",
    gateway="#8795a8",
    frontend="#56b4e9",
    queue="#e08e00",
    prefill="#0072b2",
    decode="#1d9e78",
)
DARK = Palette(
    page="#0e1116",
    surface="#161a21",
    sunken="#1b2028",
    border="#282e38",
    text="#e7eaef",
    muted="#9aa4b2",
    accent="#8ea6ff",
    accent_soft="#1f2745",
    ok="#4fd1a5",
    ok_soft="#12312a",
    warn="#f5bd5c",
    warn_soft="#382a12",
    bad="#ff8a66",
    bad_soft="#3d1f17",
    none="#9aa4b2",
    none_soft="#232933",
    gateway="#8795a8",
    frontend="#6cc3f2",
    queue="#f0a92e",
    prefill="#4a9fe0",
    decode="#35b88f",
)
PALETTES: dict[Mode, Palette] = {"light": LIGHT, "dark": DARK}


def palette(mode: Mode) -> Palette:
    """The palette of a mode."""
    return PALETTES[mode]


def css() -> str:
    """The style sheet: both modes' tokens by `light-dark()`, which follows the browser by itself."""
    dark = asdict(DARK)
    tokens = "".join(f"--{k.replace('_', '-')}:light-dark({v},{dark[k]});" for k, v in asdict(LIGHT).items())
    return f"<style>.stApp{{{tokens}}}{STYLESHEET.read_text(encoding='utf-8')}</style>"
