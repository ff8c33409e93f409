"""A watched folder: one row a picture, whatever is stopped and begun again, and a warning when pictures change."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from learner.errors import ThawError
from learner.serving.drift import WINDOW
from learner.serving.model import ServedModel
from learner.serving.watching import SETTLED_S, FolderAway, Watch
from tests.patience import GIVE_UP_S, until
from tests.samples import ROOT


@pytest.fixture(scope="module")
def model(onnx_model) -> ServedModel:
    return ServedModel(onnx_model, threads=1)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def table(tmp_path) -> Path:
    return tmp_path / "answers.csv"


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def put(photos: Path, folder: Path, count: int) -> list[str]:
    """Copies of validation photos that were written a while ago."""
    files = sorted((photos / "valid").rglob("*.jpg"))[:count]
    for number, file in enumerate(files):
        shutil.copy(file, folder / f"{number}.jpg")
        os.utime(folder / f"{number}.jpg", (1_700_000_000 + number,) * 2)
    return [f"{number}.jpg" for number in range(len(files))]


def test_each_picture_gets_one_row_and_a_restart_goes_on_where_the_table_ends(model, photos, folder, table):
    names = put(photos, folder, 5)
    with Watch(model, folder, table) as watch:
        assert watch.look().pictures == 5 and watch.look().pictures == 0
    (folder / "later").mkdir()
    shutil.copy(folder / "0.jpg", folder / "later" / "0.jpg")
    os.utime(folder / "later" / "0.jpg", (1_800_000_000,) * 2)
    with table.open("a") as file:
        file.write("half a row, as a power cut le")
    with Watch(model, folder, table) as watch:
        assert watch.rows == 5 and watch.look().pictures == 1
    written = rows(table)
    assert [row["file"] for row in written] == [*names, "later/0.jpg"]
    assert {row["class_1"] for row in written} <= set(model.classes) and all(
        0 < float(row["prob_1"]) <= 1 for row in written
    )
    assert written[-1] | {"file": "", "changed": ""} == written[0] | {"file": "", "changed": ""}


def test_a_picture_that_is_written_over_is_a_new_one(model, photos, folder, table):
    put(photos, folder, 1)
    with Watch(model, folder, table) as watch:
        watch.look()
        os.utime(folder / "0.jpg", (1_900_000_000,) * 2)
        assert watch.look().pictures == 1
    assert [row["file"] for row in rows(table)] == ["0.jpg", "0.jpg"]


def test_a_picture_that_is_still_being_written_waits_and_hidden_and_other_files_are_left_alone(
    model, photos, folder, table
):
    put(photos, folder, 1)
    for name in (".0.jpg.part", ".hidden.jpg", "notes.txt"):
        (folder / name).write_bytes(b"")
    with Watch(model, folder, table) as watch:
        changed = 1_700_000_000
        assert watch.look(now=changed + SETTLED_S / 2).pictures == 0
        assert watch.look(now=changed + SETTLED_S).pictures == 1


def test_a_picture_that_cannot_be_read_has_a_row_that_says_why(model, folder, table):
    (folder / "broken.jpg").write_bytes(b"no picture")
    os.utime(folder / "broken.jpg", (1_700_000_000,) * 2)
    with Watch(model, folder, table) as watch:
        seen = watch.look()
    [row] = rows(table)
    assert seen.unread == 1 and "not an image" in row["error"] and row["class_1"] == row["distance"] == ""


def test_pictures_unlike_the_training_photos_are_warned_of_once_also_over_a_restart(model, folder, table):
    def add(first: int, last: int) -> None:
        for number in range(first, last):
            noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(noise).save(folder / f"{number:03}.png")
            os.utime(folder / f"{number:03}.png", (1_700_000_000 + number,) * 2)

    add(0, WINDOW - 1)
    with Watch(model, folder, table) as watch:
        assert watch.tells_drift and watch.look().warnings == []
    add(WINDOW - 1, WINDOW + 1)
    with Watch(model, folder, table) as watch:
        [warning] = watch.look().warnings
    assert "further from the training photos" in warning and "0.1% of such groups" in warning
    with Watch(model, folder, table) as watch:
        assert watch.look().warnings == []


def test_another_table_a_folder_that_is_gone_and_a_full_disk_are_told(model, photos, folder, table):
    put(photos, folder, 1)
    table.write_text("name,size\na,1\n")
    with pytest.raises(ThawError, match="is another table"):
        Watch(model, folder, table)
    table.unlink()
    with Watch(model, folder, table) as watch:
        folder.rename(folder.with_name("away"))
        with pytest.raises(FolderAway, match="cannot be read: No such file"):
            watch.look()
        folder.with_name("away").rename(folder)
        assert watch.look().pictures == 1
    if Path("/dev/full").exists():
        with (
            pytest.raises(ThawError, match="No space left on device"),
            Watch(model, folder, Path("/dev/full")) as watch,
        ):
            watch.look()


def test_the_command_watches_until_it_is_stopped(onnx_model, photos, folder, table):
    words = ["watch", str(onnx_model), str(folder), "--csv", str(table), "--every", "0.1"]
    process = subprocess.Popen([sys.executable, "-m", "learner", *words], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        until(table.exists)
        put(photos, folder, 2)
        until(lambda: len(rows(table)) == 2)
        time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=GIVE_UP_S)
    assert f"{table} has 2 pictures." in said and "Traceback" not in said and process.returncode == 0
