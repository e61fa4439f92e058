"""What each command answers: its exit code, what it prints for people, and JSON that parses."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.settings import RULES
from collectors.signals.readings import READINGS
from collectors.store.columns import events_between
from collectors.store.duckdb import DuckReader
from tests.recordings import ROOT, T0_S, at_second, cut, replayed
from tests.sources.contract import closed_port

DONE, NO, USAGE, UNUSABLE = 0, 1, 2, 3
BOOK_SIZE = 12

# Many commands in one process, for importing takes longer than most of them: a JSON list of command lines in,
# a list of (exit code, standard output, standard error) out.
MANY = """
import contextlib, io, json, os, sys
from collectors.cli import main
found = []
for line, environment in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    os.environ.update(environment)
    sys.argv[1:] = line
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    os.environ.clear()
    os.environ.update(before)
    found.append((code, out.getvalue(), err.getvalue()))
json.dump(found, sys.stdout)
"""


@dataclass(frozen=True)
class Answer:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Asked:
    """A command line, and what is expected: its exit code and words of its output and its errors.

    {store} {empty} {broken} {piece} {request} … stand for what the fixture `places` gives.
    """

    line: str
    code: int = DONE
    out: str = ""
    err: str = ""
    environment: tuple[tuple[str, str], ...] = ()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Stores, recordings, files and ids that commands are asked about."""
    store, folder = replayed(tmp_path_factory), tmp_path_factory.mktemp("cli")
    (folder / "broken").mkdir()
    (folder / "broken" / "metrics").write_text("a file where the table should be")
    (folder / "rules.yaml").write_text(mistaken_rules())
    write_prompts(folder)
    (folder / "odd.yaml").write_text("retention_days: none\nclock_scale: 0.5\ncolour: red\n")
    reader = DuckReader(str(store))
    stalled = reader.query(
        "SELECT request_id, lower(hex(trace_id)) AS trace_id, session_id FROM {requests}"
        " WHERE frontend_ms IS NOT NULL ORDER BY frontend_ms DESC LIMIT 1"
    ).to_pylist()[0]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield {
            "store": str(store),
            "empty": str(folder / "empty"),
            "fresh": str(folder / "fresh"),
            "declared": str(folder / "declared"),
            "space": " ",
            "broken": str(folder / "broken"),
            "piece": str(cut(folder / "piece", until_s=8, from_s=0)),
            "nothing": str(folder),
            "prompts": str(folder / "prompts"),
            "mistakes": str(folder / "rules.yaml"),
            "odd": str(folder / "odd.yaml"),
            "busy": str(listener.getsockname()[1]),
            "dead": f"http://127.0.0.1:{closed_port()}",
            "unix": str(T0_S + 70),
            "request": stalled["request_id"],
            "trace": stalled["trace_id"],
            "session": stalled["session_id"],
        }


SOUND_RULE: dict[str, object] = {
    "title": "t",
    "summary": "s",
    "reading": "queue_depth",
    "op": ">",
    "threshold": 1,
}
SOUND_RULE |= {"window": "1m", "for": "1m", "severity": "info", "runbook": "high_ttft"}
MISTAKES: dict[str, dict[str, object]] = {
    "Bad Name": {},
    "reading": {"reading": "queue_dept"},
    "op": {"op": "=>"},
    "threshold": {"threshold": None},
    "window": {"window": "soon"},
    "waits": {"for": "5 minutes"},
    "severity": {"severity": "page"},
    "runbook": {"runbook": "nowhere"},
    "unknown": {"wen": 1},
    "missing": {"title": ...},
}


def mistaken_rules() -> str:
    """A rules file with one mistake a rule. JSON is YAML."""
    rules = [SOUND_RULE | {"name": name} | mistake for name, mistake in MISTAKES.items()]
    return json.dumps({"rules": [{k: v for k, v in rule.items() if v is not ...} for rule in rules]})


