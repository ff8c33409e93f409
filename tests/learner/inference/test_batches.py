"""Batches of pictures: they arrive, are asked about, go on where they were left, and join a data set when marked."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from learner.datasets import add_dataset
from learner.datasets.rows import rows_of
from learner.datasets.uploads import save_uploads
from learner.errors import DatasetError, ImportCancelled
from learner.inference import batch_work, batches
from learner.inference.batches import Answer, Mark, Picture, verdict
from learner.inference.joining import images_added, join, joining, labels_in, marked
from learner.inference.predictor import Predictor
from tests.learner.datasets.waiting import rested
from tests.samples import make_photos, make_zip


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    store, run_id = trained
    return Predictor.open(str(run_id), store)


def quiet(*_told) -> None:
    pass


def never() -> bool:
    return False


def upload(workspace, *files: Path) -> Path:
    streams = [(file.name, file.open("rb")) for file in files]
    try:
        return save_uploads(workspace, streams)
    finally:
        for _, stream in streams:
            stream.close()


@pytest.fixture
def six(workspace, tmp_path):
    """A batch of six photos and one file that is none."""
    photos = sorted(make_photos(tmp_path / "new", {"cat": 3, "dog": 3}, seed=7).rglob("*.jpg"))
    (tmp_path / "letter.jpg").write_text("no picture")
    batch = batches.begin_upload(workspace, upload(workspace, *photos[:3], tmp_path / "letter.jpg", *photos[3:]))
    batch_work.ingest(batch, quiet, never)
    return batch


def test_what_was_uploaded_is_taken_in_whole_and_nothing_is_left_of_the_upload(six, workspace):
    names = [picture.name for picture in six.pictures()]
    assert sorted(names) == sorted(
        [*(f"{label}_{n:03}.jpg" for label in ("cat", "dog") for n in range(3)), "letter.jpg"]
    )
    assert [picture.number for picture in six.pictures()] == list(range(7))
    assert all(six.path(picture).exists() for picture in six.pictures())
    assert list(workspace.uploads.iterdir()) == [] and not (six.folder / "arrived").exists()
    assert six.title == "7 files"
    assert batches.find(workspace, six.id) == six


def test_an_archive_is_opened_and_what_in_it_cannot_be_used_is_told(workspace, tmp_path):
    photos = make_photos(tmp_path / "Ausflug", {"cat": 2, "dog": 2})
    (photos / "inner.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    packed = make_zip(photos, tmp_path / "Ausflug.zip")
    batch = batches.begin_upload(workspace, upload(workspace, packed))
    assert batch.title == "Ausflug.zip" and not batch.is_ingested and batch.pictures() == []
    batch_work.ingest(batch, quiet, never)
    *pictures, inner = batch.pictures()
    assert [picture.name for picture in pictures] == [f"{c}/{c}_00{n}.jpg" for c in ("cat", "dog") for n in (0, 1)]
    assert inner.name == "inner.zip" and "archive inside an archive" in inner.error and not inner.file


def test_an_archive_that_cannot_be_opened_is_told_and_nothing_is_taken_in(workspace, tmp_path):
    (tmp_path / "photos.rar").write_bytes(b"Rar!\x1a\x07" + bytes(600))
    batch = batches.begin_upload(workspace, upload(workspace, tmp_path / "photos.rar"))
    with pytest.raises(DatasetError, match=r"photos\.rar is a \.rar archive, which cannot be opened here"):
        batch_work.ingest(batch, quiet, never)
    assert not batch.is_ingested


def test_a_letter_is_told_to_be_no_picture(workspace, predictor, tmp_path):
    (tmp_path / "letter.txt").write_text("Dear all")
    batch = batches.begin_upload(workspace, upload(workspace, tmp_path / "letter.txt"))
    batch_work.ingest(batch, quiet, never)
    assert batch_work.predict_batch(batch, predictor, 1, "m", quiet, never)
    assert batch.answers("m")[0].error.startswith("letter.txt cannot be used. It is not an image")


def test_taking_in_that_is_stopped_can_begin_again(workspace, tmp_path):
    photos = sorted(make_photos(tmp_path / "new").rglob("*.jpg"))
    batch = batches.begin_upload(workspace, upload(workspace, *photos))
    with pytest.raises(ImportCancelled):
        batch_work.ingest(batch, quiet, lambda: len(list(batch.folder.glob("pictures/*"))) == 5)
    assert not batch.is_ingested
    batch_work.ingest(batch, quiet, never)
    assert len(batch.pictures()) == 12


def test_each_picture_gets_the_answer_of_the_model_and_unreadable_ones_their_reason(six, predictor, trained):
    store, run_id = trained
    model = batches.model_key(run_id, store.checkpoint(run_id))
    told = []
    assert batch_work.predict_batch(six, predictor, run_id, model, lambda *words: told.append(words), never)
    answers = six.answers(model)
    assert sorted(answers) == list(range(7)) and told[-1][:2] == (7, 7) and told[-1][3] == 0
    for picture in six.pictures():
        answer = answers[picture.number]
        if picture.name == "letter.jpg":
            assert answer.error.startswith("letter.jpg cannot be used") and not answer.classes
            continue
        [alone] = predictor.predict([six.path(picture)])
        assert (answer.classes, answer.nearest) == (alone.classes, alone.nearest)
        assert answer.probs == pytest.approx(alone.probs, abs=1e-4)
    asked = six.asked(model)
    assert (asked.run, asked.classes, asked.stages) == (run_id, ["cat", "dog"], predictor.spec.stages)
    some = next(answer for answer in answers.values() if answer.classes)
    for coverage in batches.COVERAGES:
        assert asked.is_none(some, coverage) == (some.distance > predictor.spec.threshold(coverage))


def test_asking_goes_on_where_it_was_left_even_after_a_kill_within_a_line(six, predictor):
    seen = []
    assert not batch_work.predict_batch(
        six, predictor, 1, "m", lambda done, *_: seen.append(done), lambda: len(seen) == 3
    )
    file = six.folder / "answers" / "m.jsonl"
    assert sorted(six.answers("m")) == [0, 1, 2]
    before = file.read_text("utf-8")
    file.write_text(before + '{"number": 3, "classes": ["ca', "utf-8")
    assert sorted(six.answers("m")) == [0, 1, 2], "half a line is no answer"
    seen.clear()
    assert batch_work.predict_batch(six, predictor, 1, "m", lambda done, *_: seen.append(done), never)
    assert seen == [4, 5, 6, 7] and sorted(six.answers("m")) == list(range(7))
    assert file.read_text("utf-8").startswith(before)
    assert batch_work.predict_batch(six, predictor, 1, "m", quiet, never) and len(six.answers("m")) == 7
    assert six.answers("other") == {}, "another model is asked anew"


def test_a_model_whose_checkpoint_was_made_anew_is_another_model(tmp_path):
    file = tmp_path / "model.safetensors"
    with pytest.raises(DatasetError, match="The model of run 3 is gone"):
        batches.model_key(3, file)
    file.write_bytes(b"a")
    first = batches.model_key(3, file)
    os.utime(file, ns=(1, time.time_ns() + 1))
    assert batches.model_key(3, file) != first


def test_pictures_of_a_data_set_come_with_their_class_and_take_no_room(store, tmp_path):
    add_dataset(store, make_photos(tmp_path / "pets"), "pets")
    from learner.datasets import dataset_folder

    rows = rows_of(store, store.datasets.version("pets"))[:5]
    folder = dataset_folder(store.workspace, "pets")
    batch = batches.begin_with(store.workspace, "5 of pets", [(row.path, folder / row.file, row.label) for row in rows])
    assert [(picture.name, picture.label, picture.sha256) for picture in batch.pictures()] == [
        (row.path, row.label, row.sha256) for row in rows
    ]
    assert batch.path(batch.pictures()[0]).stat().st_nlink == 2
    batches.remove(batch)
    assert (folder / rows[0].file).exists()


def test_shots_of_a_camera_add_up(workspace):
    batch = batches.begin(workspace, "Camera", "camera")
    for number in (1, 2):
        batch.add(f"shot {number}.jpg", bytes([number]))
    assert [(one.number, one.name) for one in batch.pictures()] == [(0, "shot 1.jpg"), (1, "shot 2.jpg")]


def test_what_a_person_says_outlives_what_the_data_set_says():
    answer = Answer(0, ["cat", "dog"], [0.9, 0.1])
    unknown, labelled = Picture(0, "1.jpg"), Picture(0, "1.jpg", label="dog")
    assert verdict(unknown, answer, None) is None
    assert verdict(labelled, answer, None) is False
    assert verdict(labelled, answer, Mark("cat")) is True
    assert verdict(unknown, answer, Mark(wrong="cat")) is False
    assert verdict(unknown, Answer(0, ["dog"], [1.0]), Mark(wrong="cat")) is None, (
        "another model's answer is open again"
    )
    assert verdict(labelled, None, None) is None and verdict(labelled, Answer(0, [], []), None) is None


def test_marks_of_two_tabs_add_up_and_can_be_taken_back(six, workspace):
    other = batches.find(workspace, six.id)
    six.mark({0: Mark("cat"), 1: Mark("dog")})
    other.mark({2: Mark(wrong="cat"), 1: None})
    assert six.marks() == other.marks() == {0: Mark("cat"), 2: Mark(wrong="cat")}


def test_what_a_killed_process_left_is_cleared_some_days_later(workspace):
    kept = batches.begin(workspace, "new")
    left = kept.folder.with_name(".half")
    left.mkdir()
    batches.clear_old(workspace)
    assert left.exists(), "it may just be under way"
    os.utime(left, (1, 1))
    batches.clear_old(workspace)
    assert not left.exists() and kept.folder.exists()


def test_old_batches_are_cleared_and_deleted_ones_are_told(six, workspace):
    values = json.loads((six.folder / "batch.json").read_text())
    newer = batches.begin(workspace, "new")
    assert [batch.title for batch in batches.recent(workspace)] == ["new", "7 files"]
    values["created_at"] -= (batches.KEPT_DAYS + 1) * 24 * 3600
    (six.folder / "batch.json").write_text(json.dumps(values))
    batches.clear_old(workspace)
    assert [batch.id for batch in batches.recent(workspace)] == [newer.id]
    with pytest.raises(DatasetError, match="These pictures are gone"):
        batches.find(workspace, six.id)
    with pytest.raises(DatasetError, match="These pictures are gone"):
        batches.find(workspace, f"../predictions/{six.id}")


@pytest.fixture
def pets(store, tmp_path):
    """A data set that holds two of the batch's photos already."""
    photos = make_photos(tmp_path / "pets", {"cat": 5, "dog": 5}, seed=1)
    for label in ("cat", "dog"):
        shutil.copy(tmp_path / "new" / label / f"{label}_000.jpg", photos / label / "known.jpg")
    add_dataset(store, photos, "pets")
    return store


