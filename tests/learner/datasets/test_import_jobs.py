"""An import runs in a process of its own: pages may come and go, and a killed one leaves nothing behind."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from learner.atomic import written_whole
from learner.datasets import add_dataset, image_path, jobs, save_uploads, summarize, thumbnail_path
from learner.datasets.files import import_lock
from learner.errors import DatasetError
from learner.store import Store
from tests.learner.datasets.waiting import process_of, rested
from tests.patience import until
from tests.ready import Fresh
from tests.samples import make_photos, make_zip


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def many(tmp_path) -> Path:
    """Enough photos to be in the middle of them: 600 of 3 megapixels, all different, from two that were drawn."""
    folder = make_photos(tmp_path / "many", {"a": 1, "b": 1}, size=(2000, 1500))
    for photo in list(folder.rglob("*.jpg")):
        data = photo.read_bytes()
        for number in range(300):
            (photo.parent / f"{number}.jpg").write_bytes(
                data + str(number).encode()
            )  # decoders stop at the picture's end
    return folder


def test_an_import_in_the_background_ends_with_a_version_and_a_sentence(workspace, store, tmp_path):
    photos = make_photos(tmp_path / "pets")
    (photos / "cat" / "notes.txt").write_text("x")
    job_id = jobs.start_import(workspace, photos, "pets", note="by page")
    assert jobs.job(workspace, job_id).status in ("waiting", "running")
    job = rested(workspace, job_id)
    assert (job.status, job.name, job.source, job.version) == ("done", "pets", "pets", 1)
    assert job.message == "pets, version 1: 12 images in 2 classes. 1 file was set aside."
    assert store.datasets.version("pets").note == (
        "by page. The images lie in one folder for each of 2 classes (cat, dog)."
    )
    assert photos.exists()
    again = rested(workspace, jobs.start_import(workspace, photos, "pets"))
    assert again.message.startswith("These images are here already: pets, version 1")
    assert [job.id for job in jobs.jobs(workspace)] == [again.id, job_id]
    jobs.dismiss(workspace, job_id)
    assert [job.id for job in jobs.jobs(workspace)] == [again.id]


def test_the_process_outlives_its_starter_and_is_nice(workspace, many, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", Fresh)
    job_id = jobs.start_import(workspace, many, "many")
    until(lambda: jobs.job(workspace, job_id).status == "running")
    process = process_of(workspace, job_id)
    assert os.getsid(process.pid) == process.pid
    assert job_id in process.cmdline()[-1]  # an operator finds it by that
    assert process.nice() == psutil.Process().nice() + 5
    jobs.cancel(workspace, job_id)
    rested(workspace, job_id)


def test_a_cancelled_import_says_so_keeps_nothing_and_removes_the_upload(workspace, many):
    upload = workspace.uploads / "files-1" / "upload"
    upload.parent.mkdir(parents=True)
    many.rename(upload)
    job_id = jobs.start_import(workspace, upload, "many", delete_source_after=True)
    running = until(lambda: (job := jobs.job(workspace, job_id)).progress and job.progress.done and job)
    assert (running.status, running.progress.total) == ("running", 602)
    assert running.progress.seconds_left > 0
    with pytest.raises(DatasetError, match=r"still running\. Stop it first"):
        jobs.dismiss(workspace, job_id)
    jobs.cancel(workspace, job_id)
    job = rested(workspace, job_id)
    assert (job.status, job.version) == ("cancelled", None)
    assert "nothing of it was kept" in job.message
    assert files_under(workspace.datasets) == files_under(workspace.thumbnails) == []
    assert not upload.parent.exists()
    jobs.dismiss(workspace, job_id)
    assert list(workspace.uploads.iterdir()) == []


def test_a_killed_import_is_listed_as_failed_leaves_nothing_and_the_next_one_works(workspace, store, many, tmp_path):
    kept = add_dataset(store, make_photos(tmp_path / "few"), "many")
    before = set(files_under(workspace.datasets)), set(files_under(workspace.thumbnails))
    job_id = jobs.start_import(workspace, many, "many")
    until(lambda: (job := jobs.job(workspace, job_id)).progress and job.progress.done)
    process = process_of(workspace, job_id)
    process.send_signal(signal.SIGKILL)
    until(lambda: not process.is_running())
    [job] = jobs.jobs(workspace)
    assert job.status == "failed"
    assert job.message.startswith("The import of many ended without a word: it was killed")
    assert (set(files_under(workspace.datasets)), set(files_under(workspace.thumbnails))) == before
    assert store.datasets.version("many") == kept
    next_photos = make_photos(tmp_path / "next", {"cat": 3, "dog": 3}, seed=9)
    assert rested(workspace, jobs.start_import(workspace, next_photos, "many")).version == 2


def test_a_killed_import_that_no_page_saw_is_cleared_by_the_next_import(workspace, many, tmp_path, monkeypatch):
    job_id = jobs.start_import(workspace, many, "many")
    until(lambda: (job := jobs.job(workspace, job_id)).progress and job.progress.done)
    process = process_of(workspace, job_id)
    process.send_signal(signal.SIGKILL)
    until(lambda: not process.is_running())
    came_in = next(workspace.datasets.glob("*/incoming/images/*/*.jpg")).stem
    with suppress(KeyboardInterrupt), monkeypatch.context() as patch:  # a thumbnail that SIGKILL cuts off
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with written_whole(workspace.thumbnails / "192" / came_in[:2] / f"{came_in}.jpg") as half:
            half.write_bytes(b"half")
            raise KeyboardInterrupt
    add_dataset(Store(workspace), make_photos(tmp_path / "few", {"cat": 3, "dog": 3}), "many")
    assert len(files_under(workspace.datasets)) == len(files_under(workspace.thumbnails)) == 6


def test_a_refused_source_fails_with_the_reason(workspace, tmp_path):
    (tmp_path / "empty").mkdir()
    job = rested(workspace, jobs.start_import(workspace, tmp_path / "empty", "pets"))
    assert job.status == "failed"
    assert job.message.startswith("empty holds no images: nothing found. Put the images of each class")


def test_a_defect_fails_with_a_general_sentence_and_a_traceback_in_the_log(workspace, store, tmp_path):
    with store.datasets.session() as session:
        session.connection().exec_driver_sql("DROP TABLE images")
        session.commit()
    job = rested(workspace, jobs.start_import(workspace, make_photos(tmp_path / "pets"), "pets"))
    assert job.status == "failed"
    assert "met a defect in Thaw" in job.message
    assert str(job.log) in job.message
    assert "Traceback" in job.log.read_text()


def test_what_cannot_be_started_is_refused_at_once(workspace, tmp_path):
    with pytest.raises(DatasetError, match="There is nothing at"):
        jobs.start_import(workspace, tmp_path / "nowhere", "pets")
    with pytest.raises(DatasetError, match="needs a name"):
        jobs.start_import(workspace, make_photos(tmp_path / "pets"), " ")
    with pytest.raises(DatasetError, match="is not an upload, so Thaw does not delete it"):
        jobs.start_import(workspace, tmp_path / "pets", "pets", delete_source_after=True)
    assert (tmp_path / "pets").exists()
    assert jobs.jobs(workspace) == []
    for act in (jobs.job, jobs.cancel, jobs.dismiss):
        with pytest.raises(DatasetError, match="no import job-0"):
            act(workspace, "job-0")


def left_on_disk(workspace, state: dict, age_s: float) -> str:
    """A job as an interrupted process leaves it."""
    folder = workspace.uploads / "job-left"
    folder.mkdir(parents=True)
    request = {
        "kind": "arrival", "stage": "import", "name": "pets", "source": "/photos",
        "url": "", "gallery": "", "title": "", "sample": False, "delete_source_after": False, "note": "",
    }  # fmt: skip
    (folder / "request.json").write_text(json.dumps({**request, "created_at": time.time() - age_s}))
    (folder / "state.json").write_text(json.dumps({**state, "at": time.time() - age_s}))
    return folder.name


def test_a_job_whose_process_never_began_has_failed_after_a_minute(workspace):
    fresh = left_on_disk(workspace, {"status": "waiting"}, age_s=30)
    assert jobs.job(workspace, fresh).status == "waiting"
    shutil.rmtree(workspace.uploads)
    assert jobs.job(workspace, left_on_disk(workspace, {"status": "waiting"}, age_s=90)).status == "failed"


def test_a_job_that_an_older_thaw_left_is_passed_over(workspace):
    folder = workspace.uploads / "job-old"
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(json.dumps({"name": "pets", "source": "/photos", "created_at": 1.0}))
    (folder / "state.json").write_text(json.dumps({"status": "waiting"}))
    assert jobs.jobs(workspace) == []


def test_a_dead_process_that_nobody_waited_for_is_not_taken_for_a_running_one(workspace):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        born = psutil.Process(dead.pid).create_time()
        until(lambda: psutil.Process(dead.pid).status() == psutil.STATUS_ZOMBIE)
        state = {"status": "running", "pid": dead.pid, "process_created_at": born, "progress": None}
        assert jobs.job(workspace, left_on_disk(workspace, state, age_s=5)).status == "failed"


def test_another_process_with_the_number_of_a_dead_one_is_not_taken_for_it(workspace):
    mine = psutil.Process()
    state = {"status": "running", "pid": mine.pid, "process_created_at": mine.create_time() - 60, "progress": None}
    assert jobs.job(workspace, left_on_disk(workspace, state, age_s=5)).status == "failed"


def test_two_imports_into_one_data_set_at_once_give_two_whole_versions(workspace, store, tmp_path):
    ids = [
        jobs.start_import(workspace, make_photos(tmp_path / f"p{seed}", {"cat": 30, "dog": 30}, seed=seed), "pets")
        for seed in (1, 2)
    ]
    found = [rested(workspace, job_id) for job_id in ids]
    assert sorted(job.version for job in found) == [1, 2]
    for number in (1, 2):
        version = store.datasets.version("pets", number)
        assert summarize(store, version).images == 60
        for image in store.datasets.images(version.id):
            assert (next(workspace.datasets.iterdir()) / image.file).exists()


def test_the_same_images_imported_twice_at_once_are_one_version(workspace, store, tmp_path):
    photos = make_photos(tmp_path / "pets")
    versions = []
    threads = [
        threading.Thread(target=lambda: versions.append(add_dataset(Store(workspace), photos, "pets")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions == [store.datasets.version("pets", 1)] * 3


def test_an_import_that_waits_for_another_says_so_and_can_be_cancelled(workspace, store, tmp_path):
    photos = make_photos(tmp_path / "pets")
    with import_lock(workspace, "pets", wait=None) as alone:
        assert alone
        job_id = jobs.start_import(workspace, photos, "pets")
        until(lambda: (job := jobs.job(workspace, job_id)).progress and "Waiting for another" in job.progress.what)
        jobs.cancel(workspace, job_id)
        assert rested(workspace, job_id).status == "cancelled"


def test_the_sample_digits_are_all_there_and_large_enough_to_see(workspace, store):
    from sklearn.datasets import load_digits

    job = rested(workspace, jobs.start_import(workspace, None, "digits", sample=True))
    assert (job.status, job.source) == ("done", "the sample digits")
    assert job.message == "digits, version 1: 1,797 images in 10 classes."
    version = store.datasets.version("digits")
    assert "scikit-learn" in version.note
    digits = load_digits()
    summary = summarize(store, version)
    assert summary.classes == [str(digit) for digit in range(10)]
    assert {label: counts[""] for label, counts in summary.counts.items()} == Counter(map(str, digits.target))
    assert (summary.median_width, summary.median_height) == (8, 8)
    image = store.datasets.images(version.id, label="3")[0]
    with Image.open(image_path(workspace, "digits", image)) as digit:
        original = digits.images[int(Path(image.path).stem)]
        assert np.abs(np.asarray(digit) / 255 * 16 - original).max() < 0.05
    with Image.open(thumbnail_path(workspace, "digits", image)) as thumbnail:
        assert thumbnail.size == (192, 192)


def test_an_uploaded_zip_goes_in_and_is_removed(workspace, store, tmp_path):
    packed = make_zip(make_photos(tmp_path / "pets"), tmp_path / "pets.zip")
    source = save_uploads(workspace, [("pets.zip", io.BytesIO(packed.read_bytes()))])
    job = rested(workspace, jobs.start_import(workspace, source, "pets", delete_source_after=True))
    assert (job.status, job.source) == ("done", "pets.zip")
    assert not source.exists()
