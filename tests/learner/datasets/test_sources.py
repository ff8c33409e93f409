"""A folder, a folder of archives, an archive or one image: each is seen as a list of files that can be read."""

import os
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from learner.datasets.sources import describe_kinds, open_source
from learner.datasets.sources.entry_names import stem_of
from learner.errors import DatasetError, ImageError, ImportCancelled
from tests.samples import make_photos, make_zip


@pytest.fixture
def photos(tmp_path) -> Path:
    return make_photos(tmp_path / "photos", {"cat": 2, "dog": 2})


def make_tar(folder: Path, file: Path) -> Path:
    with tarfile.open(file, "w:gz") as archive:
        archive.add(folder, arcname=".")
    return file


def listed(path: Path, **options) -> tuple[dict[str, bytes], dict[str, str]]:
    with closing(open_source(path, **options)) as source:
        assert len({entry.path for entry in source.entries}) == len(source.entries)
        return {entry.path: source.read(entry) for entry in source.entries}, dict(source.set_aside)


def test_archives_in_a_folder_are_opened_under_their_names(photos, tmp_path):
    (inbox := tmp_path / "inbox").mkdir()
    make_zip(photos, inbox / "monday.zip")
    make_tar(photos, inbox / "tuesday.tar.gz")
    (inbox / "labels.csv").write_text("file,label\n")
    (inbox / "loose.jpg").write_bytes((photos / "cat" / "cat_000.jpg").read_bytes())
    files, set_aside = listed(inbox)
    inside = [file.relative_to(photos).as_posix() for file in photos.rglob("*.jpg")]
    expected = {f"{day}/{path}" for day in ("monday", "tuesday") for path in inside}
    assert set(files) == expected | {"labels.csv", "loose.jpg"}
    assert files["tuesday/dog/dog_001.jpg"] == (photos / "dog" / "dog_001.jpg").read_bytes()
    assert set_aside == {}


def test_an_archive_that_is_all_there_is_keeps_its_paths(photos, tmp_path):
    (inbox := tmp_path / "inbox").mkdir()
    make_zip(photos, inbox / "monday.zip")
    (inbox / ".DS_Store").write_bytes(b"junk")
    assert "cat/cat_000.jpg" in listed(inbox)[0]


def test_files_of_the_same_name_from_two_archives_are_all_kept(photos, tmp_path):
    (inbox := tmp_path / "inbox").mkdir()
    make_zip(photos, inbox / "pets.zip")
    make_tar(photos, inbox / "pets.tgz")
    make_photos(inbox / "pets", {"cat": 1})
    files, _ = listed(inbox)
    assert len(files) == 9
    assert {"pets/cat/cat_000.jpg", "pets/cat/cat_000 (2).jpg", "pets/cat/cat_000 (3).jpg"} < set(files)


def test_what_is_set_aside_inside_an_archive_comes_under_its_name_too(photos, tmp_path):
    make_photos(inbox := tmp_path / "inbox", {"cat": 1})
    with zipfile.ZipFile(make_zip(photos, inbox / "pets.zip"), "a") as archive:
        archive.writestr("inner.zip", b"PK")
    assert list(listed(inbox)[1]) == ["pets/inner.zip"]


def test_an_archive_that_cannot_be_opened_is_set_aside_and_the_others_come_in(photos, tmp_path):
    (inbox := tmp_path / "inbox").mkdir()
    make_zip(photos, inbox / "good.zip")
    whole = make_zip(photos, inbox / "broken.zip").read_bytes()
    (inbox / "broken.zip").write_bytes(whole[:1000])
    (inbox / "old.rar").write_bytes(b"Rar!\x1a\x07\0 rest")
    (inbox / "empty.tar").touch()
    files, set_aside = listed(inbox)
    assert len(files) == 4
    assert set(set_aside) == {"broken.zip", "old.rar", "empty.tar"}
    assert "is damaged or was not uploaded completely" in set_aside["broken.zip"]
    assert "make a .zip file of it" in set_aside["old.rar"]


