"""A stand-in engine for tests of the gateway and for measuring what the gateway itself costs. It is no vLLM.

It answers fast and at a known pace, and fails on request. Drills never use it: they run against real vLLM.
Its cached tokens are real in one respect: they are the leading blocks of the prompt that it has seen before.

    python -m loadtests.staging.standin --port 8000 --first-ms 20 --token-ms 5 --tokens 40

A request can ask for a behaviour of its own in its newest message: `[standin die_after=3 token_ms=0]`.

    first_ms, token_ms  pause before the first token and between two
    tokens              length of the answer (otherwise max_tokens)
    die_after=N         the connection breaks after N tokens
    error_after=N       an error event after N tokens
    oom_above=N         out of memory for prompts of more than N characters
    status=N            answers with that HTTP status
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

ORDER = re.compile(r"\[standin ([^\]]*)\]")
BLOCK_CHARACTERS = 64  # sixteen tokens of four characters, as an engine's block
CHARACTERS_PER_TOKEN = 4
CACHED_BLOCKS = 100_000
KEPT_REQUESTS = 200
WORD = "漫画 "


@dataclass(frozen=True, slots=True)
class Manner:
    """How a request is answered."""

    first_ms: float = 0.0
    token_ms: float = 0.0
    tokens: int | None = None
    die_after: int | None = None
    error_after: int | None = None
    oom_above: int | None = None
    status: int | None = None


@dataclass(slots=True)
class Seen:
    """What the stand-in remembers: for tests, and for its prefix cache."""

    running: int = 0
    finished: int = 0
    aborted: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    blocks: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    def cached_tokens(self, prompt: str) -> int:
        """Tokens of the leading blocks that were there before; all of them are there from now on."""
        hits, digest, unbroken = 0, b"", True
        for start in range(0, len(prompt) - BLOCK_CHARACTERS + 1, BLOCK_CHARACTERS):
            block = prompt[start : start + BLOCK_CHARACTERS].encode()
            digest = sha256(digest + block).digest()
            unbroken = unbroken and digest in self.blocks
            hits += unbroken
            self.blocks[digest] = None
        while len(self.blocks) > CACHED_BLOCKS:
            self.blocks.popitem(last=False)
        return hits * BLOCK_CHARACTERS // CHARACTERS_PER_TOKEN


def build(manner: Manner, *, obeys: bool = True) -> FastAPI:
    """The engine, with a manner that requests may change for themselves where it `obeys`."""
    app, seen = FastAPI(openapi_url=None), Seen()

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        asked = json.loads(await request.body())
        headers = {name: request.headers.get(name) for name in ("traceparent", "x-request-id")}
        seen.requests = [*seen.requests[1 - KEPT_REQUESTS :], {"body": asked, "headers": headers}]
        return await _answer(asked, _ordered(manner, asked) if obeys else manner, seen)

    @app.post("/v1/traces")
    async def traces() -> Response:
        return Response(media_type="application/x-protobuf")  # spans of a measurement are sent, and forgotten

    @app.get("/health")
    async def health() -> Response:
        return Response()

    @app.get("/standin")
    async def state() -> Response:
        told = {"running": seen.running, "finished": seen.finished, "aborted": seen.aborted}
        return JSONResponse(told | {"requests": seen.requests})

    return app


async def _answer(asked: Mapping[str, Any], manner: Manner, seen: Seen) -> Response:
    prompt = "".join(f"<{m['role']}>{m['content']}" for m in asked["messages"])
    if manner.status is not None:
        return _failed(manner.status, f"the stand-in was asked for {manner.status}")
    if manner.oom_above is not None and len(prompt) > manner.oom_above:
        return _failed(500, "CUDA out of memory. Tried to allocate 2.00 GiB")
    cached = seen.cached_tokens(prompt)
    count = manner.tokens or asked.get("max_tokens") or 16
    usage = {
        "prompt_tokens": len(prompt) // CHARACTERS_PER_TOKEN,
        "completion_tokens": count,
        "total_tokens": len(prompt) // CHARACTERS_PER_TOKEN + count,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    if asked.get("stream"):
        return StreamingResponse(_stream(asked, manner, seen, count, usage), media_type="text/event-stream")
    await asyncio.sleep((manner.first_ms + manner.token_ms * (count - 1)) / 1000)
    message = {"role": "assistant", "content": WORD * count}
    choices = [{"index": 0, "message": message, "finish_reason": "length"}]
    seen.finished += 1
    return JSONResponse(_head(asked, "chat.completion") | {"choices": choices, "usage": usage})


async def _stream(
    asked: Mapping[str, Any], manner: Manner, seen: Seen, count: int, usage: Mapping[str, Any]
) -> AsyncIterator[bytes]:
    seen.running += 1
    ended = False
    try:
        async for piece in _pieces(asked, manner, count, usage):
            yield piece
        ended = True
    finally:
        seen.running -= 1
        seen.finished += ended
        seen.aborted += not ended


async def _pieces(
    asked: Mapping[str, Any], manner: Manner, count: int, usage: Mapping[str, Any]
) -> AsyncIterator[bytes]:
    head = _head(asked, "chat.completion.chunk")
    await asyncio.sleep(manner.first_ms / 1000)
    yield _chunk(head, {"role": "assistant", "content": ""})
    for number in range(count):
        if number == manner.die_after:
            raise ConnectionAbortedError("the stand-in was asked to die")
        if number == manner.error_after:
            yield _event({"error": {"message": "the stand-in was asked to fail", "code": 500}})
            return
        yield _chunk(head, {"content": WORD}, "length" if number == count - 1 else None)
        if manner.token_ms and number < count - 1:
            await asyncio.sleep(manner.token_ms / 1000)
    if (asked.get("stream_options") or {}).get("include_usage"):
        yield _event({**head, "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _ordered(manner: Manner, asked: Mapping[str, Any]) -> Manner:
    """What the newest message orders, on top of the manner that was started with."""
    found = ORDER.search(str(asked["messages"][-1]["content"]))
    if not found:
        return manner
    pairs = (pair.partition("=") for pair in found[1].split())
    ordered = {name: float(value) for name, _, value in pairs}
    pauses = {"first_ms", "token_ms"}
    return replace(manner, **{n: v if n in pauses else int(v) for n, v in ordered.items()})  # type: ignore[arg-type]


def _head(asked: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{asked.get('request_id')}",
        "object": kind,
        "created": 0,
        "model": asked["model"],
    }


def _chunk(head: Mapping[str, Any], delta: Mapping[str, str], finish: str | None = None) -> bytes:
    return _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _event(found: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _failed(status: int, message: str) -> Response:
    error = {"message": message, "type": "InternalServerError", "param": None, "code": status}
    return JSONResponse({"error": error}, status)


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    for name, default in asdict(Manner()).items():
        kind = float if name in {"first_ms", "token_ms"} else int
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default)
    chosen = vars(parser.parse_args())
    host, port = chosen.pop("host"), chosen.pop("port")
    uvicorn.run(build(Manner(**chosen)), host=host, port=port, access_log=False, log_level="critical")


if __name__ == "__main__":
    main()
