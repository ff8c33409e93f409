"""Uploads through a real web process: streamed to disk, whole or not at all, and nothing but that."""

import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import pytest

from learner.datasets import add_dataset, jobs
from learner.datasets.rows import rows_of
from learner.store import Store
from learner.workspace import Workspace
from tests.disks import disk_of
from tests.learner.datasets.waiting import rested
from tests.patience import until
from tests.samples import make_photos, make_zip
from tests.serving import processes, serve

MEGABYTE = 2**20


def begin(client: httpx.Client) -> str:
    return client.post("/api/uploads").json()["id"]


def put(client: httpx.Client, upload: str, name: str, content: bytes | Iterator[bytes] = b"x") -> httpx.Response:
    return client.put(f"/api/uploads/{upload}/files", params={"name": name}, content=content)


def lying_about(workspace: Workspace, upload: str) -> list[Path]:
    """What there is of an upload, parts of files too."""
    walked = os.walk(workspace.uploads)  # unlike `rglob` it bears that a folder goes meanwhile
    return [path for folder, _, names in walked for name in names if upload in str(path := Path(folder, name))]


class TestTheWayIn:
    def test_an_archive_becomes_a_job_that_looks_at_it(self, client, workspace, tmp_path):
        packed = make_zip(make_photos(tmp_path / "Ausflüge"), tmp_path / "x.zip").read_bytes()
        upload = begin(client)
        assert put(client, upload, "Ausflüge.zip", packed).status_code == 204
        job_id = client.post(f"/api/uploads/{upload}/done").json()["job"]
        job = rested(workspace, job_id)
        assert (job.status, job.source, job.name) == ("found", "Ausflüge.zip", "Ausflüge")
        assert job.findings[0].images == 12

    def test_the_files_of_a_folder_keep_their_places(self, client, workspace, tmp_path):
        photos = make_photos(tmp_path / "Tiere", {"Kätzchen": 3, "Hündchen": 3})
        upload = begin(client)
        for file in sorted(photos.rglob("*.jpg")):
            assert put(client, upload, f"Tiere/{file.relative_to(photos).as_posix()}", file.read_bytes()).is_success
        job = rested(workspace, client.post(f"/api/uploads/{upload}/done").json()["job"])
        assert job.source == "Tiere"
        assert job.findings[0].counts == {"Hündchen": {"": 3}, "Kätzchen": {"": 3}}
        jobs.dismiss(workspace, job.id)
        assert lying_about(workspace, upload) == []

    def test_photos_for_a_pool_come_into_the_data_set_without_a_class(self, client, workspace, tmp_path):
        store = Store(workspace)
        add_dataset(store, make_photos(tmp_path / "first"), "pool pets")
        packed = make_zip(make_photos(tmp_path / "found", seed=5), tmp_path / "found.zip").read_bytes()
        upload = begin(client)
        put(client, upload, "found.zip", packed)
        wrong = client.post(f"/api/uploads/{upload}/done", params={"for": "pool", "data": "birds"})
        assert wrong.status_code == 400 and "There is no data set 'birds'" in wrong.json()["error"]
        answer = client.post(f"/api/uploads/{upload}/done", params={"for": "pool", "data": "pool pets"})
        assert rested(workspace, answer.json()["job"]).status == "done"
        rows = rows_of(store, store.datasets.version("pool pets"))
        assert Counter(row.label for row in rows) == {"cat": 6, "dog": 6, "": 12}

    def test_names_that_lead_elsewhere_stay_inside(self, client, workspace):
        upload = begin(client)
        for name in ("../../../evil.jpg", "/etc/evil.jpg", "..\\evil.jpg", "a/../../evil.jpg", "", "\0", ".\0./x.jpg"):
            assert put(client, upload, name).status_code == 204
        kept = lying_about(workspace, upload)
        assert len(kept) == 7
        assert all(path.resolve().is_relative_to(workspace.uploads / f".files-{upload}" / "upload") for path in kept)
        assert not list(workspace.root.parent.glob("evil*"))

    def test_an_upload_without_files_is_told_and_gone(self, client, workspace):
        upload = begin(client)
        answer = client.post(f"/api/uploads/{upload}/done")
        assert (answer.status_code, answer.json()["error"].split(".")[0]) == (400, "No files arrived")
        assert not (workspace.uploads / f".files-{upload}").exists()


class TestWhoMay:
    @pytest.mark.parametrize(
        ("method", "address"),
        [
            ("POST", "/api/uploads"),
            ("PUT", "/api/uploads/x/files?name=a.jpg"),
            ("POST", "/api/uploads/x/done"),
            ("DELETE", "/api/uploads/x"),
        ],
    )
    def test_only_pages_of_this_server_can_send_anything(self, served, workspace, method, address):
        before = set(workspace.uploads.glob("*"))
        answer = httpx.request(method, served[0] + address, content=b"x")
        assert (answer.status_code, answer.json()) == (403, {"error": "This address is for Thaw's own pages."})
        another = {"Origin": "https://example.org", "X-Thaw": "1"}
        assert httpx.request(method, served[0] + address, headers=another, content=b"x").status_code == 421
        assert set(workspace.uploads.glob("*")) == before

    def test_other_sites_are_not_allowed_to_ask_for_that_header(self, served):
        asks = {"Origin": "https://example.org", "Access-Control-Request-Method": "PUT"}
        asks["Access-Control-Request-Headers"] = "x-thaw"
        answer = httpx.options(f"{served[0]}/api/uploads", headers=asks)
        assert "access-control-allow-origin" not in answer.headers

    @pytest.mark.parametrize("upload", ["0" * 32, "..", "%2e%2e%2f%2e%2e", "a b"])
    def test_an_unknown_upload_is_told(self, client, upload):
        for answer in (
            client.put(f"/api/uploads/{quote(upload, safe='%')}/files?name=1.jpg", content=b"x"),
            client.delete(f"/api/uploads/{quote(upload, safe='%')}"),
        ):
            assert answer.status_code in (400, 404, 405)
        answer = client.post("/api/uploads/nothing/done")
        assert answer.json()["error"].startswith("This upload is over: it was finished, cancelled or given up.")


