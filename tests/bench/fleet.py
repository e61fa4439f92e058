"""A process that serves recorded metrics texts as several replicas; prints their ports on one line."""

from __future__ import annotations

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main() -> None:
    """Serve until killed: each second of wall time is the next second of the recording."""
    texts = [p.read_bytes() for p in sorted(Path(sys.argv[1]).iterdir())]
    began = time.monotonic()

    class Replica(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = texts[int(time.monotonic() - began) % len(texts)]
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Replica) for _ in range(int(sys.argv[2]))]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(*(server.server_address[1] for server in servers), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
