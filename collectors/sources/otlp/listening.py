"""The socket that traces come in at, bound before anything else starts."""

from __future__ import annotations

import socket

from collectors.validation import ConfigError

BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError where the address cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        remedy = "Stop what listens there, or choose another with --otlp-port"
        what = error.strerror or type(error).__name__
        raise ConfigError("settings", [f"otlp_port: {host}:{port}: {what}. {remedy}"]) from error


def address(host: str, port: int) -> str:
    """Where senders reach a receiver that listens there."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
