"""What grows with use has an end: logs are cut, old thumbnails and deleted runs go."""

import os
import time
from pathlib import Path

import learner.housekeeping
from learner.datasets import thumbnail_path
from learner.datasets.disk import bytes_in
from learner.housekeeping import clean_up, clear_cache, cut_log, storage_kinds
from learner.store.runs import UNDO_S
from tests.learner.store.writing import let_pass
from tests.samples import small_recipe


def write(path: Path, size: int, age_s: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"0" * size)
    for place in (path, path.parent):
        os.utime(place, (time.time() - age_s,) * 2)
    return path


def sizes(store) -> dict[str, int]:
    return {kept.what: kept.bytes for kept in storage_kinds(store)}


def test_every_kind_is_counted_once(pets):
    workspace, run_id = pets.workspace, pets.submit(small_recipe())
    thumbnails = bytes_in(workspace.thumbnails)
    write(workspace.features / "pixels" / "rows.bin", 1000)
    write(workspace.root / "cache" / "previews" / "one.png", 200)
    write(workspace.root / "predictions" / "a" / "picture.jpg", 30)
    write(workspace.uploads / "job-1" / "photos.zip", 4)
    write(workspace.run_folder(run_id) / "log.txt", 5000)
    assert thumbnails > 0
    assert sizes(pets) == {
        "Feature cache": 1000, "Thumbnails": thumbnails, "Other answers": 200, "Uploads": 4, "Predictions": 30,
        "Deleted runs": 0, "Logs": 5000,
    }  # fmt: skip
    pets.runs.delete(run_id)
    assert sizes(pets)["Deleted runs"] == 5000


def test_a_long_log_keeps_its_newest_lines_and_its_writer_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(learner.housekeeping, "LOG_BYTES", 100)
    log = tmp_path / "log.txt"
    with log.open("ab", buffering=0) as writer:
        for number in range(20):
            writer.write(b"line %d\n" % number)
        cut_log(log)
        assert log.read_text().startswith("line 0\n")  # not too long yet
        for number in range(20, 40):
            writer.write(b"line %d\n" % number)
        cut_log(log)
        writer.write(b"the last\n")
    lines = log.read_text().splitlines()
    assert lines[-2:] == ["line 39", "the last"]
    assert lines[0] == "line 28" and log.stat().st_size <= 110


def test_thumbnails_share_the_budget_of_the_cache_and_the_oldest_go_first(store, monkeypatch):
    workspace = store.workspace
    old = write(workspace.thumbnails / "192" / "aa" / "old.jpg", 600, age_s=3000)
    between = write(workspace.features / "pixels" / "rows.bin", 600, age_s=2000)
    new = write(workspace.thumbnails / "192" / "bb" / "new.jpg", 600, age_s=1000)
    monkeypatch.setenv("THAW_CACHE_GB", "1300e-9")
    clean_up(store)
    assert [path.exists() for path in (old, between, new)] == [False, True, True]
    monkeypatch.setenv("THAW_CACHE_GB", "700e-9")
    clean_up(store)
    assert [path.exists() for path in (old, between, new)] == [False, False, True]


def test_a_thumbnail_that_went_is_made_again(pets):
    clear_cache(pets.workspace)
    [image, *_] = pets.datasets.images(pets.datasets.version("pets").id)
    assert not pets.workspace.thumbnails.exists()
    assert thumbnail_path(pets.workspace, "pets", image).stat().st_size > 0


def test_a_deleted_run_goes_with_its_folder_when_it_cannot_be_had_back(pets):
    gone, kept = pets.submit(small_recipe()), pets.submit(small_recipe())
    for run_id in (gone, kept):
        write(pets.workspace.run_folder(run_id) / "model.safetensors", 10)
    pets.runs.delete(gone)
    clean_up(pets)
    assert pets.workspace.run_folder(gone).exists()
    let_pass(pets, UNDO_S + 60)
    clean_up(pets)
    assert not pets.workspace.run_folder(gone).exists()
    assert (pets.workspace.run_folder(kept) / "model.safetensors").exists()
    assert [run.id for run in pets.runs.all()] == [kept]
