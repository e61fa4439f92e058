"""The entry point of the console: navigation, the controls that every screen shares, and the clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from collectors.settings import Settings, load_settings
from collectors.validation import ConfigError
from console import links, markup, theme
from console.desk import Desk
from console.screens import alerts, drills, now, prefix, runbooks, slos, slow_chat, sources, versions
from console.screens.parts import Tick, draw
from console.screens.store import desk
from console.views.frame import SPANS, Frame, clock, parse_instant, zone_label

TICK = timedelta(seconds=5)  # live instants are whole ticks, so that sessions share their answers
SCREENS: tuple[tuple[str, str, str, Callable[[Desk, Tick], None]], ...] = (
    ("Now", "", ":material/monitor_heart:", now.show),
    ("Slow chat", "slow-chat", ":material/manage_search:", slow_chat.show),
    ("SLOs", "slos", ":material/target:", slos.show),
    ("Alerts", "alerts", ":material/notifications:", alerts.show),
    ("Prefix cache", "prefix", ":material/cached:", prefix.show),
    ("Adapters & versions", "versions", ":material/compare_arrows:", versions.show),
    ("Drills", "drills", ":material/science:", drills.show),
    ("Runbooks", "runbooks", ":material/menu_book:", runbooks.show),
    ("Sources", "sources", ":material/sensors:", sources.show),
)
# A file of our own: a named icon would be fetched from a font server on the internet.
ICON = Path(__file__).with_name("icon.svg")
BRAND = (
    '<div class="m-brand"><div class="m-mark" aria-hidden="true"><i></i><i></i><i></i></div>'
    "<div><b>mangaops</b><span>MangaAssist serving</span></div></div>"
)


def main() -> None:
    """Draw the page that the URL names."""
    st.set_page_config(
        "mangaops", ICON.read_text(encoding="utf-8"), layout="wide", initial_sidebar_state="auto"
    )
    draw(theme.css())
    try:
        settings = load_settings()
        tick = partial(_frame, settings)
        pages = [
            st.Page(
                partial(_screen, show, settings, tick),
                title=title,
                icon=icon,
                url_path=path,
                default=not path,
            )
            for title, path, icon, show in SCREENS
        ]
        chosen = st.navigation(pages, position="hidden")
        _keep_selection(chosen.url_path)
        with st.sidebar:
            draw(BRAND)
            for page in pages:
                st.page_link(page)
            _controls(settings)
        chosen.run()
    except ConfigError as error:
        draw(
            markup.notice(
                "The settings cannot be used.", markup.Html("<br>".join(map(markup.text, error.args)))
            )
        )


def _screen(show: Callable[[Desk, Tick], None], settings: Settings, tick: Tick) -> None:
    show(desk(settings), tick)


def _controls(settings: Settings) -> None:
    at = datetime.now(UTC)
    draw('<div class="m-gap"></div>')
    st.text_input(
        "As of",
        key="at",
        placeholder="live",
        bind="query-params",
        help="Empty is live. Otherwise an instant: 07:24, 07:24:12 JST or 2026-11-21T07:24:12Z.",
    )
    st.segmented_control(
        "Time range", list(SPANS), key="span", default=links.DEFAULT_SPAN, bind="query-params"
    )
    st.segmented_control(
        "Time zone", list(_zones(settings, at)), key="tz", default="UTC", bind="query-params"
    )
    asked = st.session_state.get("at") or ""
    frame = _frame(settings)
    if asked and frame.live:
        draw(
            markup.notice(
                f"“{asked}” is no time, so this is live.", "Write 07:24, 07:24:12 JST or 2026-11-21T07:24Z"
            )
        )
    elif asked:
        draw(markup.tag("div", markup.tag("b", clock(frame.now, frame)), cls="m-asof"))
        st.button("Back to live", on_click=_live, icon=":material/play_arrow:")


def _keep_selection(page: str) -> None:
    """Carry the selection to another page.

    Streamlit drops a control from the URL where its page was left before the browser had drawn it.
    """
    kept, left = st.session_state.get("selection", {}), st.session_state.get("shown_page", page)
    if left != page:
        for key in kept.keys() - st.query_params.to_dict().keys():
            st.query_params[key] = kept[key]
    known: dict[str, Any] = {**st.query_params.to_dict(), **st.session_state.to_dict()}
    usual = {"at": "", "span": links.DEFAULT_SPAN, "tz": "UTC"}
    st.session_state["selection"] = {k: known[k] for k, v in usual.items() if known.get(k) not in {None, v}}
    st.session_state["shown_page"] = page


def _live() -> None:
    st.session_state["at"] = ""


def _zones(settings: Settings, at: datetime) -> dict[str, str]:
    return {zone_label(zone, at): zone for zone in ("UTC", settings.time_zone)}


def _frame(settings: Settings) -> Frame:
    """What the controls say, at this moment."""
    at = datetime.now(UTC)
    zones = _zones(settings, at)
    zone = zones.get(st.session_state.get("tz") or "UTC", "UTC")
    asked = parse_instant(st.session_state.get("at") or "", at, zone)
    ticks = int(at.timestamp() // TICK.total_seconds())
    return Frame(
        now=asked or datetime.fromtimestamp(ticks * TICK.total_seconds(), UTC),
        live=asked is None,
        span=SPANS[st.session_state.get("span") or links.DEFAULT_SPAN],
        zone=zone,
        other=settings.time_zone if zone == "UTC" else "UTC",
        mode="dark" if st.context.theme.type == "dark" else "light",
    )


if __name__ == "__main__":
    main()
