"""`data look`, `data add`, `data gallery`: what is recognised is said and can be corrected; errors leave nothing."""

import csv
import io
import shutil
import signal
import tarfile
from pathlib import Path

import pytest

from learner.store import Store
from tests.learner.cli.shell import shell
from tests.learner.file_server import dripping, serving
from tests.patience import GIVE_UP_S, until
from tests.samples import make_photos, make_zip


@pytest.fixture
def listed(tmp_path) -> Path:
    """A .tar.gz of twelve photos named by number, of a table that knows them, and of a letter."""
    photos = sorted(make_photos(tmp_path / "made", {"cat": 6, "dog": 6}).rglob("*.jpg"))
    folder = tmp_path / "study"
    folder.mkdir()
    rows = [("photo", "species", "patient", "part")]
    for number, photo in enumerate(photos):
        shutil.copy(photo, folder / f"{number:03}.jpg")
        rows.append((f"{number:03}", photo.parent.name, f"p{number // 3}", "val" if number % 3 == 0 else "train"))
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "letter.pdf").write_bytes(b"%PDF")
    archive = tmp_path / "study.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, "study")
    return archive


def table_of(thaw, name: str, file: Path) -> list[dict[str, str]]:
    assert thaw("data", "table", name, file).code == 0
    with file.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_look_says_what_fits_and_why_and_imports_nothing(workspace, thaw, listed):
    said = thaw("data", "look", listed)
    assert (said.code, said.err) == (0, "")
    first, second = said.out.split("\n\n")[:2]
    assert first.startswith("1. The table list.csv lists the classes. study/list.csv names the files in photo, ")
    assert "the splits in part and the groups in patient; 2 classes (cat, dog)." in first
    assert [line.split() for line in first.splitlines()[1:4]] == [
        ["Class", "train", "valid"],
        ["cat", "4", "2"],
        ["dog", "4", "2"],
    ]
    assert "Left out, 1 file: It is not an image file (.pdf)." in first
    assert first.endswith("To take it: --layout table --table study/list.csv")
    assert second.startswith("2. ")
    assert said.out.endswith("The table study/list.csv has the columns photo, species, patient, part.\n")

    told = thaw("data", "look", listed, "--json").json
    assert told["tables"] == {"study/list.csv": ["photo", "species", "patient", "part"]}
    assert told["proposals"][0]["counts"] == {"cat": {"train": 4, "valid": 2}, "dog": {"train": 4, "valid": 2}}
    assert thaw("data", "list", "--json").json == {"datasets": []}
    assert list(workspace.uploads.iterdir()) == []


def test_a_table_in_a_tar_gz_comes_in_with_its_splits_and_groups_or_with_the_columns_that_are_named(
    workspace, thaw, listed, tmp_path
):
    said = thaw("data", "add", listed, "--name", "study", "--note", "From the clinic")
    assert said.out.startswith("study, version 1: 12 images in 2 classes")
    assert "\nFrom the clinic. study/list.csv names the files in photo" in said.out
    assert said.err.startswith("Recognised: The table list.csv lists the classes, 12 images in 2 classes.")
    rows = table_of(thaw, "study", tmp_path / "rows.csv")
    assert [(row["path"], row["label"], row["split"], row["group"]) for row in rows[:2]] == [
        ("000.jpg", "cat", "valid", "p0"),
        ("001.jpg", "cat", "train", "p0"),
    ]

    other = thaw("data", "add", listed, "--name", "patients", "--label-column", "patient", "--json").json
    assert other["layout"] | {"label_column": "patient"} == other["layout"]
    assert other["counts"] == {name: {"train": 2, "valid": 1} for name in ("p0", "p1", "p2", "p3")}


def test_columns_with_probabilities_can_be_named(workspace, thaw, tmp_path):
    folder = make_photos(tmp_path / "cells", {"cat": 4, "dog": 4})
    rows = [f"{photo.name},panel {number % 2},0.25,0.75" for number, photo in enumerate(sorted(folder.rglob("*.jpg")))]
    (folder / "list.csv").write_text("\n".join(["file,type,bad,good", *rows]))
    assert set(thaw("data", "look", folder, "--json").json["proposals"][0]["counts"]) == {"panel 0", "panel 1"}
    named = ["--probability-column", "bad", "--probability-column", "good"]
    told = thaw("data", "look", folder, *named, "--json").json["proposals"][0]
    assert told["counts"] == {"good": {"": 8}}
    assert "the probabilities of 2 classes in bad to good" in told["reason"]
    assert thaw("data", "add", folder, "--name", "cells", "--label-column", "type", *named).code == 0
    row = table_of(thaw, "cells", tmp_path / "rows.csv")[0]
    assert (row["label"], row["probability:bad"], row["probability:good"]) == ("panel 0", "0.25", "0.75")


