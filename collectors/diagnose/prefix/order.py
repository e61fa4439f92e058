"""The same things in another order: keys and lists of JSON, lines, fields of a line."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from collectors.diagnose.prefix.classes import Volatile

_ITEM = re.compile(r"\s*[-*・]\s*\S+(?:\s\S+){0,2}\s*$")  # of more words, somebody meant the order
_EDGES = " 。.)]}」/>\t"
WIDTH = 200  # characters of a line by which it is known for a field
FAR = 200_000  # characters in which a bracket may have been opened: a list of tools is long
DEPTH = 64  # brackets outwards from the difference: no prompt nests deeper
LINES = 80
REACH = 20_000  # characters of a bracket that is no JSON
_TOOL = re.compile(r"tools?|functions?|ツール|関数|機能", re.IGNORECASE)
_FIELD = re.compile(r"\s*[-*・]?\s*[\"']?[\w .-]{1,40}[\"']?\s*[:=:]\s*\S")


def reordered(one: str, other: str, at: int) -> Volatile | None:
    """REORDERED_KEYS or REORDERED_TOOLS where the texts part because of an order; else None."""
    for start in _opened(one, at):
        a, b = _value(one, start), _value(other, start)
        if a is not None and b is not None and (found := _permuted(a, b)):
            return found
    return _lines(one, other, at) or _fields(one, other, at)


def _opened(text: str, at: int) -> Iterator[int]:
    """The brackets that are open at a place, the innermost first."""
    depth, found = 0, 0
    for sign in reversed(list(_BRACKET.finditer(text, max(0, at - FAR), at))):
        if sign[0] in "}]":
            depth += 1
        elif depth:
            depth -= 1
        elif found < DEPTH:
            found += 1
            yield sign.start()


_BRACKET = re.compile(r"[{}\[\]]")


def _value(text: str, start: int) -> Any:
    """The list or mapping that begins here, in JSON or as Python prints it; None where there is none."""
    try:
        return _DECODER.raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return _literal(text, start)


_DECODER = json.JSONDecoder()


def _literal(text: str, start: int) -> Any:
    depth = 0
    for place in range(start, min(len(text), start + REACH)):
        depth += (text[place] in "{[") - (text[place] in "}]")
        if depth == 0:
            try:
                return ast.literal_eval(text[start : place + 1])
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
                return None
    return None


def _permuted(a: Any, b: Any) -> Volatile | None:
    """How two values are permutations of each other where they first differ; None where they are not."""
    if isinstance(a, dict) and isinstance(b, dict):
        return Volatile.REORDERED_KEYS if _keys_moved(list(a), list(b), a, b) else None
    if not (isinstance(a, list | set | tuple) and isinstance(b, list | set | tuple)):
        return None
    names = [[_name(x) for x in each] for each in (list(a), list(b))]
    if names[0] == names[1] or Counter(names[0]) != Counter(names[1]):
        return None
    mappings = all(isinstance(x, dict) for x in (*a, *b))
    return Volatile.REORDERED_TOOLS if mappings else Volatile.REORDERED_KEYS


def _keys_moved(mine: Sequence[Any], theirs: Sequence[Any], a: dict[Any, Any], b: dict[Any, Any]) -> bool:
    """Whether the first thing that differs is which key comes next, of the same set of keys."""
    if mine == theirs or set(mine) != set(theirs):
        return False
    first = next(n for n, (x, y) in enumerate(zip(mine, theirs, strict=True)) if x != y)
    return all(a[key] == b[key] for key in mine[:first])


def _name(item: Any) -> str:
    """What an item of a list is known by: the name of a tool, else all of it with its keys sorted."""
    if isinstance(item, dict):
        inner = item.get("function")
        found = item.get("name") or (inner.get("name") if isinstance(inner, dict) else None)
        if isinstance(found, str):
            return found
    return json.dumps(item, sort_keys=True, default=repr)


def _lines(one: str, other: str, at: int) -> Volatile | None:
    """Lines that are the same in another order, from the line that parts on."""
    start = one.rfind("\n", 0, at) + 1
    a, b = (text[start : start + REACH].split("\n")[:LINES] for text in (one, other))
    if not _permutation([x.strip().rstrip(",;") for x in a], [x.strip().rstrip(",;") for x in b]):
        return None
    about = f"{one[max(0, start - 200) : start]}{a[0]}"
    if _TOOL.search(about):
        return Volatile.REORDERED_TOOLS
    heads = a[0][:WIDTH], b[0][:WIDTH]
    listed = any(all(form.match(head) for head in heads) for form in (_FIELD, _ITEM))
    return Volatile.REORDERED_KEYS if listed else Volatile.TEMPLATE_CHANGE


def _fields(one: str, other: str, at: int) -> Volatile | None:
    """Fields of a line, parted by commas and the like, that are the same in another order."""
    start = max(one.rfind(sign, 0, at) for sign in "\n::([{「") + 1
    a, b = (re.split(r"[,;|&?、,]|\s/\s", text[start:].split("\n", 1)[0][:REACH]) for text in (one, other))
    a, b = ([x.strip(_EDGES) for x in fields] for fields in (a, b))
    moved = len(a) > 1 and a != b and Counter(a) == Counter(b)
    if not moved and all("=" in text for text in (a[0], b[0])):
        mine, theirs = (
            [x.strip(_EDGES) for x in text.split("\n", 1)[0].split()] for text in (one[start:], other[start:])
        )
        moved = len(mine) > 1 and mine != theirs and Counter(mine) == Counter(theirs)
    if not moved:
        return None
    label = one[max(0, one.rfind("\n", 0, start - 1) + 1) : start]
    return Volatile.REORDERED_TOOLS if _TOOL.search(label) else Volatile.REORDERED_KEYS


def _permutation(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether some beginnings of the two, of equal length, hold the same lines in another order."""
    balance: Counter[str] = Counter()
    for number, (x, y) in enumerate(zip(a, b, strict=False), start=1):
        balance[x] += 1
        balance[y] -= 1
        if number > 1 and not any(balance.values()):
            return True
    return False
