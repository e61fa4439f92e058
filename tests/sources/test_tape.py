"""Reading a recording: a broken line costs itself and is told by file and line; nothing else is touched."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectors.sources.tape import GPU, MAX_PROBLEMS, METRICS, REQUESTS, SPANS, RecordingError, Tape, load
from tests.recordings import BUNDLED, ROOT, T0_S, cut, rows

SCRAPES, SECOND = 8, 3  # scrapes in the piece that is damaged, and the line of its files that is
Row = dict[str, Any]


@pytest.fixture(scope="module")
def piece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds of the drill. Read-only."""
    return cut(tmp_path_factory.mktemp("piece") / "drill", until_s=SCRAPES, from_s=0)


@pytest.fixture
def copy(piece: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    target = tmp_path / "drill"
    target.mkdir()
    for file in (METRICS, REQUESTS, SPANS, GPU):
        (target / file).write_bytes((piece / file).read_bytes())
    return target


def check(damaged: Tape, whole: Tape, lost: dict[str, int], said: str | None) -> None:
    """So many facts are lost, all others as in the whole recording, and the one problem says this."""
    assert (whole.problems, damaged.replica) == ((), whole.replica)
    for kind in ("scrapes", "requests", "gpu"):
        left, all_ = getattr(damaged, kind), getattr(whole, kind)
        assert len(left) == len(all_) - lost.get(kind, 0)
        assert list(left) == [each for each in all_ if each in left]
    assert [re.search(said or "", f"{p.subject} {p.what}") is not None for p in damaged.problems] == [
        True
    ] * bool(said)
    assert all(p.remedy and p.at == damaged.start for p in damaged.problems)


def changed(path: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    """One line of a packed file, by its number, as it would be after a slip."""
    opened: Any = lzma if path.suffix == ".xz" else gzip
    with opened.open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    lines[number - 1] = change(lines[number - 1])
    with opened.open(path, "wb") as file:
        file.write(b"".join(lines))


def row(**values: object) -> Callable[[bytes], bytes]:
    """The same record with other values; `...` leaves a key out."""

    def change(line: bytes) -> bytes:
        record = {**json.loads(line), **values}
        return json.dumps({k: v for k, v in record.items() if v is not ...}).encode() + b"\n"

    return change


NO_LINES = [
    pytest.param(lambda line: line[: len(line) // 2] + b"\n", id="broken JSON"),
    pytest.param(lambda _: b"\n", id="an empty line"),
    pytest.param(lambda _: b"[]\n", id="a list"),
    pytest.param(lambda _: b"null\n", id="null"),
    pytest.param(lambda _: b"[" * 100_000 + b"\n", id="brackets without end"),
    pytest.param(lambda line: b"\xff" + line, id="bytes that are no text"),
    pytest.param(lambda line: line.replace(b'"', b'"\xe3\x81', 1), id="a character cut in two"),
]
NOT_A_TIME: list[object] = [None, "soon", "", [], True, float("nan"), float("inf"), -1.0, 0, 1e30]
NOT_A_MEASURE = ["fast", float("nan"), float("-inf"), -0.001, True, [1]]
NOT_A_COUNT = ["many", -1, 1.5, float("nan"), True, 2**31]


@pytest.mark.parametrize("slip", NO_LINES)
@pytest.mark.parametrize(("file", "lost"), [(REQUESTS, "requests"), (GPU, "gpu"), (SPANS, "nothing")])
def test_a_line_that_is_no_record_costs_itself(
    file: str, lost: str, slip: Callable[[bytes], bytes], piece: Path, copy: Path
) -> None:
    changed(copy / file, SECOND, slip)
    if file == SPANS:
        span_lost(copy, piece)
    else:
        check(load(copy), load(piece), {lost: 4 if file == GPU else 1}, f"^{re.escape(file)} line {SECOND}: ")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        *(pytest.param({"start_unix_s": v}, "is no time|year|range", id=f"start {v!r}") for v in NOT_A_TIME),
        *(pytest.param({"e2e_ms": v}, "e2e_ms .* is no measurement", id=f"e2e {v!r}") for v in NOT_A_MEASURE),
        *(
            pytest.param({"ttft_ms": v}, "ttft_ms .* is no measurement", id=f"TTFT {v!r}")
            for v in NOT_A_MEASURE
        ),
        *(
            pytest.param({"http_status": v}, "http_status .* is no count", id=f"status {v!r}")
            for v in NOT_A_COUNT
        ),
        *(pytest.param({"prompt_tokens": v}, "is no count", id=f"tokens {v!r}") for v in NOT_A_COUNT),
        pytest.param({"session_id": 7}, "session_id 7 is no text", id="a session that is a number"),
        pytest.param({"adapter_id": ["a"]}, "adapter_id .* is no text", id="an adapter that is a list"),
        pytest.param({"trace_id": "xyz"}, "not 32 hex digits", id="a trace id that is none"),
        pytest.param({"trace_id": "-0"}, "not 32 hex digits", id="a trace id with a sign"),
        pytest.param({"trace_id": "0" * 33}, "not 32 hex digits", id="a trace id that is too long"),
        pytest.param({"request_id": ...}, "'request_id' is missing", id="no request id"),
        pytest.param({"trace_id": ...}, "'trace_id' is missing", id="no trace id"),
        pytest.param({"start_unix_s": ...}, "'start_unix_s' is missing", id="no start"),
        pytest.param({"start_unix_s": T0_S / 10}, "days away from the others", id="a time with a digit lost"),
        pytest.param({"start_unix_s": T0_S * 10}, "days away from the others", id="a time with a digit more"),
    ],
)
def test_a_request_with_a_wrong_value_costs_itself(values: Row, said: str, piece: Path, copy: Path) -> None:
    changed(copy / REQUESTS, SECOND, row(**values))
    check(load(copy), load(piece), {"requests": 1}, f"^{re.escape(REQUESTS)} line {SECOND}: .*({said})")


@pytest.mark.parametrize(
    "name", ["e2e_ms", "ttft_ms", "session_id", "adapter_id", "http_status", "cached_tokens"]
)
def test_a_request_may_leave_a_value_out(name: str, copy: Path) -> None:
    changed(copy / REQUESTS, SECOND, row(**{name: ...}))
    assert load(copy).problems == ()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        *(pytest.param({"t": v}, "is no time|year|range", id=f"time {v!r}") for v in NOT_A_TIME),
        *(
            pytest.param({"power_w": v}, "power_w .* is no measurement", id=f"power {v!r}")
            for v in NOT_A_MEASURE
        ),
        pytest.param({"t": ...}, "'t' is missing", id="no time"),
        pytest.param({"t": 5.0}, "days away", id="a time of long ago"),
        pytest.param(
            dict.fromkeys(("gpu_utilization", "memory_used_mb", "power_w", "temperature_c")),
            "none of",
            id="no value",
        ),
    ],
)
def test_a_gpu_sample_with_a_wrong_value_costs_itself(
    values: Row, said: str, piece: Path, copy: Path
) -> None:
    changed(copy / GPU, SECOND, row(**values))
    check(load(copy), load(piece), {"gpu": 4}, f"^{re.escape(GPU)} line {SECOND}: .*({said})")


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({"gen_ai.latency.time_in_queue": value}, id=f"queue {value!r}")
        for value in ("long", -1.0, float("nan"), float("inf"), True)
    ]
    + [pytest.param(["a"], id="attributes that are none")],
)
def test_a_span_with_a_wrong_value_costs_the_stages_of_its_request(
    attributes: Any, piece: Path, copy: Path
) -> None:
    changed(copy / SPANS, SECOND, row(attributes=attributes))
    span_lost(copy, piece)