def test_stopping_is_not_taken_for_a_damaged_archive(photos, tmp_path):
    (inbox := tmp_path / "inbox").mkdir()
    make_tar(photos, inbox / "a.tgz")
    make_tar(photos, inbox / "b.tgz")
    with pytest.raises(ImportCancelled):
        open_source(inbox, cancelled=lambda: True)


def test_archives_deeper_in_a_folder_stay_closed_and_say_so(photos, tmp_path):
    make_zip(photos, tmp_path / "more.zip").rename(photos / "cat" / "more.zip")
    files, set_aside = listed(photos)
    assert len(files) == 4
    assert set_aside["cat/more.zip"].startswith("Archives are only opened directly in the folder that is added.")


def test_documents_that_are_zip_files_inside_stay_what_they_are(photos, tmp_path):
    make_zip(photos, tmp_path / "labels.xlsx").rename(photos / "labels.xlsx")
    assert "labels.xlsx" in listed(photos)[0]


def test_an_image_called_zip_and_a_zip_called_jpg(photos, tmp_path):
    image = (photos / "cat" / "cat_000.jpg").read_bytes()
    (tmp_path / "photo.zip").write_bytes(image)
    assert listed(tmp_path / "photo.zip") == ({"photo.zip": image}, {})
    make_zip(photos, tmp_path / "archive.jpg")
    assert len(listed(tmp_path / "archive.jpg")[0]) == 4


def test_one_image_is_a_source_of_one_entry(photos):
    file = photos / "cat" / "cat_000.jpg"
    assert listed(file) == ({"cat_000.jpg": file.read_bytes()}, {})


def test_a_program_that_unpacks_itself_is_read_as_the_zip_it_holds(photos, tmp_path):
    packed = make_zip(photos, tmp_path / "a.zip")
    (tmp_path / "setup.exe").write_bytes(b"MZ program" * 50 + packed.read_bytes())
    assert len(listed(tmp_path / "setup.exe")[0]) == 4


@pytest.mark.parametrize(
    ("start", "kind"), [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07\x01", "rar"), (b"\x28\xb5\x2f\xfd", "zst")]
)
def test_archives_of_other_kinds_say_what_to_do(tmp_path, start, kind):
    (tmp_path / "photos.zip").write_bytes(start + bytes(1000))
    with pytest.raises(DatasetError, match=rf"photos\.zip is a \.{kind} archive, .* or make a \.zip file of it"):
        open_source(tmp_path / "photos.zip")


def test_a_file_that_is_nothing_of_the_kind_says_what_would_be(tmp_path):
    (tmp_path / "notes.txt").write_text("cats are nice")
    with pytest.raises(DatasetError, match=r"notes\.txt is neither an image nor an archive \(\.zip, \.tar, "):
        open_source(tmp_path / "notes.txt")


def test_links_and_pipes_in_a_folder_are_told_and_never_followed_in_circles(photos):
    (photos / "again").symlink_to(photos)
    os.mkfifo(photos / "cat" / "pipe.jpg")
    with closing(open_source(photos)) as source:
        assert dict(source.set_aside) == {"again": "It is a link to a folder. Put the folder itself in its place."}
        pipe = next(entry for entry in source.entries if entry.path == "cat/pipe.jpg")
        with pytest.raises(ImageError, match="not a plain file"):
            source.read(pipe)


def test_two_files_that_are_shown_alike_are_both_kept(tmp_path):
    for name in ("a\x01.jpg", "a\x02.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    assert len(listed(tmp_path)[0]) == 2


@pytest.mark.parametrize(
    ("name", "stem"),
    [("pets.zip", "pets"), ("pets.tar.gz", "pets"), ("v1.2.tgz", "v1.2"), (".zip", ".zip"), ("a", "a")],
)
def test_the_name_of_an_archive_without_its_endings(name, stem):
    assert stem_of(name) == stem


def test_kinds_are_counted_for_messages():
    assert describe_kinds(["a.TXT", "b.txt", "c.pdf", "d"]) == "4 files (2 .txt, 1 .pdf, 1 without a suffix)"