def test_what_was_recognised_can_be_corrected_by_a_pattern_by_numbers_and_by_names(workspace, thaw, tmp_path):
    photos = sorted(make_photos(tmp_path / "made", {"cat": 4, "dog": 4}).rglob("*.jpg"))
    folder = tmp_path / "flat"
    folder.mkdir()
    for number, photo in enumerate(photos):
        shutil.copy(photo, folder / f"x{number % 2}-{photo.parent.name}-{number}.jpg")
    pattern = r"-(\w+)-\d"
    seen = thaw("data", "look", folder, "--pattern", pattern, "--class", "cat=Katze", "--json").json["proposals"]
    assert [one["counts"] for one in seen] == [{"dog": {"": 4}, "Katze": {"": 4}}]
    said = thaw(
        "data", "add", folder, "--name", "pets", "--pattern", pattern, "--class", "cat=pet", "--class", "dog=pet"
    )
    assert said.out.startswith("pets, version 1: 8 images in 1 class")

    numbered = thaw("data", "look", folder, "--per-class", "3", "--json").json["proposals"][0]
    assert (numbered["title"], list(numbered["counts"])) == ("Numbered files, 3 for each class", ["1", "2", "3"])
    grouped = thaw("data", "add", folder, "--name", "grouped", "--pattern", pattern, "--group-pattern", "(x.)-")
    assert grouped.code == 0
    assert {row["group"] for row in table_of(thaw, "grouped", tmp_path / "rows.csv")} == {"x0", "x1"}


def test_names_that_look_alike_are_told_and_merged_when_asked(workspace, thaw, tmp_path):
    folder = make_photos(tmp_path / "pets", {"cat": 3, "dog": 3})
    make_photos(folder, {"Cat ": 2}, seed=5)
    hint = "Cat and cat look like one class; --merge-alike makes them one."
    assert hint in thaw("data", "look", folder).out
    apart = thaw("data", "add", folder, "--name", "apart")
    assert hint in apart.err and "in 3 classes" in apart.out
    merged = thaw("data", "add", folder, "--name", "merged", "--merge-alike", "--json")
    assert merged.err == ""
    assert merged.json["counts"] == {"cat": {"": 5}, "dog": {"": 3}}
    assert merged.json["layout"]["classes"] == {"Cat": "cat"}


def test_a_second_import_replaces_adds_or_finds_the_same(workspace, thaw, tmp_path):
    one = make_photos(tmp_path / "one", {"cat": 3, "dog": 3})
    two = make_zip(make_photos(tmp_path / "two", {"cat": 2, "owl": 2}, seed=9), tmp_path / "two.zip")
    thaw("data", "add", one, "--name", "pets")
    again = thaw("data", "add", one, "--name", "pets")
    assert again.out.startswith("pets, version 1: 6 images")
    assert "These images are here already, so no version was made." in again.err
    added = thaw("data", "add", two, "--name", "pets", "--add", "--json").json
    assert (added["version"], added["counts"]) == (2, {"cat": {"": 5}, "dog": {"": 3}, "owl": {"": 2}})
    replaced = thaw("data", "add", two, "--name", "pets", "--json").json
    assert (replaced["version"], replaced["counts"]) == (3, {"cat": {"": 2}, "owl": {"": 2}})
    assert thaw("data", "show", "pets", "--version", 1).out == again.out


def test_images_that_cannot_be_used_are_told_with_their_reasons(workspace, thaw, tmp_path):
    folder = make_photos(tmp_path / "pets", {"cat": 3, "dog": 3})
    shutil.copy(folder / "cat" / "cat_000.jpg", folder / "dog" / "copy.jpg")
    (folder / "cat" / "broken.jpg").write_bytes(b"no picture")
    said = thaw("data", "add", folder, "--name", "pets").out
    assert "2 images kept but not used:\n  cat/cat_000.jpg: The same image is also in class dog" in said
    assert "1 file set aside:\n  cat/broken.jpg: It is not an image" in said
    shown = thaw("data", "show", "pets", "--json").json
    assert [row["path"] for row in shown["not_used"]] == ["cat/cat_000.jpg", "dog/copy.jpg"]
    assert (shown["images"], shown["excluded"]) == (5, 2)


# From elsewhere


def packed(folder: Path) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.add(folder, folder.name)
    return file.getvalue()


def test_an_address_is_downloaded_and_only_its_public_part_is_written_down(workspace, thaw, tmp_path, monkeypatch):
    archive = packed(make_photos(tmp_path / "pets", {"cat": 2, "dog": 2}))
    with serving({"/pets.tar.gz?key=s3cret": archive}) as base:
        refused = thaw("data", "add", f"{base}/pets.tar.gz?key=s3cret", "--name", "pets")
        assert refused.code == 2 and "in a private network" in refused.err
        monkeypatch.setenv("THAW_ALLOW_PRIVATE_ADDRESSES", "1")
        said = thaw("data", "add", f"{base}/pets.tar.gz?key=s3cret", "--name", "pets")
        missing = thaw("data", "look", f"{base}/other.zip")
    assert said.out.startswith("pets, version 1: 4 images in 2 classes"), said.err
    assert "Downloaded from http://127.0.0.1/pets.tar.gz." in said.out
    assert missing.code == 2 and "has no file at this address (status 404)" in missing.err
    assert list(workspace.uploads.iterdir()) == []