class TestBreakingOff:
    def test_a_file_that_breaks_off_leaves_nothing_and_the_upload_goes_on(self, served, client, workspace):
        upload = begin(client)
        host, port = served[0].removeprefix("http://").split(":")
        head = f"PUT /api/uploads/{upload}/files?name=half.jpg HTTP/1.1\r\nHost: {host}\r\nX-Thaw: 1\r\n"
        with socket.create_connection((host, int(port))) as line:
            line.sendall(f"{head}Content-Length: {8 * MEGABYTE}\r\n\r\n".encode() + bytes(3 * MEGABYTE))
            until(lambda: lying_about(workspace, upload))
        until(lambda: not lying_about(workspace, upload))
        assert put(client, upload, "whole.jpg").status_code == 204
        assert [path.name for path in lying_about(workspace, upload)] == ["whole.jpg"]

    def test_what_is_thrown_away_is_gone(self, client, workspace):
        upload = begin(client)
        put(client, upload, "a/1.jpg")
        assert client.delete(f"/api/uploads/{upload}").status_code == 204
        assert not (workspace.uploads / f".files-{upload}").exists()
        assert put(client, upload, "a/2.jpg").status_code == 400
        assert not (workspace.uploads / f".files-{upload}").exists()

    def test_a_file_that_is_still_coming_when_it_is_thrown_away_brings_nothing_back(self, client, workspace):
        upload = begin(client)

        def content() -> Iterator[bytes]:
            yield bytes(2 * MEGABYTE)
            until(lambda: lying_about(workspace, upload))
            client.delete(f"/api/uploads/{upload}")
            yield b"the rest"

        assert put(client, upload, "1.jpg", content()).status_code >= 400
        assert not (workspace.uploads / f".files-{upload}").exists()

    def test_one_that_nobody_came_back_to_goes_when_the_next_begins(self, client, workspace):
        forgotten, other = begin(client), begin(client)
        put(client, forgotten, "1.jpg")
        hours_ago = workspace.uploads.stat().st_mtime - 3 * 3600
        os.utime(workspace.uploads / f".files-{forgotten}", (hours_ago, hours_ago))
        begin(client)
        until(lambda: not (workspace.uploads / f".files-{forgotten}").exists())
        assert (workspace.uploads / f".files-{other}").exists()


def test_300_megabytes_leave_the_servers_memory_as_it_was(served, client):
    process = served[1]
    upload = begin(client)
    before = process.memory_info().rss
    pieces = (bytes(MEGABYTE) for _ in range(300))
    address = f"/api/uploads/{upload}/files?name=large.zip"
    answer = client.put(address, content=pieces, headers={"Content-Length": str(300 * MEGABYTE)})
    assert answer.status_code == 204
    assert peak_of(process) - before < 100 * MEGABYTE
    client.delete(f"/api/uploads/{upload}")


def peak_of(process: psutil.Process) -> int:
    """The most memory that a process ever had, in bytes."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except FileNotFoundError:
        pytest.skip("only Linux tells the peak of another process")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


class TestFullDisk:
    @pytest.fixture
    def small_disk(self, tmp_path, monkeypatch) -> Iterator[Path]:
        """With the workspace on it."""
        with disk_of(24, tmp_path / "disk") as disk:
            monkeypatch.setenv("THAW_HOME", str(disk))
            yield disk

    def test_what_does_not_fit_is_told_in_words_and_leaves_nothing(self, small_disk):
        workspace = Workspace(small_disk)
        with processes() as start, httpx.Client(base_url=serve(start)[0], headers={"X-Thaw": "1"}) as client:
            upload = begin(client)
            for content in (bytes(30 * MEGABYTE), (bytes(MEGABYTE) for _ in range(30))):  # size told before, or not
                answer = put(client, upload, "photos.zip", content)
                assert answer.status_code == 507
                said = f"The upload could not be kept in {workspace.uploads}: the disk is full. Free some space there"
                assert answer.json()["error"].startswith(said)
                assert lying_about(workspace, upload) == []
            assert put(client, upload, "photos.zip", bytes(MEGABYTE)).status_code == 204

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
    def test_a_file_that_cannot_be_written_is_told_with_the_reason(self, served, client, workspace):
        upload = begin(client)
        process = served[1]
        usual = process.rlimit(psutil.RLIMIT_FSIZE)
        process.rlimit(psutil.RLIMIT_FSIZE, (2 * MEGABYTE, usual[1]))
        try:
            answer = put(client, upload, "photos.zip", bytes(8 * MEGABYTE))
        finally:
            process.rlimit(psutil.RLIMIT_FSIZE, usual)
        assert answer.status_code == 500
        said = f"The upload could not be kept in {workspace.uploads}: File too large."
        assert answer.json()["error"].startswith(said)
        assert lying_about(workspace, upload) == []