def write_prompts(folder: Path) -> None:
    """Prompts and templates, sound and otherwise."""
    prompts, rules = folder / "prompts", "Never invent a title, a price or a release date.\n" * 8
    prompts.mkdir()
    for name, at in (("early", "2026-11-21T07:22:30Z"), ("late", "2026-11-21T07:22:31Z")):
        (prompts / f"{name}.txt").write_text(f"Now: {at}\n{rules}")
        chat = [{"role": "system", "content": rules}, {"role": "user", "content": f"Hi, it is {at}"}]
        (prompts / f"{name}.json").write_text(json.dumps({"messages": chat, "request_id": name}))
    (prompts / "empty.txt").write_text(" \n")
    (prompts / "binary.bin").write_bytes(b"PK\x03\x04\x00\x00text")
    (prompts / "latin.txt").write_bytes("prix: 5 €".encode("cp1252"))
    (prompts / "broken.json").write_text('[{"role": "system", "content": ')
    (prompts / "other.json").write_text('{"prompt": "Hi"}')
    (prompts / "odd.json").write_text('[{"role": "system", "content": "Hi"}, "and?"]')
    (prompts / "huge.txt").write_text("漫画" * 2_000_000)
    (prompts / "clock.j2").write_text(f"Now: {{{{ now() }}}}\n{rules}")
    (prompts / "shop.j2").write_text(f"{{{{ shop }}}}\n{rules}")
    (prompts / "sound.j2").write_text(f"{rules}\nUser: {{question}}")


