"""The panels of the Now screen as HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape

from collectors.judge.rules import Rule
from collectors.model import Judgement
from console import links
from console.markup import Html, card, chip, dim, join, link, source, spark, state_chip, table, tag
from console.views import words
from console.views.changes import Line
from console.views.facts import Slice
from console.views.frame import Frame, clock
from console.views.tiles import Tile
from console.views.verdict import StageRow, Verdict

SHAPES = {"bad": "◆", "warn": "▲", "ok": "●", "none": "○"}
SHOWN_CHANGES, SHOWN_ALERTS = 5, 5


def hero(verdict: Verdict, sub: object = "") -> Html:
    """The verdict, readable across the room."""
    word = chip(verdict.word, verdict.tone, SHAPES[verdict.tone])
    return tag(
        "div",
        word,
        tag("p", verdict.sentence),
        tag("div", sub, cls="m-sub") if sub else "",
        cls=f"m-hero {verdict.tone}",
        role="status",
    )


def tile_grid(tiles: Sequence[Tile], frame: Frame) -> Html:
    """All key figures."""
    return tag("div", *(_tile(t, frame) for t in tiles), cls="m-tiles")


def _tile(tile: Tile, frame: Frame) -> Html:
    figure = tag("div", tile.value, tag("small", tile.unit) if tile.unit else "", cls="m-fig")
    line = (
        tag("div", tile.why, cls="m-why")
        if tile.why
        else spark(tile.spark, f"{tile.title} over time", tile.limit)
    )
    label = tag(
        "div", tag("span", tile.title), link("Runbook", links.runbook(tile.runbook, frame)), cls="m-label"
    )
    return tag(
        "div", label, figure, line, source(tile.reading, tile.window, tile.count), cls=f"m-tile {tile.tone}"
    )


def stages(
    rows: Sequence[StageRow], bars: Sequence[str], now: Slice | None, past: Slice | None, src: Html
) -> Html:
    """Which part: the stages now and in the quiet past, as bars and in numbers."""
    if now is None:
        return card("Which part", tag("div", "No request ended in the window.", cls="m-none"), src)
    shown = [r for r in rows if r.stage in bars]
    totals = {"Now": sum(r.now_ms or 0 for r in shown), "Quiet past": sum(r.past_ms or 0 for r in shown)}
    top = max(*totals.values(), 1.0)
    drawn = [
        _bar("Now", totals["Now"], shown, lambda r: r.now_ms, top),
        _bar("Quiet past", totals["Quiet past"], shown, lambda r: r.past_ms, top) if past else Html(""),
    ]
    worst = max((r for r in shown), key=lambda r: r.excess_ms)
    body = [
        (
            join(Html(f'<i class="m-dot {escape(r.stage)}"></i>'), r.stage.capitalize()),
            words.amount(r.now_ms, "ms"),
            words.amount(r.past_ms, "ms") if past else "–",
            words.gained(r.now_ms, r.past_ms, "ms") if past else "",
        )
        for r in rows
    ]
    lead = rows.index(worst) if past and worst.excess_ms > 0.2 * max(totals["Quiet past"], 1.0) else None
    head = [("Stage", ""), ("Now", "r"), ("Quiet past", "r"), ("Change", "r")]
    note = _past_note(past)
    return card(
        "Which part",
        join(
            tag("div", *drawn, cls="m-bars"),
            Html("<div style='height:.7rem'></div>"),
            table(head, body, lead),
            tag("div", note, cls="m-src m-note"),
        ),
        src,
    )


def _past_note(past: Slice | None) -> str:
    if past is None:
        return "No quiet past in this range: too few requests ended while no alert was active."
    return f"Mean times. Quiet past: {past.count:,} requests that ended while no alert was pending or firing."


def _bar(
    name: str, total: float, rows: Sequence[StageRow], value: Callable[[StageRow], float | None], top: float
) -> Html:
    parts = [
        Html(
            f'<i class="{escape(r.stage)}" style="width:{100 * (value(r) or 0) / top:.2f}%" '
            f'title="{escape(r.stage)} {escape(words.amount(value(r), "ms"))}"></i>'
        )
        for r in rows
    ]
    who = tag("div", name, tag("b", words.amount(total, "ms")), cls="m-who")
    return join(
        who,
        tag(
            "div",
            *parts,
            cls="m-track",
            role="img",
            **{
                "aria-label": f"{name}: "
                + ", ".join(f"{r.stage} {words.amount(value(r), 'ms')}" for r in rows)
            },
        ),
    )


def changes(lines: Sequence[Line], frame: Frame, src: Html) -> Html:
    """What changed just before."""
    if not lines:
        return card(
            "What changed",
            tag(
                "div",
                "Nothing new in this range: no prompt, adapter or backend version, no restart.",
                cls="m-none",
            ),
            src,
        )
    rows = [
        tag(
            "li",
            chip(line.kind, line.tone, "■" if line.tone == "info" else "▲"),
            tag(
                "div",
                line.text,
                tag("div", f"{line.when} · {line.detail}" if line.detail else line.when, cls="m-dim"),
                cls="m-grow",
            ),
            link("Look", links.to("./", frame, at=line.link_at)),
        )
        for line in lines[:SHOWN_CHANGES]
    ]
    more = len(lines) - SHOWN_CHANGES
    rest = dim(link(f"{more} more on Sources", links.to("sources", frame))) if more > 0 else ""
    return card("What changed", join(tag("ul", *rows, cls="m-list"), rest), src)


def alerts(
    active: Sequence[Judgement],
    judged: Sequence[Judgement],
    rules: Sequence[Rule],
    frame: Frame,
    scale: float,
    unheard: datetime | None = None,
) -> Html:
    """What is firing or pending, the worst first; where nobody judges any more, how it last stood.

    `unheard` is when the collector was last heard of, if it is silent by now.
    """
    silent = sum(j.state == "no_data" for j in judged)
    note = f"{len(judged)} judged, {silent} no data" + (f", {words.clock_scale(scale)}" if scale != 1 else "")
    src = tag("span", source("", note, ""), " · ", link("All alerts", links.to("alerts", frame)), cls="m-src")
    if not judged:
        return card("Alerts", tag("div", "No rule has been judged in the last hour.", cls="m-none"), src)
    if not active:
        quiet = tag("div", "No alert is pending or firing.", cls="m-none")
        return card("Alerts", unjudged(unheard, frame) if unheard else quiet, src)
    by_name = {r.name: r for r in rules}
    items = [_alert_item(j, by_name.get(j.name), frame) for j in active[:SHOWN_ALERTS]]
    more = len(active) - SHOWN_ALERTS
    rest = tag("div", link(f"{more} more", links.to("alerts", frame)), cls="m-none") if more > 0 else ""
    before = unjudged(unheard, frame) if unheard else ""
    return card("Alerts", join(before, tag("ul", *items, cls="m-list"), rest), src)


def unjudged(unheard: datetime, frame: Frame) -> Html:
    """That no alert was judged since, so that an old state is not taken for today's."""
    since = (
        f"Nothing has been judged since {clock(unheard, frame, both=False)}, when the collector fell silent."
    )
    return tag("div", state_chip("no_data"), " ", since, cls="m-none")


