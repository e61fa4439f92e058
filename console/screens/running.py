"""Running a drill from the screen Drills: which, on which engine, and stopping it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import streamlit as st

from console import drill_control, links, markup
from console.desk import Desk
from console.drilling import start
from console.screens.parts import draw
from console.views import offers
from console.views.drills import Drill
from console.views.facts import Failure
from console.views.frame import Frame
from console.views.offers import Catalogue, Offer

NAME, ENGINE, REFUSED, LISTED = "run-drill", "run-engine", "run-refused", "drills-listed"
FOLLOWED = "drill"  # the select box of the drill that is shown
NEEDS_ENGINE = "It measures the capacity of an engine: name one that runs on a GPU."
OWN_ENGINE = "This drill breaks the engine, so it starts one of its own."
RUNNING_ENGINE = "optional, a vLLM that runs already: http://gpu:8000"


def offer(desk: Desk, found: Sequence[Drill], frame: Frame) -> None:
    """The part of the screen that starts a drill; nothing where the settings switch it off."""
    if not desk.drills_run:
        return
    with st.container(border=True, key="card"):
        draw(markup.tag("div", markup.tag("h2", "Run a drill"), cls="m-title"))
        if frame.live:
            _offered(desk, next((d for d in found if d.goes_on), None), frame)
        else:
            _say("Back to live, a drill can be run here.")
        if refused := st.session_state.get(REFUSED):
            draw(markup.notice(f"Not done: {refused.what}.", refused.remedy, "bad"))


def stop(desk: Desk, drill: Drill) -> None:
    """The button that stops a drill; where it was started in a terminal, a sentence."""
    if drill.state == "running" and drill.stoppable and desk.drills_run:
        st.button("Stop", key="stop-drill", icon=":material/stop_circle:", on_click=_stop, args=(desk, drill))
    elif drill.state == "running" and not drill.stoppable:
        _say("It was started in a terminal; Ctrl-C there stops it.")
    elif drill.state == "stopping":
        _say("It stops its parts, one after the other, which takes up to a minute.")


# As long as this process lives: listing takes seconds, and changes only with what is installed.
@st.cache_resource(max_entries=1, show_spinner=False)
def _catalogue(
    drills: str,  # noqa: ARG001 - the key
    _ask: Callable[[], Catalogue | Failure | None],
) -> Catalogue | Failure | None:
    return _ask()


def _offered(desk: Desk, going: Drill | None, frame: Frame) -> None:
    waiting = st.empty()
    if LISTED not in st.session_state:  # a spinner of Streamlit's would lie over the card below
        with waiting:
            _say("Listing the drills…")
    known = _catalogue(str(desk.drills), desk.catalogue)
    st.session_state[LISTED] = True
    waiting.empty()
    if known is None:
        _say(offers.CHECKOUT)
    elif isinstance(known, Failure):
        draw(markup.notice(f"No drill can be run: {known.what}", known.remedy, "bad"))
        _look_again()
    else:
        _controls(desk, known, going, frame)


def _controls(desk: Desk, known: Catalogue, going: Drill | None, frame: Frame) -> None:
    left, middle, right = st.columns([2, 3, 1], gap="small", vertical_alignment="bottom")
    shortest_first = sorted(known.drills, key=lambda d: d.seconds)
    titles = {d.name: f"{d.title} ({d.name})" for d in shortest_first}
    name = left.selectbox("Drill to run", list(titles), format_func=titles.__getitem__, key=NAME)
    chosen = known.offer(str(name))
    if chosen is None:
        return
    engine = _engine(middle, chosen)
    lacking, wrong = known.lacking(engine), start.fault_of(engine)
    unnamed = chosen.proves == "capacity" and not engine
    right.button(
        "Run",
        key="run",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        disabled=bool(going or lacking or wrong or unnamed),
        on_click=_run,
        args=(desk, known),
    )
    draw(markup.tag("div", offers.described(chosen), markup.tag("div", offers.course(chosen)), cls="m-gone"))
    if going:
        followed = markup.link(going.name, links.to("drills", frame, drill=going.name))
        _say(markup.join(followed, f" is {going.state}. One drill at a time: two would measure each other."))
    if wrong:
        draw(markup.notice(f"The engine's URL {wrong}.", "Write it like http://gpu:8000"))
    if unnamed:
        _say(NEEDS_ENGINE)
    elif lacking:
        lines = markup.Html("<br>".join(map(markup.text, lacking)))
        draw(markup.notice("Staging is not complete here.", lines))
        _look_again()


def _engine(column: st.delta_generator.DeltaGenerator, chosen: Offer) -> str:
    """What was written there; nothing where the drill starts its own engine."""
    given = column.text_input(
        "Engine URL",
        key=ENGINE,
        max_chars=start.LONGEST_URL,
        placeholder=OWN_ENGINE if chosen.own_engine else RUNNING_ENGINE,
        disabled=chosen.own_engine,
    )
    return "" if chosen.own_engine else given.strip()


def _run(desk: Desk, known: Catalogue) -> None:
    name = str(st.session_state[NAME])
    chosen = known.offer(name)
    engine = "" if chosen and chosen.own_engine else str(st.session_state.get(ENGINE) or "").strip()
    done = drill_control.run_drill(desk, known, name, engine, datetime.now(UTC))
    st.session_state[REFUSED] = done if isinstance(done, Failure) else None
    if not isinstance(done, Failure):
        st.session_state[FOLLOWED] = done


def _stop(desk: Desk, drill: Drill) -> None:
    st.session_state[REFUSED] = drill_control.stop_drill(desk, drill.name, datetime.now(UTC))


def _look_again() -> None:
    st.button("Look again", key="look-again", icon=":material/refresh:", on_click=_catalogue.clear)


def _say(what: object) -> None:
    draw(markup.tag("div", what, cls="m-gone"))
