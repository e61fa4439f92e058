"""What is known of one request: filled in while it is served, then told to trace, metrics and log alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtests.staging.gateway.refusals import Refusal
from loadtests.staging.gateway.timing import Anchor

OK = 200


@dataclass(slots=True)
class Account:
    """Mutable on purpose: it lives as long as its request, and one task at a time has it.

    `status` is what the request comes to: a stream that broke after its 200 counts as 502 here.
    """

    request_id: str
    anchor: Anchor
    trace_id: str = ""
    session_id: str | None = None
    user_id: str | None = None
    turn: int | None = None
    intent: str | None = None
    locale: str | None = None
    adapter: str | None = None
    backend_version: str | None = None
    prompt_version: str | None = None
    prefix_fingerprint: str | None = None
    prefix_blocks: str | None = None
    prefix_divergence: str | None = None
    variant: str = "primary"
    status: int = OK
    error_kind: str | None = None
    message: str | None = None
    attempts: int = 0
    queue_wait_ms: float | None = None
    ttft_ms: float | None = None
    e2e_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    tokens_estimated: bool = False
    budget_trimmed: bool = False
    oom_caught: bool = False
    capture_text: bool = False
    inputs: Sequence[Mapping[str, str]] = ()  # the messages as they were sent
    answer: list[str] = field(default_factory=list)  # its pieces, where they are captured or compared
    ended: bool = False

    def failed(self, refusal: Refusal) -> None:
        """It came to this."""
        self.status, self.error_kind, self.message = refusal.status, refusal.kind, refusal.message

    def took(self, usage: Mapping[str, Any]) -> None:
        """The tokens as the engine counted them."""
        self.input_tokens = _whole(usage.get("prompt_tokens"), self.input_tokens)
        self.output_tokens = _whole(usage.get("completion_tokens"), self.output_tokens)
        self.tokens_estimated &= "prompt_tokens" not in usage
        details = usage.get("prompt_tokens_details")
        if isinstance(details, Mapping):
            self.cached_tokens = _whole(details.get("cached_tokens"), self.cached_tokens)


def attributes(account: Account) -> dict[str, str | int | float | bool]:
    """The root span's attributes; what is not known is left out."""
    tags = {
        "adapter_id": account.adapter,
        "backend_version": account.backend_version,
        "prompt_version": account.prompt_version,
        "intent": account.intent,
        "locale": account.locale,
        "request_id": account.request_id,
    }
    named: dict[str, Any] = {f"mangaassist.{name}": getattr(account, name) for name in _NAMED}
    found = named | {
        "session.id": account.session_id,
        "user.id": account.user_id,
        "mangaassist.adapter_id": account.adapter,
        "http.response.status_code": account.status,
        "mlflow.spanInputs": _inputs(account),
        "mlflow.spanOutputs": _outputs(account),
        **{f"mlflow.traceTag.{name}": value for name, value in tags.items()},
    }
    return {name: value for name, value in found.items() if value is not None}


def line(account: Account) -> dict[str, Any]:
    """The request's line in the log."""
    return {name: getattr(account, name) for name in _LOGGED}


_NAMED = (
    *("request_id", "turn", "intent", "locale", "prompt_version", "backend_version", "variant", "error_kind"),
    *("ttft_ms", "input_tokens", "output_tokens", "cached_tokens", "budget_trimmed", "oom_caught"),
    *("prefix_fingerprint", "prefix_blocks", "prefix_divergence"),
)
_LOGGED = (
    *("request_id", "trace_id", "session_id", "turn", "intent", "locale", "status", "error_kind", "message"),
    *("ttft_ms", "e2e_ms", "queue_wait_ms", "input_tokens", "output_tokens", "cached_tokens"),
    *("tokens_estimated", "budget_trimmed", "oom_caught", "attempts", "adapter", "backend_version"),
    *("prompt_version", "prefix_fingerprint", "prefix_divergence", "variant"),
)


def _inputs(account: Account) -> str:
    """Never empty: MLflow takes records with the same inputs for one."""
    told: dict[str, Any] = {
        "request_id": account.request_id,
        "session": account.session_id,
        "turn": account.turn,
    }
    if account.capture_text:
        told["messages"] = list(account.inputs)
    return json.dumps(told, ensure_ascii=False)


def _outputs(account: Account) -> str:
    told: dict[str, Any] = {"status": account.status, "output_tokens": account.output_tokens}
    if account.capture_text:
        told["text"] = "".join(account.answer)
    return json.dumps(told, ensure_ascii=False)


def _whole(value: Any, otherwise: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
