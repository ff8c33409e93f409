"""A download comes whole and from a public host, or leaves nothing but a sentence."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from learner.datasets.sources import limits, web
from learner.datasets.sources.addresses import is_public
from learner.datasets.sources.web import download
from learner.errors import DatasetError, ImportCancelled
from tests.learner.file_server import breaking_off, dripping, endless, moved, serving
from tests.patience import GIVE_UP_S

ZIP = b"PK\x03\x04" + os.urandom(300_000)


@pytest.fixture(autouse=True)
def private_addresses_allowed(monkeypatch):
    monkeypatch.setenv("THAW_ALLOW_PRIVATE_ADDRESSES", "1")


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "in"
    assert not list((tmp_path / "in").glob(".*")) if (tmp_path / "in").exists() else True


def refused(url: str, folder, match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        download(url, folder)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_file_arrives_byte_for_byte_and_tells_how_far_it_is(folder, monkeypatch):
    monkeypatch.setattr(web, "_REPORT_EVERY_S", 0)
    told = []
    with serving({"/data/pets.zip": ZIP}) as base:
        path = download(f" {base}/data/pets.zip#part ", folder, lambda *at: told.append(at))
    assert path == folder / "pets.zip"
    assert path.read_bytes() == ZIP
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-1] == (len(ZIP), len(ZIP), 0.0)
    assert {total for _, total, _ in told} == {len(ZIP)}


def test_a_length_that_is_not_told_is_unknown(folder, monkeypatch):
    monkeypatch.setattr(web, "_REPORT_EVERY_S", 0)
    told = []

    def without_length(request):
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(ZIP)
        request.close_connection = True

    with serving({"/a": without_length}) as base:
        assert download(f"{base}/a", folder, lambda *at: told.append(at)).read_bytes() == ZIP
    assert {(total, left) for _, total, left in told} == {(0, None)}


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="pets.zip"', "pets.zip"),
        ("attachment; filename*=UTF-8''%e7%8c%ab.zip", "猫.zip"),
        ('attachment; filename="../../etc/evil.zip"', "evil.zip"),
        ('attachment; filename="C:\\\\x\\\\evil.zip"', "evil.zip"),
        ('attachment; filename=".bashrc"', "bashrc"),
        ('attachment; filename=".."', "x y.zip"),
        ('attachment; filename="a:b?.zip"', "a_b_.zip"),
        ("attachment; filename*=bogus''%ff.zip", None),
        ("", "x y.zip"),
    ],
)
def test_names_that_a_server_gives_are_made_safe(folder, disposition, name):
    answer = lambda request: request.reply(ZIP, Content_Disposition=disposition)  # noqa: E731
    with serving({"/%2e%2e/x%20y.zip": answer}) as base:
        path = download(f"{base}/%2e%2e/x%20y.zip", folder)
    assert path.parent == folder
    assert name is None or path.name == name


def test_a_name_that_is_far_too_long_keeps_its_ending_and_none_is_overwritten(folder):
    answer = lambda request: request.reply(ZIP, Content_Disposition=f'inline; filename="{"x" * 3000}.zip"')  # noqa: E731
    with serving({"/": answer}) as base:
        first, second = download(f"{base}/", folder), download(f"{base}/", folder)
    assert first != second
    assert first.name.endswith(".zip")
    assert len(list(folder.iterdir())) == 2


def test_redirects_are_followed_a_few_times(folder):
    with serving({"/a": moved("/b", 301), "/b": moved("c.zip", 307), "/c.zip": ZIP}) as base:
        assert download(f"{base}/a", folder).name == "c.zip"


def test_redirects_in_a_circle_or_to_nowhere_end_in_words(folder):
    answers = {"/a": moved("/a"), "/file": moved("file:///etc/passwd"), "/ftp": moved("ftp://x/y"), "/none": moved("")}
    with serving(answers) as base:
        refused(f"{base}/a", folder, r"127\.0\.0\.1 passes the download on more than 5 times")
        refused(f"{base}/file", folder, "has to begin with https:// or http://")
        refused(f"{base}/ftp", folder, "has to begin with https:// or http://")
        refused(f"{base}/none", folder, "passes the download on more than 5 times")


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("", "not a web address"),
        ("pets.zip", "has to begin with https://"),
        ("file:///etc/passwd", "has to begin with https://"),
        ("ftp://example.com/a.zip", "has to begin with https://"),
        ("http://", "not a web address"),
        ("https://[::1/x", "not a web address"),
        ("https://user:secret@example.com/a.zip", r"^The address at example\.com holds a user name or password"),
        ("http://no-such-host.invalid/a.zip", r"No computer is known by the name no-such-host\.invalid"),
        (f"http://{'a' * 70}.com/", "No computer is known"),
    ],
)
def test_what_is_no_web_address_says_so(folder, url, match):
    refused(url, folder, match)


def test_credentials_in_a_redirect_are_refused_and_not_shown(folder):
    with serving({"/a": moved("http://user:secret@example.com/")}) as base:
        with pytest.raises(DatasetError) as caught:
            download(f"{base}/a", folder)
        assert "secret" not in str(caught.value)


# Addresses that are not public


PRIVATE = """127.0.0.1 127.8.9.1 0.0.0.0 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 224.0.0.1
    240.0.0.1 255.255.255.255 192.0.0.8 198.18.0.1 ::1 :: fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 ff02::1
    ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::a00:1 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2002:a00:1::
    2001:db8::1"""


@pytest.mark.parametrize("address", PRIVATE.split())
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "::ffff:8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808"]
)
def test_addresses_that_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0", "[::1]", "[::ffff:127.0.0.1]"])
def test_this_machine_is_refused_however_it_is_written_and_never_asked(folder, monkeypatch, host):
    monkeypatch.delenv("THAW_ALLOW_PRIVATE_ADDRESSES")
    seen = []
    with serving({"/a.zip": ZIP}, seen) as base:
        port = base.rsplit(":", 1)[1]
        refused(f"http://{host}:{port}/a.zip", folder, "on this machine or in a private network|No computer is known")
    assert seen == []


def name_server(monkeypatch, answers: dict[str, list[list[str]]]) -> list[str]:
    """Stands in for a hostile name server: each time a name is asked for, its next list of addresses is the answer."""
    real, asked = socket.getaddrinfo, []

    def resolve(host, port, *args, **options):
        name = host.decode() if isinstance(host, bytes) else host
        if name not in answers:
            return real(host, port, *args, **options)
        asked.append(name)
        addresses = answers[name].pop(0)
        return [entry for address in addresses for entry in real(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_a_redirect_to_a_private_address_is_refused(folder, monkeypatch):
    """The first host passes as public; where it leads does not."""
    seen = []
    with serving({"/a": lambda request: moved(f"http://inside.test:{port}/b")(request), "/b": ZIP}, seen) as base:
        port = base.rsplit(":", 1)[1]
        name_server(monkeypatch, {"outside.test": [["127.0.0.1"]], "inside.test": [["127.0.0.1"]]})
        answers = iter([True, False])
        monkeypatch.setattr("learner.datasets.sources.addresses.is_public", lambda address: next(answers))
        monkeypatch.delenv("THAW_ALLOW_PRIVATE_ADDRESSES")
        refused(f"http://outside.test:{port}/a", folder, r"^inside\.test is on this machine or in a private network")
    assert [request.path for request in seen] == ["/a"]


def test_a_name_with_one_private_address_among_public_ones_is_refused(folder, monkeypatch):
    monkeypatch.delenv("THAW_ALLOW_PRIVATE_ADDRESSES")
    name_server(monkeypatch, {"mixed.test": [["93.184.216.34", "127.0.0.1"]]})
    refused("http://mixed.test/a.zip", folder, "mixed.test is on this machine or in a private network")


def test_the_name_is_resolved_once_so_that_it_cannot_change_between_check_and_connection(folder, monkeypatch):
    with serving({"/a.zip": ZIP}) as base:
        asked = name_server(monkeypatch, {"rebinding.test": [["127.0.0.1"], ["0.0.0.0"]]})
        download(f"http://rebinding.test:{base.rsplit(':', 1)[1]}/a.zip", folder)
    assert asked == ["rebinding.test"]


def test_the_host_is_named_to_the_server_and_proxies_and_credentials_of_the_environment_are_left_out(
    folder, monkeypatch, tmp_path
):
    (tmp_path / ".netrc").write_text("machine localhost login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    seen = []
    with serving({"/a.zip": ZIP}, seen) as base:
        port = base.rsplit(":", 1)[1]
        download(f"http://localhost:{port}/a.zip", folder)
    headers = seen[0].headers
    assert headers["Host"] == f"localhost:{port}"
    assert headers["Authorization"] is None
    assert headers["Cookie"] is None
    assert headers["Accept-Encoding"] == "identity"


# Sizes, times, and servers that misbehave


def test_a_file_over_the_limit_is_refused_by_what_it_says_and_by_what_it_sends(folder, monkeypatch):
    monkeypatch.setenv("THAW_DOWNLOAD_LIMIT_GB", "0.0001")
    seen = []
    with serving({"/told": ZIP, "/endless": endless(os.urandom(50_000))}, seen) as base:
        refused(f"{base}/told", folder, r"is larger than 0\.0001 GB.*THAW_DOWNLOAD_LIMIT_GB")
        refused(f"{base}/endless", folder, r"is larger than 0\.0001 GB")


@pytest.mark.parametrize("setting", ["much", "-1", "0", "nan", "inf"])
def test_a_limit_that_is_no_number_is_named(folder, monkeypatch, setting):
    monkeypatch.setenv("THAW_DOWNLOAD_LIMIT_GB", setting)
    with serving({"/a": ZIP}) as base:
        refused(f"{base}/a", folder, rf"THAW_DOWNLOAD_LIMIT_GB is '{setting}'\. Set it to a number of gigabytes")


def test_a_file_that_does_not_fit_on_the_disk_is_not_begun(folder, monkeypatch):
    monkeypatch.setattr(limits, "SPARE_DISK_BYTES", 2**60)
    with serving({"/a.zip": ZIP}) as base:
        refused(f"{base}/a.zip", folder, r"a\.zip from 127\.0\.0\.1 does not fit on the disk")


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><html>sign in</html>", b"\xef\xbb\xbf\n <HTML><body>", b"\n<!doctype HTML PUBLIC>"]
)
def test_a_web_page_instead_of_an_archive_is_told_as_such(folder, page):
    with serving({"/pets.zip": page}) as base:
        refused(f"{base}/pets.zip", folder, r"answers with a web page, not with an archive\. Open the address in your")


@pytest.mark.parametrize(
    ("status", "match"),
    [
        (404, "no file at this address"),
        (403, "not give this file to everyone"),
        (503, "cannot send the file at present"),
        (429, "cannot send the file at present"),
        (418, "does not send the file"),
        (204, "does not send the file"),
    ],
)
def test_other_answers_are_told_in_words(folder, status, match):
    with serving({"/a": lambda request: request.reply(b"", status)}) as base:
        refused(f"{base}/a", folder, rf"{match} \(status {status}\)")


def test_a_connection_that_breaks_off_leaves_nothing(folder):
    with serving({"/a": breaking_off(ZIP, 100_000), "/empty": b""}) as base:
        refused(f"{base}/a", folder, r"The connection to 127\.0\.0\.1 broke off or could not be made")
        refused(f"{base}/empty", folder, "sent an empty file")


def test_packing_for_the_way_is_not_undone_and_so_cannot_be_a_bomb(folder):
    answer = lambda request: request.reply(ZIP, Content_Encoding="gzip")  # noqa: E731
    with serving({"/a.zip": answer}) as base:
        assert download(f"{base}/a.zip", folder).read_bytes() == ZIP


def test_nobody_listening_or_no_http_is_told(folder):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refused(f"http://127.0.0.1:{port}/", folder, "broke off or could not be made")
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: server.accept()[0].sendall(b"SSH-2.0-OpenSSH\r\n" * 3))
        refused(f"http://127.0.0.1:{server.getsockname()[1]}/", folder, "broke off or could not be made")


def test_a_server_that_falls_silent_is_given_up(folder, monkeypatch):
    monkeypatch.setattr(web, "STALLED_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        refused(f"http://127.0.0.1:{server.getsockname()[1]}/", folder, "has sent nothing for")


def test_a_server_that_drips_for_ever_is_given_up(folder, monkeypatch):
    monkeypatch.setattr(web, "WHOLE_S", 1.0)
    with serving({"/a": dripping(bytes(1000))}) as base:
        refused(f"{base}/a", folder, "took longer than .* hours and was given up")


def test_a_download_can_be_stopped_while_nothing_arrives(folder):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    stopped = pytest.raises(ImportCancelled, match="The download was stopped; nothing of it was kept")
    with socket.create_server(("127.0.0.1", 0)) as server, stopped:
        download(f"http://127.0.0.1:{server.getsockname()[1]}/", folder, cancelled=stop.is_set)
    assert list(folder.iterdir()) == []


def test_a_download_can_be_stopped_midway(folder):
    with serving({"/a": dripping(bytes(1000), 0.01)}) as base, pytest.raises(ImportCancelled):
        download(f"{base}/a", folder, cancelled=lambda: any(folder.glob(".*")))
    assert list(folder.iterdir()) == []


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost, not for 127.0.0.1, that signs itself."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    command += " -addext subjectAltName=DNS:localhost"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


def test_a_certificate_must_be_trusted_and_of_the_host_that_was_named(folder, certificate, monkeypatch):
    context, file = certificate
    with serving({"/a.zip": ZIP}, tls=context) as base:
        named = base.replace("127.0.0.1", "localhost")
        refused(
            f"{named}/a.zip", folder, "The connection to localhost is not secure: its certificate cannot be trusted"
        )
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert download(f"{named}/a.zip", folder).read_bytes() == ZIP
        with pytest.raises(DatasetError, match=r"127\.0\.0\.1 is not secure"):
            download(f"{base}/a.zip", folder)


def test_the_page_does_not_load_what_only_downloads_need():
    code = "import sys, learner.datasets, learner.datasets.gallery; assert not {'httpx', 'httpcore'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=GIVE_UP_S)
