"""One write to the socket for all that one turn of the event loop has to say.

A head and the first token, or the last token and the end, would else be two writes: each costs a system call
here and wakes the client once more.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Gathered:
    """A transport that holds what is written until the callbacks of this turn have run."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Hold it; the first piece of a turn plans the writing."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        """Write what is held, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))

    def __getattr__(self, name: str) -> Any:
        """All else as the transport itself has it."""
        return getattr(self._transport, name)


class Gathering(HttpToolsProtocol):
    """Uvicorn's protocol with such a transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn's own
        """A client has connected."""
        super().connection_made(Gathered(transport))  # type: ignore[arg-type] # a transport in all but its type
