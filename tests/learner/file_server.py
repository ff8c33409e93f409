"""A web server on this machine that sends files, and the ways in which real ones misbehave."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Request(BaseHTTPRequestHandler):
    """What an answer is given to reply with."""

    protocol_version = "HTTP/1.1"
    answers: dict[str, "Answer"]
    seen: list["Request"]

    def do_GET(self) -> None:
        self.seen.append(self)
        answer = self.answers.get(self.path)
        with suppress(OSError, ssl.SSLError):  # the client may go away at any time
            if callable(answer):
                answer(self)
            elif answer is None:
                self.reply(b"gone", status=404)
            else:
                self.reply(answer)

    def reply(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


Answer = bytes | Callable[[Request], None]


class _Server(ThreadingHTTPServer):
    block_on_close = False
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that refuses our certificate is what a test wants to see


@contextmanager
def serving(
    answers: dict[str, Answer], seen: list[Request] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """A server that answers `GET` of each path with bytes or by a function; yields its address, without a final `/`."""
    handler = type("Handler", (Request,), {"answers": answers, "seen": seen if seen is not None else []})
    server = _Server(("127.0.0.1", 0), handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def moved(location: str, status: int = 302) -> Answer:
    return lambda request: request.reply(b"", status, Location=location)


def dripping(body: bytes, every_s: float = 0.1) -> Answer:
    """Sends a byte now and then, so that no single wait is ever long."""

    def answer(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        for byte in body:
            request.wfile.write(bytes([byte]))
            request.wfile.flush()
            time.sleep(every_s)

    return answer


def breaking_off(body: bytes, after: int) -> Answer:
    """Promises all of `body` and closes the connection early."""

    def answer(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[:after])
        request.close_connection = True

    return answer


def endless(chunk: bytes) -> Answer:
    """Sends pieces without saying how many there are, for ever."""

    def answer(request: Request) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        while True:
            request.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))

    return answer
