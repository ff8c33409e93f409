"""A .zip file is read without being unpacked: nothing in it reaches the disk but whole images."""

import os
import stat
import zipfile
from pathlib import Path

import pytest

from learner.datasets import add_dataset, summarize
from learner.datasets.sources import limits
from learner.errors import DatasetError
from tests.samples import make_photos, make_zip


@pytest.fixture
def photos(tmp_path) -> Path:
    return make_photos(tmp_path / "pets", {"cat": 3, "dog": 3})


@pytest.fixture
def packed(photos, tmp_path) -> Path:
    return make_zip(photos, tmp_path / "pets.zip", inside="holiday/photos")


def add_to(packed: Path, name: str | zipfile.ZipInfo, data: bytes, **options) -> None:
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(name, data, **options)


def reasons(store, version) -> dict[str, str]:
    return {row.path: row.reason for row in store.datasets.set_aside(version.id)}


def test_a_zip_and_the_folder_it_was_made_of_are_the_same_data_set(store, photos, packed):
    add_to(packed, "__MACOSX/holiday/photos/cat/._x.jpg", b"junk")
    add_to(packed, "holiday/photos/.DS_Store", b"junk")
    version = add_dataset(store, packed, "pets")
    assert add_dataset(store, photos, "pets") == version
    assert reasons(store, version) == {}


def test_train_and_valid_inside_a_zip(store, tmp_path):
    make_photos(tmp_path / "in" / "train")
    make_photos(tmp_path / "in" / "valid", {"cat": 2, "dog": 2}, seed=1)
    version = add_dataset(store, make_zip(tmp_path / "in", tmp_path / "in.zip", "set"), "pets")
    assert summarize(store, version).totals == {"train": 12, "valid": 4}


def test_folders_parted_by_backslashes_as_old_windows_programs_write_them(store, photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "win.zip", "w") as archive:
        for file in photos.rglob("*.jpg"):
            info = zipfile.ZipInfo("x")
            info.filename = f"pets\\{file.parent.name}\\{file.name}"  # ZipInfo itself would turn os.sep
            archive.writestr(info, file.read_bytes())
    assert summarize(store, add_dataset(store, tmp_path / "win.zip", "pets")).images == 6


def test_class_names_in_any_script_come_out_of_a_zip(store, tmp_path):
    photos = make_photos(tmp_path / "pets", {"猫": 2, "Ÿorkshire": 2})
    version = add_dataset(store, make_zip(photos, tmp_path / "pets.zip"), "pets")
    assert set(summarize(store, version).classes) == {"猫", "Ÿorkshire"}


def test_names_that_lead_outside_are_set_aside_and_write_nothing(store, packed, photos, tmp_path):
    image = (photos / "cat" / "cat_000.jpg").read_bytes() + b"other"
    outside = ["/etc/evil.jpg", "../../evil.jpg", "holiday/photos/cat/../../../evil.jpg", "C:/evil.jpg", "..\\evil.jpg"]
    for name in outside:
        add_to(packed, name, image)
    before = set(tmp_path.rglob("evil*"))
    rows = reasons(store, add_dataset(store, packed, "pets"))
    assert len(rows) == 5
    assert all("points to a place outside the archive" in reason for reason in rows.values())
    assert set(tmp_path.rglob("evil*")) == before == set()


