"""The house rules that no linter knows, read from the source text and the syntax tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path, PurePosixPath

import pytest
import typer.main

from collectors.cli.main import app

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("collectors", "console", "loadtests")

# Who may read the clock, and how. Time is an argument everywhere else.
WALL = frozenset(
    {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
)
STEADY = frozenset({"time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"})
CLOCKS: dict[str, frozenset[str]] = {
    "collectors/daemon.py": WALL | STEADY,
    "collectors/cli/*": WALL | STEADY,
    "collectors/sources/engine.py": STEADY,
    "console/app.py": WALL | STEADY,
    "console/screens/*": WALL | STEADY,
    "loadtests/*": WALL | STEADY,
    "loadtests/*/*": WALL | STEADY,
    "loadtests/staging/gateway/__main__.py": WALL | STEADY,
}
VLLM_NAMES = "collectors/signals/metrics.py"
DRAWERS = frozenset({"common", "helper", "helpers", "misc", "util", "utils"})


def tracked() -> list[str]:
    """Every file of the project, relative to its root; those git ignores are left out."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        return sorted(name for name in listing.stdout.splitlines() if (ROOT / name).is_file())
    hidden = re.compile(r"(^|/)(\.(?!ci/|streamlit/)[^/]*|__pycache__|build|dist|[^/]*\.egg-info)/")
    names = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file())
    return sorted(name for name in names if not hidden.search(name))


TRACKED = tracked()
MODULES = [name for name in TRACKED if name.endswith(".py")]
SHIPPED = [name for name in MODULES if name.startswith(PACKAGES)]
ENGINE_SCRIPT = "loadtests/staging/model.py"  # runs in the engine's own venv: requirements/vllm.in
TREES = {name: ast.parse((ROOT / name).read_text(encoding="utf-8"), name) for name in MODULES}


def check(faults: Iterator[str], remedy: str) -> None:
    """Fail with every fault and one remedy."""
    found = sorted(faults)
    assert not found, "\n".join([f"{len(found)} fault(s). {remedy}", *found])


# ---------------------------------------------------------------------------------------- the code
def test_only_the_daemon_the_app_and_the_command_line_read_the_clock() -> None:
    check(clock_faults(), "Take the instant as an argument; see CLOCKS for who may read it.")


def clock_faults() -> Iterator[str]:
    for name in SHIPPED:
        allowed = frozenset().union(
            *(may for where, may in CLOCKS.items() if PurePosixPath(name).match(where))
        )
        for line, read in clock_reads(TREES[name]):
            if read not in allowed:
                yield f"{name}:{line} reads {read}"


def clock_reads(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every mention of a clock, under whatever name it was imported."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            head, dot, rest = ast.unparse(node).partition(".")
            read = (names.get(head, head) + dot + rest).replace("datetime.datetime", "datetime")
            read = read.replace("datetime.date.", "date.")
            if read in WALL | STEADY:
                yield node.lineno, read


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("import time\ntime.time()", ["time.time"], id="the plain call"),
        pytest.param("import time as t\nt.monotonic()", ["time.monotonic"], id="a module under another name"),
        pytest.param("from time import time as n\nn()", ["time.time"], id="a function under another name"),
        pytest.param("from datetime import datetime\ndatetime.now(UTC)", ["datetime.now"], id="the class"),
        pytest.param(
            "import datetime as dt\ndt.datetime.utcnow()", ["datetime.utcnow"], id="the class of a module"
        ),
        pytest.param("import datetime\ndatetime.date.today()", ["date.today"], id="the day"),
        pytest.param("f(clock=time.time)", ["time.time"], id="a clock handed on"),
        pytest.param("from datetime import datetime\ndatetime(2026, 1, 1)", [], id="an instant is no clock"),
        pytest.param("import time\ntime.sleep(1)", [], id="waiting is no clock"),
    ],
)
def test_a_clock_is_seen_under_any_name(source: str, expected: list[str]) -> None:
    assert [read for _, read in clock_reads(ast.parse(source))] == expected


def test_vllm_names_are_translated_in_one_place() -> None:
    check(vllm_faults(), f"Names are translated once, in {VLLM_NAMES}.")


def vllm_faults() -> Iterator[str]:
    for name in SHIPPED:
        if name == VLLM_NAMES:
            continue
        prose = docstrings(TREES[name])
        for node in ast.walk(TREES[name]):
            if isinstance(node, ast.Constant) and "vllm:" in str(node.value) and id(node) not in prose:
                yield f"{name}:{node.lineno} holds {node.value!r}"


