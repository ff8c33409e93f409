"""Files of runs and data sets that several machines share through an object store: sent once, fetched when needed."""

import itertools
import os
import subprocess
import sys
import time

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from learner.atomic import written_whole
from learner.datasets import add_dataset
from learner.errors import FilesAway, RunTakenOver, StoreError
from learner.store import Store, copies, keeping, pieces
from learner.store.files import is_any
from learner.store.tables import Piece
from learner.workspace import Workspace
from tests.samples import ROOT, make_photos, small_recipe

SMALL_PIECE = 10_000


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(copies, "PIECE_BYTES", SMALL_PIECE)
    monkeypatch.setattr(keeping, "KEEP_EVERY_S", 0.1)


@pytest.fixture
def two_photos(tmp_path):
    return make_photos(tmp_path / "photos", {"cat": 3, "dog": 3})


def begun(store: Store, photos) -> int:
    """A run that this process holds."""
    if "pets" not in store.datasets.names():
        add_dataset(store, photos, "pets")
    run_id = store.submit(small_recipe(), running=True)
    store.files.begin(run_id, print)
    return run_id


def write(store: Store, run_id: int, name: str, data: bytes) -> None:
    path = store.workspace.run_folder(run_id) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def contents(store: Store, run_id: int) -> dict[str, bytes]:
    found = copies.files_in(store.workspace.run_folder(run_id))
    return {name: file.read_bytes() for name, file in found.items()}


def test_an_upload_that_was_ended_in_the_middle_goes_on_with_the_pieces_that_are_missing(machine, two_photos, bucket):
    one = machine("one")
    run_id = begun(one, two_photos)
    model = os.urandom(20 * SMALL_PIECE + 7)
    write(one, run_id, "model.safetensors", model)
    bucket.seen.clear()
    bucket.fails = lambda request: request.method == "PUT" and len(bucket.seen) >= 8
    with pytest.raises(FilesAway, match=f"runs resume {run_id}"):
        one.files.keep(run_id, print, patience_s=0.5)
    first = set(bucket.sent("PUT"))
    assert 8 <= len(first) < 16
    bucket.forget()
    one.files.keep(run_id, print)
    assert len(bucket.sent("PUT")) == 21 - len(first) and not first & set(bucket.sent("PUT"))

    write(one, run_id, "model.safetensors", model[:-7] + b"another")
    bucket.forget()
    one.files.keep(run_id, print)
    assert len(bucket.sent("PUT")) == 1
    one.files.let_go(run_id)
    one.runs.end(run_id, "finished")
    two = machine("two")
    assert two.checkpoint(run_id).read_bytes() == model[:-7] + b"another"


def test_another_machine_fetches_what_it_needs_and_what_has_changed(machine, two_photos, bucket, monkeypatch):
    monkeypatch.setattr("learner.store.files.LIGHT_BYTES", 100_000)
    one = machine("one")
    run_id = begun(one, two_photos)
    files = {"result.json": b"{}", "model.safetensors": b"m" * 200_000, "phases/1.safetensors": b"p", "empty": b""}
    for name, data in files.items():
        write(one, run_id, name, data)
    write(one, run_id, "log.txt", b"of this machine")
    one.files.keep(run_id, print)

    two = machine("two")
    assert two.files.has(two.workspace.checkpoint(run_id)) and not two.workspace.checkpoint(run_id).exists()
    two.run_folder(run_id)
    assert contents(two, run_id) == {"result.json": b"{}", "empty": b""}
    bucket.forget()
    two.run_folder(run_id)
    assert not bucket.seen, "listing asks the store again"
    two.checkpoint(run_id)
    assert contents(two, run_id) == {name: files[name] for name in files if name != "phases/1.safetensors"}
    two.files.bring(run_id, is_any)
    assert contents(two, run_id) == files

    (one.workspace.run_folder(run_id) / "empty").unlink()
    write(one, run_id, "result.json", b"[1]")
    one.files.keep(run_id, print)
    two.run_folder(run_id)
    assert contents(two, run_id) == {name: files[name] for name in files if name != "empty"} | {"result.json": b"[1]"}


def test_what_is_newer_here_stays_until_another_machine_has_gone_on(machine, two_photos):
    one = machine("one")
    run_id = begun(one, two_photos)
    write(one, run_id, "resume.pt", b"first")
    one.files.keep(run_id, print)
    write(one, run_id, "resume.pt", b"second, not sent")
    one.files.let_go(run_id)
    one.files.bring(run_id, is_any)
    one.files.begin(run_id, print)
    assert contents(one, run_id)["resume.pt"] == b"second, not sent"
    one.files.let_go(run_id)
    one.runs.requeue(run_id, "Its machine is gone.", died=False)

    two = machine("two")
    assert two.runs.claim() == run_id
    two.files.begin(run_id, print)
    assert contents(two, run_id)["resume.pt"] == b"first"
    two.files.let_go(run_id)
    one.files.bring(run_id, is_any)
    assert contents(one, run_id)["resume.pt"] == b"first"