def test_links_and_encrypted_and_repeated_entries_are_set_aside(store, packed):
    link = zipfile.ZipInfo("holiday/photos/cat/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    add_to(packed, link, b"/etc/passwd")
    with pytest.warns(UserWarning, match="Duplicate name"):
        add_to(packed, "holiday/photos/cat/cat_000.jpg", b"second")
    add_to(packed, "holiday/photos/cat/secret.jpg", b"secret")
    raw = bytearray(packed.read_bytes())
    raw[raw.rfind(b"PK\x01\x02") + 8] |= 1  # the flag of the last entry in the central directory
    packed.write_bytes(raw)
    rows = reasons(store, add_dataset(store, packed, "pets"))
    assert rows.pop("holiday/photos/cat/link.jpg").startswith("It is a link")
    assert rows.pop("holiday/photos/cat/secret.jpg").startswith("It is protected by a password")
    assert rows.pop("holiday/photos/cat/cat_000.jpg").startswith("The archive holds this name twice")
    assert rows == {}


def test_a_zip_that_is_all_encrypted_says_so(store, tmp_path):
    file = make_zip(make_photos(tmp_path / "p", {"a": 1}), tmp_path / "p.zip")
    raw = bytearray(file.read_bytes())
    raw[raw.rfind(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(raw)
    with pytest.raises(DatasetError, match=r"p\.zip holds no images.*It is protected by a password"):
        add_dataset(store, file, "pets")


def test_names_longer_than_a_file_system_holds_are_set_aside(store, packed, photos):
    add_to(packed, f"holiday/photos/cat/{'x' * 5000}.jpg", (photos / "cat" / "cat_000.jpg").read_bytes() + b"other")
    version = add_dataset(store, packed, "pets")
    assert summarize(store, version).images == 6
    assert [reason[:32] for reason in reasons(store, version).values()] == ["Its name is longer than computer"]


def test_an_entry_whose_bytes_were_damaged_is_set_aside(store, packed):
    raw = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        offset = archive.getinfo("holiday/photos/dog/dog_001.jpg").header_offset
    raw[offset + 300] ^= 0xFF
    packed.write_bytes(raw)
    version = add_dataset(store, packed, "pets")
    assert reasons(store, version)["dog/dog_001.jpg"].startswith("This part of the .zip file is damaged")
    assert summarize(store, version).images == 5


def test_a_name_that_says_it_is_utf_8_and_is_not_costs_that_entry_only(store, packed, photos):
    other = (photos / "cat" / "cat_000.jpg").read_bytes() + b"\0"
    add_to(packed, "holiday/photos/cat/ü.jpg", other)
    packed.write_bytes(packed.read_bytes().replace("ü.jpg".encode(), b"\xff\xfe.jpg"))
    version = add_dataset(store, packed, "pets")
    assert summarize(store, version).images == 6
    assert len(reasons(store, version)) == 1
    assert next(iter(reasons(store, version).values())).startswith("This part of the .zip file is damaged")


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_a_zip_that_is_cut_short_or_no_zip_at_all_is_refused(store, workspace, packed, keep):
    packed.write_bytes(packed.read_bytes()[:keep])
    with pytest.raises(DatasetError, match=r"pets\.zip is not a \.zip file, or it is damaged .*use a folder"):
        add_dataset(store, packed, "pets")
    assert not list(workspace.datasets.glob("*"))


def test_an_entry_that_unpacks_to_hundreds_of_times_its_size_is_set_aside(store, packed):
    add_to(packed, "holiday/photos/cat/bomb.bmp", bytes(20 * 2**20), compress_type=zipfile.ZIP_DEFLATED)
    rows = reasons(store, add_dataset(store, packed, "pets"))
    assert rows["cat/bomb.bmp"].startswith("It unpacks to more than 200 times its size")


def test_a_zip_of_many_such_entries_is_refused_whatever_its_headers_say(store, tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(8):
            archive.writestr(f"{'ab'[number % 2]}/{number}.bmp", bytes(15 * 2**20) + os.urandom(8))
    with pytest.raises(DatasetError, match=r"bomb\.zip unpacks to more than 200 times its size"):
        add_dataset(store, tmp_path / "bomb.zip", "pets")


def test_limits_on_entries_and_total_size(store, packed, monkeypatch):
    monkeypatch.setattr(limits, "MAX_ENTRIES", 5)
    with pytest.raises(DatasetError, match=r"pets\.zip holds 6 files; at most 5 .* Split it"):
        add_dataset(store, packed, "pets")
    monkeypatch.setattr(limits, "MAX_ENTRIES", 10)
    monkeypatch.setattr(limits, "MAX_TOTAL_BYTES", 2000)
    with pytest.raises(DatasetError, match=r"pets\.zip unpacks to more than .* Split it"):
        add_dataset(store, packed, "pets")
