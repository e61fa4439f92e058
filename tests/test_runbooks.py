"""Rules, SLOs and runbooks agree, and every page can be followed: names, links and commands exist."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from collectors.signals.readings import READINGS
from collectors.signals.runbooks import FIELDS, OF_KIND, SECTIONS, Runbook, RunbookError, due, fill, parse
from collectors.validation import Strict
from loadtests.staging.gateway import config as gateway

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "runbooks"
COMMANDS = {"up", "collect", "console", "replay", "slo", "readings", "explain", "rules", "doctor", "drill"}
CAUSES = (
    "prefix_cache_broken",
    "long_context_pressure",
    "traffic_burst",
    "capacity_short",
    "engine_stall",
    "adapter_slots_short",
    "adapter_regression",
    "long_output",
    "decode_slow",
    "preemption",
    "cold_start",
    "frontend_slow",
    "context_overflow",
    "rejected",
    "oom",
    "replica_down",
    "telemetry_gap",
    "normal",
    "undetermined",
)


def _judged(file: str, kind: str) -> list[dict[str, Any]]:
    data = yaml.safe_load((ROOT / "collectors" / "judge" / file).read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = data[kind]
    return found


RULES = {rule["name"]: rule for rule in _judged("rules.yaml", "rules")}
SLOS = {slo["name"]: slo for slo in _judged("slos.yaml", "slos")}
NAMES = sorted(path.stem for path in PAGES.glob("*.md") if path.stem != "README")
# The gateway's sections that hold keys of their own, and these keys.
GATEWAY = {
    section: set(model.model_fields)
    for section, field in gateway.GatewayConfig.model_fields.items()
    for model in (field.annotation, *get_args(field.annotation))
    if isinstance(model, type) and issubclass(model, Strict)
}


def _page(name: str) -> Runbook:
    return parse(name, (PAGES / f"{name}.md").read_text(encoding="utf-8"))


def _section(page: Runbook, title: str) -> str:
    return next(section.markdown for section in page.sections if section.title == title)


# ------------------------------------------------------------------------------- the pages that ship


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_has_its_runbook(name: str) -> None:
    assert RULES[name]["runbook"] in NAMES


@pytest.mark.parametrize("name", sorted(SLOS))
def test_an_slo_has_its_runbook_and_the_page_speaks_of_it(name: str) -> None:
    assert SLOS[name]["runbook"] in NAMES
    assert "SLO" in _section(_page(SLOS[name]["runbook"]), "Meaning")


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_has_its_runbook(name: str) -> None:
    assert _page(name).cause == name


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_is_a_rules_or_a_causes_that_links_back_and_agrees_with_it(name: str) -> None:
    page = _page(name)
    assert page.cause == (name if name in CAUSES else None)
    if page.rule is not None:
        assert page.rule in RULES, f"{name}.md names no rule of rules.yaml"
        rule = RULES[page.rule]
        assert (rule["runbook"], rule["title"], rule["severity"]) == (name, page.title, page.severity)


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_is_told_from_others_by_evidence(name: str) -> None:
    neighbours = _section(_page(name), "Told apart from")
    found = re.findall(r"\]\((\w+)\.md\)", neighbours)
    assert len(set(found) & set(CAUSES) - {name}) >= 3, "too few neighbours"
    assert name not in found
    assert _readings(neighbours)


@pytest.mark.parametrize("name", NAMES)
def test_every_gateway_key_of_a_runbook_exists(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    named = re.findall(rf"`({'|'.join(GATEWAY)})\.(\w+)", text)
    assert [f"{section}.{key}" for section, key in named if key not in GATEWAY[section]] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_gateway_takes_every_yaml_of_a_runbook(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    shipped = yaml.safe_load(gateway.DEFAULT.read_text(encoding="utf-8"))
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        meant = _merged(shipped, yaml.safe_load(textwrap.dedent(block)))
        assert gateway.parse(yaml.safe_dump(meant), name) == gateway.GatewayConfig.model_validate(meant)


def _merged(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The whole with a part's keys over its own, and a part's entries before its own."""
    merged = dict(whole)
    for key, value in part.items():
        if isinstance(value, dict):
            merged[key] = whole[key] | value
        else:
            merged[key] = value + whole[key] if isinstance(value, list) else value
    return merged


@pytest.mark.parametrize("name", NAMES)
def test_every_reading_of_a_runbook_exists(name: str) -> None:
    assert set(_page(name).readings) <= READINGS.keys()


