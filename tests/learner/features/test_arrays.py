"""Rows on disk: what was written comes back, what is damaged or half-written never does, and the budget holds."""

import os
import time

import numpy as np
import pytest

from learner.errors import ThawError
from learner.features import arrays as rows
from learner.features.arrays import Budget, RowStore


def a_row(number: int) -> np.ndarray:
    return np.full((2, 3), number, np.float32)


def fill(folder, numbers, shape=(2, 3), dtype=np.float32) -> RowStore:
    store = RowStore(folder, shape, dtype)
    writer = store.writer()
    for number in numbers:
        writer.add([f"row {number}"], a_row(number)[None].astype(dtype))
    writer.close()
    return store


def test_rows_come_back_by_name_in_any_order_and_any_process(tmp_path):
    fill(tmp_path / "s", range(5))
    again = RowStore(tmp_path / "s", (2, 3), np.float32)
    reader = again.reader(["row 4", "row 0", "row 2"])
    assert len(reader) == 3
    assert np.array_equal(reader[np.array([2, 0, 0])], np.stack([a_row(2), a_row(4), a_row(4)]))


def test_only_what_is_missing_is_asked_for_and_later_parts_add_to_the_first(tmp_path):
    store = fill(tmp_path / "s", [0, 1])
    assert store.missing(["row 1", "row 7", "row 7", "row 2"]) == ["row 7", "row 2"]
    writer = store.writer()
    writer.add(["row 7", "row 2"], np.stack([a_row(7), a_row(2)]))
    writer.close()
    assert store.missing(["row 1", "row 7", "row 2"]) == []
    assert np.array_equal(store.reader(["row 2", "row 0"])[np.array([0, 1])], np.stack([a_row(2), a_row(0)]))


def test_a_long_build_is_kept_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "PART_BYTES", 2 * a_row(0).nbytes)
    store = RowStore(tmp_path / "s", (2, 3), np.float32)
    writer = store.writer()
    for number in range(5):
        writer.add([f"row {number}"], a_row(number)[None])
    killed_here = RowStore(tmp_path / "s", (2, 3), np.float32)
    assert killed_here.missing(f"row {number}" for number in range(5)) == ["row 4"]


def test_what_a_killed_process_left_is_not_read_and_goes_after_a_day(tmp_path):
    store = RowStore(tmp_path / "s", (2, 3), np.float32)
    store.writer().add(["row 0"], a_row(0)[None])
    again = RowStore(tmp_path / "s", (2, 3), np.float32)
    assert again.missing(["row 0"]) == ["row 0"]
    (left,) = (tmp_path / "s").glob(".*")
    for path in [*left.iterdir(), left]:
        os.utime(path, (0, time.time() - rows.ABANDONED_S - 1))
    RowStore(tmp_path / "s", (2, 3), np.float32)
    assert not left.exists()


def test_a_part_that_another_process_finishes_meanwhile_does_not_disturb(tmp_path):
    store = fill(tmp_path / "s", [0])
    moving = tmp_path / "s" / ".part"
    moving.mkdir()
    (moving / "rows.bin").symlink_to(moving / "gone")  # listed, and gone when it is looked at
    again = RowStore(tmp_path / "s", (2, 3), np.float32)
    assert again.missing(["row 0"]) == store.missing(["row 0"]) == []
    assert moving.exists()


@pytest.mark.parametrize("harm", ["cut", "longer", "no description", "half a description", "gone"])
def test_a_part_that_is_not_whole_is_removed_and_its_rows_are_missing(tmp_path, harm):
    store = fill(tmp_path / "s", [0, 1])
    (part,) = [path for path in (tmp_path / "s").iterdir() if path.is_dir()]
    data, about = part / "rows.bin", part / "part.json"
    if harm == "cut":
        data.write_bytes(data.read_bytes()[:-1])
    elif harm == "longer":
        data.write_bytes(data.read_bytes() + b"0")
    elif harm == "no description":
        about.unlink()
    elif harm == "half a description":
        about.write_text(about.read_text()[:20])
    else:
        data.unlink()
    again = RowStore(tmp_path / "s", store.shape, store.dtype)
    assert again.missing(["row 0", "row 1"]) == ["row 0", "row 1"]
    assert not part.exists()


def test_one_flipped_bit_is_noticed_before_anything_is_read(tmp_path):
    store = fill(tmp_path / "s", [0, 1])
    (data,) = (tmp_path / "s").rglob("rows.bin")
    bytes_ = bytearray(data.read_bytes())
    bytes_[5] ^= 1
    data.write_bytes(bytes_)
    again = RowStore(tmp_path / "s", store.shape, store.dtype)
    assert again.missing(["row 0", "row 1"]) == ["row 0", "row 1"]


def test_rows_of_another_shape_or_type_are_not_taken(tmp_path):
    fill(tmp_path / "s", [0])
    assert RowStore(tmp_path / "s", (3, 2), np.float32).missing(["row 0"]) == ["row 0"]
    fill(tmp_path / "t", [0])
    assert RowStore(tmp_path / "t", (2, 3), np.int32).missing(["row 0"]) == ["row 0"]


def test_a_row_of_the_wrong_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not 1 rows of"):
        RowStore(tmp_path / "s", (2, 3), np.float32).writer().add(["row 0"], np.zeros((1, 2, 2), np.float32))


def test_the_store_that_was_not_used_for_longest_makes_room(tmp_path):
    for index, name in enumerate(["old", "older", "used", "kept"]):
        fill(tmp_path / name, range(100))
        os.utime(tmp_path / name / "used", (0, [2000, 1000, 3000, 0][index]))
    size = Budget(tmp_path).used() // 4
    budget = Budget(tmp_path, limit=5 * size)
    assert budget.make_room(size // 2, keep=[tmp_path / "kept"])
    assert (tmp_path / "older").exists()  # there was room for that
    assert budget.make_room(2 * size, keep=[tmp_path / "kept"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "old", "used"]
    assert budget.make_room(3 * size, keep=[tmp_path / "kept"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "used"]


def test_nothing_is_removed_for_what_cannot_fit_anyway(tmp_path):
    fill(tmp_path / "a", range(100))
    budget = Budget(tmp_path, limit=Budget(tmp_path).used())
    assert not budget.make_room(budget.limit + 1)
    assert not budget.make_room(1, keep=[tmp_path / "a"])
    assert (tmp_path / "a").exists()


def test_the_budget_never_fills_the_disk(tmp_path):
    budget = Budget(tmp_path, limit=10**18)
    assert 0 < budget.room() < 10**15
    assert not budget.make_room(10**17)


def test_the_budget_is_a_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("THAW_CACHE_GB", "0.5")
    assert Budget(tmp_path).limit == 500_000_000
    monkeypatch.delenv("THAW_CACHE_GB")
    assert Budget(tmp_path).limit == 20_000_000_000
    monkeypatch.setenv("THAW_CACHE_GB", "lots")
    with pytest.raises(ThawError, match="THAW_CACHE_GB is 'lots'; it should be a number of gigabytes"):
        Budget(tmp_path)
