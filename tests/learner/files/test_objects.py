"""Objects and pieces in a store that is slow, fails, cuts off or damages: nothing is lost, and all is said in words."""

import hashlib
import os
import time

import pytest

from learner.errors import FilesAway, StoreError
from learner.store.objects import Objects, shown_address

DATA = os.urandom(100_000)
NAME = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def objects(bucket) -> Objects:
    return Objects("one")


def test_what_is_kept_comes_back_and_can_be_removed(objects):
    objects.put(NAME, DATA)
    assert objects.get(NAME) == DATA
    objects.remove(NAME)
    objects.remove(NAME)
    with pytest.raises(StoreError, match="does not have what the database says"):
        objects.get(NAME)
    objects.check()


def test_a_store_that_fails_for_a_while_is_tried_again(objects, bucket):
    until = time.monotonic() + 1
    bucket.fails = lambda request: time.monotonic() < until
    objects.put(NAME, DATA)
    bucket.fails = lambda request: False
    cuts = iter([True, True])
    bucket.cuts = lambda request: next(cuts, False)
    assert objects.get(NAME) == DATA
    bucket.wait_s = 0.5
    assert objects.get(NAME) == DATA


def test_a_store_that_does_not_come_back_is_named(objects, bucket):
    bucket.fails = lambda request: True
    with pytest.raises(FilesAway, match=r"The store s3://thaw-.* cannot be written .*tried for 1 s. Try again"):
        objects.put(NAME, DATA, patience_s=1)


def test_a_damaged_object_is_fetched_again_and_then_named(objects, bucket):
    objects.put(NAME, DATA)
    damages = iter([True, True])
    bucket.damages = lambda request: next(damages, False)
    assert objects.get(NAME) == DATA
    bucket.damages = lambda request: True
    with pytest.raises(StoreError, match=f"{NAME} of s3://.* is damaged"):
        objects.get(NAME)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("s3://no-such-bucket-here/files", "is not there .*Make the bucket, or correct THAW_FILES"),
        ("nonsense://files", "no address that Thaw can use"),
    ],
)
def test_a_wrong_address_is_said_at_once(bucket, monkeypatch, address, told):
    monkeypatch.setenv("THAW_FILES", address)
    began = time.monotonic()
    with pytest.raises(StoreError, match=told):
        Objects("one").check()
    assert time.monotonic() - began < 5


def test_without_keys_it_says_which_settings_name_them(bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StoreError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        Objects("one").check()


def test_no_secret_is_shown(bucket, monkeypatch):
    monkeypatch.setenv("THAW_FILES", "s3://key:very-secret@thaw-nowhere/files?token=hidden")
    assert shown_address() == "s3://thaw-nowhere/files"
    with pytest.raises(StoreError) as told:
        Objects("one").check()
    assert "secret" not in str(told.value) and "hidden" not in str(told.value)


def test_a_folder_is_a_store_too(tmp_path, monkeypatch):
    monkeypatch.setenv("THAW_FILES", f"file://{tmp_path}/files")
    objects = Objects("one")
    objects.put(NAME, DATA)
    assert objects.get(NAME) == DATA
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [NAME]
    objects.check()
