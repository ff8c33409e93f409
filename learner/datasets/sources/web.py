"""Download an archive from a web address: from public hosts only, within limits, whole or not at all.

The host's name is resolved once, every address it stands for is checked, and the connection goes to one of those, so
that a name server cannot show one address to the check and another to the connection. TLS still verifies the name.
Proxies and credentials of the environment are not used.
"""

import os
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from urllib.parse import unquote

import httpcore
import httpx

from learner.datasets.disk import why_not_kept
from learner.datasets.names import first_free, shown
from learner.datasets.sources import limits
from learner.datasets.sources.addresses import checked_addresses
from learner.datasets.sources.entries import Cancelled, Progress
from learner.errors import DatasetError, ImportCancelled

LIMIT_SETTING = "THAW_DOWNLOAD_LIMIT_GB"
DEFAULT_LIMIT_GB = 5.0
MAX_REDIRECTS = 5
CONNECT_S = 10.0
STALLED_S = 30.0
"""How long the other side may send nothing at all."""
WHOLE_S = 6 * 3600.0
"""How long a download may take."""

_REDIRECTS = {301, 302, 303, 307, 308}
_POLL_S = 0.25
_REPORT_EVERY_S = 0.2
_MAX_NAME_BYTES = 150
_HEADERS = {"User-Agent": "Thaw", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}


def download(url: str, folder: Path, progress: Progress | None = None, cancelled: Cancelled | None = None) -> Path:
    """Bring the file at `url` (http or https) into `folder`, which is made if need be; returns its path.

    `progress` is told a few times a second, `cancelled` is asked at least as often, also while nothing arrives. The
    file's name comes from the server's answer or the address, made safe; what it is decides its content.

    Raises DatasetError when the address, what lies there, its size or the disk does not allow it, and ImportCancelled.
    Nothing is left in `folder` then.
    """
    watch = _Watch(progress, cancelled)
    address = _parse(url)
    folder.mkdir(parents=True, exist_ok=True)
    with httpcore.ConnectionPool(ssl_context=httpx.create_ssl_context(), network_backend=_PublicOnly(watch)) as pool:
        for _ in range(MAX_REDIRECTS + 1):
            with _asked(pool, address) as response:
                if response.status not in _REDIRECTS:
                    return _receive(response, address, folder, watch)
                address = _next(address, _header(response, "location"))
    raise DatasetError(
        f"{_host(address)} passes the download on more than {MAX_REDIRECTS} times. Use the address that it leads to in "
        "the end."
    )


def _parse(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url.strip())
    except (httpx.InvalidURL, ValueError) as error:
        raise DatasetError(f"{shown(url)[:200]!r} is not a web address. Copy it again from your browser.") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise DatasetError(
            f"{shown(url)[:200]!r} is not a web address that can be downloaded from. It has to begin with https:// or "
            "http://."
        )
    if address.userinfo:
        raise DatasetError(
            f"The address at {_host(address)} holds a user name or password, which Thaw does not send. Use an address "
            "that needs none, or download the file yourself and add it."
        )
    return address


def _next(address: httpx.URL, location: str) -> httpx.URL:
    try:
        return _parse(str(address.join(location)))
    except (httpx.InvalidURL, ValueError) as error:
        raise DatasetError(f"{_host(address)} passes the download on to an address that cannot be read.") from error


@contextmanager
def _asked(pool: httpcore.ConnectionPool, address: httpx.URL) -> Iterator[httpcore.Response]:
    """The answer to a request for `address`; whatever goes wrong until its end is a DatasetError."""
    url = httpcore.URL(scheme=address.raw_scheme, host=address.raw_host, port=address.port, target=address.raw_path)
    timeouts = {"connect": CONNECT_S, "read": STALLED_S, "write": STALLED_S, "pool": CONNECT_S}
    headers: list[tuple[str | bytes, str | bytes]] = [("Host", address.netloc), *_HEADERS.items()]
    host = _host(address)
    try:
        with pool.stream("GET", url, headers=headers, extensions={"timeout": timeouts}) as response:
            yield response
    except httpcore.ConnectTimeout as error:
        raise DatasetError(f"{host} does not answer. Check the address, or try again later.") from error
    except httpcore.TimeoutException as error:
        raise DatasetError(
            f"{host} has sent nothing for {STALLED_S:.0f} seconds, so the download was given up. Try again later."
        ) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        if "CERTIFICATE" in str(error) or isinstance(error.__cause__, ssl.SSLError):
            raise DatasetError(
                f"The connection to {host} is not secure: its certificate cannot be trusted. If you trust it, download "
                "the file yourself and add it."
            ) from error
        raise DatasetError(
            f"The connection to {host} broke off or could not be made. Check the address and the network, then try "
            "again."
        ) from error


