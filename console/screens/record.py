"""What Slow chat keeps in MLflow, where one is configured: a finding on its trace, requests as examples."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from collectors.explaining import Explanation
from collectors.model import RequestFact
from console import links, markup, mlflow_record
from console.desk import Desk
from console.screens.parts import draw
from console.views import slow
from console.views.facts import Failure

DATASET = "slow chats"


def trace_link(desk: Desk, request: RequestFact) -> markup.Html:
    """The request's trace in MLflow; nothing where there is none."""
    if desk.record is None or request.trace_id is None:
        return markup.Html("")
    url = links.trace(desk.record.ui, desk.record.ledger.experiment, request.trace_id)
    return markup.join(" · ", markup.outside("Its trace in MLflow", url))


def picks_several(desk: Desk, found: Sequence[RequestFact]) -> bool:
    """Whether rows are being collected, for which there has to be an MLflow and a trace."""
    if desk.record is None or not any(r.trace_id for r in found):
        return False
    return st.toggle(
        "Collect requests for an evaluation data set",
        key="several",
        help="Select rows, then add their traces to a data set of MLflow.",
    )


def examples(desk: Desk, selected: Sequence[RequestFact]) -> None:
    """The name of the data set, the button, and what came of it."""
    left, right = st.columns([3, 2], gap="small", vertical_alignment="bottom")
    name = left.text_input("Evaluation data set", DATASET, key="dataset", max_chars=100)
    label = f"Add {len(selected)} to it" if selected else "Select rows first"
    if right.button(label, disabled=not selected, icon=":material/playlist_add:", key="add-examples"):
        with st.spinner("MLflow's client takes some seconds to start…"):
            done = mlflow_record.keep_examples(desk, name, selected)
        if isinstance(done, Failure):
            _not_written(done)
        else:
            left_out = {
                "carry no inputs (capture_text of the gateway)": done.without_inputs,
                "are not in MLflow": done.missing,
            }
            draw(markup.notice(*slow.collected(done.dataset, done.added, done.total, left_out), "ok"))


def finding(desk: Desk, explanation: Explanation) -> None:
    """A note, the button, and what came of it."""
    request = explanation.request
    if desk.record is None or request.trace_id is None:
        return
    with st.expander("Write this finding to its trace in MLflow", icon=":material/rate_review:"):
        left, right = st.columns([3, 1], gap="small", vertical_alignment="bottom")
        note = left.text_input(
            "Your note", key=f"note-{request.request_id}", max_chars=500, placeholder="optional"
        )
        if right.button("Write feedback", icon=":material/check:", key=f"write-{request.request_id}"):
            with st.spinner("MLflow's client takes some seconds to start…"):
                done = mlflow_record.keep_finding(desk, explanation, note.strip())
            if isinstance(done, Failure):
                _not_written(done)
            else:
                draw(markup.notice("Written as feedback “why_slow”.", f"Assessment {done}", "ok"))


def _not_written(failure: Failure) -> None:
    draw(markup.notice(f"Not written: {failure.what}", failure.remedy, "bad"))
