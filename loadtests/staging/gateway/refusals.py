"""Failures as clients see them (OpenAI's shape), with the kind that is counted."""

from __future__ import annotations

import json
from math import ceil

from collectors.signals.requests import error_kind

CLIENT_CLOSED = 499  # nginx's number for a client that hung up; it never goes over the wire


class Refusal(Exception):  # noqa: N818 - not an error of ours: an answer
    """A request that is answered with an error.

    `kind` is the error kind of the request row; None derives it from status and message.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        kind: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.retry_after_s = retry_after_s
        self.kind = kind or error_kind(status, message)

    def body(self) -> bytes:
        """OpenAI's error object."""
        error = {"message": self.message, "type": _type(self.status), "param": self.param, "code": self.code}
        return json.dumps({"error": error}, ensure_ascii=False).encode()

    def event(self) -> bytes:
        """The same as a server-sent event, for a stream that has begun. No [DONE] follows it."""
        return b"data: " + self.body() + b"\n\n"

    def headers(self) -> dict[str, str]:
        """Retry-After in whole seconds, at least one, where there is something to wait for."""
        if self.retry_after_s is None:
            return {}
        return {"retry-after": str(max(1, ceil(self.retry_after_s)))}


def busy(message: str, retry_after_s: float) -> Refusal:
    """429."""
    return Refusal(429, "rate_limit_exceeded", message, retry_after_s=retry_after_s)


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> Refusal:
    """400."""
    return Refusal(400, code, message, param=param)


_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
_FIRST_SERVER_ERROR = 500


def _type(status: int) -> str:
    return _TYPES.get(status) or (
        "server_error" if status >= _FIRST_SERVER_ERROR else "invalid_request_error"
    )
