"""Writes the pinned requirements, and checks that they are in step with pyproject.toml.

    python requirements/lock.py            compile them (needs a package index)
    python requirements/lock.py --upgrade  the same, with the newest versions the ranges allow
    python requirements/lock.py --check    compare fingerprints only; needs no network

Each lock opens with a fingerprint of the dependency tables it was compiled from. The files hold
hashes and no index addresses, so they install from any mirror.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
UV = Path(sys.executable).with_name("uv")

# dev.txt is compiled on top of run.txt: what both name has one version, so either may follow the other.
LOCKS = {
    "uv.txt": "--group installer",
    "run.txt": "pyproject.toml --group build",
    "staging.txt": "pyproject.toml --extra staging --group build --constraint requirements/run.txt",
    # vLLM is built for one platform at a time, so this lock is for one: CPython 3.11 on x86-64 Linux.
    "vllm.txt": "requirements/vllm.in --excludes requirements/vllm-excludes.txt",
    "dev.txt": "pyproject.toml --extra staging --group build --group dev"
    " --constraint requirements/staging.txt",
}
COMPILE = (
    "pip compile --quiet --python-version 3.11 --generate-hashes"
    " --no-emit-index-url --no-emit-find-links --no-header"
)
EVERYWHERE, ONE_PLATFORM = "--universal", "--python-platform x86_64-manylinux_2_28"
HEAD = "# Written by `make lock`: change the ranges in pyproject.toml instead."
FINGERPRINT = "# fingerprint: "


def main() -> int:
    """Compile the locks, or compare them with pyproject.toml; 1 when they are out of step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only, offline")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions allowed")
    options = parser.parse_args()
    if options.check:
        return check()
    for name, arguments in LOCKS.items():
        compile_lock(HERE / name, arguments.split() + ["--upgrade"] * options.upgrade)
    return 0


def fingerprint() -> str:
    """Sixteen hex digits that change whenever a dependency table of pyproject.toml does."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = declared["project"]
    tables = {
        "build": declared["build-system"]["requires"],
        "groups": declared["dependency-groups"],
        "locks": LOCKS,
        "optional": project["optional-dependencies"],
        "python": project["requires-python"],
        "run": project["dependencies"],
        "vllm": (HERE / "vllm.in").read_text(encoding="utf-8"),
    }
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()[:16]


def check() -> int:
    """0 when each lock carries the fingerprint of pyproject.toml as it is now."""
    expected = FINGERPRINT + fingerprint()
    stale = [name for name in LOCKS if expected not in (HERE / name).read_text(encoding="utf-8")]
    for name in stale:
        print(f"requirements/{name} is older than the dependencies in pyproject.toml: run `make lock`.")
    return 1 if stale else 0


def compile_lock(lock: Path, arguments: list[str]) -> None:
    """Resolve for every Linux and Python that is meant, then put the fingerprint on top."""
    platform = (ONE_PLATFORM if lock.name == "vllm.txt" else EVERYWHERE).split()
    output = ["--output-file", str(lock.relative_to(ROOT))]
    # uv does not read pip's own variable, and the CPU build of torch may lie in a folder that it names
    found = {"UV_FIND_LINKS": os.environ["PIP_FIND_LINKS"]} if "PIP_FIND_LINKS" in os.environ else {}
    command = [str(UV), *COMPILE.split(), *platform, *output, *arguments]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **found})
    resolved = lock.read_text(encoding="utf-8")
    lock.write_text(f"{HEAD}\n{FINGERPRINT}{fingerprint()}\n{resolved}", encoding="utf-8")
    packages = len([line for line in resolved.splitlines() if "==" in line.partition(";")[0]])
    print(f"requirements/{lock.name}: {packages} packages")


if __name__ == "__main__":
    sys.exit(main())
