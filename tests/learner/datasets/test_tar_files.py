"""A .tar file is read at its places, whatever it is packed with; nothing in it reaches the disk under its own name."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from learner.datasets import add_dataset, summarize
from learner.datasets.sources import limits, open_source
from learner.errors import DatasetError, ImportCancelled
from tests.samples import make_photos

PACKED = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


@pytest.fixture
def photos(tmp_path) -> Path:
    return make_photos(tmp_path / "pets", {"cat": 3, "dog": 3})


def pack(folder: Path, file: Path, mode: str = "w") -> Path:
    with tarfile.open(file, mode) as archive:
        archive.add(folder, arcname="holiday")
    return file


def contents(file: Path, **options) -> dict[str, bytes]:
    with closing(open_source(file, **options)) as source:
        return {entry.path: source.read(entry) for entry in source.entries}


def expected(photos: Path) -> dict[str, bytes]:
    return {f"holiday/{file.relative_to(photos).as_posix()}": file.read_bytes() for file in photos.rglob("*.jpg")}


@pytest.mark.parametrize("suffix", PACKED)
def test_every_kind_of_tar_holds_the_files_it_was_made_of(photos, tmp_path, suffix):
    assert contents(pack(photos, tmp_path / f"pets{suffix}", PACKED[suffix])) == expected(photos)


def test_what_an_archive_is_decides_its_content_and_not_its_name(photos, tmp_path):
    assert contents(pack(photos, tmp_path / "pets.zip", "w:gz")) == expected(photos)
    assert contents(pack(photos, tmp_path / "pets.tar.gz", "w")) == expected(photos)
    assert contents(pack(photos, tmp_path / "download", "w:xz")) == expected(photos)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_any_script_in_every_dialect(tmp_path, format):
    name = f"{'猫' * 20}/{'ü' * 40}.jpg"
    with tarfile.open(tmp_path / "a.tar", "w", format=format) as archive:
        info = tarfile.TarInfo(name)
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    assert contents(tmp_path / "a.tar") == {name: b"abc"}


def test_a_tar_and_the_folder_it_was_made_of_are_the_same_data_set(store, photos, tmp_path):
    version = add_dataset(store, pack(photos, tmp_path / "pets.tgz", "w:gz"), "pets")
    assert summarize(store, version).images == 6
    assert add_dataset(store, photos, "pets") == version


def test_files_of_operating_systems_are_ignored(photos, tmp_path):
    (photos / ".DS_Store").write_bytes(b"junk")
    (photos / "cat" / "Thumbs.db").write_bytes(b"junk")
    (photos / "cat" / "._cat_000.jpg").write_bytes(b"junk")
    with closing(open_source(pack(photos, tmp_path / "pets.tar"))) as source:
        assert len(source.entries) == 6
        assert source.set_aside == []


def test_several_threads_read_at_once(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number in range(50):
            info = tarfile.TarInfo(f"{number}.jpg")
            info.size = 5000
            archive.addfile(info, io.BytesIO(bytes([number]) * 5000))
    with closing(open_source(tmp_path / "a.tar")) as source, ThreadPoolExecutor(8) as pool:
        for entry, data in zip(source.entries, pool.map(source.read, source.entries), strict=True):
            assert data == bytes([int(entry.path[:-4])]) * 5000


@pytest.mark.parametrize("ending", ["tar", "gz", "bz2", "xz"])
def test_an_archive_that_is_cut_short_says_so(photos, tmp_path, ending):
    file = pack(photos, tmp_path / f"pets.{ending}", "w" if ending == "tar" else f"w:{ending}")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    if ending != "tar":
        with pytest.raises(DatasetError, match=rf"pets\.{ending} is damaged or was not copied completely\. "):
            open_source(file)
        return
    with closing(open_source(file)) as source:
        assert 0 < len(source.entries) < 6
        path, reason = source.set_aside[-1]
        assert (path, reason) == ("pets.tar", "The rest of this archive is damaged or missing. Make it again.")
        assert all(source.read(entry).endswith(b"\xff\xd9") for entry in source.entries)


def test_a_tar_that_is_damaged_in_the_middle_says_that_the_rest_is_missing(photos, tmp_path):
    file = pack(photos, tmp_path / "pets.tar")
    raw = bytearray(file.read_bytes())
    with tarfile.open(file) as archive:
        place = archive.getmembers()[-1].offset
    raw[place : place + 512] = os.urandom(512)
    file.write_bytes(raw)
    with closing(open_source(file)) as source:
        assert len(source.entries) == 5
        assert [path for path, _ in source.set_aside] == ["pets.tar"]


def test_something_compressed_that_is_no_tar_is_refused(tmp_path):
    file = tmp_path / "photo.gz"
    file.write_bytes(gzip.compress(b"just text " * 100))
    with pytest.raises(DatasetError, match=r"photo\.gz is not a \.tar file, or it is damaged"):
        open_source(file)


def test_several_compressed_parts_in_a_row_are_one_archive(photos, tmp_path):
    raw = pack(photos, tmp_path / "pets.tar").read_bytes()
    half = len(raw) // 2
    for kind in (gzip, bz2, lzma):
        file = tmp_path / f"pets.{kind.__name__}"
        file.write_bytes(kind.compress(raw[:half]) + kind.compress(raw[half:]))
        assert contents(file) == expected(photos)


def test_nothing_is_left_of_what_was_decompressed(photos, tmp_path):
    (tmp_path / "in").mkdir()
    (scratch := tmp_path / "scratch").mkdir()
    file = pack(photos, tmp_path / "in" / "pets.tgz", "w:gz")
    with closing(open_source(file, scratch=scratch)):
        assert list(scratch.iterdir()) == []  # it has no name even while it is open
    with closing(open_source(file)):
        assert [path.name for path in file.parent.iterdir()] == ["pets.tgz"]


def big(tmp_path: Path) -> Path:
    with tarfile.open(tmp_path / "big.tgz", "w:gz", compresslevel=0) as archive:
        info = tarfile.TarInfo("noise.bin")
        info.size = 20 * 2**20
        archive.addfile(info, io.BytesIO(os.urandom(info.size)))
    return tmp_path / "big.tgz"


def test_decompressing_tells_how_far_it_is_and_can_be_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("learner.datasets.sources.tars._REPORT_EVERY_S", 0)
    file = big(tmp_path)
    told: list[tuple[int, int, float | None]] = []
    open_source(file, progress=lambda *report: told.append(report)).close()
    assert len(told) >= 10
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert {total for _, total, _ in told} == {file.stat().st_size}
    with pytest.raises(ImportCancelled, match="stopped"):
        open_source(file, cancelled=lambda: True)


def test_a_disk_without_room_is_found_out_before_decompressing(tmp_path, monkeypatch):
    file = big(tmp_path)
    monkeypatch.setattr(limits, "SPARE_DISK_BYTES", 2**60)
    with pytest.raises(DatasetError, match=r"What is in big\.tgz does not fit on the disk that holds .* Free"):
        open_source(file)
