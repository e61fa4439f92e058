"""One answer, by as many tries as it takes: the engine, the engine with less to read, the fallback."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import Any

from loadtests.staging.gateway import sse
from loadtests.staging.gateway.account import Account
from loadtests.staging.gateway.asking import Chat
from loadtests.staging.gateway.assembly import Assembled, assemble, rendered, unbounded
from loadtests.staging.gateway.backends import Backend, BackendError, Call, broken, refused
from loadtests.staging.gateway.config import Budget, Failure
from loadtests.staging.gateway.live import Setup
from loadtests.staging.gateway.prompts import told as told_of
from loadtests.staging.gateway.routing import Target
from loadtests.staging.gateway.timing import Clock
from loadtests.staging.gateway.tracing import Timed, Tracing

FIRST_FAILED_STATUS = 400


@dataclass(frozen=True, slots=True)
class Job:
    """A request on its way: what was asked, who is to answer, and where it is accounted for."""

    setup: Setup
    chat: Chat
    target: Target
    account: Account
    root: Timed


@dataclass(slots=True)
class Opened:
    """An answer that has begun: whole, or its first events and the rest."""

    client: Timed
    engine: Timed | None  # none behind Bedrock: there is no vLLM
    backend: Backend
    model: str
    whole: dict[str, Any] = field(default_factory=dict)
    first: list[bytes] = field(default_factory=list)
    rest: AsyncGenerator[list[bytes], None] | None = None

    async def close(self, account: Account, clock: Clock) -> None:
        """End it, wherever it stands: the engine stops, and the spans say how it went."""
        try:
            if self.rest is not None:
                await self.rest.aclose()
        finally:
            self.end(account, clock, account.message)

    def end(self, account: Account, clock: Clock, failure: str | None) -> None:
        """Close the spans of this try."""
        now_ns = clock.steady_ns()
        told = _usage(account)
        if self.engine is not None:
            self.engine.end(now_ns, told | _address(self.backend, self.model), failure)
        self.client.end(now_ns, _client(account, self.backend) | ({} if self.engine else told), failure)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Who can be asked."""

    engine: Backend
    tracing: Tracing
    clock: Clock

    async def begin(self, job: Job, fallback: Backend | None, client: Timed) -> Opened:
        """The first try that gets as far as an answer's first event. Raises the last one's BackendError."""
        try:
            return await self._try(job, self.engine, client, smaller=False)
        except BackendError as error:
            failure = error
        if failure.failure is Failure.OOM:
            job.account.oom_caught = True
            try:
                return await self._try(job, self.engine, self._again(job), smaller=True)
            except BackendError as error:
                failure = error
        if fallback is None or failure.failure not in job.setup.config.fallback.after:
            raise failure
        job.account.variant = "fallback"
        job.account.adapter = job.account.backend_version = job.setup.config.fallback.model
        return await self._try(job, fallback, self._again(job), smaller=job.account.oom_caught)

    def _again(self, job: Job) -> Timed:
        return self.tracing.child(job.root, "generation_client", self.clock.steady_ns())

    async def _try(self, job: Job, backend: Backend, client: Timed, *, smaller: bool) -> Opened:
        account = job.account
        account.attempts += 1
        engine = None
        if backend.kind != "bedrock":
            engine = self.tracing.child(client, "vllm_gateway", self.clock.steady_ns())
        model = _model(job)
        opened = Opened(client, engine, backend, model)
        try:
            payload = prepare(job, model, self.clock, smaller=smaller)
            call = Call(
                payload, account.request_id, (engine or client).traceparent(), job.setup.config.engine
            )
            await _open(opened, call, stream=job.chat.stream)
        except BaseException as error:
            opened.end(account, self.clock, str(error) or type(error).__name__)
            raise
        return opened


def prepare(job: Job, model: str, clock: Clock, *, smaller: bool) -> dict[str, Any]:
    """The engine's body; the account hears of the prefix and of what was left out.

    A smaller one has half of the older turns, and half of the budget for all that varies.
    """
    config, chat, account = job.setup.config, job.chat, job.account
    prompt = job.setup.prompts[job.target.prompt_version]
    session = chat.session_id or account.request_id
    prefix = rendered(prompt.text, config.faults.volatile_prefix, session, clock.now())
    budget = config.budget.halved() if smaller else config.budget
    made = _assembled(job, prefix, _halved(chat) if smaller else chat, budget)
    seen = told_of(prompt, prefix)
    account.prefix_fingerprint, account.prefix_blocks = seen.fingerprint, seen.blocks
    account.prefix_divergence = seen.divergence
    account.budget_trimmed = made.trimmed or smaller
    account.input_tokens, account.tokens_estimated = made.input_tokens, job.setup.counter.estimated
    account.inputs = made.messages
    payload = {"model": model, "messages": made.messages, "max_tokens": made.max_tokens, **chat.sampling}
    if chat.stream:
        payload |= {"stream": True, "stream_options": {"include_usage": True}}
    return payload


def failure_of(event: bytes) -> BackendError | None:
    """What an engine says went wrong inside a stream; None for a piece of an answer."""
    found = sse.data(event) if b'"error"' in event else None
    error = found and (found.get("error") or (found if found.get("object") == "error" else None))
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and code >= FIRST_FAILED_STATUS else 500
    return refused(status, event.removeprefix(b"data:"))


async def _open(opened: Opened, call: Call, *, stream: bool) -> None:
    if not stream:
        opened.whole = await opened.backend.complete(call)
        return
    opened.rest = opened.backend.stream(call)
    try:
        opened.first = await anext(opened.rest)
    except StopAsyncIteration:
        raise broken("the engine closed the stream before it said anything") from None
    if error := failure_of(opened.first[0]):
        await opened.rest.aclose()
        raise error


def _assembled(job: Job, prefix: str, chat: Chat, budget: Budget) -> Assembled:
    make = unbounded if job.setup.config.faults.skip_budget else assemble
    return make(prefix, chat, budget, job.setup.counter)


def _halved(chat: Chat) -> Chat:
    older = chat.turns[:-1]
    return replace(chat, turns=(*older[(len(older) + 1) // 2 :], chat.turns[-1]))


def _model(job: Job) -> str:
    config = job.setup.config
    return config.fallback.model if job.account.variant == "fallback" else job.target.adapter.served


def _client(account: Account, backend: Backend) -> dict[str, str | int | float | bool]:
    told: dict[str, str | int | float | bool] = {
        "mangaassist.backend": backend.kind,
        "mangaassist.variant": account.variant,
        "mangaassist.attempt": account.attempts,
    }
    if account.queue_wait_ms is not None:
        told["mangaassist.queue_wait_ms"] = account.queue_wait_ms
    return told


def _address(backend: Backend, model: str) -> dict[str, str | int | float | bool]:
    host, port = backend.address
    return {
        "server.address": host,
        "server.port": port,
        "gen_ai.request.model": model,
        "mangaassist.replica": f"{host}:{port}",
    }


def _usage(account: Account) -> dict[str, str | int | float | bool]:
    told: dict[str, str | int | float | bool] = {}
    if account.input_tokens is not None:
        told["gen_ai.usage.input_tokens"] = account.input_tokens
    if account.output_tokens is not None:
        told["gen_ai.usage.output_tokens"] = account.output_tokens
    if account.cached_tokens is not None:
        told["mangaassist.cached_tokens"] = account.cached_tokens
        told["mangaassist.cache_hit"] = account.cached_tokens > 0
    return told