def test_marked_pictures_join_the_data_set_as_its_next_version(six, pets):
    by_name = {picture.name: picture.number for picture in six.pictures()}
    six.mark(
        {
            by_name["cat_000.jpg"]: Mark("cat"),  # known
            by_name["cat_001.jpg"]: Mark("cat"),
            by_name["dog_001.jpg"]: Mark("a/b, dog"),  # a class of its own, with signs that no folder could have
            by_name["dog_002.jpg"]: Mark("dog"),
            by_name["cat_002.jpg"]: Mark(wrong="dog"),  # nobody says what it is
        }
    )
    every = marked(six)
    assert sorted(label for _, label in every) == ["a/b, dog", "cat", "cat", "dog"]
    there = labels_in(pets, "pets", [picture.sha256 for picture, _ in every])
    assert list(there.values()) == ["cat"]
    joined = join(pets, six, "pets")
    assert joining(six) == joined and len(joined.sha256s) == 3
    job = rested(pets.workspace, joined.job)
    assert job.status == "done", job.message
    newest = pets.datasets.version("pets")
    assert newest.number == 2
    new = {row.label: row for row in rows_of(pets, newest) if row.sha256 in joined.sha256s}
    assert sorted(new) == ["a/b, dog", "cat", "dog"]
    assert len(rows_of(pets, newest)) == 12 + 3
    used, unused = images_added(pets, joined)
    assert used == 2 and [reason for _, reason in unused] == ["Class a/b, dog has 1 image; a class needs 2. Add more."]
    with pytest.raises(DatasetError, match="There is nothing new for pets"):
        join(pets, six, "pets")