@pytest.mark.parametrize("name", [*NAMES, "README"])
def test_every_relative_link_leads_to_a_file(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)", text)
    assert [link for link in links if "://" not in link and not (PAGES / link).is_file()] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_a_runbook_exists(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\bmangaops (\w+)", text)) <= COMMANDS


@pytest.mark.parametrize("name", NAMES)
def test_a_diagnosis_has_numbered_steps_that_look_at_readings(name: str) -> None:
    steps = re.findall(r"^(\d+)\. ", _section(_page(name), "Diagnosis"), re.MULTILINE)
    assert steps == [str(k + 1) for k in range(len(steps))]
    assert 3 <= len(steps) <= 8, "more steps than two minutes have room for, or hardly any"
    assert _readings(_section(_page(name), "Diagnosis"))


@pytest.mark.parametrize("name", NAMES)
def test_a_mitigation_says_how_to_see_that_it_worked(name: str) -> None:
    mitigation = _section(_page(name), "Mitigation")
    assert mitigation.count("It worked when") >= 2
    assert _readings(mitigation)


@pytest.mark.parametrize("name", NAMES)
def test_a_first_action_is_one_sentence(name: str) -> None:
    assert re.fullmatch(r"[A-Z][^.]*\.", _page(name).first_action)


def _readings(markdown: str) -> list[str]:
    return re.findall(r"\{\{reading:(\w+)\}\}", markdown)


# ------------------------------------------------------------------------------------ the parser

HEAD = "title: T\nrule: r\nseverity: warning\nfirst_action: Look.\n"
CAUSE_HEAD = "title: T\ncause: r\nfirst_action: Look.\n"
BODIES = {
    kinds: "\n".join(f"## {title}\n\nText.\n" for title in due(SECTIONS, kinds))
    for kinds in (("rule",), ("cause",), ("rule", "cause"))
}
BODY = BODIES["rule",]


def _text(head: str = HEAD, body: str = BODY) -> str:
    return f"---\n{head}---\n\n{body}"


def test_a_good_page_is_read() -> None:
    step = "1. {{reading:a_b}} [P](p.md) {{reading:c}} {{reading:a_b}} [W](https://x.org) [H](#here)"
    body = BODY.replace("## Diagnosis\n\nText.", f"## Diagnosis\n\n{step}")
    page = parse("r", _text(body=body))
    assert (page.name, page.title, page.rule, page.severity, page.first_action) == (
        "r",
        "T",
        "r",
        "warning",
        "Look.",
    )
    assert page.cause is None
    assert tuple(section.title for section in page.sections) == due(SECTIONS, {"rule"})
    assert page.sections[0].markdown == "Text."
    assert page.readings == ("a_b", "c")
    assert page.links == ("p.md",)


def test_a_page_of_a_cause_is_read() -> None:
    page = parse("r", _text(CAUSE_HEAD, BODIES["cause",]))
    assert (page.cause, page.rule, page.severity) == ("r", None, None)
    assert tuple(section.title for section in page.sections) == due(SECTIONS, {"cause"})


def test_a_page_may_be_of_both_kinds_and_then_has_all_sections() -> None:
    page = parse("r", _text(HEAD + "cause: c\n", BODIES["rule", "cause"]))
    assert (page.rule, page.cause) == ("r", "c")
    assert tuple(section.title for section in page.sections) == SECTIONS


def test_windows_line_ends_are_read_too() -> None:
    assert parse("r", _text().replace("\n", "\r\n")).sections[-1].markdown == "Text."


MISTAKES = {
    "no front matter at all": (BODY, "no front matter"),
    "a front matter that never ends": ("---\n" + HEAD + BODY, "no front matter"),
    "a front matter that is not YAML": (_text("title: a: b\n"), "is not YAML"),
    "a front matter that is a list": (_text("- title\n"), "neither a rule nor a cause"),
    "a field too many": (_text(HEAD + "owner: me\n"), "other fields"),
    "a field too few": (_text("title: T\nrule: r\n"), "other fields"),
    "neither a rule nor a cause": (_text("title: T\n"), "neither a rule nor a cause"),
    "a severity of a cause": (_text(CAUSE_HEAD + "severity: warning\n"), "other fields"),
    "a rule's section on a cause's page": (_text(CAUSE_HEAD), "unknown section Why this threshold"),
    "a cause's section on a rule's page": (_text(body=BODIES["cause",]), "unknown section Told apart from"),
    "an empty field": (
        _text(HEAD.replace("first_action: Look.", "first_action:")),
        "no text for first_action",
    ),
    "a field that is a number": (_text(HEAD.replace("title: T", "title: 5")), "no text for title"),
    "a section missing": (_text(body=BODY.replace("## Impact\n\nText.\n", "")), "no section Impact"),
    "a section twice": (_text(body=BODY + "\n## Impact\n\nText.\n"), "two sections Impact"),
    "an unknown section": (_text(body=BODY + "\n## Notes\n\nText.\n"), "unknown section Notes"),
    "an empty section": (
        _text(body=BODY.replace("## Impact\n\nText.", "## Impact\n")),
        "nothing under Impact",
    ),
    "sections in another order": (
        _text(body=BODY.replace("Impact", "X").replace("Meaning", "Impact").replace("X", "Meaning")),
        "another order",
    ),
    "text before the first section": (_text(body="Hello.\n\n" + BODY), "before the first section"),
    "a misspelt placeholder": (_text(body=BODY + "\n{{readings:a}}\n"), "unknown placeholder {{readings:a}}"),
}


@pytest.mark.parametrize(("text", "what"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_reported_with_file_fault_and_remedy(text: str, what: str) -> None:
    with pytest.raises(RunbookError) as raised:
        parse("r", text)
    error = raised.value
    assert error.file == "r.md"
    assert what in error.what
    assert error.remedy
    assert str(error) == f"{error.file}: {error.what}. {error.remedy}"


def test_several_mistakes_of_the_sections_are_reported_at_once() -> None:
    body = BODY.replace("## Impact\n\nText.\n", "").replace("Rollback", "Roll back")
    with pytest.raises(RunbookError) as raised:
        parse("r", _text(body=body))
    assert raised.value.what == "no section Impact; no section Rollback; unknown section Roll back"


def test_values_take_the_place_of_placeholders() -> None:
    assert fill("a {{reading:x}}, {{reading:x}}.", {"x": r"0.81 \1"}) == r"a 0.81 \1, 0.81 \1."


def test_a_reading_without_a_value_says_no_data() -> None:
    assert fill("{{reading:x}} {{reading:y}}", {"y": "1"}) == "no data 1"


def test_the_readme_lists_the_sections_and_fields() -> None:
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `## (.+?)` \| ([a-z, ]+) \|", text, re.MULTILINE)
    assert tuple(title for title, _ in listed) == SECTIONS
    for kind in OF_KIND:
        assert tuple(title for title, kinds in listed if kind in kinds.split(", ")) == due(SECTIONS, {kind})
    assert all(f"\n{field}: " in text for field in FIELDS)
