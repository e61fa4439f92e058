"""`mangaops staging` and `mangaops drill`: handed on to the load tests, which nothing here imports.

Locust patches the process that imports it, so they have processes of their own.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import typer

from collectors.validation import ConfigError

NEEDED = ("loadtests", "jinja2", "psutil")  # without which not even the drills can be listed
HANDED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def up(context: typer.Context) -> None:
    """Real vLLM, gateway, MLflow, AWS stand-in, collector and console, until Ctrl-C (--help for more)."""
    _become("loadtests.staging", context.args)


def run(context: typer.Context) -> None:
    """Run a drill to its certificate: exit code 0 pass, 1 fail, 3 invalid (--help for more)."""
    _become("loadtests", ["run", *context.args])


def drills(context: typer.Context) -> None:
    """The drills there are."""
    _become("loadtests", ["list", *context.args])


def _become(module: str, arguments: list[str]) -> None:
    if any(find_spec(name) is None for name in NEEDED):
        raise ConfigError("staging", ["its requirements are not installed. Run: make staging-setup"])
    # in our place, not below us: signals and the exit code need no passing on
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own module
