"""A runbook's text as data: its front matter, its sections, and the readings and pages it names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import yaml

FIELDS = ("title", "rule", "severity", "cause", "first_action")
SECTIONS = (
    "Meaning",
    "Impact",
    "Diagnosis",
    "Told apart from",
    "Mitigation",
    "Why this threshold",
    "Normal behaviour",
    "Rollback",
)
# Fields and sections that belong to one kind of page. A page may be of both kinds: it then has all of them.
OF_KIND: Mapping[str, frozenset[str]] = {
    "rule": frozenset({"rule", "severity", "Why this threshold", "Normal behaviour"}),
    "cause": frozenset({"cause", "Told apart from"}),
}
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
    """One page, of a rule, of a cause or of both: None stands where it is not of that kind.

    `readings` and `links` are in the order of first mention; links are relative paths.
    """

    name: str
    title: str
    first_action: str
    sections: tuple[Section, ...]
    readings: tuple[str, ...]
    links: tuple[str, ...]
    rule: str | None = None
    severity: str | None = None
    cause: str | None = None


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
        sections=_sections(file, body, due(SECTIONS, fields)),
        readings=_once(_READING.findall(body)),
        links=_once(links),
    )


def fill(markdown: str, values: Mapping[str, str]) -> str:
    """The text with each `{{reading:NAME}}` replaced by its value; by "no data" where `values` has none."""
    return _READING.sub(lambda found: values.get(found[1], NO_VALUE), markdown)


def due(names: Collection[str], kinds: Collection[str]) -> tuple[str, ...]:
    """The fields or sections that a page of these kinds has to have: "rule", "cause" or both."""
    foreign = frozenset[str]().union(*(own for kind, own in OF_KIND.items() if kind not in kinds))
    return tuple(name for name in names if name not in foreign)


def _fields(file: str, text: str) -> dict[str, str]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        what = f"the front matter is not YAML: {' '.join(str(error).split())}"
        raise RunbookError(file, what, "Quote a value that holds a colon") from error
    kinds = OF_KIND.keys() & found if isinstance(found, dict) else ()
    if not kinds:
        raise RunbookError(
            file, "the front matter names neither a rule nor a cause", "Give rule, cause or both"
        )
    fields = due(FIELDS, kinds)
    wanted = f"Give exactly {', '.join(fields)}, each as text"
    if set(found) != set(fields):
        raise RunbookError(file, "the front matter has other fields than it should", wanted)
    empty = [key for key in fields if not isinstance(found[key], str) or not found[key].strip()]
    if empty:
        raise RunbookError(file, f"the front matter gives no text for {', '.join(empty)}", wanted)
    return {key: found[key].strip() for key in fields}


def _sections(file: str, body: str, wanted: tuple[str, ...]) -> tuple[Section, ...]:
    before, *parts = _HEADING.split(body)
    if before.strip():
        raise RunbookError(file, "there is text before the first section", f"Move it under ## {wanted[0]}")
    found = tuple(Section(title, text.strip()) for title, text in zip(parts[::2], parts[1::2], strict=True))
    titles = [section.title for section in found]
    wrong = (
        [f"no section {title}" for title in wanted if title not in titles]
        + [f"two sections {title}" for title in wanted if titles.count(title) > 1]
        + [f"unknown section {title}" for title in titles if title not in wanted]
        + [f"nothing under {section.title}" for section in found if not section.markdown]
    )
    if not wrong and tuple(titles) != wanted:
        wrong = ["the sections are in another order"]
    if wrong:
        raise RunbookError(
            file, "; ".join(wrong), f"Write them once each, in this order: {', '.join(wanted)}"
        )
    return found


def _once(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
