"""What the gateway tells of a request: spans, metrics and one line of log, and all of them agree."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests.staging import standin
from loadtests.staging.gateway.config import PROMPTS
from loadtests.staging.gateway.prompts import load, told
from loadtests.staging.standin import Manner
from tests.loadtests.gateway.running import Running, eventually, ready, running, served

META = {"session_id": "s-9", "turn": 4, "intent": "recommendation", "locale": "ja-JP", "user_id": "u-1"}
PROMPT = load(PROMPTS, "v42")
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


def test_a_request_is_one_trace_with_everything_on_it(gateway: Running) -> None:
    gateway.stream("Hello [standin first_ms=30 token_ms=10]", request_id="traced", metadata=META)
    row = gateway.row("traced")
    trace = gateway.trace(row["trace_id"])
    (root,), (client,), (engine,) = (
        trace[name] for name in ("orchestrator", "generation_client", "vllm_gateway")
    )
    assert (root.parent_id, client.parent_id, engine.parent_id) == ("", root.span_id, client.span_id)
    assert root.duration_ms == pytest.approx(row["e2e_ms"], abs=0.01)
    assert root.attributes == {
        "mangaassist.request_id": "traced",
        "session.id": "s-9",
        "user.id": "u-1",
        "mangaassist.turn": 4,
        "mangaassist.intent": "recommendation",
        "mangaassist.locale": "ja-JP",
        "mangaassist.prompt_version": "v42",
        "mangaassist.adapter_id": "jp_style_v1",
        "mangaassist.backend_version": "manga-base+jp_style_v1",
        "mangaassist.variant": "primary",
        "http.response.status_code": 200,
        "mangaassist.ttft_ms": row["ttft_ms"],
        "mangaassist.input_tokens": row["input_tokens"],
        "mangaassist.output_tokens": 4,
        "mangaassist.cached_tokens": row["cached_tokens"],
        "mangaassist.budget_trimmed": False,
        "mangaassist.oom_caught": False,
        "mangaassist.prefix_fingerprint": row["prefix_fingerprint"],
        "mangaassist.prefix_blocks": told(PROMPT, PROMPT.text).blocks,
        "mlflow.traceTag.adapter_id": "jp_style_v1",
        "mlflow.traceTag.backend_version": "manga-base+jp_style_v1",
        "mlflow.traceTag.prompt_version": "v42",
        "mlflow.traceTag.intent": "recommendation",
        "mlflow.traceTag.locale": "ja-JP",
        "mlflow.traceTag.request_id": "traced",
        "mlflow.spanInputs": json.dumps({"request_id": "traced", "session": "s-9", "turn": 4}),
        "mlflow.spanOutputs": json.dumps({"status": 200, "output_tokens": 4}),
    }
    assert client.attributes == {
        "mangaassist.backend": "vllm",
        "mangaassist.variant": "primary",
        "mangaassist.attempt": 1,
        "mangaassist.queue_wait_ms": row["queue_wait_ms"],
    }
    host, port = gateway.engine.removeprefix("http://").split(":")
    assert engine.attributes == {
        "server.address": host,
        "server.port": int(port),
        "mangaassist.replica": f"{host}:{port}",
        "gen_ai.request.model": "jp_style_v1",
        "gen_ai.usage.input_tokens": row["input_tokens"],
        "gen_ai.usage.output_tokens": 4,
        "mangaassist.cached_tokens": row["cached_tokens"],
        "mangaassist.cache_hit": True,
    }
    assert not any(span.failed for span in (root, client, engine))
    assert 30 <= row["ttft_ms"] <= row["e2e_ms"] - 25


def test_a_callers_trace_is_continued_even_if_it_does_not_sample(gateway: Running) -> None:
    answer = gateway.client.post(
        f"{gateway.url}/v1/chat/completions",
        json={"model": "mangaassist", "messages": [{"role": "user", "content": "Hi"}], "request_id": "child"},
        headers={"traceparent": CALLER},
    )
    assert answer.headers["traceparent"].split("-")[1] == CALLER.split("-")[1]
    root = gateway.trace(CALLER.split("-")[1])["orchestrator"][0]
    assert root.parent_id == CALLER.split("-")[2]
    assert gateway.row("child")["trace_id"] == CALLER.split("-")[1]
    assert gateway.seen()["requests"][-1]["headers"]["traceparent"].endswith("-01")


def test_warming_up_leaves_no_trace(gateway: Running) -> None:
    warm = [r for r in gateway.seen()["requests"] if r["headers"]["x-request-id"].startswith("warm-up")]
    assert len({r["body"]["model"] for r in warm}) == len(warm)
    assert all(r["headers"]["traceparent"].endswith("-00") for r in warm)
    assert not [r for r in gateway.log("request") if r["request_id"].startswith("warm-up")]


def test_its_own_start_is_a_trace_in_which_each_adapter_has_its_time(gateway: Running) -> None:
    root = eventually(lambda: next((s for s in gateway.spans if s.name == "gateway_startup"), None))
    own = [s for s in gateway.spans if s.trace_id == root.trace_id]
    assert Counter(s.name for s in own) == Counter(
        gateway_startup=1, warm_up=1, load_adapter=len(gateway.log("started")[0]["adapters"])
    )
    warm_up = next(s for s in own if s.name == "warm_up")
    adapters = [s for s in own if s.name == "load_adapter"]
    assert (root.parent_id, warm_up.parent_id) == ("", root.span_id)
    assert {s.parent_id for s in adapters} == {warm_up.span_id}
    assert [s.attributes["mangaassist.adapter_id"] for s in adapters] == gateway.log("started")[0]["adapters"]
    assert sum(s.duration_ms for s in adapters) <= warm_up.duration_ms <= root.duration_ms
    assert "mangaassist.request_id" not in root.attributes


def test_an_engine_that_comes_late_is_told_of_as_waiting(tmp_path: Path, free_port: int) -> None:
    with running(tmp_path, engine=f"http://127.0.0.1:{free_port}", warm_up={"retry": "50ms"}) as gateway:
        time.sleep(0.2)
        assert gateway.client.get(f"{gateway.url}/ping").status_code == 503
        assert not gateway.spans
        with served(standin.build(Manner()), free_port):
            ready(gateway)
            waited = eventually(lambda: next((s for s in gateway.spans if s.name == "wait_for_engine"), None))
        root = next(s for s in gateway.spans if s.name == "gateway_startup")
    assert waited.parent_id == root.span_id
    assert 50 <= waited.duration_ms <= root.duration_ms


def test_text_is_in_spans_only_where_that_was_asked_for(start: Callable[..., Running]) -> None:
    gateway = start(capture_text=True)
    gateway.stream("A secret", request_id="told")
    root = gateway.trace(gateway.row("told")["trace_id"])["orchestrator"][0]
    assert json.loads(root.attributes["mlflow.spanInputs"])["messages"][-1]["content"] == "A secret"
    assert json.loads(root.attributes["mlflow.spanOutputs"])["text"] == "漫画 " * 4
    assert "A secret" not in gateway.out.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "queue_wait_ms_count",
        "ttft_ms_count",
        "generation_ms_count",
        "input_tokens_count",
        "output_tokens_count",
        "requests_total",
    ],
)
def test_a_request_is_counted_once(gateway: Running, name: str) -> None:
    metric = f"mangaassist_inference_{name}"
    gateway.ask()
    before = gateway.metric(metric)
    gateway.ask()
    assert gateway.metric(metric) == before + 1


def test_metrics_carry_adapter_and_version(gateway: Running) -> None:
    gateway.ask(metadata=META)
    text = gateway.client.get(f"{gateway.url}/metrics").text
    labels = 'adapter_id="jp_style_v1",backend_version="manga-base+jp_style_v1"'
    assert f"mangaassist_inference_prefix_cache_hit_total{{{labels}}}" in text


@pytest.mark.slow  # the gateway ends only after the exporter has given up
def test_a_receiver_of_spans_that_is_gone_delays_nobody(
    start: Callable[..., Running], free_port: int
) -> None:
    gateway = start(otlp=f"http://127.0.0.1:{free_port}")
    rows = [gateway.ask(request_id=f"alone-{n}").status_code for n in range(20)]
    assert rows == [200] * 20
    assert max(gateway.row(f"alone-{n}")["e2e_ms"] for n in range(20)) < 1000
