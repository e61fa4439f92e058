"""Sources: what comes in, how fresh it is, what is missing and what to do about it."""

from __future__ import annotations

from datetime import timedelta

from collectors.model import EventFact
from console import markup, origins, services
from console.desk import Desk
from console.screens import startups
from console.screens.parts import Tick, answered, draw, empty, heading, live
from console.views import changes, sources, words
from console.views.facts import Failure, Inlet, Origin, Pulse
from console.views.frame import Frame, clock

MAX_LINES = 60


def show(desk: Desk, tick: Tick) -> None:
    """Draw the screen."""
    live(_body, desk, tick)


def _body(desk: Desk, tick: Tick) -> None:
    frame = tick()
    pulse = services.pulse(desk, frame.now)
    heading("Sources", frame, pulse)
    known = answered(pulse, Pulse())
    if isinstance(pulse, Pulse) and known.newest is None:
        empty()
        if heard := sources.problems(answered(origins.source_events(desk, frame), [])):
            draw(_problems(heard, frame))  # it may be why nothing has come
        return
    interval = max(desk.scrape_interval, known.interval or desk.scrape_interval)
    found = answered(origins.origins(desk, frame), [])
    for origin in found:
        draw(_origin(origin, frame, interval))
    inlets = answered(origins.inlets(desk, frame), [])
    for inlet in inlets:
        draw(_inlet(inlet, frame, interval))
    readers = answered(origins.mlflow_readers(desk, frame), [])
    for reader in readers:
        draw(_reader(reader, frame, interval))
    if not found and not inlets and not readers:
        draw(markup.notice("Nothing was scraped in this range.", _heard(known, frame)))
    starts = answered(origins.starts(desk, frame), None)
    if starts is not None:
        draw(startups.cards(starts, frame))
    events = answered(origins.source_events(desk, frame), [])
    draw(_problems(sources.problems(events), frame))
    draw(_events([e for e in events if e.kind != "problem"], frame))
    draw(_tables(desk, frame))


def _origin(o: Origin, frame: Frame, interval: timedelta) -> markup.Html:
    word, tone = sources.freshness(o, frame.now, interval)
    cells = markup.tag(
        "div",
        *(markup.tag("i", cls=sources.cell_tone(c)) for c in o.cells),
        cls="m-cells",
        role="img",
        **{"aria-label": sources.history(o)},
    )
    pairs = [
        ("Last scrape", clock(o.newest, frame)),
        ("Age", words.length(frame.now - o.newest)),
        ("Scrapes", f"{o.scrapes:,}, {o.failed} failed"),
        ("Duration", "not measured" if o.duration_s is None else words.amount(o.duration_s * 1000, "ms")),
        ("Samples", "not counted" if o.samples is None else words.number(o.samples)),
    ]
    title = markup.join(
        o.source, " · ", o.replica, " ", markup.chip(word, tone, "●" if tone == "ok" else "◆")
    )
    src = markup.source(
        "up", f"last {words.length(frame.span)}", f"{o.scrapes:,} scrapes", "hatched: no scrape"
    )
    return markup.card(
        title, markup.join(cells, markup.Html("<div style='height:.7rem'></div>"), markup.facts(pairs)), src
    )


def _inlet(inlet: Inlet, frame: Frame, interval: timedelta) -> markup.Html:
    src = markup.source("otlp", f"last {words.length(frame.span)}")
    title = markup.join(
        "Traces in · ", inlet.replica, " ", markup.chip(*sources.receiving(inlet, frame.now, interval))
    )
    told = [("Last told", clock(inlet.newest, frame, both=False)), *sources.received(inlet)]
    card = markup.card(title, markup.facts(told), src)
    sent = sources.forwarding(inlet, frame.now, interval)
    if sent is None:
        return card
    title = markup.join("On to MLflow · from ", inlet.replica, " ", markup.chip(*sent))
    return markup.join(card, markup.card(title, markup.facts(sources.forwarded(inlet)), src))


def _reader(inlet: Inlet, frame: Frame, interval: timedelta) -> markup.Html:
    told = [("Last asked", clock(inlet.newest, frame)), *sources.read(inlet)]
    chip = markup.chip(*sources.reading(inlet, frame.now, interval))
    src = markup.source("mlflow", f"last {words.length(frame.span)}")
    return markup.card(
        markup.join("Traces from MLflow · ", inlet.replica, " ", chip), markup.facts(told), src
    )


def _heard(pulse: Pulse, frame: Frame) -> str:
    return (
        f"Last heard {clock(pulse.newest, frame)}. Start the collector, or choose a longer range."
        if pulse.newest
        else ""
    )


def _problems(found: list[EventFact], frame: Frame) -> markup.Html:
    src = markup.source("events", f"last {words.length(frame.span)}", f"{len(found)} problems")
    if not found:
        return markup.card(
            "Problems", markup.tag("div", "No source reported a problem in this range.", cls="m-none"), src
        )
    head = [("When", "m-nowrap"), ("Source", ""), ("What", ""), ("Remedy", "")]
    rows = [
        (
            clock(e.at, frame, both=False),
            markup.join(e.source, markup.dim(e.subject)),
            e.before or "",
            e.after or "",
        )
        for e in found[:MAX_LINES]
    ]
    return markup.card("Problems", markup.table(head, rows), src)


def _events(found: list[EventFact], frame: Frame) -> markup.Html:
    src = markup.source("events", f"last {words.length(frame.span)}", f"{len(found)} events")
    if not found:
        return markup.card(
            "Events", markup.tag("div", "No version change, restart or gap in this range.", cls="m-none"), src
        )
    head = [("When", "m-nowrap"), ("Kind", "m-nowrap"), ("What", ""), ("Source", "")]
    rows = [
        (
            line.when,
            markup.chip(line.kind, line.tone, "■" if line.tone == "info" else "▲"),
            line.text,
            e.source,
        )
        for line, e in zip(changes.lines(found[:MAX_LINES], frame), found, strict=False)
    ]
    return markup.card("Events", markup.table(head, rows), src)


def _tables(desk: Desk, frame: Frame) -> markup.Html:
    tables = origins.tables(desk, frame)
    src = markup.source("", desk.root, f"rows of the last {words.length(frame.span)}")
    if isinstance(tables, Failure):
        return markup.notice(f"Not shown: {tables.what}", tables.remedy, "bad")
    rows = [
        (t.name, "no table yet" if t.version is None else f"{t.version:,}", f"{t.rows:,}") for t in tables
    ]
    return markup.card("Store", markup.table([("Table", ""), ("Version", "r"), ("Rows", "r")], rows), src)
