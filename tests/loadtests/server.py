"""A chat server on raw sockets, for what no framework would do: it cuts characters and kills streams.

Runs in a thread (`serving`), or as a process of its own (`python -m tests.loadtests.server LOG`) that prints
its port and writes what it did as JSON lines when it is terminated.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORDS = ("星屑の", "航海士は", "全12巻です。", "Yes, ", "𠮷野家の", "é", "漫画🎌")


@dataclass(slots=True)
class Served:
    """One request as the server saw it; instants are `time.monotonic()`, which all processes share."""

    body: dict[str, Any]
    way: str
    received_at: float
    first_token_at: float | None = None
    answer: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.answer.encode()).hexdigest()


@dataclass(slots=True)
class Server:
    """`way` names, for a request's body and number, how it is answered."""

    way: Callable[[Mapping[str, Any], int], str]
    url: str = ""
    served: list[Served] = field(default_factory=list)
    open_now: int = 0
    most_open: int = 0
    first_token_s: float = 0.02
    token_s: float = 0.002
    most_tokens: int = 12

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self.one(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def one(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = next(
            int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")
        )
        body = json.loads(await reader.readexactly(length))
        served = Served(body, self.way(body, len(self.served)), time.monotonic())
        self.served.append(served)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            await WAYS[served.way](self, served, writer)
        finally:
            self.open_now -= 1

    async def events(self, served: Served) -> AsyncIterator[dict[str, Any]]:
        """The chunks of a good answer: the role alone, words, usage."""
        yield {"choices": [{"delta": {"role": "assistant", "content": ""}}]}
        await asyncio.sleep(self.first_token_s)
        count = min(served.body["max_tokens"], self.most_tokens)
        for number in range(count):
            word = WORDS[number % len(WORDS)]
            served.answer += word
            yield {"choices": [{"delta": {"content": word}}]}
            await asyncio.sleep(self.token_s)
        yield {"choices": [{"delta": {}, "finish_reason": "length"}]}
        details = {"cached_tokens": 640}
        yield {
            "choices": [],
            "usage": {"prompt_tokens": 900, "completion_tokens": count, "prompt_tokens_details": details},
        }


Answer = Callable[[Server, Served, asyncio.StreamWriter], Awaitable[None]]


def head(served: Served, status: str = "200 OK", more: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/event-stream\r\n"
        f"x-request-id: {served.body['request_id']}\r\n"
        f"x-adapter-id: jp_style_v1\r\nx-prompt-version: v42\r\nTransfer-Encoding: chunked\r\n{more}\r\n"
    ).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(message: object, end: str = "\n\n") -> bytes:
    text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    return f"data: {text}{end}".encode()


async def good(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    await stream(server, served, writer)


async def crlf(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    await stream(server, served, writer, end="\r\n\r\n")


async def in_pieces(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    """Every chunk ends inside a character or an event, and a comment comes between."""
    await stream(server, served, writer, piece=2)


async def stream(
    server: Server, served: Served, writer: asyncio.StreamWriter, end: str = "\n\n", piece: int = 1 << 20
) -> None:
    writer.write(head(served) + chunk(b": welcome\n\n"))
    async for message in server.events(served):
        if served.answer and served.first_token_at is None:
            served.first_token_at = time.monotonic()
        await pieces(writer, event(message, end), piece)
    await pieces(writer, event("[DONE]", end), piece)
    writer.write(b"0\r\n\r\n")


async def pieces(writer: asyncio.StreamWriter, data: bytes, size: int) -> None:
    for at in range(0, len(data), size):
        if writer.transport.is_closing():
            raise ConnectionResetError  # the client has gone
        writer.write(chunk(data[at : at + size]))
        if size < len(data):
            await writer.drain()
            await asyncio.sleep(0)  # each piece a packet of its own


async def no_done(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    writer.write(head(served))
    async for message in server.events(served):
        writer.write(chunk(event(message)))
    writer.write(b"0\r\n\r\n")


async def killed(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    writer.write(head(served))
    async for message in server.events(served):
        writer.write(chunk(event(message)))
        if len(served.answer) > 10:
            await writer.drain()
            writer.transport.abort()
            raise ConnectionResetError


async def closed_early(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    """Closes in the middle of a line, as an engine that is killed does behind a proxy."""
    writer.write(head(served) + chunk(b'data: {"choices": [{"delta": {"cont'))
    writer.close()
    raise ConnectionResetError


async def error_event(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    writer.write(head(served) + chunk(event({"choices": [{"delta": {"content": "あ"}}]})))
    writer.write(chunk(event({"error": {"message": "the engine is gone", "type": "internal", "code": 500}})))
    writer.write(chunk(event("[DONE]")) + b"0\r\n\r\n")


async def bad_utf8(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    writer.write(head(served) + chunk(b'data: {"choices": [{"delta": {"content": "\xe3\x81"}}]}\n\n'))
    writer.write(chunk(event("[DONE]")) + b"0\r\n\r\n")


async def bad_json(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    writer.write(head(served) + chunk(event('{"choices": 5}')) + chunk(event("[DONE]")) + b"0\r\n\r\n")


async def endless_line(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    writer.write(head(served))
    while not writer.transport.is_closing():
        writer.write(chunk(b"x" * 65_536))
        await writer.drain()


async def silent(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    writer.write(head(served) + chunk(event({"choices": [{"delta": {"content": "え"}}]})))
    await asyncio.sleep(30)


async def throttled(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    body = json.dumps({"error": {"message": "too many requests", "type": "rate_limit", "code": 429}}).encode()
    writer.write(head(served, "429 Too Many Requests", "Retry-After: 3\r\n") + chunk(body) + b"0\r\n\r\n")


async def failing(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    writer.write(head(served, "500 Internal Server Error") + chunk(b"\xff<html>oops") + b"0\r\n\r\n")


async def endless_refusal(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    writer.write(head(served, "503 Service Unavailable"))
    while not writer.transport.is_closing():
        writer.write(chunk(b"x" * 65_536))
        await writer.drain()


async def refused(server: Server, served: Served, writer: asyncio.StreamWriter) -> None:
    """Takes the request and closes without a word."""
    writer.close()
    raise ConnectionResetError


WAYS: dict[str, Answer] = {
    each.__name__: each
    for each in (
        good,
        crlf,
        in_pieces,
        no_done,
        killed,
        closed_early,
        error_event,
        bad_utf8,
        bad_json,
        endless_line,
        silent,
        throttled,
        failing,
        endless_refusal,
        refused,
    )
}


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """The server in a thread, on a free port of the loopback interface."""
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def run() -> None:
        listening = await asyncio.start_server(server.connected, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        started.set()

    loop.create_task(run())  # noqa: RUF006 - ends at once; the loop keeps what it opened
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert started.wait(5)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop, loop)
        thread.join(5)
        loop.close()


def stop(loop: asyncio.AbstractEventLoop) -> None:
    for each in asyncio.all_tasks(loop):
        each.cancel()
    loop.call_soon(loop.stop)


async def main(log: Path, first_token_s: float, token_s: float, most_tokens: int) -> None:
    server = Server(lambda *_: "good", first_token_s=first_token_s, token_s=token_s, most_tokens=most_tokens)
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    with log.open("w", encoding="utf-8") as file:
        for each in server.served:
            told = {"request_id": each.body["request_id"], "first_token_at": each.first_token_at}
            file.write(json.dumps({**told, "received_at": each.received_at}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
