"""One chat request, from its first byte to its row: read, route, admit, ask, relay, account."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import uuid4

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from loadtests.staging.gateway import account as accounts
from loadtests.staging.gateway import asking, routing
from loadtests.staging.gateway.account import Account
from loadtests.staging.gateway.admission import Gate
from loadtests.staging.gateway.asking import Chat
from loadtests.staging.gateway.attempts import Attempts, Job, Opened
from loadtests.staging.gateway.backends import Backend
from loadtests.staging.gateway.config import Fallback
from loadtests.staging.gateway.journal import Comparisons, Journal, compared
from loadtests.staging.gateway.leaving import Presence, closed
from loadtests.staging.gateway.live import Live, Setup
from loadtests.staging.gateway.metrics import Metrics
from loadtests.staging.gateway.readiness import Readiness
from loadtests.staging.gateway.refusals import Refusal, busy
from loadtests.staging.gateway.relaying import Reading, relay
from loadtests.staging.gateway.routing import Target
from loadtests.staging.gateway.shadowing import Shadows
from loadtests.staging.gateway.timing import Clock
from loadtests.staging.gateway.tracing import Timed, Tracing, trace_id

REJECTED_RETRY_S = 1.0
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Service:
    """Everything that a request meets on its way."""

    live: Live
    attempts: Attempts
    fallback: Callable[[Fallback], Backend | None]
    gate: Gate
    readiness: Readiness
    shadows: Shadows
    tracing: Tracing
    metrics: Metrics
    journal: Journal
    comparisons: Comparisons
    clock: Clock
    open_requests: int = field(default=0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one; whatever happens, there is one root span, one line in the log, one count."""
        request = Request(scope, receive)
        anchor = self.clock.anchored()
        root = self.tracing.root(anchor, request.headers.get("traceparent"))
        account = Account(f"req-{uuid4().hex[:16]}", anchor, trace_id(root))
        self.open_requests += 1
        try:
            response = await self._answered(request, send, account, root)
        except Refusal as refusal:
            response = self._refused(account, root, refusal)
        except ClientDisconnect:
            response = self._refused(account, root, closed())
        except Exception:
            _logger.exception("request %s", account.request_id)
            failed = Refusal(500, "internal_error", "the gateway failed; see its log")
            response = self._refused(account, root, failed)
        except BaseException:  # the process ends
            self._refused(account, root, Refusal(503, "not_ready", "the gateway stopped"))
            raise
        if response is not None:
            await response(scope, receive, send)

    async def _answered(self, request: Request, send: Send, account: Account, root: Timed) -> Response | None:
        """A whole answer; None where it was streamed."""
        setup = self.live.setup
        body = await asking.body(request, setup.config.limits.body_bytes)
        chat = asking.read(body, setup.config.limits.messages)
        _identify(account, chat)
        self.readiness.require()
        target = self._target(setup, chat, account)
        async with Presence(request.receive):
            return await self._asked(Job(setup, chat, target, account, root), send)

    def _target(self, setup: Setup, chat: Chat, account: Account) -> Target:
        config = setup.config
        target = routing.choose(config, chat.model, chat.intent, chat.locale)
        target = routing.vary(config, target, chat.session_id or account.request_id, self.clock.now())
        account.variant, account.adapter = target.variant, target.adapter.name
        account.prompt_version = target.prompt_version
        account.backend_version = target.backend_version(config.base.served)
        account.capture_text = config.capture_text
        return target

    async def _asked(self, job: Job, send: Send) -> Response | None:
        client = self.tracing.child(job.root, "generation_client", self.clock.steady_ns())
        try:
            await self._admitted(job)
        except BaseException as error:
            client.end(self.clock.steady_ns(), failure=str(error) or "the client hung up")
            raise
        try:
            fallback = self.fallback(job.setup.config.fallback)
            opened = await self.attempts.begin(job, fallback, client)
        except BaseException:
            self.gate.leave()
            raise
        if not job.chat.stream:
            return self._whole(job, opened)
        await self._streamed(job, opened, send)
        return None

    async def _admitted(self, job: Job) -> None:
        began_ns = self.clock.steady_ns()
        if _unlucky(job.account.request_id) < job.setup.config.faults.reject_share:
            raise busy("turned away by faults.reject_share", REJECTED_RETRY_S)
        await self.gate.enter(job.setup.config.admission, self.clock.steady_s())
        job.account.queue_wait_ms = (self.clock.steady_ns() - began_ns) / 1e6

    def _whole(self, job: Job, opened: Opened) -> Response:
        account = job.account
        account.took(opened.whole.get("usage") or {})
        account.ttft_ms = account.anchor.since_ms(self.clock.steady_ns())
        account.answer.append(_text(opened))
        opened.end(account, self.clock, None)
        self.gate.leave()
        self._end(account, job.root)
        self._compare(job)
        content = json.dumps(opened.whole, ensure_ascii=False).encode()
        return Response(content, headers=_headers(account, job.root), media_type="application/json")

    async def _streamed(self, job: Job, opened: Opened, send: Send) -> None:
        """Relay it to its end, or to where the client hangs up; a client too slow for the limit is left."""
        config, account = job.setup.config, job.account
        keep = config.capture_text or config.shadow is not None
        reading = Reading(account, self.clock, include_usage=job.chat.include_usage, keep=keep)
        try:
            async with asyncio.timeout(config.limits.answer.total_seconds()):
                await relay(reading.relayed(opened), _headers(account, job.root), send)
        except TimeoutError:
            account.failed(closed())
        finally:
            if not reading.complete:
                account.failed(closed())
            try:
                await opened.close(account, self.clock)
            finally:
                self.gate.leave()
                self._end(account, job.root)
                self._compare(job)

    def _refused(self, account: Account, root: Timed, refusal: Refusal) -> Response | None:
        """The refusal as an answer; None where one has begun."""
        if account.ended:
            return None
        account.failed(refusal)
        self._end(account, root)
        headers = _headers(account, root) | refusal.headers()
        return Response(refusal.body(), refusal.status, headers, "application/json")

    def _end(self, account: Account, root: Timed) -> None:
        now_ns = self.clock.steady_ns()
        account.ended, account.e2e_ms = True, account.anchor.since_ms(now_ns)
        self.open_requests -= 1
        failure = account.message if account.error_kind else None
        root.end(now_ns, accounts.attributes(account), failure)
        self.metrics.observe(account)
        self.journal.tell(self.clock.now(), "request", accounts.line(account))

    def _compare(self, job: Job) -> None:
        config, account = job.setup.config, job.account
        if config.canary is None and config.shadow is None:
            return
        answer = "".join(account.answer) if account.answer else None
        self.comparisons.tell(config.comparison, self.clock.now(), compared(account, answer))
        target = routing.shadow(config, job.target, account.request_id)
        if target is not None and account.error_kind is None:
            self.shadows.ask(job, target)


def _identify(account: Account, chat: Chat) -> None:
    account.request_id = chat.request_id or account.request_id
    account.session_id, account.user_id, account.turn = chat.session_id, chat.user_id, chat.turn
    account.intent, account.locale = chat.intent, chat.locale


def _headers(account: Account, root: Timed) -> dict[str, str]:
    known = {
        "x-request-id": account.request_id,
        "x-adapter-id": account.adapter,
        "x-prompt-version": account.prompt_version,
        "traceparent": root.traceparent(),
    }
    return {name: value for name, value in known.items() if value}


def _text(opened: Opened) -> str:
    choices = opened.whole.get("choices") or [{}]
    message = choices[0].get("message") or {}
    return str(message.get("content") or "")


def _unlucky(request_id: str) -> float:
    """A number in [0, 1), always the same for the request."""
    return int.from_bytes(sha256(b"reject " + request_id.encode()).digest()[:4]) / 2**32
