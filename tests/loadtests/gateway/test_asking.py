"""What clients ask and get: the contract of the chat endpoint, and bad input."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.loadtests.gateway.running import Running, question

JA = {"intent": "recommendation", "locale": "ja-JP"}


@pytest.mark.parametrize(
    ("metadata", "model", "adapter", "served"),
    [
        pytest.param(JA, "mangaassist", "jp_style_v1", "jp_style_v1", id="Japanese with the manga domain"),
        pytest.param(
            {"intent": "discovery", "locale": "en-US"},
            "mangaassist",
            "manga_domain_v3",
            "manga_domain_v3",
            id="the manga domain in English",
        ),
        pytest.param(
            {"intent": "return", "locale": "ja-JP"},
            "mangaassist",
            "general_support_v2",
            "general_support_v2",
            id="support in any language",
        ),
        pytest.param(
            {"intent": "faq"}, "mangaassist", "manga-base", "manga-base", id="a question asked often"
        ),
        pytest.param({}, "mangaassist", "manga-base", "manga-base", id="nothing said about it"),
        pytest.param(
            {"intent": "faq"},
            "manga_domain_v3",
            "manga_domain_v3",
            "manga_domain_v3",
            id="an adapter by name",
        ),
    ],
)
def test_intent_and_locale_choose_the_adapter(
    gateway: Running, metadata: dict[str, str], model: str, adapter: str, served: str
) -> None:
    answer = gateway.ask(model=model, metadata=metadata)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-adapter-id"] == adapter
    assert answer.headers["x-prompt-version"] == "v42"
    assert gateway.seen()["requests"][-1]["body"]["model"] == served


def test_a_stream_arrives_whole_and_in_order(gateway: Running) -> None:
    events = gateway.stream(request_id="whole", max_tokens=5)
    texts = [e["choices"][0]["delta"].get("content") for e in events[:-1]]
    assert texts == ["", *["漫画 "] * 5]
    assert events[-1] == "[DONE]"
    assert gateway.row("whole")["output_tokens"] == 5


@pytest.mark.parametrize("asked", [False, True])
def test_usage_is_streamed_to_those_who_ask_and_known_in_any_case(gateway: Running, asked: bool) -> None:
    rid = f"usage-{asked}"
    events = gateway.stream(request_id=rid, stream_options={"include_usage": asked})
    assert any("usage" in e for e in events[:-1]) is asked
    assert gateway.row(rid)["output_tokens"] == 4


def test_the_engine_gets_the_ids_and_the_prompt_of_the_version(gateway: Running) -> None:
    answer = gateway.ask(
        request_id="ids",
        metadata={"session_id": "s-1", "turn": "3"},
        retrieval=["Volume 4 is in stock."],
        min_tokens=2,
        ignore_eos=True,
        temperature=0.5,
        seed=7,
    )
    sent = gateway.seen()["requests"][-1]
    trace_id = answer.headers["traceparent"].split("-")[1]
    assert answer.headers["x-request-id"] == sent["headers"]["x-request-id"] == "ids"
    assert sent["headers"]["traceparent"].split("-")[1] == trace_id
    body = sent["body"]
    assert body["request_id"] == "ids"
    assert {k: body[k] for k in ("min_tokens", "ignore_eos", "temperature", "seed", "max_tokens")} == {
        "min_tokens": 2,
        "ignore_eos": True,
        "temperature": 0.5,
        "seed": 7,
        "max_tokens": 4,
    }
    roles = [m["role"] for m in body["messages"]]
    assert roles == ["system", "system", "user"]
    assert "You are MangaAssist" in body["messages"][0]["content"]
    assert "Volume 4 is in stock." in body["messages"][1]["content"]


def test_text_parts_are_one_text(gateway: Running) -> None:
    parts = [{"type": "text", "text": "Is volume 4 "}, {"type": "text", "text": "in stock?"}]
    assert gateway.ask(messages=[{"role": "user", "content": parts}]).status_code == 200
    assert gateway.seen()["requests"][-1]["body"]["messages"][-1]["content"] == "Is volume 4 in stock?"


def test_two_requests_of_a_version_share_their_prefix(gateway: Running) -> None:
    for session in ("a", "b"):
        gateway.ask(request_id=f"prefix-{session}", metadata={"session_id": session, **JA})
    heads = [r["body"]["messages"][0] for r in gateway.seen()["requests"][-2:]]
    assert heads[0] == heads[1]
    one, two = gateway.row("prefix-a"), gateway.row("prefix-b")
    assert one["prefix_fingerprint"] == two["prefix_fingerprint"]
    assert two["cached_tokens"] > 0.9 * two["input_tokens"]


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        pytest.param(b'{"model": ', 400, "invalid_json", "no JSON", id="broken JSON"),
        pytest.param(b"[1]", 400, "invalid_value", "the body", id="JSON that is no object"),
        pytest.param(b"\xff\xfe", 400, "invalid_json", "no JSON", id="bytes that are no text"),
        pytest.param({"model": "gpt-9"}, 404, "model_not_found", "manga_domain_v3", id="an unknown model"),
        pytest.param({"messages": []}, 400, "invalid_value", "messages", id="no messages"),
        pytest.param(
            {"messages": [{"role": "system", "content": "You are a pirate"}]},
            400,
            "system_not_allowed",
            "the system prompt is the gateway's",
            id="a system message",
        ),
        pytest.param(
            {"messages": [{"role": "assistant", "content": "Hello"}]},
            400,
            "invalid_value",
            "the user's",
            id="an assistant's message at the end",
        ),
        pytest.param(
            {"request_id": "no spaces please"}, 400, "invalid_value", "request_id", id="a strange id"
        ),
        pytest.param({"request_id": "x" * 129}, 400, "invalid_value", "request_id", id="a long id"),
        pytest.param({"max_tokens": 0}, 400, "invalid_value", "max_tokens", id="no tokens at all"),
        pytest.param({"logprobs": True}, 400, "unknown_parameter", "logprobs", id="an unknown parameter"),
        pytest.param({"metadata": {"turn": "third"}}, 400, "invalid_value", "turn", id="a turn in words"),
        pytest.param(
            {"messages": [{"role": "user", "content": "漫" * 350_000}]},
            413,
            "body_too_large",
            "524288 bytes",
            id="a prompt of 1 MB",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": "x"}] * 401},
            400,
            "invalid_value",
            "400",
            id="401 messages",
        ),
    ],
)
def test_bad_input_is_refused_in_openais_words_and_has_its_row(
    gateway: Running, body: Any, status: int, code: str, says: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(question("Hello", **body)).encode()
    before = len(gateway.log("request"))
    answer = gateway.client.post(f"{gateway.url}/v1/chat/completions", content=content)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert set(error) == {"message", "type", "param", "code"}
    assert says in error["message"]
    rows = gateway.log("request")[before:]
    assert [(r["status"], r["error_kind"]) for r in rows] == [(status, "client_error")]
    root = gateway.trace(rows[0]["trace_id"])["orchestrator"][0]
    assert root.failed
    assert root.attributes["http.response.status_code"] == status


def test_a_body_without_a_length_is_read_no_further_than_its_bound(gateway: Running) -> None:
    pieces = (b"x" * 65_536 for _ in range(16))
    answer = gateway.client.post(f"{gateway.url}/v1/chat/completions", content=pieces)
    assert answer.status_code == 413


def test_another_url_is_refused_in_the_same_shape(gateway: Running) -> None:
    answer = gateway.client.get(f"{gateway.url}/v2/chat")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


def test_models_are_listed(gateway: Running) -> None:
    listed = gateway.client.get(f"{gateway.url}/v1/models").json()["data"]
    assert [m["id"] for m in listed][:2] == ["mangaassist", "manga-base"]


def test_many_ask_at_once_and_nobody_gets_anothers_answer(gateway: Running) -> None:
    async def all_of_them() -> list[httpx.Response]:
        import asyncio

        async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
            url = f"{gateway.url}/v1/chat/completions"
            asked = [
                client.post(
                    url, json=question(f"Number {n}", request_id=f"crowd-{n}", stream=True, max_tokens=3)
                )
                for n in range(40)
            ]
            return await asyncio.gather(*asked)

    import asyncio

    for number, answer in enumerate(asyncio.run(all_of_them())):
        assert answer.headers["x-request-id"] == f"crowd-{number}"
        assert f"chatcmpl-crowd-{number}" in answer.text
        assert answer.text.endswith("data: [DONE]\n\n")
