"""A Hugging Face hub that runs on this machine, and the ways in which a real one fails.

Repositories of data sets are keyed `datasets/<owner>/<name>/<file>`; `/api/datasets/<owner>/<name>` lists their files.

Each function is a context manager that gives the address to put into HF_ENDPOINT. Files are served as the hub serves
large ones: `HEAD`/`GET /<repository>/resolve/<revision>/<file>` describes the file and redirects to another host (the
same server under the name localhost), which sends it and understands `Range`.
"""

import base64
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
def taking(files: dict[str, bytes], token: str, requests: list[str] | None = None) -> Iterator[str]:
    """A hub that whoever has `token` can push to; what was pushed stands in `files`."""
    with _serve(_Taking, files=files, token=token, requests=requests if requests is not None else []) as url:
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


class _Taking(_Healthy):
    """A hub that takes what is pushed into `files`, large files by LFS as the hub does."""

    token: str

    def do_GET(self) -> None:
        asked = re.fullmatch(r"/api/models/([^/]+/[^/?]+).*", self.path)
        if asked:
            self.describe(asked[1])
        else:
            super().do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.requests.append(f"POST {self.path}")
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            self.answer(401, {"X-Error-Message": "Invalid credentials"})
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'ada'}/{asked['name']}"
            self.say({"url": f"http://127.0.0.1:{self.server.server_port}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self.say({"errors": [], "warnings": []})
        elif self.path.endswith("/preupload/main"):
            modes = [(one["path"], one["size"] > 100_000) for one in json.loads(body)["files"]]
            self.say({"files": [{"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
                                for path, large in modes]})  # fmt: skip
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            here = f"http://127.0.0.1:{self.server.server_port}/lfs"
            links = [{**one, "actions": {"upload": {"href": f"{here}/{one['oid']}"}}} for one in objects]
            self.say({"transfer": "basic", "objects": links}, "application/vnd.git-lfs+json")
        elif "/commit/main" in self.path:
            self.commit(re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main.*", self.path)[1], body)
        else:
            self.answer(404, {})

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == oid
        self.files[f"lfs/{oid}"] = content
        self.answer(200, {})

    def commit(self, repository: str, body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.files[f"{repository}/{value['path']}"] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[f"{repository}/{value['path']}"] = self.files[f"lfs/{value['oid']}"]
        self.say({"commitUrl": f"http://127.0.0.1/{repository}/commit/{COMMIT}", "commitOid": COMMIT})

    def say(self, values: dict, kind: str = "application/json") -> None:
        self.answer(200, {"Content-Type": kind}, json.dumps(values).encode())


class _BreakingOff(_Healthy):
    def send_file(self, content: bytes) -> None:
        self.answer(500, {})
