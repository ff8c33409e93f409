"""Uploaded names are only ever names: they lead nowhere, and no file is lost to another one of the same name."""

import io

import pytest

from learner.datasets import add_dataset, remove_upload, save_uploads, summarize
from learner.errors import DatasetError
from tests.samples import make_photos


def streams(*names: str) -> list[tuple[str, io.BytesIO]]:
    return [(name, io.BytesIO(name.encode())) for name in names]


def written(source) -> dict[str, str]:
    return {path.relative_to(source).as_posix(): path.read_text() for path in source.rglob("*") if path.is_file()}


def test_one_zip_is_returned_itself(workspace):
    source = save_uploads(workspace, streams("my pets.zip"))
    assert (source.name, source.read_text()) == ("my pets.zip", "my pets.zip")


def test_a_directory_upload_keeps_its_folders_and_can_be_imported(workspace, store, tmp_path):
    photos = make_photos(tmp_path / "pets")
    files = [(f"pets/{file.relative_to(photos)}", file.open("rb")) for file in sorted(photos.rglob("*.jpg"))]
    source = save_uploads(workspace, files)
    for _, stream in files:
        stream.close()
    assert summarize(store, add_dataset(store, source, "pets")).images == 12


def test_names_never_lead_out_of_the_upload(workspace, tmp_path):
    source = save_uploads(
        workspace, streams("../../a.jpg", "/etc/b.jpg", "..\\..\\c.jpg", "C:\\d.jpg", "..", "x/./e.jpg", "f\0.jpg")
    )
    assert set(written(source)) == {"a.jpg", "etc/b.jpg", "c.jpg", "C_/d.jpg", "file", "x/e.jpg", "f.jpg"}
    assert source.is_relative_to(workspace.uploads)
    assert not list(tmp_path.glob("*.jpg"))
    source = save_uploads(workspace, streams(".\0./.\0./.\0./g.jpg", "\0", "\0/h.jpg"))
    assert set(written(source)) == {"g.jpg", "file", "h.jpg"}


def test_equal_and_overlong_names_are_all_kept(workspace):
    long = "ü" * 300
    source = save_uploads(workspace, streams("1.jpg", "1.jpg", f"{long}a.jpg", f"{long}b.jpg", "1.jpg/x.jpg"))
    files = written(source)
    assert len(files) == 5
    assert {"1.jpg", "1 (2).jpg"} < set(files)
    assert all(name.endswith(".jpg") for name in files)


def test_an_upload_that_breaks_off_leaves_nothing(workspace):
    def breaking():
        yield "1.jpg", io.BytesIO(b"x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_uploads(workspace, breaking())
    assert list(workspace.uploads.iterdir()) == []


def test_no_files_are_refused(workspace):
    with pytest.raises(DatasetError, match=r"No files arrived\. Choose"):
        save_uploads(workspace, [])
    assert list(workspace.uploads.iterdir()) == []


def test_only_uploads_can_be_removed(workspace, tmp_path):
    source = save_uploads(workspace, streams("1.jpg"))
    other = save_uploads(workspace, streams("2.jpg"))
    remove_upload(workspace, source)
    assert list(workspace.uploads.iterdir()) == [other.parents[1]]
    for path in (tmp_path, workspace.uploads, workspace.uploads / ".." / "thaw.db"):
        with pytest.raises(DatasetError, match="is not an upload"):
            remove_upload(workspace, path)
