"""Asks the load tests which drills there are, in a process of its own: nothing here imports them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

from collectors.validation import ConfigError, validate
from console.drilling.start import environment
from console.views.facts import Failure
from console.views.offers import Catalogue

PATIENCE_S = 60.0  # three seconds on an idle machine
REMEDY = "Run mangaops drill list in a terminal, beside this console"
LAST_WORDS = 600


def ask(package: str = "loadtests") -> Catalogue | Failure | None:
    """The drills; None where the package that runs them is not there at all. Takes seconds."""
    if find_spec(package) is None:
        return None
    command = [sys.executable, "-m", "collectors.cli", "drill", "list", "--json"]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment(os.environ),
            timeout=PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Failure(f"the drills could not be listed: {error}", REMEDY)
    if done.returncode:
        return Failure(done.stderr.strip()[-LAST_WORDS:] or f"it ended with code {done.returncode}", REMEDY)
    return _read(done.stdout)


def _read(text: str) -> Catalogue | Failure:
    try:
        return validate(Catalogue, json.loads(text), "mangaops drill list")
    except (ValueError, ConfigError) as error:
        return Failure(f"the list of drills cannot be read: {error}", REMEDY)
