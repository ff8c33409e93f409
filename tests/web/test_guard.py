"""Who may speak to the server: pages under its own names, and no web site that makes its name point here."""

import socket

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.patience import GIVE_UP_S
from tests.serving import processes, serve

PATHS = ["/", "/data", "/runs", "/_stcore/health", "/_stcore/host-config", "/api/uploads", "/api/pictures/x/y.jpg"]
PATHS += ["/health", "/ready", "/metrics"]


@pytest.fixture
def port(served) -> int:
    return int(served[0].rpartition(":")[2])


def speak(port: int, host: str, origin: str | None = None) -> bool:
    """Whether a WebSocket session may be opened by who calls the server `host`."""
    with socket.create_connection(("127.0.0.1", port)) as plain:
        try:
            with connect(f"ws://{host}/_stcore/stream", sock=plain, origin=origin, open_timeout=GIVE_UP_S):
                return True
        except InvalidStatus as refused:
            assert refused.response.status_code == 403
            return False


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "localhost.evil.example", "127.0.0.2", "x@y"])
@pytest.mark.parametrize("path", PATHS)
def test_another_name_is_not_answered(client, port, host, path):
    answer = client.get(path, headers={"Host": host.format(port=port)})
    assert answer.status_code == 421
    assert "THAW_HOSTS" in answer.text


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "LOCALHOST", "localhost.", "[::1]"])
def test_the_names_of_this_machine_are_answered(client, port, name):
    for host in (name, f"{name}:{port}", f"{name}:1"):  # another port: something between passes it on
        assert client.get("/data", headers={"Host": host}).status_code == 200


def test_no_upload_begins_under_another_name_or_from_another_site(client, port):
    ours = f"http://localhost:{port}"
    for headers, status in (
        ({"Host": f"evil.example:{port}"}, 421),
        ({"Origin": f"http://evil.example:{port}"}, 421),
        ({"Origin": "null"}, 421),
        ({"Origin": ours}, 200),
        ({}, 200),
    ):
        assert client.post("/api/uploads", headers=headers).status_code == status, headers


def test_a_session_opens_for_our_own_pages_only(port):
    assert speak(port, f"localhost:{port}")
    assert speak(port, f"127.0.0.1:{port}", origin=f"http://127.0.0.1:{port}")
    assert not speak(port, f"evil.example:{port}")
    assert not speak(port, f"evil.example:{port}", origin=f"http://evil.example:{port}")
    assert not speak(port, f"127.0.0.1:{port}", origin="http://evil.example")


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_says_who_may_show_it_and_what_it_may_load(client, path):
    headers = client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == policy["default-src"] == "'self'"
    assert policy["object-src"] == "'none'"
    assert policy["img-src"] == "'self' data: blob:"
    assert "'unsafe-inline'" not in policy["script-src"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_names_that_the_operator_adds_are_answered_and_sites_that_they_name_may_frame_pages(tmp_path, monkeypatch):
    monkeypatch.setenv("THAW_HOME", str(tmp_path))
    monkeypatch.setenv("THAW_HOSTS", "thaw.school.example, other.example")
    monkeypatch.setenv("THAW_FRAMED_BY", "https://spaces.example")
    monkeypatch.setenv("STREAMLIT_SERVER_ADDRESS", "0.0.0.0")
    monkeypatch.setenv("THAW_OPEN", "yes")
    with processes() as start:
        address, _ = serve(start)
        asked = {
            "thaw.school.example": 200,
            "OTHER.example:80": 200,
            "evil.example": 421,
            "192.168.1.7:8501": 200,  # open to the network: an address is no name that a site could make its own
            "[fe80::1]": 200,
            socket.gethostname(): 200,
        }
        told = {host: httpx.get(f"{address}/data", headers={"Host": host}).status_code for host in asked}
        headers = httpx.get(f"{address}/data").headers
    assert told == asked
    assert "frame-ancestors 'self' https://spaces.example" in headers["content-security-policy"]
    assert "x-frame-options" not in headers


def test_open_to_others_without_sign_in_it_answers_only_when_that_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("THAW_HOME", str(tmp_path))
    monkeypatch.setenv("STREAMLIT_SERVER_ADDRESS", "0.0.0.0")
    monkeypatch.delenv("THAW_OPEN", raising=False)
    with processes() as start:
        address, _ = serve(start, answers=403)
        for path in ("/data", "/api/uploads", "/_stcore/health"):
            answer = httpx.get(address + path)
            assert answer.status_code == 403 and "set THAW_OPEN=yes" in answer.text
