"""How `mangaops prefix` tells what it found to people: one screen, the answer first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from collectors.cli.output import instant, number, out
from collectors.diagnose.prefix.cost import Cost
from collectors.diagnose.prefix.divergence import Divergence
from collectors.diagnose.prefix.reasons import Reason, Seen, reasons
from collectors.diagnose.prefix.templates import Verdict
from collectors.model import RequestFact
from collectors.prefixes import Loss, Pair

_MS_PER_H = 3_600_000.0
_SAME = {
    True: "the prefixes agree",
    False: "the prefixes differ",
    None: "no telling whether the prefixes agree: a fingerprint is missing",
}


def of_template(found: Verdict, file: str) -> None:
    """What stands before a template's fixed text, or that nothing does."""
    if found.hole is None:
        _say(f"{file}: requests share its fixed text, about {found.shared_tokens:,} tokens")
        return
    kind = f"{found.hole.kind} " if found.hole.kind else ""
    _say(f"{file} line {found.line}: {kind}placeholder {found.hole.expression!r} stands before fixed text")
    _tell("shared", f"about {found.shared_tokens:,} tokens before it")
    _tell("lost", f"about {found.lost_tokens:,} tokens of fixed text behind it, in every request")
    _tell("fix", found.fix)


def of_divergence(found: Divergence, block: int) -> None:
    """Where two prompts part; `block` is in tokens."""
    about = "about " if found.estimated else ""
    blocks = f"{found.shared_blocks:,} whole blocks of {block}"
    shared = f"{about}{found.shared_tokens:,} of {found.tokens:,} tokens, {blocks}"
    if found.place is None:
        _say("identical: the prompts are the same")
        _tell("shared", shared)
        return
    place = found.place
    head = "the prefixes part" if found.kind.is_fault else "the prefixes agree; the prompts part"
    _say(f"{found.kind}: {head} in segment {place.segment!r} at character {place.character:,}")
    _tell("token", f"{about}{place.token:,}, in block {place.block:,} (counted from 0)")
    _tell("A", repr(found.one))
    _tell("B", repr(found.other))
    _tell("shared", shared)
    if found.kind.is_fault:
        _reasons(reasons(_of_text(found, block)))
    _tell("fix", found.fix)
    if found.estimated:
        _tell("note", "tokens are estimated from characters; name the model's --tokenizer to count them")


def of_loss(found: Loss) -> None:
    """What a version lost, against which, and why."""
    own, cost = found.version, found.cost
    if found.reference is None or cost is None:
        _say(f"{own.version}: no other version had requests of like length near it, so nothing to compare")
        return
    against = found.reference.version
    lost = f"lost {cost.tokens:,.0f} tokens a request against {against} since {instant(own.since)} UTC"
    _say(f"{own.version} {lost if found.lost else f'loses nothing against {against}'}")
    cached = f"{number(found.found_tokens)} tokens cached a request"
    _tell("found", f"{cached}; {against}: {number(found.reference_found_tokens)}")
    of_reference = number(found.reference_ttft_ms, "ms")
    _tell("TTFT", f"{number(found.ttft_ms, 'ms')} (median); {against}: {of_reference}")
    compared = f"{found.compared:,} compared with those of their length"
    _tell("over", f"{own.requests:,} requests until {instant(own.until)}; {compared}")
    if found.lost:
        _cost(cost)
        _parts(found.parted_as)
        _reasons(found.reasons)


def of_pair(found: Pair) -> None:
    """How two requests differ, as far as their fingerprints tell."""
    _say(_SAME[found.same])
    for name, request, parted in zip("AB", (found.one, found.other), found.parted_as, strict=True):
        _tell(name, _request(request) + (f", leaves its version's text at {parted}" if parted else ""))
    if found.within_blocks is not None:
        where = f", in segment {found.segment}" if found.segment else ""
        within = f"within block {found.within_blocks:,} of 64 characters"
        _tell("parts", f"behind block {found.shared_blocks:,}, {within}{where}")
    if found.same is None:
        _tell("fix", "Send traces through the gateway, or with their prompts: then they are fingerprinted")
    _reasons(found.reasons)


def _of_text(found: Divergence, block: int) -> Seen:
    return Seen(block_tokens=block, prefix_tokens=found.shared_tokens, estimated=found.estimated)


def _cost(cost: Cost) -> None:
    _tell("cost", f"{number(cost.prefill_ms, 'ms')} prefill a request, and TTFT later by at least that")
    prefill_h = None if cost.prefill_ms_per_h is None else cost.prefill_ms_per_h / _MS_PER_H
    hourly = f"{cost.tokens_per_h:,.0f} tokens and {number(prefill_h, 'h')} of prefill an hour"
    _tell("", f"{hourly}, at {cost.requests_per_h:,.0f} requests an hour")


def _parts(parted_as: str | None) -> None:
    if parted_as:
        _tell("parts", f"{parted_as} (class@block, as the gateway told it)")


def _reasons(found: Sequence[Reason]) -> None:
    for reason in found:
        _tell("reason", f"{reason.name} ({reason.sure}): {reason.words}")


def _request(r: RequestFact) -> str:
    cached = f"{number(r.cached_tokens)} of {number(r.prompt_tokens)} tokens cached"
    return f"{r.request_id} {r.prompt_version} {r.adapter}: {cached}"


def _say(text: str) -> None:
    out.print(f"[bold]{escape(text)}[/]", highlight=False)


def _tell(name: str, text: str) -> None:
    out.print(f"  [dim]{name:7}[/]{escape(text)}", highlight=False)
