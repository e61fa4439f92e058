"""Amazon Bedrock as fallback, through boto3's Converse API.

Tried over the wire against a loopback server that speaks the service's JSON and its binary event stream, with
boto3's own signing, parsing and error classes. Not tried: AWS itself, its throttling, and any real model.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    ReadTimeoutError,
)

from loadtests.staging.gateway import sse
from loadtests.staging.gateway.backends import BackendError, Call, broken
from loadtests.staging.gateway.config import Failure, Fallback

THREADS = 32  # boto3 blocks: so many answers at once, the others wait
SILENCE_S = 60
CONNECT_S = 3


class Bedrock:
    """A model behind Bedrock, in OpenAI's words."""

    kind = "bedrock"

    def __init__(self, settings: Fallback) -> None:
        self._settings = settings
        endpoint = settings.endpoint or f"https://bedrock-runtime.{settings.region}.amazonaws.com"
        parts = urlsplit(endpoint)
        self.address = (parts.hostname or endpoint, parts.port or 443)
        self._threads = ThreadPoolExecutor(THREADS, "bedrock")

    async def complete(self, call: Call) -> dict[str, Any]:
        """One Converse call."""
        with _told():
            answer = await self._off_loop(
                lambda: self._client.converse(**request(self._settings.model, call))
            )
        text = "".join(block.get("text", "") for block in answer["output"]["message"]["content"])
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": _FINISH.get(answer["stopReason"], "stop"),
        }
        return _head(call, "chat.completion") | {"choices": [choice], "usage": usage(answer["usage"])}

    async def stream(self, call: Call) -> AsyncGenerator[list[bytes], None]:
        """One ConverseStream call; its events become chunks."""
        with _told():
            asked = request(self._settings.model, call)
            answer = await self._off_loop(lambda: self._client.converse_stream(**asked))
            events = answer["stream"]
            try:
                parts = iter(events)
                while (part := await self._off_loop(lambda: next(parts, None))) is not None:
                    if chunk := _chunk(call, part):
                        yield [sse.event(chunk)]
            finally:
                events.close()
        yield [sse.DONE]

    async def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def _client(self) -> Any:
        """Made in a thread at first use: boto3 reads its service descriptions for a fifth of a second."""
        return boto3.Session().client(
            "bedrock-runtime",
            region_name=self._settings.region,
            endpoint_url=self._settings.endpoint,
            config=Config(
                connect_timeout=CONNECT_S, read_timeout=SILENCE_S, retries={"total_max_attempts": 2}
            ),
        )

    async def _off_loop(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def request(model: str, call: Call) -> dict[str, Any]:
    """The arguments of Converse: system texts apart, turns alternating, the user's first."""
    payload = call.payload
    limits = {"maxTokens": payload.get("max_tokens"), "temperature": payload.get("temperature")}
    limits |= {"topP": payload.get("top_p")}
    system = [{"text": m["content"]} for m in payload["messages"] if m["role"] == "system"]
    turns = [m for m in payload["messages"] if m["role"] != "system"]
    return {
        "modelId": model,
        "system": system,
        "messages": _alternating(turns),
        "inferenceConfig": {name: value for name, value in limits.items() if value is not None},
        "requestMetadata": {"request_id": call.request_id},
    }


def usage(told: Mapping[str, Any]) -> dict[str, Any]:
    """Bedrock's token counts in OpenAI's words; its inputTokens leave the cached ones out."""
    cached = told.get("cacheReadInputTokens") or 0
    prompt, completion = told["inputTokens"] + cached, told["outputTokens"]
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


_FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length"}


def _alternating(turns: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    merged: list[dict[str, Any]] = []
    for turn in turns:
        if merged and merged[-1]["role"] == turn["role"]:
            merged[-1]["content"].append({"text": turn["content"]})
        elif merged or turn["role"] == "user":
            merged.append({"role": turn["role"], "content": [{"text": turn["content"]}]})
    return merged


def _chunk(call: Call, part: Mapping[str, Any]) -> dict[str, Any] | None:
    """One event of the stream as a chunk; None for those that add nothing."""
    head = _head(call, "chat.completion.chunk")
    if "messageStart" in part:
        return head | {"choices": [_choice({"role": "assistant", "content": ""})]}
    if "contentBlockDelta" in part:
        return head | {"choices": [_choice({"content": part["contentBlockDelta"]["delta"].get("text", "")})]}
    if "messageStop" in part:
        reason = _FINISH.get(part["messageStop"]["stopReason"], "stop")
        return head | {"choices": [_choice({}) | {"finish_reason": reason}]}
    if "metadata" in part:
        return head | {"choices": [], "usage": usage(part["metadata"]["usage"])}
    return None


def _choice(delta: Mapping[str, str]) -> dict[str, Any]:
    return {"index": 0, "delta": dict(delta), "finish_reason": None}


def _head(call: Call, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{call.request_id}", "object": kind, "model": call.payload["model"]}


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (ReadTimeoutError, ConnectTimeoutError) as error:
        raise BackendError(
            504, "engine_timeout", f"Bedrock timed out: {error}", Failure.TIMEOUT, "timeout"
        ) from error
    except ClientError as error:  # the stream's own errors are of this class too
        raise _refused(error) from error
    except (BotoCoreError, json.JSONDecodeError) as error:
        raise broken(f"Bedrock is not to be reached: {error}") from error


_STATUSES = {"ThrottlingException": 429, "ValidationException": 400, "AccessDeniedException": 502}


def _refused(error: ClientError) -> BackendError:
    told = error.response.get("Error", {})
    code, message = str(told.get("Code", "")), f"Bedrock: {told.get('Message') or error}"
    # a stream's exceptions begin with a small letter
    status = _STATUSES.get(code[:1].upper() + code[1:], 502)
    kinds = {429: "rejected", 400: "client_error"}
    failure = None if status in kinds else Failure.UNAVAILABLE
    return BackendError(status, "engine_refused", message, failure, kinds.get(status, "server_error"))
