"""`mangaops explain`: one request, its stages beside its peers', and what the engine did meanwhile."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from collectors.cli import wiring
from collectors.cli.output import NO, complain, instant, number, out, print_json, print_table
from collectors.diagnose.stages import MEANING, StageShare
from collectors.explaining import Around, Explanation, find_requests
from collectors.explaining import explain as explain_request
from collectors.model import EventFact, RequestFact
from collectors.signals.startup_facts import KINDS as START_UPS
from collectors.signals.startup_facts import summary

MAX_TURNS = 20
MAX_EVENTS = 8


def explain(
    wanted: Annotated[str, typer.Argument(metavar="ID", help="A request, trace or session id.")],
    store: Annotated[str | None, typer.Option(help="Root of the tables.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="mangaops.yaml to read.")] = None,
) -> None:
    """Where a request's time went; of a session, its slowest turn."""
    chosen = wiring.settings(config, {"store": store})
    reader = wiring.reader(chosen)
    found = find_requests(reader, wanted)
    if not found:
        complain(
            f"{wanted}: no request, trace or session of that id in {chosen.store}. Check the id and --store"
        )
        sys.exit(NO)
    slowest = max(found, key=lambda r: r.e2e_ms or 0.0)
    answer = explain_request(reader, slowest)
    if json:
        print_json(asdict(answer))
        return
    if len(found) > 1:
        _print_turns(found, slowest)
    _print(answer)


def _print_turns(found: list[RequestFact], slowest: RequestFact) -> None:
    rows = [
        (
            instant(r.at),
            str(r.turn or ""),
            escape(r.request_id),
            number(r.ttft_ms, "ms"),
            number(r.e2e_ms, "ms"),
        )
        for r in found[:MAX_TURNS]
    ]
    note = f"{len(found)} requests; explained below: {slowest.request_id}, the slowest"
    print_table("Session", ("ended (UTC)", "turn", "request", "TTFT", "total"), rows, escape(note))


def _print(a: Explanation) -> None:
    r = a.request
    out.print(f"\n[bold]{escape(a.sentence)}[/]\n", highlight=False)
    facts = {
        "ended (UTC)": instant(r.at),
        "session": f"{r.session_id} turn {r.turn}",
        "model": r.model,
        "adapter": r.adapter,
        "prompt version": r.prompt_version,
        "replica": r.replica,
        "intent, locale": f"{r.intent}, {r.locale}",
        "tokens": _tokens(r),
        "trace": r.trace_id,
    }
    out.print(
        "  ".join(f"[dim]{k}[/] {escape(str(v))}" for k, v in facts.items() if v is not None), highlight=False
    )
    print_table("", ("asked", "answer"), [(q, escape(answer)) for q, answer in a.questions], _cause(a))
    peers = f"peers: {a.peers.count} requests ({a.peers.description})" + (
        "" if a.peers.enough else ", too few to compare"
    )
    columns = ("stage", "took", "peers' P50", "peers' P95", "beyond P50", "")
    print_table("Stages", columns, [_stage_row(s, a.leading, r.e2e_ms) for s in a.stages], escape(peers))
    print_table(
        "The engine meanwhile",
        ("reading", "lowest", "highest", "no data"),
        [_around_row(x) for x in a.around],
    )
    notable = [e for e in a.events if e.kind != "alert" or "firing" in (e.before, e.after)][:MAX_EVENTS]
    if notable:
        rows = [(instant(e.at), e.kind, escape(e.subject), escape(_change(e))) for e in notable]
        print_table("Events in the 15 minutes before", ("at (UTC)", "kind", "subject", "change"), rows)


def _cause(a: Explanation) -> str:
    where = f", {a.why.component}" if a.why.component else ""
    told = f"cause: {a.why.cause}{where} · {a.why.scope} · {a.why.confidence:.0%} sure"
    incident = f" · {a.why.incident}" if a.why.incident else ""
    return escape(f"{told}{incident} · runbooks/{a.why.runbook}.md")


def _stage_row(s: StageShare, leading: StageShare | None, whole_ms: float | None) -> tuple[str, ...]:
    mark = "[bold red]◀ slow here[/]" if leading and s.stage == leading.stage else ""
    bar = "█" * round(20 * (s.ms or 0.0) / whole_ms) if whole_ms else ""
    times = (number(x, "ms") for x in (s.ms, s.peer_p50_ms, s.peer_p95_ms, s.excess_ms))
    return (f"{s.stage}\n[dim]{MEANING[s.stage]}[/]", *times, f"{bar} {mark}".strip())


def _around_row(x: Around) -> tuple[str, ...]:
    silent = f"{x.missing} of {x.looks} looks: {x.reason}" if x.missing else ""
    return (x.reading, number(x.least, x.unit), number(x.most, x.unit), escape(silent))


def _change(e: EventFact) -> str:
    if e.kind in START_UPS:
        return summary(e)
    return f"{e.before} → {e.after}" if e.before else (e.after or "")


def _tokens(r: RequestFact) -> str:
    cached = f"{_count(r.cached_tokens)} cached"
    return f"{_count(r.prompt_tokens)} in ({cached}), {_count(r.output_tokens)} out"


def _count(tokens: int | None) -> str:
    return "unknown" if tokens is None else f"{tokens:,}"
