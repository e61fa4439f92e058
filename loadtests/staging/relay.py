"""A TCP relay on loopback that can be blocked: what stands behind it then answers nobody, and lives on."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from loadtests.staging.parts import HOST

CHUNK = 65536


class Relay:
    """Passes connections on to `port` until it is blocked; then it breaks them off and refuses new ones.

    Runs in a thread of its own between `start` and `stop`.
    """

    def __init__(self, port: int) -> None:
        self._target, self.port = port, 0
        self._loop = asyncio.new_event_loop()
        self._blocked = False
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)

    def start(self) -> None:
        """Listen on a free port, `port` from now on."""
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, HOST, 0), self._loop)
        self.port = server.result(5).sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Close everything."""
        self._blocked = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def block(self) -> None:
        """Break off what is open and let nothing through."""
        self._blocked = True
        self._loop.call_soon_threadsafe(self._break_off)

    def unblock(self) -> None:
        """Pass connections on again."""
        self._blocked = False

    async def _end(self) -> None:
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _break_off(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if not self._blocked:
                await self._both_ways(reader, writer)
        except OSError:
            pass  # either side went away: so does the other
        finally:
            self._open.discard(writer)
            writer.close()

    async def _both_ways(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(HOST, self._target)
        self._open.add(inner_writer)
        try:
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
        finally:
            self._open.discard(inner_writer)
            inner_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()
