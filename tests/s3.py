"""A real server that speaks S3, on loopback, and a proxy before it that can be slow, fail, cut off or damage."""

import http.client
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "very-secret-key", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def s3_server() -> Iterator[str]:
    """Yields its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@dataclass(frozen=True)
class Request:
    """One that came through the proxy."""

    method: str
    path: str
    bytes: int


@dataclass
class Proxy:
    """Passes requests on to `target`, and does what its fields say meanwhile."""

    target: str
    url: str = ""
    seen: list[Request] = field(default_factory=list)
    """Those that were passed on."""
    wait_s: float = 0.0
    """Before each request."""
    fails: Callable[[Request], bool] = lambda request: False
    """Whether a request is answered with 503."""
    cuts: Callable[[Request], bool] = lambda request: False
    """Whether the connection is closed in the middle of the answer, or before it where that is short."""
    damages: Callable[[Request], bool] = lambda request: False
    """Whether a byte of the answer is another one."""

    def sent(self, method: str) -> list[str]:
        """Names of the objects that such requests were about."""
        return [one.path.rpartition("/")[2] for one in self.seen if one.method == method and one.path.count("/") > 2]

    def forget(self) -> None:
        self.seen.clear()
        self.wait_s = 0.0
        self.fails = self.cuts = self.damages = lambda request: False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request, proxy = Request(self.command, urlsplit(self.path).path, len(body)), self.proxy
        time.sleep(proxy.wait_s)
        if proxy.fails(request):
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        connection = http.client.HTTPConnection(urlsplit(proxy.target).netloc)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        data = answer.read()
        proxy.seen.append(request)
        if proxy.damages(request) and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            lower = name.lower()
            if lower not in ("content-length", "transfer-encoding", "connection") and "checksum" not in lower:
                self.send_header(name, value)
        length = len(data) if self.command != "HEAD" else answer.getheader("Content-Length", "0")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if proxy.cuts(request):
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            self.connection.close()
            return
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def proxy_before(target: str) -> Iterator[Proxy]:
    """Yields a proxy that runs in threads of this process."""
    proxy = Proxy(target)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield proxy
    server.shutdown()
    server.server_close()