def _receive(response: httpcore.Response, address: httpx.URL, folder: Path, watch: "_Watch") -> Path:
    host = _host(address)
    if response.status != 200:
        raise DatasetError(_about_status(response.status, host))
    limit = _limit_bytes()
    claimed = _header(response, "content-length")
    total = int(claimed) if claimed.isdecimal() else 0
    if total > limit:
        raise DatasetError(_too_large(host, limit))
    name = _file_name(_header(response, "content-disposition"), address)
    limits.check_disk(folder, total, f"{name} from {host}")
    target = _free_name(folder, name)
    partial = target.with_name(f".{target.name}.part")
    try:
        done = 0
        with partial.open("xb") as file:
            for chunk in response.iter_stream():
                if done == 0:
                    _refuse_page(chunk, host)
                done += len(chunk)
                if done > limit:
                    raise DatasetError(_too_large(host, limit))
                file.write(chunk)
                watch.at(done, total)
        if done == 0:
            raise DatasetError(f"{host} sent an empty file. Check the address.")
        partial.replace(target)
        return target
    except OSError as error:
        raise DatasetError(why_not_kept("The download", error, folder)) from error
    finally:
        partial.unlink(missing_ok=True)


def _refuse_page(start: bytes, host: str) -> None:
    if re.match(rb"\s*(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)", start, re.IGNORECASE):
        raise DatasetError(
            f"{host} answers with a web page, not with an archive. Open the address in your browser, start the "
            "download there, and copy the address of the file itself."
        )


def _about_status(status: int, host: str) -> str:
    if status in (401, 403):
        return (
            f"{host} does not give this file to everyone (status {status}). Download it yourself where you are signed "
            "in, and add it."
        )
    if status in (404, 410):
        return f"{host} has no file at this address (status {status}). Check the address."
    if status == 429 or status >= 500:
        return f"{host} cannot send the file at present (status {status}). Try again later."
    return f"{host} does not send the file (status {status}). Check the address."


def _limit_bytes() -> int:
    setting = os.environ.get(LIMIT_SETTING, "").strip()
    try:
        gigabytes = float(setting) if setting else DEFAULT_LIMIT_GB
    except ValueError:
        gigabytes = -1.0
    if not 0 < gigabytes < 1e9:
        raise DatasetError(f"{LIMIT_SETTING} is {setting!r}. Set it to a number of gigabytes, such as 5.")
    return int(gigabytes * 2**30)


def _too_large(host: str, limit: int) -> str:
    return (
        f"The file at {host} is larger than {limit / 2**30:.3g} GB, the most that is downloaded. Whoever runs Thaw can "
        f"raise that with {LIMIT_SETTING}; or download it yourself and add it."
    )


def _header(response: httpcore.Response, name: str) -> str:
    wanted = name.encode()
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == wanted), "")


def _host(address: httpx.URL) -> str:
    """For messages, which never show the rest of an address: it may hold a key."""
    return shown(address.host)


def _file_name(disposition: str, address: httpx.URL) -> str:
    header = Message()
    header["Content-Disposition"] = disposition
    try:
        name = header.get_filename() or ""
    except (ValueError, LookupError):
        name = ""
    return _safe(name) or _safe(unquote(address.path)) or "download"


def _safe(name: str) -> str:
    """The last part of a path as a name that every file system holds; empty when nothing is left of it."""
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    plain = re.sub(r'[<>:"|?*\ufffd]', "_", shown(last)).strip(" .")
    return plain.encode()[-_MAX_NAME_BYTES:].decode(errors="ignore").strip(" .")


def _free_name(folder: Path, name: str) -> Path:
    return first_free(lambda number: folder / (name if number == 1 else f"{number} {name}"), Path.exists)


class _Watch:
    """Ends a download that a person stops or that takes too long, and says how far it is."""

    def __init__(self, progress: Progress | None, cancelled: Cancelled | None):
        self._progress = progress
        self._cancelled = cancelled
        self._started = self._last = time.monotonic()

    def check(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise ImportCancelled("The download was stopped; nothing of it was kept. Start it again whenever you like.")
        if time.monotonic() - self._started > WHOLE_S:
            raise DatasetError(
                f"The download took longer than {WHOLE_S / 3600:g} hours and was given up. Download the file yourself "
                "and add it."
            )

    def at(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._progress is not None and (now - self._last >= _REPORT_EVERY_S or done == total):
            self._last = now
            left = (now - self._started) / done * (total - done) if total >= done else None
            self._progress(done, total, left)


class _PublicOnly(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, and to no others."""

    def __init__(self, watch: _Watch):
        self._watch = watch
        self._network = httpcore.SyncBackend()

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError(f"no address of {host}")
        for address in checked_addresses(host, port):
            self._watch.check()
            try:
                stream = self._network.connect_tcp(address, port, timeout, local_address, socket_options)
                return _Watched(stream, self._watch)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class _Watched(httpcore.NetworkStream):
    """Reads in short waits, so that a person can stop a download in which nothing arrives, or only drops."""

    def __init__(self, stream: httpcore.NetworkStream, watch: _Watch):
        self._stream = stream
        self._watch = watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        waiting_since = time.monotonic()
        while True:
            self._watch.check()
            try:
                return self._stream.read(max_bytes, _POLL_S)
            except httpcore.ReadTimeout:
                if timeout is not None and time.monotonic() - waiting_since > timeout:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context, server_hostname=None, timeout=None) -> httpcore.NetworkStream:
        return _Watched(self._stream.start_tls(ssl_context, server_hostname, timeout), self._watch)

    def get_extra_info(self, info: str):
        return self._stream.get_extra_info(info)
