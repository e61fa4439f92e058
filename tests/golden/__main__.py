"""`make golden`: rewrites every expected output from what the code gives now. CI only compares.

A subject is a folder of cases, `<case>.<ending>` beside `<case>.out`. Read the difference before a commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from collectors.signals.exposition import read
from tests import test_replay
from tests.signals.test_exposition import rendered

HERE = Path(__file__).parent


class Subject(NamedTuple):
    """How the cases of one folder end, and what is expected of their text."""

    ending: str
    render: Callable[[str], str]


SUBJECTS: Mapping[str, Subject] = {
    "expositions": Subject(".prom", lambda text: rendered(read(text))),
}


def main() -> None:
    """Write what differs, and name it."""
    for folder, subject in SUBJECTS.items():
        cases = sorted((HERE / folder).glob(f"*{subject.ending}"))
        changed = [case.stem for case in cases if rewrite(case, subject.render)]
        print(f"{folder}: {len(changed)} of {len(cases)} changed {' '.join(changed)}".rstrip())
    replay = test_replay.GOLDEN
    print(f"replay: {int(written(replay, test_replay.rewritten()))} of 1 changed")


def rewrite(case: Path, render: Callable[[str], str]) -> bool:
    """Write the expected output beside its case; False when it was right already."""
    return written(case.with_suffix(".out"), render(case.read_text(encoding="utf-8")))


def written(out: Path, expected: str) -> bool:
    """Write what is expected; False when it stood there already."""
    if out.exists() and out.read_text(encoding="utf-8") == expected:
        return False
    out.write_text(expected, encoding="utf-8")
    return True


if __name__ == "__main__":
    main()