def docstrings(tree: ast.Module) -> set[int]:
    """The nodes that are docstrings or bare strings: prose, not names."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def test_every_library_used_is_declared() -> None:
    check(undeclared_imports(), "Declare it in pyproject.toml, then run `make lock`.")


def undeclared_imports() -> Iterator[str]:
    """Imports that the project itself does not ask for, though some dependency may happen to bring them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = sum(project["optional-dependencies"].values(), project["dependencies"])
    declared = {re.split(r"[^\w.-]", each, maxsplit=1)[0].lower() for each in requirements}
    brought_by = packages_distributions()
    for name in SHIPPED:
        if name == ENGINE_SCRIPT:
            continue
        for line, imported in imports(TREES[name]):
            if imported in sys.stdlib_module_names or imported in PACKAGES:
                continue
            if not declared & {each.lower().replace("_", "-") for each in brought_by.get(imported, [])}:
                yield f"{name}:{line} imports {imported}"


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The top-level name of every absolute import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, str(node.module).partition(".")[0]


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    drawers = (name for name in MODULES if DRAWERS & set(PurePosixPath(name).with_suffix("").parts))
    check(drawers, "Name the module after what it knows.")


def test_every_module_and_public_function_says_what_it_is() -> None:
    check(docstring_faults(), "Say what it gives, with units; why, where that is not plain.")


def docstring_faults() -> Iterator[str]:
    for name in SHIPPED:
        if not ast.get_docstring(TREES[name]):
            yield f"{name} has no docstring"
        for qualified, node in public(TREES[name]):
            if not ast.get_docstring(node):
                yield f"{name}:{node.lineno} {qualified} has no docstring"


Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Documented]]:
    """Functions, classes and methods that others may use; an override needs no words of its own."""
    for node in tree.body:
        if not isinstance(node, Documented) or node.name.startswith("_") or is_override(node):
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from public(node, f"{prefix}{node.name}.")


def is_override(node: Documented) -> bool:
    return any(ast.unparse(decorator).endswith(("override", "overload")) for decorator in node.decorator_list)


# ---------------------------------------------------------------------------------------- the text
# Spelt in pieces, so that this file does not hold what it looks for.
MACHINE_PATHS = re.compile(r"(?<![\w./$}<-])/(?:work|root|home)/[\w.-]+")
INDEX_ADDRESSES = re.compile(
    "|".join(
        [
            "pypi" + r"\.org",
            "pythonhosted" + r"\.org",
            "registry" + r"\.npmjs",
            r"--(?:extra-)?" + "index-url",
        ]
    )
)


def lines(names: list[str]) -> Iterator[tuple[str, str]]:
    """(file:line, text) of every text file; what holds a zero byte is none."""
    for name in names:
        content = (ROOT / name).read_bytes()
        if b"\0" not in content:
            for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
                yield f"{name}:{number}", line


def test_no_file_holds_the_path_of_a_machine() -> None:
    found = (f"{where} {line.strip()}" for where, line in lines(TRACKED) if MACHINE_PATHS.search(line))
    check(found, "Use a path relative to the repository, or a temporary one.")


def test_no_file_holds_the_address_of_a_package_index() -> None:
    found = (f"{where} {line.strip()}" for where, line in lines(TRACKED) if INDEX_ADDRESSES.search(line))
    check(found, "Packages come from whichever index is configured where they are installed.")


# ----------------------------------------------------------------------------------- the documents
DOCUMENTS = [name for name in TRACKED if name.endswith(".md") and "golden" not in name]
FENCED = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
IN_CODE = re.compile(r"`+([^`\n]+)`+|^(?: {4}|\$ )(.+)$", re.MULTILINE)


def commands_in(name: str, program: str) -> Iterator[list[str]]:
    """The words after `program` wherever a document shows it as code."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = FENCED.findall(text)
    snippets = [inline or indented for inline, indented in IN_CODE.findall(text)]
    for snippet in [*snippets, *"\n".join(blocks).splitlines()]:
        words = snippet.strip().removeprefix("$ ").removeprefix(".venv/bin/").split()
        if words[:1] == [program]:
            yield words[1:]


def test_every_make_target_a_document_mentions_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    check(unknown("make", lambda words: words[0] in targets), "Fix the document, or add the target.")


def test_every_command_a_document_mentions_exists() -> None:
    check(unknown("mangaops", command_exists), "Fix the document, or add the command.")


def unknown(program: str, exists: Callable[[list[str]], bool]) -> Iterator[str]:
    for name in DOCUMENTS:
        for words in commands_in(name, program):
            if words and re.fullmatch(r"[a-z][a-z_-]*", words[0]) and not exists(words):
                yield f"{name}: {program} {' '.join(words)}"


def command_exists(words: list[str]) -> bool:
    """Whether the command line has this command, and this sub-command where it is a group."""
    command = typer.main.get_command(app)
    for word in words:
        below = getattr(command, "commands", None)
        if not below:
            return True
        if word not in below:
            return False
        command = below[word]
    return True


def test_the_makefile_explains_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    promised = set(re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[0].split())
    explained = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    check(iter(promised ^ explained), "Every target stands in .PHONY and carries a `## ` comment.")