def test_a_known_set_comes_by_its_key_with_its_own_layout(workspace, thaw, tmp_path, monkeypatch):
    sets = {known["key"]: known for known in thaw("data", "gallery", "--json").json["sets"]}
    assert {"digits", "elpv", "pets", "flowers-17", "knifey-spoony"} <= set(sets)
    assert sets["flowers-17"]["license"] in (listing := thaw("data", "gallery").out)
    assert "flower-photos: Flowers (TensorFlow)" in listing and "3,670 images in 5 classes, 229 MB" in listing

    folder = tmp_path / "images"
    for breed in ("Abyssinian", "great_pyrenees"):
        for photo in make_photos(tmp_path / "made", {breed: 2}).rglob("*.jpg"):
            shutil.copytree(photo.parent, folder, dirs_exist_ok=True)
    with serving({"/~vgg/data/pets/data/images.tar.gz": packed(folder)}) as base:
        monkeypatch.setenv("THAW_GALLERY_BASE", base)
        monkeypatch.setenv("THAW_ALLOW_PRIVATE_ADDRESSES", "1")
        said = thaw("data", "add", "gallery:pets", "--name", "breeds")
    assert "Abyssinian           2\ngreat_pyrenees       2\n" in said.out, said.err
    assert f"{sets['pets']['address']}. Licence: CC BY-SA 4.0. The names tell 2 classes" in said.out


def test_ctrl_c_ends_a_download_or_an_import_with_130_and_leaves_nothing(workspace, thaw, monkeypatch):
    monkeypatch.setenv("THAW_ALLOW_PRIVATE_ADDRESSES", "1")
    seen = []
    with serving({"/slow.zip": dripping(bytes(1000))}, seen) as base:
        downloading = shell(workspace.root, "data", "add", f"{base}/slow.zip", "--name", "slow")
        importing = shell(workspace.root, "data", "add", "digits", "--name", "digits")
        until(lambda: seen)
        downloading.send_signal(signal.SIGINT)
        until(lambda: list(workspace.datasets.glob("digits-*/incoming/images/*/*.png")))
        importing.send_signal(signal.SIGINT)
        for process in (downloading, importing):
            out, err = process.communicate(timeout=GIVE_UP_S)
            assert (process.returncode, out) == (130, ""), err
            assert err.splitlines()[-1] == "Interrupted. Nothing of it was kept."
            assert "Traceback" not in err
    assert Store(workspace).datasets.names() == []
    assert [path for path in workspace.datasets.rglob("*") if path.is_file()] == []
    assert list(workspace.uploads.iterdir()) == []


# Errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("look /no/such/folder", "/no/such/folder"),
        ("look EMPTY", "holds no images"),
        ("look PHOTOS --layout nosuch", "'nosuch' is not one of"),
        ("look PHOTOS --layout names --per-class 3", "Options of several layouts were given"),
        ("look PHOTOS --pattern cat(", "cannot be read at character"),
        ("look PHOTOS --pattern cat", "has no group"),
        ("look PHOTOS --table list.csv", "has no table 'list.csv'. Tables that can be read: none."),
        ("look PHOTOS --file-column file", "has no table that lists its images"),
        ("look PHOTOS --layout setid", "holds no imagelabels.mat"),
        ("look PHOTOS --class owl=cat", "There is no class 'owl'. There are: cat, dog."),
        ("look PHOTOS --class cat", "'cat' is not of the form OLD=NEW"),
        ("look ftp://example.org/x.zip", "It has to begin with https://"),
        ("look gallery:nosuch", "There is no known data set 'nosuch'. There are: digits, elpv"),
        ("add PHOTOS", "--name"),
        ("add PHOTOS --name a/b", "The data set name 'a/b' holds '/'"),
        ("add PHOTOS --name x --layout unlabelled --per-class 2", "Options of several layouts"),
        ("add TEXT --name x", "is not a .zip file"),
        ("table nosuch out.csv", "There is no data set 'nosuch'"),
        ("show nosuch --version 2", "There is no version 2 of data set 'nosuch'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_comes_in(workspace, thaw, tmp_path, words, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no archive")
    photos = make_photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    places = {"PHOTOS": photos, "EMPTY": tmp_path / "empty", "TEXT": tmp_path / "text.zip"}
    said = thaw("data", *(places.get(word, word) for word in words.split()))
    assert (said.code, said.out) == (2, "")
    [line] = said.err.splitlines()
    assert line.startswith("Error: ") and message in line
    assert Store(workspace).datasets.names() == []
