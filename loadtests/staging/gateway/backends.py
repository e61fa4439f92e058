"""Where answers come from: one seam for every engine, and its form for OpenAI-compatible servers."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit

from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)

from loadtests.staging.gateway.config import Engine, Failure
from loadtests.staging.gateway.refusals import Refusal
from loadtests.staging.gateway.sse import EventTooLong, Splitter

CONNECTIONS = 2048  # above what admission lets in, so that the pool is never a hidden queue
IDLE_S = 4.0  # vLLM closes an idle connection after 5 s: it must not do so while we write into it
ANSWER_BYTES = 8_388_608
ERROR_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an engine: OpenAI's body, and the ids that join it to ours."""

    payload: Mapping[str, Any]
    request_id: str
    traceparent: str
    patience: Engine


class BackendError(Refusal):
    """An engine that did not answer. `failure` is None where the request is at fault, and none other may."""

    def __init__(self, status: int, code: str, message: str, failure: Failure | None, kind: str) -> None:
        super().__init__(status, code, message, kind=kind)
        self.failure = failure


class Backend(Protocol):
    """An engine."""

    kind: str  # vllm, openai or bedrock
    address: tuple[str, int]

    async def complete(self, call: Call) -> dict[str, Any]:
        """The whole answer, as OpenAI's object. Raises BackendError."""

    def stream(self, call: Call) -> AsyncGenerator[list[bytes], None]:
        """Server-sent events as they come, several where they came together. Raises BackendError.

        Closing the generator cancels the request.
        """

    async def close(self) -> None:
        """Give connections back."""


class OpenAi:
    """A server with OpenAI's API: vLLM, or the fallback."""

    def __init__(self, url: str, kind: str) -> None:
        self.kind = kind
        parts = urlsplit(url)
        self.address = (parts.hostname or url, parts.port or (443 if parts.scheme == "https" else 80))
        self._chat = f"{url.rstrip('/')}/v1/chat/completions"

    async def complete(self, call: Call) -> dict[str, Any]:
        """One POST."""
        with _told(self._where):
            async with self._asked(call) as response:
                body = await _body(response, ANSWER_BYTES)
        if response.status != HTTPStatus.OK:
            raise refused(response.status, body)
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise _unusable(f"{self._where} answered no JSON") from error
        if not isinstance(answer, dict):
            raise _unusable(f"{self._where} answered no JSON object")
        return answer

    async def stream(self, call: Call) -> AsyncGenerator[list[bytes], None]:
        """One POST, read piece by piece."""
        splitter = Splitter()
        with _told(self._where):
            async with self._asked(call) as response:
                if response.status != HTTPStatus.OK:
                    raise refused(response.status, await _body(response, ERROR_BYTES))
                async for piece in response.content.iter_any():
                    if events := splitter.feed(piece):
                        yield events

    async def close(self) -> None:
        """Close the pool."""
        await self._session.close()

    @cached_property
    def _session(self) -> ClientSession:
        """Made at first use, because it belongs to the event loop that runs then.

        aiohttp, because httpx took three quarters of all that the gateway computes for a request.
        """
        return ClientSession(
            connector=TCPConnector(limit=CONNECTIONS, keepalive_timeout=IDLE_S),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
        )

    @property
    def _where(self) -> str:
        return f"the {self.kind} engine at {self.address[0]}:{self.address[1]}"

    def _asked(self, call: Call) -> Any:
        silence_s, connect_s = call.patience.silence.total_seconds(), call.patience.connect.total_seconds()
        return self._session.post(
            self._chat,
            data=json.dumps({**call.payload, "request_id": call.request_id}, ensure_ascii=False).encode(),
            headers={
                "content-type": "application/json",
                "accept-encoding": "identity",  # events are handed on as they come
                "traceparent": call.traceparent,
                "x-request-id": call.request_id,
            },
            timeout=ClientTimeout(sock_read=silence_s, sock_connect=connect_s, connect=connect_s),
        )


def refused(status: int, body: bytes) -> BackendError:
    """An engine's error answer, with its own words."""
    message = _message(body) or f"the engine answered {status}"
    if "out of memory" in message.lower():
        return BackendError(503, "engine_out_of_memory", message, Failure.OOM, "oom")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BackendError(502, "engine_error", message, Failure.UNAVAILABLE, "server_error")
    kind = Refusal(status, "engine_refused", message).kind or "client_error"
    return BackendError(status, "engine_refused", message, None, kind)


def broken(message: str) -> BackendError:
    """An engine that is gone, or went in the middle of an answer."""
    return BackendError(502, "engine_unavailable", message, Failure.UNAVAILABLE, "connection_lost")


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Transport errors in our words."""
    try:
        yield
    except ConnectionTimeoutError as error:
        raise broken(f"{where} takes no connection") from error
    except TimeoutError as error:
        message = f"{where} timed out: it said nothing for too long"
        raise BackendError(504, "engine_timeout", message, Failure.TIMEOUT, "timeout") from error
    except (ClientError, OSError) as error:
        raise broken(f"{where} is gone: {str(error) or type(error).__name__}") from error
    except EventTooLong as error:
        raise _unusable(f"{where}: {error}") from error


def _unusable(message: str) -> BackendError:
    return BackendError(502, "engine_error", message, Failure.UNAVAILABLE, "server_error")


async def _body(response: ClientResponse, limit: int) -> bytes:
    body = b""
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            raise _unusable(f"the engine's answer is longer than {limit} bytes")
    return body


def _message(body: bytes) -> str:
    """The message of OpenAI's error object, of vLLM's older flat one, or the text itself."""
    text = body.decode(errors="replace").strip()
    try:
        data = json.loads(text)
    except ValueError:
        return text[:500]
    error = data.get("error", data) if isinstance(data, dict) else data
    message = error.get("message") if isinstance(error, dict) else error
    return str(message)[:500] if message else text[:500]
