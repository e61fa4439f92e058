"""A runbook's text as data: its front matter, its sections, and the readings and pages it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

FIELDS = ("title", "rule", "severity", "first_action")
SECTIONS = (
    "Meaning",
    "Impact",
    "Diagnosis",
    "Mitigation",
    "Why this threshold",
    "Normal behaviour",
    "Rollback",
)
NO_VALUE = "no data"  # stands where a reading has no value: a gap in the text would read as zero

_FRONT = re.compile(r"\A---\n(?P<yaml>.*?)^---\n(?P<body>.*)\Z", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^## +(.+?)[ \t]*$", re.MULTILINE)
_READING = re.compile(r"\{\{reading:([a-z0-9_]+)\}\}")
_BRACES = re.compile(r"\{\{.*?\}\}")
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_ELSEWHERE = re.compile(r"#|[a-z][a-z0-9+.-]*:")


class RunbookError(Exception):
    """A runbook that cannot be used: which file, what is wrong, remedy."""

    def __init__(self, file: str, what: str, remedy: str) -> None:
        super().__init__(f"{file}: {what}. {remedy}")
        self.file, self.what, self.remedy = file, what, remedy


@dataclass(frozen=True, slots=True)
class Section:
    """One `## ` section, its heading left out."""

    title: str
    markdown: str


@dataclass(frozen=True, slots=True)
class Runbook:
    """One page. `readings` and `links` are in the order of first mention; links are relative paths."""

    name: str
    title: str
    rule: str
    severity: str
    first_action: str
    sections: tuple[Section, ...]
    readings: tuple[str, ...]
    links: tuple[str, ...]


def parse(name: str, text: str) -> Runbook:
    """The runbook in a file's text; `name` is the file's name without `.md`. Raises RunbookError."""
    file = f"{name}.md"
    front = _FRONT.match(text.replace("\r\n", "\n"))
    if front is None:
        raise RunbookError(
            file, "no front matter", "Begin with `---`, the fields and `---`, each on its line"
        )
    fields, body = _fields(file, front["yaml"]), front["body"]
    for braces in _BRACES.findall(body):
        if not _READING.fullmatch(braces):
            raise RunbookError(file, f"unknown placeholder {braces}", "Write {{reading:NAME}}")
    links = [target for target in _LINK.findall(body) if not _ELSEWHERE.match(target)]
    return Runbook(
        name,
        **fields,
        sections=_sections(file, body),
        readings=_once(_READING.findall(body)),
        links=_once(links),
    )


def fill(markdown: str, values: Mapping[str, str]) -> str:
    """The text with each `{{reading:NAME}}` replaced by its value; by "no data" where `values` has none."""
    return _READING.sub(lambda found: values.get(found[1], NO_VALUE), markdown)


def _fields(file: str, text: str) -> dict[str, str]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        what = f"the front matter is not YAML: {' '.join(str(error).split())}"
        raise RunbookError(file, what, "Quote a value that holds a colon") from error
    wanted = f"Give exactly {', '.join(FIELDS)}, each as text"
    if not isinstance(found, dict) or set(found) != set(FIELDS):
        raise RunbookError(file, "the front matter has other fields than it should", wanted)
    empty = [key for key in FIELDS if not isinstance(found[key], str) or not found[key].strip()]
    if empty:
        raise RunbookError(file, f"the front matter gives no text for {', '.join(empty)}", wanted)
    return {key: found[key].strip() for key in FIELDS}


def _sections(file: str, body: str) -> tuple[Section, ...]:
    before, *parts = _HEADING.split(body)
    if before.strip():
        raise RunbookError(file, "there is text before the first section", f"Move it under ## {SECTIONS[0]}")
    found = tuple(Section(title, text.strip()) for title, text in zip(parts[::2], parts[1::2], strict=True))
    titles = [section.title for section in found]
    wrong = (
        [f"no section {title}" for title in SECTIONS if title not in titles]
        + [f"two sections {title}" for title in SECTIONS if titles.count(title) > 1]
        + [f"unknown section {title}" for title in titles if title not in SECTIONS]
        + [f"nothing under {section.title}" for section in found if not section.markdown]
    )
    if not wrong and tuple(titles) != SECTIONS:
        wrong = ["the sections are in another order"]
    if wrong:
        raise RunbookError(
            file, "; ".join(wrong), f"Write them once each, in this order: {', '.join(SECTIONS)}"
        )
    return found


def _once(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