CASES = {
    "a recording is replayed": Asked("replay {piece} --store {fresh}", out=r"8 scrapes and 57 requests"),
    "a recording that is not there": Asked(
        "replay {nothing}/gone --store {empty}", UNUSABLE, err="neither .* nor"
    ),
    "a folder without a recording": Asked(
        "replay {nothing} --store {empty}", UNUSABLE, err="Name a recording's"
    ),
    "a store that cannot be written": Asked("replay {piece} --store {broken}", UNUSABLE, err="metrics"),
    "a clock scale below 1": Asked(
        "replay {piece} --store {empty} --clock-scale 0", USAGE, err="clock-scale"
    ),
    "replay without a store": Asked("replay {piece}", USAGE, err="--store"),
    "SLOs now": Asked("slo --store {store}", out="Availability"),
    "SLOs at an ISO instant": Asked(
        "slo --store {store} --at 2026-11-21T07:22:30Z", out="SLOs at 2026-11-21 07:22:30"
    ),
    "SLOs at an instant of another zone": Asked(
        "slo --store {store} --at 2026-11-21T16:22:30+09:00", out="SLOs at 2026-11-21 07:22:30"
    ),
    "SLOs at an instant without a zone": Asked(
        "slo --store {store} --at 2026-11-21T07:22:30", out="07:22:30 UTC"
    ),
    "SLOs at a Unix instant": Asked("slo --store {store} --at {unix}", out="SLOs at 2026-11-21 07:22:29"),
    "SLOs so long after the first fact": Asked(
        "slo --store {store} --at +70s", out="SLOs at 2026-11-21 07:22:27"
    ),
    "SLOs so long ago": Asked("slo --store {store} --at -10m", out="Availability"),
    "SLOs of an empty store": Asked("slo --store {empty} --at +70s", out="no data"),
    "SLOs of a broken store": Asked("slo --store {broken}", UNUSABLE, err="metrics"),
    "an instant that is none": Asked(
        "slo --store {store} --at yesterday", USAGE, err="'yesterday' is no instant"
    ),
    "an instant that no clock knows": Asked("slo --store {store} --at 1e400", USAGE, err="is no instant"),
    "an instant that is no number": Asked("slo --store {store} --at nan", USAGE, err="is no instant"),
    "a length without a unit": Asked(
        "slo --store {store} --at +70", USAGE, err="'70' is no duration. Write 30s"
    ),
    "a length that is none": Asked(
        "slo --store {store} --at -10x", USAGE, err="'10x' is no duration. Write 30s"
    ),
    "a request is explained": Asked("explain {request} --store {store}", out="(?s)took .*slow here"),
    "a session is explained": Asked("explain {session} --store {store}", out="the slowest"),
    "an id that nobody has": Asked("explain nobody --store {store}", NO, err="no request, trace or session"),
    "an id with a quote": Asked("explain it's --store {store}", NO, err="no request, trace or session"),
    "an id in an empty store": Asked("explain {request} --store {empty}", NO, err="no request"),
    "prompts that part at a timestamp": Asked(
        "prefix {prompts}/early.txt {prompts}/late.txt",
        NO,
        out="timestamp: .*shorter_than_a_block .probable.*Move it below the prefix",
    ),
    "prompts that are the same": Asked(
        "prefix {prompts}/late.txt {prompts}/late.txt --block-size 32", out="identical.* blocks of 32"
    ),
    "chats that part in the question": Asked(
        "prefix {prompts}/early.json {prompts}/late.json", out="conversation: the prefixes agree"
    ),
    "an empty prompt": Asked(
        "prefix {prompts}/late.txt {prompts}/empty.txt", USAGE, err="empty.txt: is empty. Name a file"
    ),
    "a prompt that is no text": Asked(
        "prefix {prompts}/late.txt {prompts}/binary.bin", USAGE, err="byte 4 is zero"
    ),
    "a prompt in another encoding": Asked(
        "prefix {prompts}/late.txt {prompts}/latin.txt", USAGE, err="no UTF-8 text: byte 8"
    ),
    "a prompt of megabytes": Asked(
        "prefix {prompts}/huge.txt {prompts}/late.txt", USAGE, err="longer than 2,000,000 bytes"
    ),
    "messages in broken JSON": Asked(
        "prefix {prompts}/broken.json {prompts}/late.txt", USAGE, err="no JSON: .*line 1 column"
    ),
    "JSON without messages": Asked(
        "prefix {prompts}/other.json {prompts}/late.txt", USAGE, err="holds no messages"
    ),
    "a message that is none": Asked(
        "prefix {prompts}/odd.json {prompts}/late.txt", USAGE, err=r"messages\[1\] is no message"
    ),
    "a prompt that is not there": Asked(
        "prefix {prompts}/late.txt {prompts}/gone.txt", USAGE, err="gone.txt: cannot be read"
    ),
    "a tokenizer that is none": Asked(
        "prefix {prompts}/late.txt {prompts}/late.txt --tokenizer {prompts}/early.txt",
        USAGE,
        err="is no tokenizer",
    ),
    "a template with a clock at its head": Asked(
        "prefix --template {prompts}/clock.j2", NO, out="line 1: timestamp placeholder"
    ),
    "a template with the shop's name": Asked("prefix --template {prompts}/shop.j2", NO, out="--constant"),
    "a template whose shop never changes": Asked(
        "prefix --template {prompts}/shop.j2 --constant shop", out="share its fixed text"
    ),
    "a sound template": Asked("prefix --template {prompts}/sound.j2", out="share its fixed text"),
    "a version that lost its prefix": Asked(
        "prefix --version v43 --store {store}",
        NO,
        out="v43 lost 1,014 tokens a request against v42 since 2026-11-21 07:22:30",
    ),
    "a version that did not": Asked("prefix --version v42 --store {store}", out="loses nothing against v43"),
    "a version that nobody sent": Asked(
        "prefix --version v99 --store {store}", NO, err="v99: no request of that prompt version"
    ),
    "requests without fingerprints": Asked(
        "prefix {request} {trace} --store {store}", NO, out="a fingerprint is missing"
    ),
    "requests that nobody sent": Asked(
        "prefix {request} nobody --store {store}", NO, err="nobody: no such file, and no request"
    ),
    "no prompt at all": Asked("prefix", USAGE, err="Name two prompts"),
    "a single prompt": Asked("prefix {prompts}/late.txt", USAGE, err="Name two prompts"),
    "whose requests are slow": Asked(
        "scope --store {store} --since +70s --until +140s", out="A cohort: .*v43"
    ),
    "whose requests were slow for longer answers": Asked(
        "scope --store {store} --since +350s --until +405s --baseline-since +0s --baseline-until +70s"
        " --measure e2e_ms",
        out="(?s)manga_domain_v4.*because of longer answers",
    ),
    "whose requests took over a second": Asked(
        "scope --store {store} --since +0s --until +60s --over 1000",
        out="of [0-9,]+ requests took over 1,000 ms",
    ),
    "a span in which nothing was asked": Asked(
        "scope --store {store} --since 1000 --until 2000", NO, err="no request with ttft_ms from 1970-01-01"
    ),
    "the scope of an empty store": Asked("scope --store {empty}", NO, err="no request with ttft_ms"),
    "a measure that there is not": Asked(
        "scope --store {store} --measure speed", USAGE, err="'speed' is no measure. Choose one of ttft_ms"
    ),
    "a span that ends before it begins": Asked(
        "scope --store {store} --since +70s --until +10s", USAGE, err="--since: it is not before --until"
    ),
    "what went wrong": Asked(
        "incidents --store {store}", out=r"(?s)prefix_cache_broken\s.*prompt_version=v43.*context_overflow"
    ),
    "what went wrong lately": Asked("incidents --store {store} --since +400s", out="engine_stall"),
    "nothing went wrong in an empty store": Asked("incidents --store {empty}", out="none"),
    "a deploy is declared": Asked(
        "declare gateway --before 1.4 --after 1.5 --at 2026-11-21T07:00:00Z --store {declared}",
        out="deploy of gateway at 2026-11-21 07:00:00 UTC is marked",
    ),
    "a change of another kind": Asked(
        "declare fleet --kind weather --store {declared}", USAGE, err="'weather' is not one of"
    ),
    "a change of nothing": Asked("declare {space} --store {declared}", USAGE, err="subject: give 1 to 200"),
    "an incident that nobody had": Asked(
        "incidents --store {store} --id inc-1", NO, err="inc-1: no incident of that id"
    ),
    "every reading": Asked("readings", out="prefix_hit_ratio"),
    "what each reading reads": Asked("readings --values --store {store} --at +70s", out="no data"),
    "sound rules": Asked("rules check", out=f"{BOOK_SIZE} rules and 5 SLOs are sound"),
    "ten mistakes": Asked("rules check --rules {mistakes}", NO, err="Bad Name"),
    "rules that are not there": Asked("rules check --rules {nothing}/gone.yaml", NO, err="cannot be read"),
    "a fresh store is empty and no fault": Asked("doctor --store {empty}", out="Start `mangaops collect`"),
    "a replayed store is sound": Asked("doctor --store {store}", out=r"21,809 rows"),
    "a dead engine": Asked(
        "doctor --store {empty} --engine {dead}", NO, out="See whether the engine runs there"
    ),
    "a broken table": Asked("doctor --store {broken}", NO, out="fault"),
    "a busy port": Asked("up --port {busy} --store {empty}", USAGE, err="{busy}.*choose another with --port"),
    "a console on a busy port": Asked("console --port {busy} --store {empty}", USAGE, err="choose another"),
    "nothing to collect from": Asked(
        "collect --store {empty}", USAGE, err="Give --engine URL, --prometheus URL"
    ),
    "collecting from what is no recording": Asked(
        "collect --recording {nothing} --store {empty}", UNUSABLE, err="Name a recording's directory"
    ),
    "a configuration that is not there": Asked(
        "readings --store {empty} --config {nothing}/gone", USAGE, err="no such"
    ),
    "three mistakes in a configuration": Asked(
        "doctor --config {odd}", USAGE, err="(?s)retention_days.*clock_scale.*colour|colour.*clock_scale"
    ),
    "a variable that is no setting": Asked(
        "doctor --store {empty}", USAGE, err="MANGAOPS_SOTRE", environment=(("MANGAOPS_SOTRE", "x"),)
    ),
    "a busy port for traces": Asked(
        "collect --otlp-port {busy} --store {fresh}", USAGE, err="{busy}.*choose another with --otlp-port"
    ),
    "traces from anybody": Asked(
        "collect --otlp-port {busy} --store {fresh}",
        USAGE,
        err="MANGAOPS_OTLP_HOST: anybody could send traces to it. Set MANGAOPS_OTLP_TOKEN",
        environment=(("MANGAOPS_OTLP_HOST", "0.0.0.0"),),
    ),
    "a receiver that does not answer": Asked(
        "doctor --store {empty} --otlp-port {busy}", NO, out="(?s)no answer at.*Start `mangaops collect`"
    ),
    "a dead Prometheus": Asked(
        "doctor --store {empty} --prometheus {dead}", NO, out="See whether the server runs there"
    ),
    "a dead MLflow": Asked(
        "doctor --store {empty} --mlflow {dead}", NO, out="See whether the server runs there"
    ),
    "a past out of a dead Prometheus": Asked(
        "backfill --store {empty} --prometheus {dead} --since -1h", NO, err="cannot connect"
    ),
    "a past out of nowhere": Asked(
        "backfill --store {empty} --since -1h", USAGE, err="Give --prometheus URL"
    ),
    "a past that has not begun": Asked(
        "backfill --store {empty} --prometheus {dead} --since -1h --until -2h", USAGE, err="not before until"
    ),
    "a past that is not kept": Asked(
        "backfill --store {empty} --prometheus {dead} --since -900d", USAGE, err="Raise retention_days"
    ),
    "no such command": Asked("slow", USAGE, err="slow"),
    "the commands": Asked("--help", out="(?s)up.*collect.*replay.*doctor.*Exit codes"),
}
COMMANDS_IN_JSON = {
    *("replay", "slo", "explain", "incidents", "scope", "readings", "rules", "doctor", "prefix"),
}
SAY_NO_IN_WORDS = ("explain", "incidents", "prefix", "scope")
IN_JSON = {
    name: Asked(f"{asked.line} --json", asked.code, environment=asked.environment)
    for name, asked in CASES.items()
    if asked.line.split()[0] in COMMANDS_IN_JSON
    and asked.code in {DONE, NO}
    and not (asked.code == NO and asked.err and asked.line.startswith(SAY_NO_IN_WORDS))
}
MORE = {
    "SLOs in the baseline": Asked("slo --store {store} --at +70s --json"),
    "SLOs in the burst": Asked("slo --store {store} --at +205s --json"),
    "the stalled request": Asked("explain {request} --store {store} --json"),
    "its trace": Asked("explain {trace} --store {store} --json"),
    "its trace as MLflow calls it": Asked("explain tr-{trace} --store {store} --json"),
    "its trace in capitals": Asked("explain {TRACE} --store {store} --json"),
    "its session": Asked("explain {session} --store {store} --json"),
}
Answers = Mapping[str, Answer]


