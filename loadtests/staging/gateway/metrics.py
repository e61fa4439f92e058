"""What Prometheus scrapes here: `mangaassist_inference_*`, by adapter and backend version."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from loadtests.staging.gateway.account import Account

PREFIX = "mangaassist_inference_"
LABELS = ("adapter_id", "backend_version")
NOBODY = "none"  # a request that was refused before anything was chosen for it
# Milliseconds, closer where thresholds are: 100 (queue wait), 200 and 500 (TTFT), 2,000 (whole answer).
WAITS = (1, 2, 5, 10, 25, 50, 100, 150, 200, 300, 400, 500, 750, 1000, 2000, 5000, 10_000, 30_000, 60_000)
TOKENS = (16, 32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192)


class Metrics:
    """One registry a gateway, so that two of them can stand in one process."""

    def __init__(self, active: Callable[[], int], waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._waits = {
            name: Histogram(PREFIX + name, text, LABELS, buckets=WAITS, registry=self._registry)
            for name, text in _WAITS.items()
        }
        self._tokens = {
            name: Histogram(PREFIX + name, text, LABELS, buckets=TOKENS, registry=self._registry)
            for name, text in _TOKENS.items()
        }
        self._counters = {
            name: Counter(PREFIX + name, text, LABELS, registry=self._registry)
            for name, text in _COUNTERS.items()
        }
        self._requests = Counter(
            f"{PREFIX}requests",
            "Requests by their end.",
            (*LABELS, "status", "variant"),
            registry=self._registry,
        )
        self.shadows_skipped = Counter(
            f"{PREFIX}shadows_skipped", "Shadows not asked: too many at once.", registry=self._registry
        )
        for name, text, read in (
            ("active", "Requests let in.", active),
            ("waiting", "Requests in the gateway's queue.", waiting),
        ):
            Gauge(PREFIX + name, text, registry=self._registry).set_function(read)

    def observe(self, account: Account) -> None:
        """Count a request that has ended."""
        labels = (account.adapter or NOBODY, account.backend_version or NOBODY)
        for name, value in _waited(account).items():
            if value is not None:
                self._waits[name].labels(*labels).observe(value)
        for name, tokens in (
            ("input_tokens", account.input_tokens),
            ("output_tokens", account.output_tokens),
        ):
            if tokens is not None:
                self._tokens[name].labels(*labels).observe(tokens)
        for name, happened in _happened(account).items():
            self._counters[name].labels(*labels).inc(happened)
        self._requests.labels(*labels, str(account.status), account.variant).inc()

    def text(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self._registry)


_WAITS = {
    "queue_wait_ms": "Wait for admission.",
    "ttft_ms": "From the request to its first token.",
    "generation_ms": "From the first token to the last.",
}
_TOKENS = {"input_tokens": "Prompt tokens.", "output_tokens": "Tokens of the answer."}
_COUNTERS = {
    "prefix_cache_hit": "Requests with a part of their prompt in the prefix cache.",
    "token_budget_trimmed": "Requests that were cut to their budget.",
    "oom_caught": "Requests for which an engine ran out of memory.",
}


def _waited(account: Account) -> dict[str, float | None]:
    known = account.e2e_ms is not None and account.ttft_ms is not None
    return {
        "queue_wait_ms": account.queue_wait_ms,
        "ttft_ms": account.ttft_ms,
        "generation_ms": (account.e2e_ms or 0.0) - (account.ttft_ms or 0.0) if known else None,
    }


def _happened(account: Account) -> dict[str, bool]:
    return {
        "prefix_cache_hit": bool(account.cached_tokens),
        "token_budget_trimmed": account.budget_trimmed,
        "oom_caught": account.oom_caught,
    }
