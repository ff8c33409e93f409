"""What arrives is looked at first, waits for a person, and is imported as that person says."""

import io
import json
import signal
import tarfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from learner.datasets import add_dataset, jobs, save_uploads, summarize
from learner.datasets.gallery import KNOWN
from learner.datasets.jobs.imports import KEPT_DAYS
from learner.datasets.layouts import Choice, place, preview
from learner.errors import DatasetError
from tests.learner.datasets.waiting import process_of, rested
from tests.learner.file_server import dripping, serving
from tests.patience import until
from tests.samples import make_photos, make_zip


@pytest.fixture
def upload(workspace, tmp_path) -> Path:
    """A .zip file as a browser brought it."""
    packed = make_zip(make_photos(tmp_path / "pets"), tmp_path / "My pets.zip")
    return save_uploads(workspace, [("My pets.zip", io.BytesIO(packed.read_bytes()))])


@pytest.fixture
def found(workspace, upload) -> jobs.ImportJob:
    """An arrival that was looked at."""
    return rested(workspace, jobs.start_look(workspace, upload, delete_source_after=True))


def test_a_look_finds_the_layouts_and_waits_with_the_files(workspace, store, upload):
    job_id = jobs.start_look(workspace, upload, delete_source_after=True)
    assert jobs.job(workspace, job_id).stage == "look"
    job = rested(workspace, job_id)
    assert (job.status, job.name, job.source) == ("found", "My pets", "My pets.zip")
    assert job.message == "12 images. The images lie in one folder for each of 2 classes (cat, dog)."
    assert (job.ended, job.working, job.can_import) == (False, False, True)
    assert [proposal.choice.kind for proposal in job.findings] == ["folders", "unlabelled"]
    assert job.findings[0].counts == {"cat": {"": 6}, "dog": {"": 6}}
    listing = jobs.listing(workspace, job_id)
    assert preview(listing, Choice("folders")) == job.findings[0]
    assert len(place(listing, Choice()).placed) == 12
    assert upload.exists()
    assert store.datasets.names() == []
    jobs.cancel(workspace, job_id)  # there is no process that it could stop
    assert jobs.job(workspace, job_id).status == "found"


def test_what_was_found_is_imported_as_the_person_says_and_its_files_go(workspace, store, found, upload):
    choice = Choice("folders", classes={"dog": "hound"})
    jobs.import_found(workspace, found.id, "Pets", choice, note="from the page")
    job = rested(workspace, found.id)
    assert (job.status, job.stage, job.name, job.version) == ("done", "import", "Pets", 1)
    assert job.message == "Pets, version 1: 12 images in 2 classes."
    version = store.datasets.version("Pets")
    assert summarize(store, version).classes == ["cat", "hound"]
    assert version.note.startswith("from the page. The images lie")
    assert not upload.exists()
    assert (job.can_import, job.findings) == (False, [])
    with pytest.raises(DatasetError, match="Nothing was found by"):
        jobs.listing(workspace, job.id)
    with pytest.raises(DatasetError, match=r"My pets\.zip cannot be imported: it is done already, or its files"):
        jobs.import_found(workspace, job.id, "Again", Choice())


def test_what_was_found_is_added_to_a_data_set(workspace, store, found, tmp_path):
    add_dataset(store, make_photos(tmp_path / "first", {"cat": 3, "dog": 3}, seed=5), "Pets")
    jobs.import_found(workspace, found.id, "Pets", Choice(), mode="add")
    job = rested(workspace, found.id)
    assert (job.version, summarize(store, store.datasets.version("Pets")).images) == (2, 18)


def test_an_import_that_failed_can_be_tried_with_another_choice(workspace, store, found, upload):
    jobs.import_found(workspace, found.id, "Pets", Choice("names", pattern="("))
    failed = rested(workspace, found.id)
    assert failed.status == "failed"
    assert "cannot be read at character" in failed.message
    assert failed.can_import
    assert [proposal.choice.kind for proposal in failed.findings] == ["folders", "unlabelled"]
    assert upload.exists()
    jobs.import_found(workspace, found.id, "Pets", Choice("unlabelled"))
    job = rested(workspace, found.id)
    assert job.message == "Pets, version 1: 0 images in 0 classes. 12 images are kept but not used."


