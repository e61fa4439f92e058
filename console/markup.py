"""View models as HTML. Everything that came from data passes `escape`; nothing else builds markup."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from html import escape

from console.views import words

SPARK_W, SPARK_H, PAD = 200.0, 34.0, 3.0
SPARK_LIMIT = "#c9701c"
SPARK_INK = "#5b78e5"  # a mid accent that reads on both surfaces: an image cannot see the page's tokens


class Html(str):
    """Markup that is safe already; any other text is escaped where it is used."""

    __slots__ = ()


def text(value: object) -> Html:
    """Any value as safe markup."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def tag(name: str, *inside: object, cls: str = "", **attributes: str) -> Html:
    """An element; its content and attribute values are escaped unless they are Html."""
    given = {"class": cls, **attributes}
    listed = "".join(f' {k.rstrip("_")}="{escape(v)}"' for k, v in given.items() if v)
    return Html(f"<{name}{listed}>{''.join(text(i) for i in inside)}</{name}>")


def join(*parts: object) -> Html:
    """Parts one after another."""
    return Html("".join(text(p) for p in parts))


def link(label: object, url: str) -> Html:
    """A link inside the console."""
    return tag("a", label, href=url, target="_self")


def outside(label: object, url: str) -> Html:
    """A link to another application, in a page of its own."""
    return tag("a", label, " ↗", href=url, target="_blank", rel="noopener noreferrer")


def chip(word: str, tone: str, shape: str = "") -> Html:
    """A state as shape and word on its colour."""
    mark = shape or words.SHAPES.get(tone, "")
    return tag("span", tag("span", mark, **{"aria-hidden": "true"}), " ", word, cls=f"m-chip {tone}")


def state_chip(state: str) -> Html:
    """The chip of an alert's or SLO's state."""
    return chip(words.state_word(state), words.tone(state), words.SHAPES.get(state, ""))


def source(reading: str, *more: str) -> Html:
    """Where a panel's figures come from: reading, window, count."""
    parts = [tag("code", reading)] if reading else []
    return tag("span", Html(" · ".join([*parts, *(escape(m) for m in more if m)])), cls="m-src")


def card(title: object, body: object, src: object = "") -> Html:
    """A panel with its title and, beside it, where its figures come from."""
    return tag("div", tag("div", tag("h2", title), src, cls="m-title"), body, cls="m-card")


def table(head: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]], lead: int | None = None) -> Html:
    """A table; each column is (title, class), and `lead` is the row that stands out."""
    cells = tag("tr", *(tag("th", title, cls=cls, scope="col") for title, cls in head))
    body = [
        tag(
            "tr",
            *(tag("td", v, cls=cls) for v, (_, cls) in zip(row, head, strict=True)),
            cls="m-worst" if i == lead else "",
        )
        for i, row in enumerate(rows)
    ]
    return tag("div", tag("table", tag("thead", cells), tag("tbody", *body), cls="m-table"), cls="m-scroll")


def dim(value: object) -> Html:
    """Secondary text."""
    return tag("span", value, cls="m-dim")


def notice(what: object, remedy: object = "", tone: str = "warn") -> Html:
    """Something a person has to know, and what to do about it."""
    return tag("div", tag("b", what), dim(remedy) if remedy else "", cls=f"m-notice {tone}", role="status")


def head(title: str, meta: object = "", lead: object = "") -> Html:
    """A screen's heading."""
    first = tag("div", tag("h1", title), tag("span", meta, cls="m-meta"), cls="m-head")
    return join(first, tag("p", lead, cls="m-lead") if lead else "")


def facts(pairs: Iterable[tuple[str, object]]) -> Html:
    """Names with their values, in columns."""
    return tag("div", *(tag("div", tag("span", k), tag("b", v)) for k, v in pairs), cls="m-kv")


def spark(values: Sequence[float | None], label: str, limit: float | None = None) -> Html:
    """A sparkline as an image; gaps stay gaps, and a limit within reach is a dashed line."""
    known = [v for v in values if v is not None]
    if not known:
        return Html("")
    top = max(known) if limit is None or limit > 4 * max(known) else max(*known, limit)
    top = top or 1.0
    x = SPARK_W / max(1, len(values) - 1)

    def y(value: float) -> float:
        return SPARK_H - PAD - value / top * (SPARK_H - 2 * PAD)

    dash = ""
    if limit is not None and limit <= top:
        path = f"M0 {y(limit):.1f}H{SPARK_W:.0f}"
        dash = f'<path d="{path}" stroke="{SPARK_LIMIT}" stroke-width="1" stroke-dasharray="3 3"/>'
    runs = "".join(_run(run, x, y) for run in _runs(values))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SPARK_W:.0f} {SPARK_H:.0f}" '
        f'preserveAspectRatio="none">{runs}{dash}</svg>'
    )
    return Html(
        f'<img alt="{escape(label)}" src="data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}">'
    )


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    runs: list[list[tuple[int, float]]] = [[]]
    for i, v in enumerate(values):
        if v is None:
            runs.append([])
        else:
            runs[-1].append((i, v))
    return [r for r in runs if r]


def _run(run: Sequence[tuple[int, float]], x: float, y: Callable[[float], float]) -> str:
    points = [f"{i * x:.1f} {y(v):.1f}" for i, v in run]
    if len(points) == 1:  # a lone value between gaps: a short dash, for a point would be stretched
        points.append(f"{run[0][0] * x + 1:.1f} {y(run[0][1]):.1f}")
    line = "L".join(points)
    area = f"M{line}L{run[-1][0] * x:.1f} {SPARK_H:.0f}L{run[0][0] * x:.1f} {SPARK_H:.0f}Z"
    pen = f'stroke="{SPARK_INK}" stroke-width="1.6" stroke-linejoin="round"'
    stroke = f'fill="none" {pen} vector-effect="non-scaling-stroke"'
    return f'<path d="{area}" fill="{SPARK_INK}" fill-opacity=".13"/><path d="M{line}" {stroke}/>'
