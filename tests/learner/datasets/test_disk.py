"""What is said where files cannot be kept, and what those that were kept take."""

import errno
import os
from pathlib import Path

import pytest

from learner.datasets.disk import bytes_in, why_not_kept
from learner.datasets.uploads import clear_abandoned, find_upload, save_uploads, uploads_bytes
from learner.errors import DatasetError
from tests.learner.datasets.test_uploads import streams


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full. Free some space there"),
        (errno.EDQUOT, "the disk is full. Free some space there"),
        (errno.ENAMETOOLONG, "a name is longer than the disk can keep. Give the file"),
        (errno.EROFS, "Thaw may not write there (Read-only file system). Change that folder's permissions"),
        (errno.EACCES, "Thaw may not write there (Permission denied). Change that folder's permissions"),
        (errno.EIO, "Input/output error. Look at that folder and its disk"),
    ],
)
def test_each_reason_has_its_own_way_out(number, said):
    told = why_not_kept("The upload", OSError(number, os.strerror(number)), Path("home"))
    assert told.startswith(f"The upload could not be kept in home: {said}")
    assert ("Free some space" in told) == (number in (errno.ENOSPC, errno.EDQUOT))


@pytest.mark.parametrize("upload_id", ["a" * 300, "..", "", "A" * 32])
def test_what_is_no_upload_is_over(workspace, upload_id):
    with pytest.raises(DatasetError, match="This upload is over"):
        find_upload(workspace, upload_id)


def test_what_was_given_up_is_hidden_at_once_and_cleared_later(workspace):
    source = save_uploads(workspace, streams("1.jpg", "2.jpg"))
    upload_id = source.parent.name.removeprefix("files-")
    source.parent.rename(source.parent.with_name(f".{source.parent.name}"))
    gone = find_upload(workspace, upload_id).give_up()
    assert len(list(gone.rglob("*.jpg"))) == 2
    with pytest.raises(DatasetError, match="This upload is over"):
        find_upload(workspace, upload_id)
    clear_abandoned(workspace)
    assert list(workspace.uploads.iterdir()) == []


def test_what_lies_elsewhere_too_takes_nothing_here(workspace, tmp_path):
    source = save_uploads(workspace, streams("12345", "678"))
    (tmp_path / "elsewhere").hardlink_to(source / "12345")
    assert uploads_bytes(workspace) == bytes_in(source) == 3