def test_an_import_that_was_stopped_or_killed_keeps_the_files_for_another(workspace, store, tmp_path):
    photos = make_photos(tmp_path / "many", {"cat": 60, "dog": 60}, size=(1200, 900))
    found = rested(workspace, jobs.start_look(workspace, photos))
    for end in ("cancelled", "failed"):
        jobs.import_found(workspace, found.id, "Pets", Choice())
        until(lambda: (job := jobs.job(workspace, found.id)).progress and job.progress.done)
        if end == "cancelled":
            jobs.cancel(workspace, found.id)
        else:
            process = process_of(workspace, found.id)
            process.send_signal(signal.SIGKILL)
            until(lambda process=process: not process.is_running())
        job = rested(workspace, found.id)
        assert (job.status, job.can_import) == (end, True)
        assert store.datasets.names() == []
        assert [path for path in workspace.datasets.rglob("*") if path.is_file()] == []
    assert photos.exists()


def test_two_pages_that_agree_at_once_start_one_import(workspace, store, found):
    refused = []

    def agree() -> None:
        try:
            jobs.import_found(workspace, found.id, "Pets", Choice())
        except DatasetError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=agree) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rested(workspace, found.id).status == "done"
    assert len(refused) == 2
    assert "cannot be imported: it is " in refused[0]
    assert store.datasets.version("Pets").number == 1


def test_dismissing_what_was_found_removes_its_files(workspace, found, upload):
    jobs.dismiss(workspace, found.id)
    assert not upload.exists()
    assert list(workspace.uploads.iterdir()) == []


def test_a_folder_of_the_server_stays_when_it_is_dismissed(workspace, tmp_path):
    photos = make_photos(tmp_path / "pets")
    jobs.dismiss(workspace, rested(workspace, jobs.start_look(workspace, photos)).id)
    assert len(list(photos.rglob("*.jpg"))) == 12


def test_a_look_that_finds_nothing_says_why_and_removes_the_upload(workspace):
    upload = save_uploads(workspace, [("notes.zip", io.BytesIO(b"PK\x03\x04 not really"))])
    job = rested(workspace, jobs.start_look(workspace, upload, delete_source_after=True))
    assert (job.status, job.stage, job.can_import, job.findings) == ("failed", "look", False, [])
    assert job.message.startswith("notes.zip is not a .zip file, or it is damaged")
    assert not upload.exists()
    with pytest.raises(DatasetError, match="cannot be imported: it is failed already"):
        jobs.import_found(workspace, job.id, "Pets", Choice())


def test_a_look_can_be_cancelled(workspace, tmp_path):
    for number in range(20):
        rows = "".join(f"{row}.jpg,cat\n" for row in range(20_000))
        (tmp_path / "pets").mkdir(exist_ok=True)
        (tmp_path / "pets" / f"{number}.csv").write_text(f"file,label\n{rows}")
    make_photos(tmp_path / "pets")
    job_id = jobs.start_look(workspace, tmp_path / "pets")
    jobs.cancel(workspace, job_id)
    job = rested(workspace, job_id)
    assert (job.status, job.can_import) == ("cancelled", False)


@pytest.mark.parametrize(("days", "status"), [(KEPT_DAYS - 1, "found"), (KEPT_DAYS + 1, "failed")])
def test_what_nobody_answers_for_waits_for_days_and_is_never_removed_silently(workspace, found, upload, days, status):
    state = workspace.uploads / found.id / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "at": time.time() - days * 86400}))
    [job] = jobs.jobs(workspace)
    assert (job.status, upload.exists()) == (status, status == "found")
    if status == "failed":
        assert job.message == "My pets.zip waited 7 days to be imported, so its files were removed. Add them again."


def test_what_cannot_be_looked_at_is_refused_at_once(workspace, tmp_path):
    with pytest.raises(DatasetError, match="There is nothing at"):
        jobs.start_look(workspace, tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="Nothing was chosen"):
        jobs.start_look(workspace)
    with pytest.raises(DatasetError, match="is not an upload, so Thaw does not delete it"):
        jobs.start_look(workspace, make_photos(tmp_path / "pets"), delete_source_after=True)
    assert jobs.jobs(workspace) == []
    for act in (lambda: jobs.listing(workspace, "job-0"), lambda: jobs.import_found(workspace, "job-0", "a", Choice())):
        with pytest.raises(DatasetError, match="no import job-0"):
            act()