@pytest.fixture(scope="module")
def answers(places: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Every command line's answer, all given by one process."""
    names = {**places, "TRACE": places["trace"].upper()}
    asked = CASES | {f"{name}, as JSON": each for name, each in IN_JSON.items()} | MORE
    lines = [
        ([w.format(**names) for w in each.line.split()], dict(each.environment)) for each in asked.values()
    ]
    done = subprocess.run(
        [sys.executable, "-c", MANY],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: Answer(*found) for name, found in zip(asked, json.loads(done.stdout), strict=True)}


def check(answer: Answer, asked: Asked, places: Mapping[str, str]) -> None:
    """The exit code, the words, an error only with a failure, and never a trace of our own code."""
    assert answer.code == asked.code, answer.err
    assert re.search(asked.out, one_line(answer.out)), answer.out
    assert re.search(asked.err.format(**places) if "{busy}" in asked.err else asked.err, one_line(answer.err))
    assert "Traceback" not in answer.out + answer.err
    assert bool(answer.err.strip()) is (answer.code != DONE and not answer.out.strip())


def one_line(text: str) -> str:
    """Without the folding of a narrow terminal."""
    return " ".join(text.split())


@pytest.mark.parametrize("name", CASES)
def test_a_command_answers(name: str, answers: Answers, places: dict[str, str]) -> None:
    check(answers[name], CASES[name], places)


@pytest.mark.parametrize("name", IN_JSON)
def test_the_same_as_json_parses(name: str, answers: Answers) -> None:
    answer = answers[f"{name}, as JSON"]
    assert answer.code == IN_JSON[name].code
    assert isinstance(answer.json, list | dict)


def test_what_could_not_start_left_nothing_behind(answers: Answers, places: dict[str, str]) -> None:
    assert answers["a busy port"].code == USAGE
    assert not Path(places["empty"]).exists()


# ------------------------------------------------------------------------------------- in the JSON
def test_a_replay_tells_each_change(answers: Answers) -> None:
    found = answers["a recording is replayed, as JSON"].json
    assert {tuple(change) for change in found} <= {("alert", "component", "state", "at")}


@pytest.mark.parametrize(
    ("name", "offset_s", "verdicts"),
    [
        pytest.param("SLOs in the baseline", 70, {"ttft_p50": "met", "latency_p99": "missed"}, id="baseline"),
        pytest.param("SLOs in the burst", 205, {"queue_p95": "missed", "latency_p99": "missed"}, id="burst"),
    ],
)
def test_slos_are_judged_as_the_store_was(
    name: str, offset_s: float, verdicts: dict[str, str], answers: Answers
) -> None:
    found = {row["slo"]: row for row in answers[name].json}
    assert set(found) == {"availability", "ttft_p50", "latency_p99", "queue_p95", "error_rate"}
    assert {slo: found[slo]["verdict"] for slo in verdicts} == verdicts
    for row in found.values():
        at = datetime.fromisoformat(row["at"])
        assert abs(at - at_second(offset_s)) < timedelta(seconds=3)
        assert (row["clock_scale"], row["runbook"] != "") == (20.0, True)
        assert 0 <= row["low"] <= row["share"] <= row["high"] <= 1
        assert row["good"] <= row["count"]


@pytest.mark.parametrize(
    "name", ["the stalled request", "its trace", "its trace as MLflow calls it", "its trace in capitals"]
)
def test_the_stalled_request_waited_before_the_engine_took_it(
    name: str, answers: Answers, places: dict[str, str]
) -> None:
    found = answers[name].json
    assert found["request"]["request_id"] == places["request"]
    assert found["leading"]["stage"] == "frontend"
    assert found["leading"]["ms"] > 1000 > found["leading"]["peer_p95_ms"]
    assert "frontend" in found["sentence"]
    stages = [stage["ms"] for stage in found["stages"]]
    assert sum(stages) == pytest.approx(found["request"]["e2e_ms"])


def test_of_a_session_the_slowest_turn_is_explained(answers: Answers, places: dict[str, str]) -> None:
    found = answers["its session"].json["request"]
    reader = DuckReader(places["store"])
    slowest = reader.query(
        "SELECT max(e2e_ms) AS ms FROM {requests} WHERE session_id = $1", [places["session"]]
    )
    assert (found["session_id"], found["e2e_ms"]) == (places["session"], slowest.to_pylist()[0]["ms"])


def test_what_is_declared_is_an_event(answers: Answers, places: dict[str, str]) -> None:
    assert answers["a deploy is declared"].code == DONE
    [event] = events_between(
        DuckReader(places["declared"]), datetime(2026, 11, 21, tzinfo=UTC), datetime.now(UTC), ["deploy"]
    )
    assert (event.subject, event.source, event.before, event.after) == ("gateway", "declared", "1.4", "1.5")


def test_the_drill_has_its_six_incidents(answers: Answers) -> None:
    found = answers["what went wrong, as JSON"].json
    assert [(i["cause"], i["component"], i["severity"]) for i in found] == [
        ("prefix_cache_broken", "prompt_version=v43", "warning"),
        ("traffic_burst", None, "critical"),
        ("long_context_pressure", None, "info"),
        ("adapter_regression", "adapter=manga_domain_v4", "warning"),
        ("engine_stall", "replica=engine-0", "critical"),
        ("context_overflow", None, "critical"),
    ]
    began = [70, 175, 260, 350, 440, 473]
    assert [i["start"] - T0_S for i in found] == pytest.approx(began, abs=3)
    assert found[0]["changes"][0]["subject"] == "prompt_version=v43"


def test_a_scope_names_its_cohort_with_requests_to_open(answers: Answers, places: dict[str, str]) -> None:
    found = answers["whose requests were slow for longer answers, as JSON"].json
    (cohort,) = found["scope"]["workload"]
    assert (found["scope"]["kind"], cohort["attributes"]) == ("cohort", {"adapter": "manga_domain_v4"})
    assert cohort["through"] == ["output_tokens"]
    ids = ", ".join(f"'{i}'" for i in cohort["examples"])
    rows = DuckReader(places["store"]).query(f"SELECT adapter FROM {{requests}} WHERE request_id IN ({ids})")
    assert set(rows.column("adapter").to_pylist()) == {"manga_domain_v4"}


def test_every_reading_is_listed_with_its_values(answers: Answers) -> None:
    assert {row["name"] for row in answers["every reading, as JSON"].json} == set(READINGS)
    for row in answers["what each reading reads, as JSON"].json:
        for value in row["values"]:
            assert (value["value"] is None) is (value["missing"] is not None)


def test_every_mistake_in_the_rules_is_named(answers: Answers) -> None:
    mistakes = answers["ten mistakes, as JSON"].json["mistakes"]
    assert len(mistakes) >= 10
    assert [name for name in MISTAKES if not any(f"rules.{name}." in m for m in mistakes)] == []
    printed = one_line(answers["ten mistakes"].err)
    assert printed.count("error ") == len(mistakes)


def test_the_rules_that_ship_are_all_checked(answers: Answers) -> None:
    found = answers["sound rules, as JSON"].json
    assert found["ok"]
    assert len(found["rules"]) == RULES.read_text(encoding="utf-8").count("- name:") == BOOK_SIZE


def test_the_doctor_looks_at_everything(answers: Answers, places: dict[str, str]) -> None:
    found = {row["check"]: row for row in answers["a replayed store is sound, as JSON"].json}
    assert {row["state"] for row in found.values()} <= {"ok", "warning"}
    assert set(found) >= {f"table {name}" for name in ("metrics", "requests", "events", "judgements")}
    if datetime.now(UTC) - at_second(0) < timedelta(hours=20):  # joins are looked at over the last day
        assert found["join requests ↔ engine spans"]["state"] == "ok"
    dead = [row for row in answers["a dead engine, as JSON"].json if row["state"] == "fault"]
    assert [(row["check"], bool(row["remedy"])) for row in dead] == [
        (f"engine {places['dead'].removeprefix('http://')}", True)
    ]
    broken = {row["check"] for row in answers["a broken table, as JSON"].json if row["state"] == "fault"}
    assert "table metrics" in broken
    assert "table requests" not in broken
