"""A Hugging Face hub that runs on this machine, and the ways in which a real one fails.

Repositories of data sets are keyed `datasets/<owner>/<name>/<file>`; `/api/datasets/<owner>/<name>` lists their files.

Each function is a context manager that gives the address to put into HF_ENDPOINT. Files are served as the hub serves
large ones: `HEAD`/`GET /<repository>/resolve/<revision>/<file>` describes the file and redirects to another host (the
same server under the name localhost), which sends it and understands `Range`.
"""

import contextlib
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(files: dict[str, bytes], requests: list[str] | None = None) -> Iterator[str]:
    """A healthy hub holding `files`, keyed `<owner>/<name>/<file>`; each request is noted in `requests`."""
    with _serve(_Healthy, files=files, requests=requests if requests is not None else []) as url:
        yield url


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A hub that answers every request with `status`."""
    with _serve(_Failing, status=status) as url:
        yield url


@contextmanager
def breaking_off(files: dict[str, bytes]) -> Iterator[str]:
    """A hub that describes its files, then answers 500 where they should be sent from."""
    with _serve(_BreakingOff, files=files, requests=[]) as url:
        yield url


@contextmanager
def silent() -> Iterator[str]:
    """A hub that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def dripping() -> Iterator[str]:
    """A hub whose answer comes a byte a second, so that no single read ever takes too long."""
    with _serve(_Dripping) as url:
        yield url


@contextmanager
def closed() -> Iterator[str]:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


class _Server(ThreadingHTTPServer):
    block_on_close = False


@contextmanager
def _serve(handler: type[BaseHTTPRequestHandler], **settings: object) -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), type(handler.__name__, (handler,), settings))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()


class _Failing(_Quiet):
    status: int

    def do_GET(self) -> None:
        self.answer(self.status, {})


class _Dripping(_Quiet):
    def do_GET(self) -> None:
        with contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n":
                self.wfile.write(bytes([byte]))
                time.sleep(1)


class _Healthy(_Quiet):
    files: dict[str, bytes]
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(f"{self.command} {self.path}")
        if self.path.startswith("/cdn/"):
            self.send_file(self.files[self.path.removeprefix("/cdn/")])
            return
        asked = re.match(r"/api/(?P<repository>datasets/[^/]+/[^/?]+)", self.path)
        if asked:
            self.describe(asked["repository"])
            return
        match = re.fullmatch(r"/(?P<repository>(?:datasets/)?[^/]+/[^/]+)/resolve/[^/]+/(?P<file>.+)", self.path)
        key = f"{match['repository']}/{match['file']}" if match else self.path
        if key in self.files:
            digest = hashlib.sha256(self.files[key]).hexdigest()
            self.answer(
                302,
                {
                    "Location": f"http://localhost:{self.server.server_port}/cdn/{key}",
                    "X-Repo-Commit": COMMIT,
                    "X-Linked-Etag": f'"{digest}"',
                    "X-Linked-Size": str(len(self.files[key])),
                },
            )
        elif match and any(name.startswith(f"{match['repository']}/") for name in self.files):
            self.answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            self.answer(404, {"X-Error-Code": "RepoNotFound"})

    def describe(self, repository: str) -> None:
        """What the hub's API says of a repository."""
        inside = {key.removeprefix(f"{repository}/"): len(self.files[key]) for key in self.files if repository in key}
        if not inside:
            self.answer(404, {"X-Error-Code": "RepoNotFound"})
            return
        files = [{"rfilename": name, "size": size} for name, size in inside.items()]
        told = json.dumps({"id": repository.partition("/")[2], "sha": COMMIT, "siblings": files}).encode()
        self.answer(200, {"Content-Type": "application/json"}, told)

    def send_file(self, content: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked:
            start = int(asked[1])
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            self.answer(206, headers, content[start:])
        else:
            self.answer(200, {}, content)


class _BreakingOff(_Healthy):
    def send_file(self, content: bytes) -> None:
        self.answer(500, {})
