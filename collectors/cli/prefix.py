"""`mangaops prefix`: where two prompts part, what a version lost, and a template before it is merged."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from collectors.cli import prefix_words, wiring
from collectors.cli.output import NO, OK, USAGE, complain, print_json
from collectors.cli.prompts import prompt_file, template_file, tokenizer
from collectors.diagnose.prefix.divergence import BLOCK_TOKENS, Divergence, diverge
from collectors.diagnose.prefix.templates import inspect
from collectors.model import RequestFact
from collectors.prefixes import find_requests, loss, pair
from collectors.store.reader import Reader

_USAGE = "Name two prompts or requests, or --version VERSION, or --template FILE"


def prefix(
    one: Annotated[
        str | None, typer.Argument(metavar="A", help="A file with a prompt, or a request's id.")
    ] = None,
    other: Annotated[str | None, typer.Argument(metavar="B", help="Another.")] = None,
    *,
    version: Annotated[str | None, typer.Option(help="Say what this prompt version lost.")] = None,
    template: Annotated[Path | None, typer.Option(help="Check a template before it is merged.")] = None,
    constant: Annotated[
        list[str] | None, typer.Option(help="A placeholder that never changes. Repeat.")
    ] = None,
    block_size: Annotated[
        int, typer.Option(min=1, max=4096, help="Tokens in a block of the engine.")
    ] = BLOCK_TOKENS,
    tokenizer_file: Annotated[
        Path | None,
        typer.Option("--tokenizer", help="The model's tokenizer.json; without it tokens are estimated."),
    ] = None,
    store: Annotated[str | None, typer.Option(help="Root of the tables.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="mangaops.yaml to read.")] = None,
) -> None:
    """Where prompts that should agree part, why, what it costs, and what mends it. Exit code 1: they part."""
    if (one is None) != (other is None) or [one, version, template].count(None) != 2:  # noqa: PLR2004 - one of three
        complain(_USAGE)
        sys.exit(USAGE)
    if template is not None:
        sys.exit(_template(template, constant or [], block_size, json=json))
    if one is not None and other is not None and (Path(one).is_file() or Path(other).is_file()):
        encode = tokenizer(tokenizer_file)
        found = diverge(prompt_file(Path(one)), prompt_file(Path(other)), block_size, encode)
        sys.exit(_divergence(found, block_size, json=json))
    chosen = wiring.settings(config, {"store": store})
    reader = wiring.reader(chosen)
    if version is not None:
        sys.exit(_version(reader, chosen.store, version, json=json))
    sys.exit(_requests(reader, chosen.store, str(one), str(other), json=json))


def _template(file: Path, constants: list[str], block: int, *, json: bool) -> int:
    found = inspect(template_file(file), constants, block)
    if json:
        print_json(asdict(found))
    else:
        prefix_words.of_template(found, str(file))
    return NO if found.hole else OK


def _divergence(found: Divergence, block: int, *, json: bool) -> int:
    if json:
        print_json({**asdict(found), "fault": found.kind.is_fault})
    else:
        prefix_words.of_divergence(found, block)
    return NO if found.kind.is_fault else OK


def _version(reader: Reader, root: str, version: str, *, json: bool) -> int:
    found = loss(reader, version)
    if found is None:
        complain(f"{version}: no request of that prompt version with cached tokens in {root}. Check --store")
        return NO
    if json:
        print_json({**asdict(found), "lost": found.lost})
    else:
        prefix_words.of_loss(found)
    return NO if found.lost else OK


def _requests(reader: Reader, root: str, one: str, other: str, *, json: bool) -> int:
    both = [_request(reader, root, wanted) for wanted in (one, other)]
    if both[0] is None or both[1] is None:
        return NO
    found = pair(reader, both[0], both[1])
    if json:
        print_json(asdict(found))
    else:
        prefix_words.of_pair(found)
    return OK if found.same else NO


def _request(reader: Reader, root: str, wanted: str) -> RequestFact | None:
    found = find_requests(reader, wanted)
    if not found:
        complain(f"{wanted}: no such file, and no request, trace or session of that id in {root}. Check both")
        return None
    return found[0]