def span_lost(damaged: Path, whole: Path) -> None:
    """The request of one span has no stages, all else is as before, and the span's line is named."""
    trace = [record["trace_id"] for record in rows(SPANS, whole)][SECOND - 1]
    found = load(damaged)
    assert [(p.subject, p.what.split(":")[0]) for p in found.problems] == [(SPANS, f"line {SECOND}")]
    before = {r.trace_id: r for r in load(whole).requests}
    for request in found.requests:
        if request.trace_id == trace:
            assert (request.queue_ms, request.decode_ms, request.frontend_ms) == (None, None, None)
        else:
            assert request == before[request.trace_id]


# ----------------------------------------------------------------------------------------- scrapes
@pytest.mark.parametrize(
    ("heading", "said"),
    [
        pytest.param(b"# scrape soon\n", "no number", id="a word for a time"),
        pytest.param(b"# scrape \n", "no number", id="no time"),
        pytest.param(b"# scrape nan\n", "no number", id="NaN"),
        pytest.param(b"# scrape -5\n", "no number", id="a time before 1970"),
        pytest.param(b"# scrape 1e300\n", "no number", id="a time that no clock knows"),
        pytest.param(b"# scrape \xff\xfe\n", "no number", id="bytes that are no text"),
        pytest.param(b"# scrape 179524568.5\n", "days away", id="a time with a digit lost"),
    ],
)
def test_a_scrape_without_a_time_costs_itself(heading: bytes, said: str, piece: Path, copy: Path) -> None:
    number = [n for n, line in enumerate(text_lines(copy), 1) if line.startswith(b"# scrape ")][2]
    changed(copy / METRICS, number, lambda _: heading)
    check(load(copy), load(piece), {"scrapes": 1}, f"^{re.escape(METRICS)} line {number}: .*{said}")


