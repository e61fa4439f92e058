"""The HTTP side: `POST /v1/traces` as OTLP/HTTP describes it, with everything a sender may cost bounded."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from collectors.sources.otlp.assembly import Assembler
from collectors.sources.otlp.decoding import JSON, PROTOBUF, Decoded, Unreadable, decoded, parsed, unpacked
from collectors.sources.otlp.forwarding import Export, Forwarder

PATH = "/v1/traces"


@dataclass(frozen=True, slots=True)
class Limits:
    """What senders may cost. A batch of OpenTelemetry's 512 spans is 0.3 MB; the rate is four a request.

    `reading_bytes` bounds what all senders together may be in the middle of sending.
    """

    body_bytes: int = 16 * 1024 * 1024
    reading_bytes: int = 64 * 1024 * 1024
    reading_s: float = 10.0
    spans_per_s: float = 20_000.0
    burst_spans: float = 100_000.0


class _Refused(Exception):  # noqa: N818 - it is answered, never raised further
    """An export that is not taken: why, and the HTTP status and headers that say so."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Intake:
    """Takes exports in. `counts` are answers by status, `spans` what was received and rejected."""

    def __init__(
        self,
        assembler: Assembler,
        forwarder: Forwarder | None,
        clock: Callable[[], datetime],
        token: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._assembler, self._forwarder, self._clock = assembler, forwarder, clock
        self._token, self._limits = token, limits or Limits()
        self._allowance = self._limits.burst_spans
        self._refilled: float | None = None
        self._reading = 0
        self.answers: Counter[str] = Counter()
        self.spans: Counter[str] = Counter()
        self.refusal: str | None = None  # why the last export, or span, was refused since this was taken
        self.app = Starlette(routes=[Route(PATH, self._export, methods=["POST"])])

    async def _export(self, request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            found = await self._taken(request, media_type)
        except _Refused as refused:
            self.refusal = refused.why
            response = _refusal(refused, media_type)
        else:
            response = _success(found, media_type)
        self.answers[str(response.status_code)] += 1
        return response

    async def _taken(self, request: Request, media_type: str) -> Decoded:
        """Take an export in, or say why not. Nothing is awaited once its body is there."""
        self._admit(request, media_type)
        body = await self._body(request)
        encoding = request.headers.get("content-encoding", "").strip().lower()
        try:
            export = parsed(unpacked(body, encoding, self._limits.body_bytes), media_type)
        except Unreadable as error:
            raise _Refused(error.status, error.what) from error
        found = decoded(export, self._clock(), request.client.host if request.client else None)
        received = len(found.spans) + found.rejected
        self._allowance -= received
        self.spans["received"] += received
        if found.rejected:
            self.spans["rejected"] += found.rejected
            self.refusal = found.why
        self._assembler.add(found.spans, asyncio.get_running_loop().time())
        if self._forwarder and received:
            self._forwarder.offer(Export(body, media_type, encoding, received))
        return found

    def _admit(self, request: Request, media_type: str) -> None:
        """Whether to read the body at all."""
        if self._token is not None:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode("latin-1"), f"Bearer {self._token}".encode()):
                why = "the bearer token is missing or wrong. Send the collector's MANGAOPS_OTLP_TOKEN"
                raise _Refused(401, why, WWW_Authenticate="Bearer")
        if media_type not in {PROTOBUF, JSON}:
            raise _Refused(415, f"Content-Type {media_type[:60]!r} is neither {PROTOBUF} nor {JSON}")
        self._refill(asyncio.get_running_loop().time())
        if self._allowance <= 0:
            wait_s = ceil(-self._allowance / self._limits.spans_per_s) or 1
            what = f"more than {self._limits.spans_per_s:g} spans a second came in. Send more slowly"
            raise _Refused(429, what, Retry_After=str(wait_s))
        if self._assembler.full:
            raise _Refused(429, "rows wait to be stored. Try again", Retry_After="5")

    def _refill(self, now_s: float) -> None:
        passed_s = 0.0 if self._refilled is None else now_s - self._refilled
        self._refilled = now_s
        filled = self._allowance + passed_s * self._limits.spans_per_s
        self._allowance = min(self._limits.burst_spans, filled)

    async def _body(self, request: Request) -> bytes:
        found = bytearray()
        try:
            async with asyncio.timeout(self._limits.reading_s):
                async for chunk in request.stream():
                    found += chunk
                    self._reading += len(chunk)
                    self._weigh(len(found))
        except TimeoutError as error:
            raise _Refused(408, f"no whole body within {self._limits.reading_s:g} s") from error
        except ClientDisconnect as error:
            raise _Refused(400, "the sender hung up in the middle of its body") from error
        finally:
            self._reading -= len(found)
        return bytes(found)

    def _weigh(self, body_bytes: int) -> None:
        if body_bytes > self._limits.body_bytes:
            what = f"the body has more than {self._limits.body_bytes} bytes. Send smaller batches"
            raise _Refused(413, what)
        if self._reading > self._limits.reading_bytes:
            raise _Refused(429, "too many senders at once. Try again", Retry_After="1")


# ---------------------------------------------------------------------------------------- answers
def _success(found: Decoded, media_type: str) -> Response:
    """An ExportTraceServiceResponse; spans that were left out are told as a partial success."""
    if media_type == JSON:
        partial = {"rejectedSpans": str(found.rejected), "errorMessage": found.why}
        text = json.dumps({"partialSuccess": partial} if found.rejected else {})
        return Response(text, media_type=JSON)
    answer = ExportTraceServiceResponse()
    if found.rejected:
        answer.partial_success.rejected_spans = found.rejected
        answer.partial_success.error_message = found.why
    return Response(answer.SerializeToString(), media_type=PROTOBUF)


def _refusal(refused: _Refused, media_type: str) -> Response:
    """A google.rpc.Status with the reason as its message, as OTLP asks for."""
    if media_type == PROTOBUF:
        # The same bytes as a Status, without another library: field 1 an integer, field 2 a text.
        status = ExportTracePartialSuccess(error_message=refused.why).SerializeToString()
        return Response(status, refused.status, refused.headers, PROTOBUF)
    text = json.dumps({"message": refused.why})
    return Response(text, refused.status, refused.headers, JSON)
