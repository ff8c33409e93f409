"""An import takes every usable image, says why the others are not, and leaves nothing half-made."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from learner.datasets import (
    ImportProgress,
    add_dataset,
    check_name,
    dataset_folder,
    image_path,
    summarize,
    thumbnail_path,
)
from learner.datasets.editing import Edit, add_edit, save
from learner.datasets.layouts import Choice
from learner.errors import DatasetError, ImageError, ImportCancelled
from tests.samples import make_photos


@pytest.fixture
def photos(tmp_path) -> Path:
    return make_photos(tmp_path / "pets")


def reasons(store, version) -> dict[str, str]:
    return {row.path: row.reason for row in store.datasets.set_aside(version.id)}


def excluded(store, version) -> dict[str, str]:
    return {image.path: image.reason for image in store.datasets.images(version.id) if image.excluded}


def files_under(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()


def test_a_folder_becomes_version_1_with_a_row_a_copy_and_a_thumbnail_for_each_image(store, workspace, photos):
    version = add_dataset(store, photos, "My pets", note="from the holidays")
    assert (version.name, version.number) == ("My pets", 1)
    assert version.note == "from the holidays. The images lie in one folder for each of 2 classes (cat, dog)."
    images = store.datasets.images(version.id)
    assert Counter(image.label for image in images) == {"cat": 6, "dog": 6}
    for image in images:
        original = photos / image.path
        copy = image_path(workspace, "My pets", image)
        assert copy.read_bytes() == original.read_bytes()
        assert copy.name == f"{image.sha256}.jpg"
        assert hashlib.sha256(original.read_bytes()).hexdigest() == image.sha256
        assert (image.width, image.height, image.split, image.excluded) == (64, 48, "", False)
    assert len(files_under(workspace.thumbnails)) == 12
    assert not (dataset_folder(workspace, "My pets") / "incoming").exists()


def test_a_second_import_of_the_same_images_gives_the_version_that_is_there(store, workspace, photos, tmp_path):
    first = add_dataset(store, photos, "pets")
    before = files_under(workspace.datasets)
    nested = tmp_path / "outer"
    nested.mkdir()
    photos.rename(nested / "inner")
    assert add_dataset(store, nested, "pets") == first
    assert files_under(workspace.datasets) == before


def test_other_images_under_the_same_name_make_the_next_version_and_share_the_files(store, workspace, photos):
    first = add_dataset(store, photos, "pets")
    (photos / "cat" / "cat_000.jpg").unlink()
    second = add_dataset(store, photos, "pets")
    assert (first.number, second.number) == (1, 2)
    assert len(store.datasets.images(second.id)) == 11
    assert len(files_under(dataset_folder(workspace, "pets"))) == 12


def test_width_and_height_are_those_of_the_upright_picture(store, photos):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (30, 10), "green").save(photos / "cat" / "turned.jpg", exif=exif)
    version = add_dataset(store, photos, "pets")
    turned = next(image for image in store.datasets.images(version.id) if image.path == "cat/turned.jpg")
    assert (turned.width, turned.height) == (10, 30)


def test_files_that_are_no_images_are_set_aside_and_hurt_nobody(store, photos):
    (photos / "cat" / "story.jpg").write_text("once upon a time")
    whole = (photos / "cat" / "cat_000.jpg").read_bytes()
    (photos / "dog" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "dog" / "empty.png").touch()
    (photos / "dog" / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    (photos / "all cats").symlink_to(photos / "cat")
    os.mkfifo(photos / "dog" / "pipe.jpg")
    (photos / "labels.csv").write_text("a,b")
    for left_behind in (".DS_Store", "cat/Thumbs.db", "cat/._cat_000.jpg", "__MACOSX/cat/x.jpg", ".hidden/1.jpg"):
        (photos / left_behind).parent.mkdir(parents=True, exist_ok=True)
        (photos / left_behind).write_bytes(b"junk")
    version = add_dataset(store, photos, "pets")
    rows = reasons(store, version)
    assert len(store.datasets.images(version.id)) == 12
    assert set(rows) == {
        "cat/story.jpg", "dog/half.jpg", "dog/empty.png", "dog/gone.jpg", "all cats", "dog/pipe.jpg", "labels.csv",
    }  # fmt: skip
    assert rows["cat/story.jpg"].startswith("It is not an image")
    assert rows["dog/half.jpg"].startswith("It is cut short")
    assert rows["dog/empty.png"].startswith("The file is empty")
    assert rows["dog/gone.jpg"].startswith("It cannot be opened")
    assert rows["all cats"].startswith("It is a link to a folder")
    assert rows["dog/pipe.jpg"].startswith("It is not a plain file")


def test_a_file_named_wrongly_is_kept_under_what_it_really_is(store, workspace, photos):
    Image.new("RGB", (9, 9), "red").save(photos / "cat" / "really.jpg", "PNG")
    version = add_dataset(store, photos, "pets")
    image = next(image for image in store.datasets.images(version.id) if image.path == "cat/really.jpg")
    assert image.file.endswith(".png")


def test_a_duplicate_is_used_once(store, photos):
    (photos / "cat" / "copy.jpg").write_bytes((photos / "cat" / "cat_002.jpg").read_bytes())
    version = add_dataset(store, photos, "pets")
    assert excluded(store, version) == {"cat/copy.jpg": "The same image as cat/cat_002.jpg, which is used."}
    assert len(store.datasets.images(version.id)) == 13
    assert reasons(store, version) == {}


def test_one_image_under_two_classes_is_used_in_neither(store, workspace, photos):
    (photos / "dog" / "both.jpg").write_bytes((photos / "cat" / "cat_002.jpg").read_bytes())
    version = add_dataset(store, photos, "pets")
    rows = excluded(store, version)
    assert set(rows) == {"dog/both.jpg", "cat/cat_002.jpg"}
    assert (
        rows["dog/both.jpg"] == "The same image is also in class cat (cat/cat_002.jpg). Keep it in the right one only."
    )
    assert len(files_under(dataset_folder(workspace, "pets"))) == 12


def test_an_image_in_train_and_valid_is_used_for_validation_only(store, tmp_path):
    make_photos(tmp_path / "pets" / "train")
    make_photos(tmp_path / "pets" / "valid", seed=1)
    (tmp_path / "pets/train/cat/seen.jpg").write_bytes((tmp_path / "pets/valid/cat/cat_000.jpg").read_bytes())
    version = add_dataset(store, tmp_path / "pets", "pets")
    assert excluded(store, version) == {
        "train/cat/seen.jpg": "The same image as valid/cat/cat_000.jpg: what is in valid must not be in train too."
    }


def test_the_data_set_s_own_split_is_kept_and_classes_without_training_images_are_not_used(store, tmp_path):
    make_photos(tmp_path / "pets" / "Train", {"cat": 3, "dog": 3, "fox": 2})
    make_photos(tmp_path / "pets" / "val", {"cat": 2, "dog": 2, "owl": 2}, seed=1)
    make_photos(tmp_path / "pets" / "test", {"cat": 1, "dog": 1}, seed=2)
    version = add_dataset(store, tmp_path / "pets", "pets")
    summary = summarize(store, version)
    assert summary.counts == {
        "cat": {"test": 1, "train": 3, "valid": 2},
        "dog": {"test": 1, "train": 3, "valid": 2},
        "fox": {"train": 2},
    }
    assert summary.has_own_split
    assert version.note == (
        "3 folders (Train, test, val) around the class folders tell which images are for training, validation and "
        "test; 4 classes (cat, dog, fox …). Without validation images: fox."
    )
    assert set(excluded(store, version).values()) == {"Class owl has no images to learn from. Add some."}


def test_a_class_of_one_image_is_not_used_until_there_is_another(store, tmp_path):
    version = add_dataset(store, make_photos(tmp_path / "pets", {"cat": 2, "dog": 2, "owl": 1}), "pets")
    assert excluded(store, version) == {"owl/owl_000.jpg": "Class owl has 1 image; a class needs 2. Add more."}
    owl = make_photos(tmp_path / "more", {"owl": 1}, seed=3)
    version = add_dataset(store, owl, "pets", choice=Choice("folders"), mode="add")
    assert excluded(store, version) == {}
    assert summarize(store, version).counts["owl"] == {"": 2}


def test_images_without_a_class_come_in_to_be_labelled(store, photos):
    Image.new("RGB", (9, 9), "red").save(photos / "loose.png")
    version = add_dataset(store, photos, "pets")
    assert excluded(store, version) == {"loose.png": "It lies beside the class folders, so its class is not known."}
    flat = add_dataset(store, photos / "cat", "cats", choice=Choice("unlabelled"))
    assert set(excluded(store, flat).values()) == {"It has no class yet."}
    assert {image.label for image in store.datasets.images(flat.id)} == {""}
    assert flat.note == "Nothing tells the classes of 6 images; they come in to be labelled here."


def test_a_table_gives_classes_splits_groups_and_weights(store, photos):
    rows = ["file;label;split;patient;weight", "cat_000;tom;train;p1;0,5", "cat_001;tom;test;p1;"]
    (photos / "cat" / "labels.csv").write_text("\n".join([*rows, *(f"cat_00{n};kit;train;p2;1" for n in (2, 3, 4, 5))]))
    version = add_dataset(store, photos / "cat", "cats")
    images = {image.path: image for image in store.datasets.images(version.id)}
    first, second = images["cat_000.jpg"], images["cat_001.jpg"]
    assert (first.label, first.split, first.group, first.weight) == ("tom", "train", "p1", 0.5)
    assert (second.label, second.split, second.weight) == ("tom", "test", None)
    assert reasons(store, version) == {}
    assert version.note.startswith("labels.csv names the files in file, the classes in label, the splits in split,")


def test_the_layout_may_be_chosen(store, photos):
    choice = Choice("names", pattern=r"_(\d)\d\d\.", group_pattern=r"(cat|dog)_", classes={"0": "all"})
    version = add_dataset(store, photos, "pets", choice=choice)
    assert {(image.label, image.group) for image in store.datasets.images(version.id)} == {
        ("all", "cat"),
        ("all", "dog"),
    }


def test_an_import_of_which_nothing_can_be_read_is_refused_with_the_reason(store, workspace, tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        (tmp_path / "pets" / label / "broken.jpg").write_text("no")
    with pytest.raises(
        DatasetError, match=r"pets cannot be used: none of its images can be read\. 2 because: It is not an image"
    ):
        add_dataset(store, tmp_path / "pets", "pets")
    assert store.datasets.names() == []
    assert files_under(workspace.datasets) == files_under(workspace.thumbnails) == set()


def test_a_single_class_comes_in(store, tmp_path):
    photos = make_photos(tmp_path / "pets", {"cat": 3})
    assert summarize(store, add_dataset(store, photos, "pets", choice=Choice("folders"))).counts == {"cat": {"": 3}}


# Adding to a data set


def test_images_are_added_beside_those_there_are_as_they_were_edited(store, photos, tmp_path):
    first = add_dataset(store, photos, "pets")
    add_edit(store, "pets", Edit("relabel", ("cat/cat_000.jpg",), to="lynx"))
    add_edit(store, "pets", Edit("relabel", ("cat/cat_001.jpg",), to="lynx"))
    add_edit(store, "pets", Edit("exclude", ("dog/dog_000.jpg",)))
    save(store, "pets")
    more = make_photos(tmp_path / "more", {"cat": 2, "dog": 2}, seed=7)
    (more / "cat" / "known.jpg").write_bytes((photos / "cat" / "cat_000.jpg").read_bytes())
    version = add_dataset(store, more, "pets", mode="add", note="Second round")
    assert (version.number, version.parent) == (first.number + 2, first.number + 1)
    images = {image.path: image for image in store.datasets.images(version.id)}
    assert len(images) == 16
    assert (images["cat/cat_000.jpg"].label, images["cat/cat_001.jpg"].label) == ("lynx", "lynx")
    assert excluded(store, version) == {"dog/dog_000.jpg": "Set aside by hand."}
    assert {"cat/cat_000 (2).jpg", "dog/dog_001 (2).jpg"} <= set(images)
    assert (images["cat/cat_000 (2).jpg"].label, "cat/known.jpg" in images) == ("cat", False)
    assert version.note.startswith("Second round. The images lie in")
    assert "1 picture was here already and was left out." in version.note


def test_adding_what_is_there_already_changes_nothing(store, photos):
    first = add_dataset(store, photos, "pets")
    assert add_dataset(store, photos, "pets", mode="add") == first


def test_adding_keeps_what_was_set_aside_before(store, photos, tmp_path):
    (photos / "cat" / "story.jpg").write_text("once upon a time")
    add_dataset(store, photos, "pets")
    more = make_photos(tmp_path / "more", {"cat": 2, "dog": 2}, seed=7)
    (more / "list.txt").write_text("x")
    assert set(reasons(store, add_dataset(store, more, "pets", mode="add"))) == {"cat/story.jpg", "list.txt"}


def test_adding_to_nothing_makes_the_first_version(store, photos):
    version = add_dataset(store, photos, "pets", mode="add")
    assert (version.number, version.parent) == (1, None)
    with pytest.raises(DatasetError, match="no way to import called 'merge'"):
        add_dataset(store, photos, "pets", mode="merge")


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_a_test_image_stays_one_whatever_comes_in_later(store, tmp_path, mode):
    make_photos(tmp_path / "pets" / "train", {"cat": 4, "dog": 4}, seed=1)
    make_photos(tmp_path / "pets" / "test", {"cat": 2, "dog": 2}, seed=2)
    add_dataset(store, tmp_path / "pets", "pets")
    shutil.move(tmp_path / "pets" / "test" / "cat" / "cat_000.jpg", tmp_path / "pets" / "train" / "cat" / "moved.jpg")
    make_photos(tmp_path / "pets" / "train", {"fox": 3}, seed=3)
    version = add_dataset(store, tmp_path / "pets", "pets", mode=mode)
    found = {image.sha256: image.split for image in store.datasets.images(version.id)}
    moved = hashlib.sha256((tmp_path / "pets" / "train" / "cat" / "moved.jpg").read_bytes()).hexdigest()
    assert found[moved] == "test"
    assert Counter(found.values()) == {"train": 11, "test": 4}


def test_class_names_in_any_script(store, tmp_path):
    classes = {"猫": 2, "собака": 2, "कुत्ता": 2, "🐦": 2}
    version = add_dataset(store, make_photos(tmp_path / "pets", classes), "動物 データ")
    assert set(summarize(store, version).classes) == set(classes)


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a/b", "../up", "a\nb", "pets?", "..."])
def test_a_name_that_cannot_be_one_is_refused_before_anything_is_read(store, workspace, photos, name):
    with pytest.raises(DatasetError, match=r"data set .*Use 1 to 80 letters or digits"):
        add_dataset(store, photos, name)
    assert not workspace.datasets.exists()


def test_names_that_differ_only_in_case_or_signs_never_share_a_folder(workspace):
    names = ["pets", "Pets", "pets-", "pets.", "猫", "犬", "con"]
    folders = [dataset_folder(workspace, check_name(name)) for name in names]
    assert len({str(folder).lower() for folder in folders}) == len(names)
    assert all(folder.parent == workspace.datasets and folder.name.isascii() for folder in folders)
    assert check_name("  two   words ") == "two words"


def test_a_source_that_is_not_there_is_named(store, tmp_path):
    with pytest.raises(DatasetError, match=r"nothing at .*nowhere\. Check the path"):
        add_dataset(store, tmp_path / "nowhere", "pets")


def test_progress_counts_up_to_the_end_with_the_time_left(store, photos):
    seen: list[ImportProgress] = []
    add_dataset(store, photos, "pets", progress=seen.append)
    done = [step.done for step in seen]
    assert done == sorted(done)
    assert (done[-1], seen[-1].total, seen[-1].seconds_left) == (12, 12, 0.0)
    assert all(step.what.endswith(".") for step in seen)


def test_a_cancelled_import_leaves_everything_as_it_was(store, workspace, photos, tmp_path):
    add_dataset(store, photos, "pets")
    before = files_under(workspace.datasets), files_under(workspace.thumbnails)
    more = make_photos(tmp_path / "more", {"cat": 20, "dog": 20}, seed=5)
    asked = iter([False] * 12 + [True] * 100)
    with pytest.raises(ImportCancelled, match="nothing of it was kept"):
        add_dataset(store, more, "pets", cancelled=lambda: next(asked))
    assert (files_under(workspace.datasets), files_under(workspace.thumbnails)) == before
    assert store.datasets.version("pets").number == 1


def test_a_database_that_fails_at_the_end_leaves_no_files(store, workspace, photos):
    with store.datasets.session() as session:
        session.connection().exec_driver_sql("DROP TABLE set_aside")
        session.commit()
    (photos / "notes.txt").write_text("x")
    with pytest.raises(Exception, match="no such table"):
        add_dataset(store, photos, "pets")
    assert files_under(workspace.datasets) == files_under(workspace.thumbnails) == set()


def test_a_full_disk_is_told_in_words_and_leaves_nothing(store, workspace, photos):
    Image.frombytes("RGB", (800, 800), os.urandom(800 * 800 * 3)).save(photos / "cat" / "large.bmp")
    script = (
        "import resource, sys, pathlib; from learner.store import Store; from learner.datasets import add_dataset\n"
        "store = Store(); resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "try: add_dataset(store, pathlib.Path(sys.argv[1]), 'pets')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(photos)], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("DatasetError Nothing was imported. The import could not be kept in ")
    assert "Look at that folder and its disk" in ran.stdout
    assert files_under(workspace.datasets) == set()
    assert add_dataset(store, photos, "pets").number == 1


def test_a_thumbnail_that_was_deleted_is_made_again(store, workspace, photos):
    version = add_dataset(store, photos, "pets")
    image = store.datasets.images(version.id)[0]
    thumbnail = thumbnail_path(workspace, "pets", image)
    first = thumbnail.read_bytes()
    thumbnail.unlink()
    assert thumbnail_path(workspace, "pets", image).read_bytes() == first
    with Image.open(thumbnail_path(workspace, "pets", image, side=32)) as small:
        assert small.size == (32, 24)
    image_path(workspace, "pets", image).unlink()
    thumbnail.unlink()
    with pytest.raises(ImageError, match="cannot be opened"):
        thumbnail_path(workspace, "pets", image)


def test_nothing_here_loads_torch_or_streamlit():
    script = (
        "import sys, learner.datasets.images, learner.datasets, learner.datasets.jobs\n"
        "heavy = {'torch', 'torchvision', 'timm', 'fastai', 'streamlit', 'sklearn', 'numpy'} & set(sys.modules)\n"
        "print(*sorted(heavy), end='')"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == ""
