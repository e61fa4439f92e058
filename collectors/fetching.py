"""One JSON answer of a server, bounded in time and size; what went wrong is said with a remedy.

Nothing is tried twice here: a source asks again at its next turn.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

import httpx

# A page of traces or some minutes of samples. Its values take five times as much once they are read.
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_REDIRECTS = 2
MAX_TOLD = 200  # characters of a server's own words
_SECRETS = re.compile(r"(?<=//)[^/@]*@|[?#].*")


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one answer may cost. `timeout` covers the whole of it, redirects included."""

    timeout: timedelta = timedelta(seconds=10)
    max_body_bytes: int = MAX_BODY_BYTES


class Unanswered(Exception):  # noqa: N818 - a state of the world outside, not of this program
    """No answer that could be read: what and remedy.

    `too_large`: a smaller question may be answered. `status` is the server's where that is what went wrong.
    """

    def __init__(self, what: str, remedy: str, *, too_large: bool = False, status: int | None = None) -> None:
        super().__init__(f"{what}. {remedy}")
        self.what, self.remedy, self.too_large, self.status = what, remedy, too_large, status


async def fetch(client: httpx.AsyncClient, request: httpx.Request, limits: FetchLimits) -> Any:
    """The JSON of the answer. Raises Unanswered for everything else that a server may do."""
    where, allowed_s = shown(str(request.url)), limits.timeout.total_seconds()
    try:
        async with asyncio.timeout(allowed_s):
            body = await _followed(client, request, limits)
    except (TimeoutError, httpx.TimeoutException):
        raise Unanswered(
            f"no whole answer from {where} within {allowed_s:g} s",
            "See whether the server is overloaded or stuck",
        ) from None
    except httpx.ConnectError as error:
        raise Unanswered(
            f"cannot connect to {where} ({error})",
            "See whether the server runs there, and whether a firewall lets this host in",
        ) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Unanswered(f"{where!r} is no address ({error})", "Write it as http://host:port") from None
    except httpx.HTTPError as error:
        raise Unanswered(
            f"{where} broke off its answer ({type(error).__name__}: {error})",
            "See the server's log; it or a proxy before it may have restarted",
        ) from None
    return _json(body, where)


def fetch_now(request: httpx.Request, limits: FetchLimits) -> Any:
    """The same for a thread without an event loop. Raises Unanswered."""

    async def once() -> Any:
        async with httpx.AsyncClient(verify=_trust()) as client:
            return await fetch(client, request, limits)

    return asyncio.run(once())


def shown(url: str) -> str:
    """An address without the password and the query that it may carry."""
    return _SECRETS.sub("", url)


def host(url: str) -> str:
    """What a server is called: host:port."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return shown(url)
    port = parsed.port or {"http": 80, "https": 443}.get(parsed.scheme)
    return f"{parsed.host}:{port}" if parsed.host else shown(url)


@lru_cache
def _trust() -> ssl.SSLContext:
    """Read once: the list of authorities takes longer to load than most answers."""
    return httpx.create_ssl_context()


async def _followed(client: httpx.AsyncClient, request: httpx.Request, limits: FetchLimits) -> bytes:
    request.headers["Accept-Encoding"] = "identity"  # nothing that could unpack without end
    for _ in range(MAX_REDIRECTS + 1):
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            if response.next_request is None:
                return await _body(response, limits)
            request = _redirected(request, response.next_request)
        finally:
            await response.aclose()
    raise Unanswered(
        f"{shown(str(request.url))} redirects in a circle", "Name the address where the server really is"
    )


def _redirected(request: httpx.Request, there: httpx.Request) -> httpx.Request:
    if (there.url.scheme, there.url.host, there.url.port) != (
        request.url.scheme,
        request.url.host,
        request.url.port,
    ):
        raise Unanswered(
            f"{shown(str(request.url))} sends us on to {shown(str(there.url))}, another host",
            "Name the server's own address, past login pages",
        )
    return there


async def _body(response: httpx.Response, limits: FetchLimits) -> bytes:
    where, status = shown(str(response.url)), response.status_code
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limits.max_body_bytes:
            raise Unanswered(
                f"{where} answers with more than {limits.max_body_bytes} bytes",
                "Look at the address; another server may answer there",
                too_large=True,
            )
    if status != httpx.codes.OK:
        reason = httpx.codes.get_reason_phrase(status)
        raise Unanswered(
            f"{where} answered HTTP {status} {reason}".rstrip() + _own_words(bytes(body)),
            "Open the address: 404 means another server or path, 401 or 403 that a proxy guards it",
            status=status,
        )
    return bytes(body)


def _own_words(body: bytes) -> str:
    """What the server says of its failure, where it says so in JSON as Prometheus and MLflow do."""
    try:
        told = json.loads(body)
        words = told.get("error") or told.get("message") or told.get("detail") or ""
    except (ValueError, AttributeError, RecursionError):
        return ""
    return f": {' '.join(str(words).split())[:MAX_TOLD]}" if words else ""


def _json(body: bytes, where: str) -> Any:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unanswered(
            f"{where} answers with bytes that are no text ({error.reason} at {error.start})",
            "Name the server's own address; something else answers at this one",
        ) from None
    start = text.lstrip()[:1]
    if start in ("", "<"):
        raise Unanswered(
            f"{where} answers with {'an HTML page' if start else 'an empty body'}",
            "Name the server's own address, past login pages and proxies",
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unanswered(
            f"{where}'s answer cannot be read, it is no JSON or breaks off ({str(error)[:MAX_TOLD]})",
            "Name the server's own address; if it is that, look for a proxy that limits answers",
        ) from None
