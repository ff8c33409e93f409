"""`predict`: tables and lines as they come, thousands of files in steady memory, views, maps, none of these."""

import csv
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from learner.models.checkpoint import read_spec
from learner.recipe import Augment
from learner.training.process import execute
from tests.learner.cli.shell import shell
from tests.patience import GIVE_UP_S, until
from tests.samples import make_photos, small_recipe


@pytest.fixture
def checkpoint(home) -> Path:
    return home / "runs" / "1" / "model.safetensors"


def table_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_it_says_what_is_on_each_image_of_a_folder_and_lists_what_it_cannot_read(home, thaw, photos, tmp_path):
    folder = tmp_path / "new"
    shutil.copytree(photos / "valid" / "cat", folder / "cat")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not looked at")
    said = thaw("predict", 1, folder)
    assert said.code == 0
    lines = said.out.splitlines()
    assert len(lines) == 9
    assert [line.split(": ")[0] for line in lines] == sorted(str(p) for p in folder.rglob("*.*g"))
    assert lines[0].startswith(f"{folder / 'broken.png'}: not read. ")
    assert all(" %" in line and "cat " in line and "dog " in line for line in lines[1:])
    assert said.err.splitlines()[-2:] == [
        f"Not read: {folder / 'broken.png'}",
        "1 file could not be read; the output says why.",
    ]

    table = tmp_path / "answers.csv"
    assert thaw("predict", 1, folder, "--csv", table, "--top-k", 1).out == f"Wrote 9 rows to {table}\n"
    rows = table_of(table)
    assert list(rows[0]) == ["file", "class_1", "prob_1", "none_of_these", "distance", "error"]
    assert rows[0]["error"] and not rows[0]["class_1"] and not rows[0]["none_of_these"]
    for row, line in zip(rows[1:], lines[1:], strict=True):
        assert f"{row['class_1']} {100 * float(row['prob_1']):.1f} %" in line
        assert ("none of these" in line) == (row["none_of_these"] == "yes")


def test_it_prints_one_json_object_when_asked(home, thaw, photos):
    image = next((photos / "valid").rglob("*.jpg"))
    said = thaw("predict", 1, image, "--json")
    assert said.err == ""
    [prediction] = said.json["predictions"]
    assert (prediction["source"], sorted(prediction["classes"]), prediction["error"]) == (
        str(image),
        ["cat", "dog"],
        "",
    )
    assert sum(prediction["probs"]) == pytest.approx(1)


def test_lines_of_json_and_the_table_say_the_same(home, thaw, photos, tmp_path):
    (tmp_path / "broken.jpg").write_text("no picture")
    lines, table = tmp_path / "answers.jsonl", tmp_path / "answers.csv"
    said = thaw("predict", 1, photos / "valid", tmp_path / "broken.jpg", "--jsonl", lines, "--csv", table)
    assert said.out.splitlines() == [f"Wrote 17 rows to {table}", f"Wrote 17 rows to {lines}"]
    told = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    for line, row in zip(told, table_of(table), strict=True):
        assert line["source"] == row["file"] and line["error"] == row["error"]
        assert [str(prob) for prob in line["probs"]] == [row[f"prob_{k}"] for k in (1, 2) if row[f"prob_{k}"]]
        assert row["none_of_these"] == {None: "", True: "yes", False: "no"}[line["none_of_these"]]
    assert told[-1]["classes"] == [] and told[-1]["error"]


def test_what_lies_beyond_the_stated_coverage_is_none_of_these(home, checkpoint, thaw, photos):
    spec = read_spec(checkpoint)
    assert spec.neighbours, "a run keeps what this is told from"
    for coverage in (0.5, 0.95, 1.0):
        told = thaw("predict", 1, photos / "valid", "--json", "--coverage", coverage).json
        assert told["coverage"] == coverage
        for one in told["predictions"]:
            assert one["none_of_these"] == (one["distance"] > spec.threshold(coverage))
    share = np.mean(
        [
            one["none_of_these"]
            for one in thaw("predict", 1, photos / "valid", "--json", "--coverage", 0.5).json["predictions"]
        ]
    )
    assert 0.3 <= share <= 0.7  # these are the validation images themselves
    assert "Invalid value for '--coverage'" in thaw("predict", 1, photos / "valid", "--coverage", 0.2).err


