"""Bedrock through boto3, over the wire: a loopback server with its JSON and its binary event stream."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from loadtests.staging.gateway.backends import Call
from loadtests.staging.gateway.bedrock import request, usage
from loadtests.staging.gateway.config import DEFAULT
from loadtests.staging.gateway.live import load
from tests.loadtests.gateway.running import Running, served

Start = Callable[..., Running]
MODEL = "anthropic.claude"
USAGE = {"inputTokens": 20, "outputTokens": 2, "totalTokens": 30, "cacheReadInputTokens": 8}
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "第3巻"}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "です。"}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "max_tokens"}),
    ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 12}}),
]


def message(kind: str, name: str, payload: dict[str, Any]) -> bytes:
    """One message of AWS's event stream: lengths and checksum, headers, payload, checksum."""
    named = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    headers = b"".join(
        bytes([len(k)]) + k.encode() + b"\x07" + struct.pack("!H", len(v)) + v.encode()
        for k, v in named.items()
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    whole = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + body
    return whole + struct.pack("!I", zlib.crc32(whole))


def service(heard: list[dict[str, Any]], broken: str | None) -> FastAPI:
    """Answers as Bedrock does; `broken` refuses, or breaks the stream after its first words."""
    app = FastAPI()

    @app.post("/model/{model}/converse")
    async def converse(model: str, asked: Request) -> Response:
        heard.append({"model": model, "auth": asked.headers["authorization"], "body": await asked.json()})
        if broken:
            return JSONResponse({"message": "slow down"}, 429, {"x-amzn-errortype": "ThrottlingException"})
        content = [{"text": "第3巻"}, {"text": "です。"}]
        told = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"}
        return JSONResponse({**told, "usage": USAGE, "metrics": {"latencyMs": 12}})

    @app.post("/model/{model}/converse-stream")
    async def converse_stream(model: str, asked: Request) -> Response:
        heard.append({"model": model, "auth": asked.headers["authorization"], "body": await asked.json()})
        sent = EVENTS if broken is None else EVENTS[:2]
        parts = [message("event", name, payload) for name, payload in sent]
        if broken:
            parts.append(message("exception", broken, {"message": "it broke"}))
        return Response(b"".join(parts), media_type="application/vnd.amazon.eventstream")

    return app


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    return []


def fallback_to(gateway: Running, url: str) -> None:
    gateway.configure(fallback={"kind": "bedrock", "model": MODEL, "endpoint": url})


ORDER = "Which volume is next? [standin status=503]"


def test_a_stream_of_bedrock_reads_like_any_other(start: Start, heard: list[dict[str, Any]]) -> None:
    with served(service(heard, None)) as url:
        gateway = start()
        fallback_to(gateway, url)
        events = gateway.stream(
            ORDER, request_id="aws", stream_options={"include_usage": True}, temperature=0.5
        )
        texts = [e["choices"][0]["delta"].get("content", "") for e in events[:-1] if e["choices"]]
        assert "".join(texts) == "第3巻です。"
        assert [e["choices"][0]["finish_reason"] for e in events[:-1] if e["choices"]][-1] == "length"
        assert events[-1] == "[DONE]"
        row = gateway.row("aws")
        assert (row["input_tokens"], row["output_tokens"], row["cached_tokens"]) == (28, 2, 8)
        assert (row["variant"], row["adapter"], row["status"]) == ("fallback", MODEL, 200)
        trace = gateway.trace(row["trace_id"])
        assert [s.attributes["mangaassist.backend"] for s in trace["generation_client"]] == [
            "vllm",
            "bedrock",
        ]
        assert len(trace["vllm_gateway"]) == 1
        (asked,) = heard
        assert asked["model"] == MODEL
        assert asked["auth"].startswith("AWS4-HMAC-SHA256")
        assert asked["body"]["inferenceConfig"] == {"maxTokens": 4, "temperature": 0.5}
        assert "You are MangaAssist" in asked["body"]["system"][0]["text"]
        assert asked["body"]["messages"] == [{"role": "user", "content": [{"text": ORDER}]}]


def test_a_whole_answer_of_bedrock_reads_like_any_other(start: Start, heard: list[dict[str, Any]]) -> None:
    with served(service(heard, None)) as url:
        gateway = start()
        fallback_to(gateway, url)
        answer = gateway.ask(ORDER, request_id="aws").json()
        assert answer["choices"][0]["message"]["content"] == "第3巻です。"
        assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 8}
        assert gateway.row("aws")["output_tokens"] == 2


def test_bedrocks_refusal_is_handed_on(start: Start, heard: list[dict[str, Any]]) -> None:
    with served(service(heard, "throttled")) as url:
        gateway = start()
        fallback_to(gateway, url)
        answer = gateway.ask(ORDER, request_id="aws")
        assert (answer.status_code, gateway.row("aws")["error_kind"]) == (429, "rejected")
        assert "slow down" in answer.json()["error"]["message"]


def test_a_stream_of_bedrock_that_breaks_ends_with_an_error(
    start: Start, heard: list[dict[str, Any]]
) -> None:
    with served(service(heard, "modelStreamErrorException")) as url:
        gateway = start()
        fallback_to(gateway, url)
        events = gateway.stream(ORDER, request_id="aws")
        assert "it broke" in events[-1]["error"]["message"]
        assert (gateway.row("aws")["status"], gateway.row("aws")["error_kind"]) == (502, "server_error")


def test_a_bedrock_that_is_not_there_is_a_clear_error(
    start: Start, heard: list[dict[str, Any]], free_port: int
) -> None:
    assert heard == []
    gateway = start()
    fallback_to(gateway, f"http://127.0.0.1:{free_port}")
    answer = gateway.ask(ORDER, request_id="aws")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_unavailable")
    assert "Bedrock" in answer.json()["error"]["message"]


def test_turns_alternate_and_the_users_comes_first() -> None:
    roles = ["system", "assistant", "user", "user", "assistant", "user"]
    payload = {"messages": [{"role": r, "content": str(n)} for n, r in enumerate(roles)], "max_tokens": 3}
    made = request("m", Call(payload, "r", "", load(DEFAULT).config.engine))
    assert [(m["role"], [c["text"] for c in m["content"]]) for m in made["messages"]] == [
        ("user", ["2", "3"]),
        ("assistant", ["4"]),
        ("user", ["5"]),
    ]


def test_cached_tokens_are_part_of_the_prompt() -> None:
    assert usage(USAGE)["prompt_tokens"] == 28