def test_nothing_marked_is_nothing_to_join(six, pets):
    with pytest.raises(DatasetError, match="There is nothing new for pets"):
        join(pets, six, "pets")
    assert list(pets.workspace.uploads.iterdir()) == []


def of_a_kilobyte(workspace, days_ago: float) -> batches.Batch:
    """A batch that nobody has looked at since it came."""
    batch = batches.begin(workspace, "old")
    batch.add("1.jpg", os.urandom(1000))
    values = json.loads((batch.folder / "batch.json").read_text())
    then = time.time() - days_ago * 24 * 3600
    (batch.folder / "batch.json").write_text(json.dumps({**values, "created_at": then}))
    for path in (*batch.folder.glob("*"), batch.folder):
        os.utime(path, (then, then))
    return batch


def test_beyond_their_limit_the_oldest_go_but_never_the_newest_or_one_in_use(workspace, monkeypatch):
    oldest, used, old, newest = (of_a_kilobyte(workspace, days) for days in (4, 3, 2, 1))
    batches.find(workspace, used.id)
    assert batches.batches_bytes(workspace) > 4000
    batches.clear_beyond(workspace, batches.batches_bytes(workspace) - 1)
    assert [batch.id for batch in batches.recent(workspace)] == [newest.id, old.id, used.id]
    monkeypatch.setenv("THAW_PREDICTIONS_GB", "0")
    begun = batches.begin(workspace, "new")
    assert [batch.id for batch in batches.recent(workspace)] == [begun.id, newest.id, used.id]
    assert not oldest.folder.exists()
    monkeypatch.setenv("THAW_PREDICTIONS_GB", "many")
    with pytest.raises(DatasetError, match=r"THAW_PREDICTIONS_GB is 'many'\. Set it to a number of gigabytes"):
        batches.begin(workspace, "new")


def test_a_batch_of_an_overlong_name_is_gone(workspace):
    with pytest.raises(DatasetError, match="These pictures are gone"):
        batches.find(workspace, "x" * 300)
