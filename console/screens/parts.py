"""What every screen draws alike: markup, charts, failures and the empty store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import plotly.graph_objects as go
import streamlit as st

from console import markup
from console.desk import Desk
from console.views import words
from console.views.facts import Failure, Pulse
from console.views.frame import Frame, clock

T = TypeVar("T")
Tick = Callable[[], Frame]
REFRESH = timedelta(seconds=5)


def draw(html: str) -> None:
    """Put markup on the screen."""
    st.html(html)


def live(body: Callable[[Desk, Tick], None], desk: Desk, tick: Tick) -> None:
    """Draw the body, and again every few seconds while the screen is live."""
    first = st.empty()
    if "drawn" not in st.session_state:
        # the first answers of a session read the tables for the first time: seconds on a busy machine
        first.html(markup.notice("Reading the store…", "The first look takes a few seconds."))
    st.fragment(body, run_every=REFRESH if tick().live else None)(desk, tick)
    first.empty()
    st.session_state["drawn"] = True


def heading(title: str, frame: Frame, pulse: Pulse | Failure | None = None, lead: str = "") -> None:
    """The screen's title, the instant it shows and, in a drill, the clock's scale."""
    mode = "Live" if frame.live else "As of"
    parts = [f"{mode} · {clock(frame.now, frame)}", f"last {words.length(frame.span)}"]
    if isinstance(pulse, Pulse) and pulse.clock_scale != 1:
        parts.append(words.clock_scale(pulse.clock_scale))
    draw(markup.head(title, " · ".join(parts), lead))


def answered(found: T | Failure, otherwise: T) -> T:
    """The answer; a failure is drawn as a notice and the rest of the screen goes on without it."""
    if isinstance(found, Failure):
        draw(markup.notice(f"Not shown: {found.what}", found.remedy, "bad"))
        return otherwise
    return found


def empty() -> None:
    """The store holds nothing yet."""
    remedy = markup.join(
        "Start the collector beside this console: ",
        markup.tag("code", "mangaops collect", cls="m-code"),
        ", or load the bundled recording: ",
        markup.tag(
            "code", "mangaops replay loadtests/recordings/h200_release_drill --store ROOT", cls="m-code"
        ),
        ". This page fills by itself.",
    )
    draw(markup.notice("Waiting for the first scrape…", remedy))


def chart(figure: go.Figure, key: str, alt: str) -> None:
    """A chart without Plotly's toolbar, in the page's own palette."""
    st.plotly_chart(figure, theme=None, config={"displayModeBar": False}, key=key, alt=alt)