def test_who_lost_the_run_keeps_nothing_of_it(machine, two_photos, monkeypatch):
    one = machine("one")
    run_id = begun(one, two_photos)
    write(one, run_id, "resume.pt", b"first")
    monkeypatch.setattr("learner.store.claims._held", [])
    with pytest.raises(RunTakenOver):
        one.files.keep(run_id, print)


def test_a_store_that_fails_while_a_run_goes_on_is_said_and_tried_again(machine, two_photos, bucket, monkeypatch):
    monkeypatch.setattr(keeping.Keeper, "patience_s", 0.3)
    one = machine("one")
    run_id = begun(one, two_photos)
    write(one, run_id, "resume.pt", b"first")
    bucket.fails = lambda request: True
    one.files.keep_soon(run_id)
    until_(lambda: "Training goes on" in one.runs.get(run_id).facts.get("files", ""))
    write(one, run_id, "resume.pt", b"second")
    bucket.fails = lambda request: False
    until_(lambda: one.runs.get(run_id).facts["files"] == "")
    one.files.let_go(run_id)
    two = machine("two")
    two.files.bring(run_id, is_any)
    assert contents(two, run_id) == {"resume.pt": b"first"}


def test_images_are_sent_before_the_version_is_written_and_fetched_checked(machine, two_photos, bucket):
    one = machine("one")
    requests = itertools.count()
    bucket.fails = lambda request: next(requests) >= 2
    pieces_patience = pytest.MonkeyPatch()
    pieces_patience.setattr("learner.store.image_cache.PATIENCE_S", 0.3)
    with pytest.raises(StoreError, match="cannot be written"):
        add_dataset(one, two_photos, "pets")
    pieces_patience.undo()
    assert one.datasets.names() == []
    bucket.forget()
    told = []
    version = add_dataset(one, two_photos, "pets", progress=lambda progress: told.append(progress.what))
    assert any("to the store" in what for what in told)
    assert len(bucket.sent("PUT")) <= 5  # of six images some had been sent

    from learner.datasets.files import bring_images, image_path

    two = machine("two")
    images = two.datasets.images(version.id)
    bucket.damages = lambda request: len(bucket.seen) < 5
    bring_images(two, "pets", images)
    for image in images:
        mine, theirs = (image_path(store.workspace, "pets", image) for store in (two, one))
        assert mine.read_bytes() == theirs.read_bytes()
    bucket.forget()
    bring_images(two, "pets", images)
    assert not bucket.seen


def test_what_nothing_names_any_more_is_removed_after_a_day(machine, two_photos, bucket, monkeypatch):
    one = machine("one")
    run_id = begun(one, two_photos)
    write(one, run_id, "model.safetensors", b"old model")
    one.files.keep(run_id, print)
    write(one, run_id, "model.safetensors", b"new model")
    one.files.keep(run_id, print)
    assert one.files.pieces.clear_up() == 0
    monkeypatch.setattr(pieces, "SAFE_AGE_S", -1.0)
    bucket.forget()
    assert one.files.pieces.clear_up() == 1
    assert len(bucket.sent("DELETE")) == 1
    two = machine("two")
    two.files.bring(run_id, is_any)
    assert contents(two, run_id) == {"model.safetensors": b"new model"}
    one.files.let_go(run_id)
    one.runs.end(run_id, "finished")
    one.runs.delete(run_id)
    monkeypatch.setattr("learner.store.runs.UNDO_S", -1.0)
    assert one.runs.purge() == [run_id]
    assert one.files.pieces.clear_up() == 1
    with Session(one.files._engine) as session:
        assert len(session.scalars(select(Piece)).all()) == 6, "the images stay"


def test_a_database_goes_with_one_store_only(machine, monkeypatch):
    one = machine("one")
    monkeypatch.setenv("THAW_FILES", "s3://another/files")
    with pytest.raises(StoreError, match="The files of this workspace are in s3://thaw-"):
        machine("one")
    monkeypatch.delenv("THAW_FILES")
    with pytest.raises(StoreError, match="THAW_FILES is not set"):
        machine("one")
    with pytest.raises(StoreError, match="belongs to another workspace"):
        machine("three")
    assert one.files.is_on


def test_a_machine_that_forgets_the_database_is_told_as_it_would_clear_up_what_that_one_names(machine, monkeypatch):
    one = machine("one")
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(StoreError, match="DATABASE_URL does not name that database"):
        Store(one.workspace)
    one.workspace.id_file.unlink()
    anew = Store(one.workspace)
    assert anew.files.is_on and anew.files.pieces.objects._prefix != one.files.pieces.objects._prefix


def test_without_the_setting_nothing_of_it_is_loaded(workspace, monkeypatch):
    monkeypatch.delenv("THAW_FILES", raising=False)
    code = (
        "import sys; from learner.store import Store; store = Store(); assert not store.files.is_on; "
        "store.files.bring(1); store.files.keep_soon(1); assert not {'fsspec', 's3fs', 'botocore'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert Store(Workspace.current()).run_folder(7) == workspace.run_folder(7)


def until_(holds) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