def text_lines(directory: Path) -> list[bytes]:
    with lzma.open(directory / METRICS, "rb") as file:
        return file.read().splitlines(keepends=True)


def test_lines_before_the_first_heading_belong_to_no_scrape(piece: Path, copy: Path) -> None:
    changed(copy / METRICS, 1, lambda _: b"# a word ahead\n")
    check(load(copy), load(piece), {"scrapes": 1}, None)


# ------------------------------------------------------------------------------------- whole files
def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scrambled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(255 - b for b in content[middle : middle + 40])
    path.write_bytes(content)


def foreign(path: Path) -> None:
    path.write_text("this is neither gzip nor xz")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(halved, "after line .* cannot be unpacked", id="half a file"),
        pytest.param(scrambled, "after line .* cannot be unpacked|line ", id="a file with scrambled bytes"),
        pytest.param(foreign, "after line 0: cannot be unpacked", id="a file that is no archive"),
        pytest.param(os.unlink, "is missing", id="no file"),
        pytest.param(a_folder, "after line 0: cannot be unpacked", id="a folder for a file"),
    ],
)
@pytest.mark.parametrize("file", [METRICS, REQUESTS, SPANS, GPU])
def test_a_damaged_file_gives_what_it_has(
    file: str, damage: Damage, said: str, piece: Path, copy: Path
) -> None:
    damage(copy / file)
    found, whole = load(copy), load(piece)
    assert found.problems
    assert {p.subject for p in found.problems} == {file}
    assert re.search(said, found.problems[-1].what)
    if file != METRICS:
        assert found.scrapes == whole.scrapes
    if file != GPU:
        assert found.gpu == whole.gpu
    if file not in {REQUESTS, SPANS}:
        assert found.requests == whole.requests
    if damage is halved and file in {METRICS, REQUESTS}:
        kind = "scrapes" if file == METRICS else "requests"
        assert 0 < len(getattr(found, kind)) < len(getattr(whole, kind))


def test_problems_are_bounded_and_the_rest_is_counted(copy: Path) -> None:
    with gzip.open(copy / REQUESTS, "wt") as file:
        file.write("no record\n" * 10_000)
    found = load(copy).problems
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1].what == f"and {10_000 - MAX_PROBLEMS} more lines like these"


def nothing(directory: Path) -> None:
    """Leave the directory as it is: empty."""


def broken_lines(directory: Path) -> None:
    with gzip.open(directory / REQUESTS, "wt") as file:
        file.write("{}\n")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(nothing, "neither .* nor .* is there", id="an empty directory"),
        pytest.param(os.rmdir, "neither .* nor .* is there", id="no directory"),
        pytest.param(
            broken_lines, "no line could be read.*line 1: 'trace_id' is", id="no line that can be read"
        ),
    ],
)
def test_nothing_to_play_is_an_error(make: Damage, said: str, tmp_path: Path) -> None:
    directory = tmp_path / "drill"
    directory.mkdir()
    make(directory)
    with pytest.raises(RecordingError, match=said) as raised:
        load(directory)
    assert str(raised.value).startswith(f"{directory}: ")


# ------------------------------------------------------------------------------------ the truth file
# Python tells this hook of every file that is opened, however it is opened.
WATCHED = """
import sys
opened, directory = [], sys.argv[1]
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
sys.argv[1:] = ["replay", sys.argv[1], "--store", sys.argv[2], "--json"]
from collectors.cli import main
try:
    main()
finally:
    read = {path.rpartition("/")[2] for path in opened if path.startswith(directory)}
    print(sorted(read), file=sys.stderr)
"""


def test_the_truth_is_never_opened(copy: Path, tmp_path: Path) -> None:
    (copy / "plan.json").write_text("{ garbage")
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(copy), str(tmp_path / "store")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (0, str(sorted([METRICS, REQUESTS, SPANS, GPU])))


def test_no_code_that_judges_names_the_truth() -> None:
    named = [p for p in (ROOT / "collectors").rglob("*.py") if "plan.json" in p.read_text(encoding="utf-8")]
    assert named == []


def test_the_bundled_recording_is_whole() -> None:
    tape = load(BUNDLED)
    assert (len(tape.scrapes), len(tape.requests), tape.problems) == (520, 10_037, ())
