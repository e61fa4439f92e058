"""The cards of start-ups on Sources: a lane a stage, from the process's begin to its readiness."""

from __future__ import annotations

from collectors.signals.startup import ENGINE, StartUp
from console import markup
from console.origins import MAX_STARTS
from console.views import startups, words
from console.views.facts import Starts
from console.views.frame import Frame, clock
from console.views.startups import Row, Sheet


def cards(starts: Starts, frame: Frame) -> markup.Html:
    """Every process's newest start-up, a few of them stage by stage; that no engine told, where none did."""
    shown, others = starts.newest[:MAX_STARTS], starts.newest[MAX_STARTS:]
    silent = "" if any(s.kind == ENGINE for s in starts.newest) else _silent(starts, frame)
    drawn = [_card(startups.sheet(s, starts, frame)) for s in shown]
    return markup.join(silent, *drawn, _others(others, frame) if others else "")


def _silent(starts: Starts, frame: Frame) -> markup.Html:
    since, back = clock(starts.since, frame, both=False), words.length(frame.now - starts.since)
    said = markup.tag(
        "div",
        f"No engine has told of its start-up since {since}: vLLM does with ",
        markup.tag("code", "--otlp-traces-endpoint", cls="m-code"),
        ", where the collector receives its traces.",
        cls="m-none",
    )
    return markup.card("Engine start-up", said, markup.source(ENGINE, f"last {back}"))


def _card(sheet: Sheet) -> markup.Html:
    missing = f"no span told of {', '.join(sheet.missing)}" if sheet.missing else ""
    src = markup.source("", "each moment counts for the innermost span", missing)
    lanes = [*map(_lane, sheet.rows), _ready(sheet)]
    return markup.card(
        markup.join(sheet.title, " ", markup.chip(*sheet.chip)),
        markup.join(
            markup.facts(sheet.facts),
            markup.tag("div", *lanes, cls="m-fall"),
            markup.tag("div", sheet.note, cls="m-src m-note"),
        ),
        src,
    )


def _lane(row: Row) -> markup.Html:
    bars = [markup.Html(f'<i style="left:{left:.2f}%;width:{width:.2f}%"></i>') for left, width in row.bars]
    return markup.join(
        markup.tag("span", row.stage, cls="m-stage"),
        markup.tag("b", row.seconds),
        markup.tag("div", *bars, cls="m-lane", role="img", **{"aria-label": row.label}),
        markup.tag("span", " · ".join(row.told), cls="m-told"),
    )


def _ready(sheet: Sheet) -> markup.Html:
    word, tone = sheet.chip
    return markup.join(
        markup.tag("span", word, cls="m-stage"),
        markup.tag("b", sheet.whole),
        markup.tag("div", markup.tag("u", cls=tone), cls="m-lane"),
        markup.tag("span", f"at {sheet.ready}", cls="m-told"),
    )


def _others(found: list[StartUp], frame: Frame) -> markup.Html:
    head = [("Process", ""), ("Ready", "m-nowrap"), ("Took", "r"), ("Longest stage", "")]
    rows = [
        (
            markup.join(s.who or "unnamed", markup.dim("engine" if s.kind == ENGINE else "gateway")),
            clock(s.end, frame, both=False) if s.failure is None else markup.chip("failed", "bad"),
            startups.seconds(s.length_s),
            startups.longest(s),
        )
        for s in found
    ]
    src = markup.source("", f"{len(found)} more, newest first", "from their first spans")
    return markup.card("Other start-ups", markup.table(head, rows), src)
