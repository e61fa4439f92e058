"""Incidents as HTML: the list, and one with its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console import links
from console.markup import Html, card, chip, dim, facts, join, link, source, table, tag
from console.views import incidents, words
from console.views.frame import Frame, clock

SHAPES = {"bad": "◆", "warn": "▲", "info": "■"}
EVIDENCE = (("Evidence", ""), ("Then", "r"), ("Usually", "r"), ("From", "r"))
BEFORE = (("Changed", ""), ("When", "r"))
ALERTS = (("Alert", ""), ("Fired", "r"))
NOTES = (("When", ""), ("State", ""), ("Note", ""))


def listed(lines: Sequence[incidents.Line], frame: Frame) -> Html:
    """The incidents of the span."""
    src = source("", f"{len(lines)} in the last {words.length(frame.span)}")
    if not lines:
        return card("Incidents", tag("div", "None in this range.", cls="m-none"), src)
    rows = [_item(line, frame) for line in lines[: incidents.SHOWN]]
    more = len(lines) - incidents.SHOWN
    rest = tag("div", f"{more} more: choose a shorter range", cls="m-none") if more > 0 else ""
    return card("Incidents", join(tag("ul", *rows, cls="m-list"), rest), src)


def headline(i: Mapping[str, Any], frame: Frame) -> Html:
    """What happened, and where to go on."""
    tone = incidents.TONES[i["severity"]]
    return tag(
        "div",
        chip(words.title(i["severity"]), tone, SHAPES[tone]),
        tag("p", i["sentence"]),
        tag("div", _links(i, frame), cls="m-sub"),
        cls=f"m-hero {tone}",
    )


def known(i: Mapping[str, Any], notes: Sequence[Any], frame: Frame) -> Html:
    """Everything that is known of it, and what people said."""
    about = card("Incident", facts(incidents.facts(i, frame)), source("", i["id"]))
    why = card("Why", table(EVIDENCE, incidents.evidence(i)), source("", words.title(i["cause"])))
    return join(about, why, _said(notes, frame))


def _item(line: incidents.Line, frame: Frame) -> Html:
    text = join(
        link(line.title, links.incident(line.id, frame)),
        tag("div", f"{line.when} · {line.what} · {line.state}", cls="m-dim"),
    )
    page = link("Runbook", links.runbook(line.runbook, frame))
    return tag("li", chip(line.severity, line.tone, SHAPES[line.tone]), tag("div", text, cls="m-grow"), page)


def _links(i: Mapping[str, Any], frame: Frame) -> Html:
    middle = incidents.instant(i["end"] or i["detected"])
    return join(
        link("Runbook", links.runbook(i["runbook"], frame)),
        " · ",
        link("The slow requests in it", links.to("slow-chat", frame, at=middle)),
        " · ",
        link("The console at its start", links.to("./", frame, at=incidents.instant(i["detected"]))),
        " · ",
        link("All incidents", links.to("./", frame)),
    )


def changed(i: Mapping[str, Any]) -> Html:
    """What changed just before it."""
    return card("Just before", table(BEFORE, incidents.before(i) or [("Nothing that is known", "")]))


def alerts(i: Mapping[str, Any], titles: Mapping[str, str], frame: Frame) -> Html:
    """The alerts that it fired."""
    fired = [
        (
            join(
                link(titles.get(a["rule"], words.title(a["rule"])), links.rule(a["rule"], frame)),
                dim(a["component"]) if a["component"] else "",
            ),
            clock(incidents.instant(a["fired"]), frame, both=False),
        )
        for a in i["alerts"]
    ] or [(tag("span", "None: it stayed inside every alert"), "")]
    return card("Alerts", table(ALERTS, fired))


def _said(notes: Sequence[Any], frame: Frame) -> Html:
    if not notes:
        return Html("")
    rows = [(clock(n.at, frame, both=False), words.title(n.before or "note"), n.after or "") for n in notes]
    return card("What people said", table(NOTES, rows))
