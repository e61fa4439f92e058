"""More work in each request: longer prompts, or longer answers from every adapter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from collectors.diagnose.causes import Cause
from collectors.diagnose.columns import Numbers, Requests
from collectors.diagnose.detectors.adapters import by_family
from collectors.diagnose.scene import Finding, Scene, certainty, felt, is_felt, told
from collectors.diagnose.shifts import known, larger, more_often, onset

LONGER = 1.25  # of the mean prompt
FAR = 1.5  # of the usual 95th percentile: prompts of a kind that was hardly there
FAR_SHARE = 0.15
ANSWERS = 1.4
PREFILL = 1.3


def long_context_pressure(scene: Scene) -> list[Finding]:
    """Prompts are longer than usual, and reading them takes longer."""
    usual = known(scene.usual_good["prompt_tokens"])
    if not len(usual):
        return []
    mean = scene.column("prompt_tokens", mean=True)
    far = FAR * float(np.percentile(usual, 95))
    far_out = more_often(scene.good["prompt_tokens"] > far, scene.usual_good["prompt_tokens"] > far)
    prefill, ttft = scene.column("prefill_ms", mean=True), scene.column("ttft_ms", mean=True)
    key = (Cause.LONG_CONTEXT_PRESSURE, None)
    longer = scene.grew(mean, LONGER, key) or (far_out.now >= FAR_SHARE and far_out.grew(2))
    if not longer or not any(scene.grew(x, PREFILL, key) for x in (prefill, ttft)):
        return []
    evidence = (
        told("mean prompt length", mean, "tokens"),
        told(f"share of prompts over {far:,.0f} tokens", far_out, "ratio"),
        told("mean prefill", prefill, "ms"),
        told("cached tokens of a request", scene.column("cached_tokens"), "tokens"),
    )
    score = max(certainty(mean, LONGER), 0.7 if far_out.grew(2) else 0.0)
    last = float(
        scene.good.at[scene.good["prompt_tokens"] > max(mean.usual * LONGER, min(far, mean.now))].max()
    )
    return [Finding(Cause.LONG_CONTEXT_PRESSURE, None, score, _since(scene, _prompt), evidence, last)]


def long_output(scene: Scene) -> list[Finding]:
    """Answers are longer than usual, of more than one adapter."""
    mean = scene.column("output_tokens", mean=True)
    if not scene.grew(mean, ANSWERS, (Cause.LONG_OUTPUT, None)) or not is_felt(scene):
        return []
    usual = by_family(scene.usual_good)
    grown = [
        name
        for name, rows in by_family(scene.good).items()
        if name in usual
        and larger(rows["output_tokens"], usual[name]["output_tokens"], mean=True).grew(ANSWERS, 1e-3)
    ]
    if len(grown) == 1 and len(usual) > 1:
        return []  # one adapter's own matter
    evidence = (told("mean answer length", mean, "tokens"), told("what customers wait", felt(scene), "ms"))
    return [Finding(Cause.LONG_OUTPUT, None, certainty(mean, ANSWERS), _since(scene, _answer), evidence)]


def _since(scene: Scene, of: Callable[[Requests], Numbers]) -> float:
    rows = scene.buffered.where(scene.buffered.at > scene.now - 3 * scene.recent_s)
    values = of(rows)
    return onset(rows.start, np.log(np.maximum(values, 1))) or scene.now - scene.recent_s


def _prompt(rows: Requests) -> Numbers:
    return rows["prompt_tokens"]


def _answer(rows: Requests) -> Numbers:
    return rows["output_tokens"]
