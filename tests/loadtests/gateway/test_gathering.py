"""What one turn of the loop writes leaves as one piece, and nothing of it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from loadtests.staging.gateway.gathering import Gathered


class Watched:
    """A real transport, and the pieces that were really written to it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


def exchanged(serve: Callable[[Gathered, Watched], None]) -> tuple[bytes, list[bytes]]:
    """What a client reads until the server closes, and in which pieces it was written."""

    async def run() -> tuple[bytes, list[bytes]]:
        seen: list[Watched] = []

        class Serving(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                seen.append(Watched(transport))
                serve(Gathered(seen[0]), seen[0])  # type: ignore[arg-type] # a transport in all but its type

        server = await asyncio.get_running_loop().create_server(Serving, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            heard = await asyncio.wait_for(reader.read(), 5)
            writer.close()
        return heard, seen[0].written

    return asyncio.run(run())


def test_the_pieces_of_a_turn_are_one_write_and_those_of_the_next_another() -> None:
    def serve(gathered: Gathered, _: Watched) -> None:
        gathered.write(b"head ")
        gathered.write(b"token ")
        asyncio.get_running_loop().call_later(0.05, ends, gathered)

    def ends(gathered: Gathered) -> None:
        gathered.write(b"last ")
        gathered.write(b"end")
        gathered.close()

    assert exchanged(serve) == (b"head token last end", [b"head token ", b"last end"])


def test_closing_writes_what_is_held() -> None:
    def serve(gathered: Gathered, _: Watched) -> None:
        gathered.write(b"all of it")
        gathered.close()

    assert exchanged(serve) == (b"all of it", [b"all of it"])


def test_what_is_written_after_the_end_goes_nowhere() -> None:
    def serve(gathered: Gathered, watched: Watched) -> None:
        watched.transport.close()
        gathered.write(b"too late")

    assert exchanged(serve) == (b"", [])


def test_all_else_is_the_transports_own() -> None:
    def serve(gathered: Gathered, watched: Watched) -> None:
        peer = watched.transport.get_extra_info("peername")
        assert gathered.get_extra_info("peername") == peer
        assert not gathered.is_closing()
        gathered.write(peer[0].encode())
        gathered.close()
        assert gathered.is_closing()

    assert exchanged(serve)[0] == b"127.0.0.1"