@pytest.mark.parametrize(("name", "mode", "told"), [("", "add", "needs a name"), ("Pets", "mix", "no way to import")])
def test_a_name_or_mode_that_cannot_be_leaves_what_was_found_waiting(workspace, found, name, mode, told):
    with pytest.raises(DatasetError, match=told):
        jobs.import_found(workspace, found.id, name, Choice(), mode=mode)
    assert jobs.job(workspace, found.id).status == "found"


# From the web


@pytest.fixture
def private_addresses_allowed(monkeypatch):
    monkeypatch.setenv("THAW_ALLOW_PRIVATE_ADDRESSES", "1")


def test_a_web_address_is_downloaded_looked_at_and_imported(workspace, store, tmp_path, private_addresses_allowed):
    packed = make_zip(make_photos(tmp_path / "pets"), tmp_path / "pets.zip")
    with serving({"/sets/pets.zip?key=secret": packed.read_bytes()}) as base:
        job = rested(workspace, jobs.start_look(workspace, url=f" {base}/sets/pets.zip?key=secret "))
    assert (job.status, job.name, job.source) == ("found", "pets", f"{base}/sets/pets.zip")
    jobs.import_found(workspace, job.id, "pets", job.findings[0].choice)
    assert rested(workspace, job.id).message == "pets, version 1: 12 images in 2 classes."
    assert store.datasets.version("pets").note.startswith(f"Downloaded from {base}/sets/pets.zip. The images lie in")
    assert not (workspace.uploads / job.id / "download").exists()


def test_a_download_tells_its_bytes_and_can_be_cancelled(workspace, private_addresses_allowed):
    with serving({"/pets.zip": dripping(b"PK" * 1000)}) as base:
        job_id = jobs.start_look(workspace, url=f"{base}/pets.zip")
        until(lambda: (job := jobs.job(workspace, job_id)).progress and job.progress.done)
        progress = jobs.job(workspace, job_id).progress
        assert (progress.unit, progress.what) == ("bytes", "Downloading.")
        jobs.cancel(workspace, job_id)
        assert rested(workspace, job_id).status == "cancelled"
    assert not (workspace.uploads / job_id / "download").exists()


def test_a_download_that_is_refused_says_why(workspace, tmp_path):
    job = rested(workspace, jobs.start_look(workspace, url="http://127.0.0.1:9/pets.zip"))
    assert (job.status, job.stage, job.can_import) == ("failed", "look", False)
    assert "127.0.0.1" in job.message


def test_a_known_set_comes_with_its_own_layout_first(
    workspace, store, tmp_path, monkeypatch, private_addresses_allowed
):
    make_photos(tmp_path / "17" / "jpg", {"x": 160}, size=(16, 12))
    for number, photo in enumerate(sorted((tmp_path / "17").rglob("*.jpg")), start=1):
        photo.rename(tmp_path / "17" / "jpg" / f"image_{number:04}.jpg")
    with tarfile.open(tmp_path / "17flowers.tgz", "w:gz") as archive:
        archive.add(tmp_path / "17" / "jpg", "jpg")
    path = urlsplit(KNOWN["flowers-17"].urls[0]).path
    with serving({path: (tmp_path / "17flowers.tgz").read_bytes()}) as base:
        monkeypatch.setenv("THAW_GALLERY_BASE", base)
        job = rested(workspace, jobs.start_look(workspace, gallery="flowers-17"))
    assert (job.status, job.source, job.name) == ("found", "Flowers 17 (Oxford)", "Flowers 17 Oxford")
    assert job.findings[0].choice.kind == "numbered"
    assert job.findings[0].counts == {"daffodil": {"": 80}, "snowdrop": {"": 80}}
    jobs.import_found(workspace, job.id, job.name, job.findings[0].choice)
    assert rested(workspace, job.id).message == "Flowers 17 Oxford, version 1: 160 images in 2 classes."
    assert "Flowers 17 (Oxford), https://www.robots.ox.ac.uk/" in store.datasets.version(job.name).note


def test_an_unknown_set_is_refused_with_those_there_are(workspace):
    with pytest.raises(DatasetError, match=r"no known data set 'roses'\. There are: digits, elpv"):
        jobs.start_look(workspace, gallery="roses")