def test_views_are_those_of_training_and_always_the_same(pets, thaw, photos):
    recipe = small_recipe(augment=Augment(flip_horizontal=True, rotate=40, zoom=1.5))
    run_id = pets.submit(recipe, running=True)
    assert execute(pets, run_id) == "finished", pets.runs.get(run_id).reason
    image = photos / "valid" / "cat" / "cat_000.jpg"
    once, again, plain = (
        thaw("predict", run_id, image, "--json", *views).json["predictions"][0]
        for views in (["--tta", 3], ["--tta", 3], [])
    )
    assert once == again
    assert sum(once["probs"]) == pytest.approx(1) and once["probs"] != pytest.approx(plain["probs"], abs=1e-6)
    assert once["distance"] == plain["distance"]


def test_views_of_a_model_that_saw_none_are_refused(home, thaw, photos):
    said = thaw("predict", 1, photos / "valid", "--tta", 2)
    assert said.code == 2 and "was trained without augmentation" in said.err and "--set augment." in said.err


def test_heat_maps_are_drawn_over_each_picture_that_can_be_read(home, thaw, photos, tmp_path):
    pictures = sorted((photos / "valid" / "cat").glob("*.jpg"))[:2]
    (tmp_path / "broken.jpg").write_text("no picture")
    said = thaw("predict", 1, tmp_path / "broken.jpg", *pictures, "--heat-maps", tmp_path / "maps", "--stage", "layer2")
    assert said.code == 0 and f"Wrote 2 pictures to {tmp_path / 'maps'}" in said.out
    drawn = sorted((tmp_path / "maps").iterdir())
    assert [file.name for file in drawn] == [f"{n:04}_{file.stem}.png" for n, file in enumerate(pictures, start=1)]
    with Image.open(drawn[0]) as png, Image.open(pictures[0]) as jpg:
        assert png.size == jpg.size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--heat-maps", "maps", "--stage", "block9"], "This model has no stage 'block9'. Its stages are stem, layer1"),
        (["--stage", "layer1"], "--heat-maps FOLDER"),
        (["--heat-maps", "no/such"], "does not exist"),
        (["--jsonl", "no/such.jsonl"], "does not exist"),
        (["--csv", "."], "cannot be written: Is a directory"),
    ],
)
def test_what_cannot_be_done_is_one_line(home, thaw, photos, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    said = thaw("predict", 1, photos / "valid", *options)
    assert said.code == 2 and message in said.err and len(said.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_rows_are_on_disk_as_they_come_and_memory_stays_where_it_is(home, photos, tmp_path):
    """3,200 small files: the table grows while the command runs, and from 500 on it takes no more memory."""
    many = tmp_path / "many"
    many.mkdir()
    originals = sorted(make_photos(tmp_path / "some", {"cat": 10, "dog": 10}, size=(32, 24)).rglob("*.jpg"))
    for number in range(3200):
        os.link(originals[number % 20], many / f"{number:04}.jpg")
    table = tmp_path / "answers.csv"
    process = shell(home, "predict", 1, many, "--csv", table)
    resident = psutil.Process(process.pid)

    def rows() -> int:
        return table.read_text("utf-8").count("\n") - 1 if table.exists() else 0

    seen: list[tuple[int, int]] = []

    def watched() -> bool:
        if process.poll() is None and rows() > 0:
            try:
                seen.append((rows(), resident.memory_info().rss))
            except psutil.NoSuchProcess:
                return True
        return process.poll() is not None

    until(watched)
    assert process.wait(GIVE_UP_S) == 0, process.stderr.read()
    assert re.fullmatch(r"Wrote 3,200 rows to .*\n", process.stdout.read())
    assert rows() == 3200
    early = [rss for done, rss in seen if 500 <= done < 1500]
    late = [rss for done, rss in seen if 2000 <= done < 3200]  # at the end, libraries are taken down
    assert early and late, "the table was not written as answers came"
    assert max(late) - max(early) < 30_000_000
