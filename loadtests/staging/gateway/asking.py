"""What a client may ask: the body of a chat request to a value, or a refusal that names what is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import Request

from loadtests.staging.gateway.refusals import Refusal, invalid

REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Chat:
    """A request for an answer. `turns` ends with the user's newest message."""

    model: str
    turns: tuple[Turn, ...]
    retrieval: tuple[str, ...]
    request_id: str | None
    session_id: str | None
    user_id: str | None
    turn: int | None
    intent: str | None
    locale: str | None
    max_tokens: int | None
    sampling: Mapping[str, Any]  # handed on to the engine as it is
    stream: bool
    include_usage: bool


async def body(request: Request, limit: int) -> bytes:
    """The whole body, read no further than its bound. Raises Refusal 413."""
    declared = request.headers.get("content-length", "")
    pieces, size = [], int(declared) if declared.isascii() and declared.isdigit() else 0
    if size <= limit:
        size = 0
        async for piece in request.stream():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                break
    if size > limit:
        raise Refusal(
            413, "body_too_large", f"the body is longer than {limit} bytes; send fewer or shorter turns"
        )
    return b"".join(pieces)


def read(raw: bytes, messages: int) -> Chat:
    """The body as a chat of at most so many messages. Raises Refusal."""
    try:
        asked = _Body.model_validate_json(raw)
    except ValidationError as error:
        raise _refusal(error) from error
    if len(asked.messages) > messages:
        raise invalid(f"{len(asked.messages)} messages; at most {messages} are taken", "messages")
    if any(m.role not in {"user", "assistant"} for m in asked.messages):
        raise invalid(
            "only user and assistant messages are taken: the system prompt is the gateway's",
            "messages",
            "system_not_allowed",
        )
    if asked.messages[-1].role != "user":
        raise invalid("the newest message, the last, has to be the user's", "messages")
    return _chat(asked)


def _text(content: Any) -> Any:
    """A list of text parts as one text, as OpenAI's newer clients send it."""
    if isinstance(content, Sequence) and not isinstance(content, str):
        parts = [p.get("text") for p in content if isinstance(p, Mapping) and p.get("type") == "text"]
        if len(parts) == len(content) and all(isinstance(p, str) for p in parts):
            return "".join(str(p) for p in parts)
    return content


Short = Annotated[str, Field(max_length=128)]
Content = Annotated[str, BeforeValidator(_text)]


class _Message(BaseModel):
    role: Short
    content: Content
    name: Short | None = None


class _Options(BaseModel):
    include_usage: bool = False


class _Metadata(BaseModel):
    session_id: Short | None = None
    turn: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    intent: Short | None = None
    locale: Short | None = None
    user_id: Short | None = None


class _Sampling(BaseModel):
    """What the engine alone judges."""

    min_tokens: int | None = None
    ignore_eos: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class _Body(_Sampling):
    # a parameter that is silently left out would be a surprise later
    model_config = ConfigDict(extra="forbid")

    model: Short
    messages: Annotated[list[_Message], Field(min_length=1)]
    request_id: Annotated[str, Field(pattern=REQUEST_ID)] | None = None
    # factories: pydantic copies a default deeply for every request
    metadata: Annotated[_Metadata, Field(default_factory=_Metadata)]
    retrieval: Annotated[list[str], Field(default_factory=list)]
    user: Short | None = None
    n: Literal[1] = 1
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stream: bool = False
    stream_options: _Options | None = None


_SAMPLING = tuple(_Sampling.model_fields)


def _chat(asked: _Body) -> Chat:
    meta = asked.metadata
    sampling = {name: getattr(asked, name) for name in _SAMPLING if name in asked.model_fields_set}
    return Chat(
        model=asked.model,
        turns=tuple(Turn(m.role, m.content) for m in asked.messages),
        retrieval=tuple(asked.retrieval),
        request_id=asked.request_id,
        session_id=meta.session_id,
        user_id=meta.user_id or asked.user,
        turn=meta.turn,
        intent=meta.intent,
        locale=meta.locale,
        max_tokens=asked.max_completion_tokens or asked.max_tokens,
        sampling={name: value for name, value in sampling.items() if value is not None},
        stream=asked.stream,
        include_usage=bool(asked.stream_options and asked.stream_options.include_usage),
    )


def _refusal(error: ValidationError) -> Refusal:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in first["loc"]) or None
    if first["type"] == "json_invalid":
        return invalid(
            f"the body is no JSON: {first['msg'].removeprefix('Invalid JSON: ')}", code="invalid_json"
        )
    if first["type"] == "extra_forbidden":
        return invalid(f"{where} is no parameter of this gateway; leave it out", where, "unknown_parameter")
    return invalid(f"{where or 'the body'}: {first['msg']}", where)
