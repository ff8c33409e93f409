"""Listen until stopped."""

import logging
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from learner.errors import ThawError
from learner.logs import set_up_logs

GRACE_S = 30
"""Requests that were begun are answered within so many seconds after a stop."""
MOST_CONNECTIONS = 1000


def listening(host: str, port: int) -> socket.socket:
    """A socket that is bound, so that a taken port is told before a model is loaded. Raises ThawError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise ThawError(
            f"Nothing can listen on {host}, port {port}: {error.strerror or error}. Choose another port with --port, "
            "or another address of this machine with --host."
        ) from None


def run(app: FastAPI, bound: socket.socket) -> None:
    """Answer until Ctrl-C or SIGTERM; then take nothing new, and end once what was begun is answered."""
    set_up_logs(for_people="%(message)s")
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=MOST_CONNECTIONS,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[bound])


def announcing(tell: Callable[[str], None], sentence: str, bound: socket.socket) -> Callable[[], None]:
    """Says where it answers, once it does."""
    host, port = bound.getsockname()[:2]
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)
    address = f"http://{shown}:{port}"
    return lambda: tell(f"{sentence}\nIt answers at {address}, and can be tried at {address}/docs. Ctrl-C stops it.")
