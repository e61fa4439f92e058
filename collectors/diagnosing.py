"""A turn of diagnosing: facts from the store, looks at each instant, incidents as events to keep.

Live diagnosing, replay and catching up after a restart are this one function over a longer or shorter time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf

from collectors.diagnose import watching
from collectors.diagnose.alerts import Fired, assigned
from collectors.diagnose.harm import Bounds, bounds
from collectors.diagnose.incidents import Incident
from collectors.diagnose.recalling import Memory, recalled
from collectors.diagnose.telling import Change, significant, told
from collectors.diagnose.watching import Watch
from collectors.judge.rules import Rule, scaled
from collectors.judging import ALERT, Book
from collectors.model import EventFact
from collectors.signals.changes import CHANGES
from collectors.store.columns import events_between, requests_between, scrapes_between
from collectors.store.incidents import INCIDENT, incidents
from collectors.store.reader import Reader

SOURCE = "diagnose"
WARM_UP_MIN = 120.0  # looked at again after a restart: what is usual, and what is open
WARM_UP_MOST_MIN = 420.0  # where an incident began before that: from before it, but no further than this
TOLD_BACK = timedelta(days=30)
EPOCH = datetime.fromtimestamp(0, UTC)
SHORTEST_LOOK = timedelta(seconds=1)
KEPT_MIN = 720.0  # of alerts and changes: an incident may have lasted for hours
KEPT_ENDED = 50  # ended incidents that later alerts may still belong to


def diagnose(
    reader: Reader, book: Book, memory: Memory | None, since: datetime, upto: datetime
) -> tuple[Memory, list[EventFact]]:
    """Look at every instant in (since, upto]; the incidents that changed, as events. Raises StoreError."""
    with reader.snapshot():
        if memory is None:
            memory = _warmed(reader, book, since)
        return _walked(reader, book, memory, upto)


def _warmed(reader: Reader, book: Book, since: datetime) -> Memory:
    """What somebody would remember who had looked all the while; what was told then keeps its name.

    An incident that began too long ago to be found again is open still: it ends when its evidence is gone.
    """
    minute = timedelta(minutes=1) / book.clock_scale
    before = incidents(reader, since - TOLD_BACK, since)
    starts = [datetime.fromtimestamp(i["start"], UTC) for i in before if i["end"] is None]
    begin = min([since - WARM_UP_MIN * minute, *(s - watching.USUAL_MIN * minute for s in starts)])
    begin = max(begin, since - WARM_UP_MOST_MIN * minute)
    memory, _ = _walked(reader, book, Memory(watching.nothing(), begin), since)
    return recalled(memory, before, since.timestamp())


def _walked(reader: Reader, book: Book, memory: Memory, upto: datetime) -> tuple[Memory, list[EventFact]]:
    minute_s = 60 / book.clock_scale
    pace = max(timedelta(minutes=watching.LOOK_MIN) / book.clock_scale, SHORTEST_LOOK)
    facts = requests_between(reader, memory.upto, upto)
    scrapes = scrapes_between(reader, memory.upto, upto)
    events = events_between(reader, memory.upto, upto, (ALERT, *CHANGES))
    memory = replace(
        memory,
        watch=watching.fed(memory.watch, facts, scrapes),
        fired=(*memory.fired, *_fired(events, book)),
        changes=(*memory.changes, *_changes(events)),
    )
    found: list[EventFact] = []
    # on the same instants whoever looks, so that two collectors see and name the same incidents
    at = EPOCH + ((memory.upto - EPOCH) // pace + 1) * pace
    while at <= upto:
        memory, changed = _looked(memory, at, minute_s)
        found += changed
        at += pace
    return replace(_trimmed(memory, upto, minute_s), upto=upto), found


def _trimmed(memory: Memory, now: datetime, minute_s: float) -> Memory:
    """Without alerts, changes and incidents so old that nothing new belongs to them."""
    oldest, case = now.timestamp() - KEPT_MIN * minute_s, memory.watch.case
    case = replace(case, ended=case.ended[-KEPT_ENDED:])
    numbers = {i.number for i in (*case.ended, *case.open)}
    return replace(
        memory,
        watch=replace(memory.watch, case=case),
        fired=tuple(f for f in memory.fired if f.fired > oldest),
        changes=tuple(c for c in memory.changes if c.at > oldest),
        usual={n: b for n, b in memory.usual.items() if n in numbers},
        names={n: name for n, name in memory.names.items() if n in numbers},
        told={n: t for n, t in memory.told.items() if n in numbers},
    )


def _looked(memory: Memory, at: datetime, minute_s: float) -> tuple[Memory, list[EventFact]]:
    now, before = at.timestamp(), memory.watch
    watch = watching.step(before, now, minute_s)
    memory = replace(memory, watch=watch)
    new = [i for i in watch.case.open if i.number not in memory.names]
    if not new and not _may_have_changed(watch, memory):
        return memory, []
    scene = watching.scene_at(before, now, minute_s) if new else None
    usual = bounds(scene.usual) if scene else Bounds(None, None, None)
    for each in new:
        names = {**memory.names, each.number: _name(each, memory.names)}
        memory = replace(memory, names=names, usual={**memory.usual, each.number: usual})
    return _told(memory, at, minute_s)


def _may_have_changed(watch: Watch, memory: Memory) -> bool:
    return bool(watch.case.open) or any(
        i.number not in memory.told or memory.told[i.number][1] == "None" for i in watch.case.ended
    )


def _told(memory: Memory, at: datetime, minute_s: float) -> tuple[Memory, list[EventFact]]:
    """The incidents of which there is something new to tell."""
    now, found = at.timestamp(), []
    everyone = (*memory.watch.case.ended[-KEPT_ENDED:], *memory.watch.case.open)
    alerts = assigned(everyone, [f for f in memory.fired if f.fired <= now])
    for each in everyone:
        known = memory.watch.requests.between(each.start, min(now, each.end or inf))
        text = told(
            each,
            memory.names[each.number],
            known,
            memory.usual.get(each.number, Bounds(None, None, None)),
            alerts.get(each.number, ()),
            [c for c in memory.changes if c.at <= now],
            minute_s,
        )
        new = significant(text, now, minute_s)
        if memory.told.get(each.number) != new:
            memory = replace(memory, told={**memory.told, each.number: new})
            state = "open" if each.end is None else "ended"
            found.append(
                EventFact(at, INCIDENT, text["id"], SOURCE, state, json.dumps(text, ensure_ascii=False))
            )
    return memory, found


def _fired(events: Sequence[EventFact], book: Book) -> list[Fired]:
    """Alerts that began to fire."""
    rules = {r.name: scaled(r, book.clock_scale) for r in book.rules}
    pending: dict[str, float] = {}
    found = []
    for event in events:
        if event.kind != ALERT:
            continue
        at = event.at.timestamp()
        if event.after == "pending":
            pending[event.subject] = at
        name, _, component = event.subject.rstrip("]").partition("[")
        if event.after == "firing" and name in rules:
            rule = rules[name]
            began = pending.get(event.subject, at - rule.for_.total_seconds())
            found.append(Fired(name, component, rule.severity, at, began, _reach_s(rule)))
    return found


def _reach_s(rule: Rule) -> float:
    windows = [rule.window, *([rule.also_window] if rule.also_window else [])]
    return (max(windows) + rule.for_).total_seconds()


def _changes(events: Sequence[EventFact]) -> list[Change]:
    return [Change(e.at.timestamp(), e.kind, e.subject, e.before) for e in events if e.kind in CHANGES]


def _name(incident: Incident, names: Mapping[int, str]) -> str:
    """By the second in which it was detected: the same whoever looks, and however often."""
    stem = f"inc-{datetime.fromtimestamp(incident.detected, UTC):%Y%m%d-%H%M%S}"
    same = sum(name.startswith(stem) for name in names.values())
    return stem if not same else f"{stem}-{same + 1}"