def _alert_item(j: Judgement, rule: Rule | None, frame: Frame) -> Html:
    unit = rule.source.unit if rule else ""
    limit = (
        "" if j.threshold is None or rule is None else f", limit {rule.op} {words.amount(j.threshold, unit)}"
    )
    since = f"since {clock(j.active_at, frame, both=False)}" if j.active_at else ""
    said = f"{words.amount(j.value, unit)}{limit}"
    title = link(rule.title if rule else words.title(j.name), links.rule(j.name, frame))
    text = join(
        title,
        dim(j.component) if j.component else "",
        tag("div", " · ".join(t for t in (said, since) if t), cls="m-dim"),
    )
    page = link("Runbook", links.runbook(rule.runbook, frame)) if rule else ""
    return tag("li", state_chip(j.state), tag("div", text, cls="m-grow"), page)


def alert_row(j: Judgement, rule: Rule | None, frame: Frame) -> tuple[object, ...]:
    """One alert as cells: state, rule, value, limit, since, runbook."""
    unit = rule.source.unit if rule else ""
    op = f"{rule.op} " if rule else ""
    title = link(rule.title if rule else words.title(j.name), links.rule(j.name, frame))
    value: object = words.amount(j.value, unit)
    if j.missing:
        value = join(words.NO_DATA if j.value is None else value, dim(j.missing))
    since = (
        join(clock(j.active_at, frame, both=False), dim(f"for {words.length(j.at - j.active_at)}"))
        if j.active_at
        else "–"
    )
    limit = "–" if j.threshold is None else op + words.amount(j.threshold, unit)
    page = link("Runbook", links.runbook(rule.runbook, frame)) if rule else ""
    return (
        state_chip(j.state),
        join(title, dim(j.component) if j.component else ""),
        value,
        limit,
        since,
        page,
    )
