"""Archives that unpack to too much, lie about their sizes or are damaged are refused in words, and none hangs."""

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import zipfile
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from learner.datasets.sources import limits, open_source
from learner.errors import DatasetError, ImageError, ThawError
from tests.learner.datasets.archives import GOOD, opened, regular, special, tar_of

# Bombs


def overlapping_zip(files: int, quoted: bool) -> bytes:
    """A zip whose entries share one block of zeros: all point to it, or each quotes the headers of those behind it."""
    kernel = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = kernel.compress(bytes(2**20)) + kernel.flush()
    crc = zlib.crc32(bytes(2**20))
    headers, body, offsets = [], b"", []
    for number in range(files):
        name = f"{number:04}.bmp".encode()
        headers.append((name, crc))
    for number, (name, _) in enumerate(headers):
        offsets.append(len(body))
        if quoted or number == files - 1:
            body += (
                struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 8, 0, 0, crc, len(packed), 2**20, len(name), 0) + name
            )
    body += packed
    directory = b""
    for (name, _), offset in zip(headers, offsets, strict=True):
        size = len(body) - offset - 30 - len(name) if quoted else len(packed)
        directory += struct.pack(
            "<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 8, 0, 0, crc, size, 2**20, len(name), 0, 0, 0, 0, 0, offset
        )
        directory += name
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, files, files, len(directory), len(body), 0)
    return body + directory + end


@pytest.mark.parametrize("quoted", [True, False])
def test_entries_that_share_their_bytes_are_a_trap(tmp_path, quoted):
    file = tmp_path / "zbsm.zip"
    file.write_bytes(overlapping_zip(250, quoted))
    assert file.stat().st_size < 50_000
    with pytest.raises(DatasetError, match=r"zbsm\.zip is a trap: the files in it overlap.* Nothing of it was taken"):
        open_source(file)


def test_one_entry_of_that_kind_alone_is_an_ordinary_zip(tmp_path):
    (tmp_path / "a.zip").write_bytes(overlapping_zip(1, quoted=True))
    assert opened(tmp_path / "a.zip") == ({"0000.bmp": bytes(2**20)}, {})


def test_an_entry_larger_than_memory_should_hold_is_stopped_while_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 2 * 2**20)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.bmp", os.urandom(3 * 2**20))
    with closing(open_source(tmp_path / "a.zip")) as source, pytest.raises(ImageError, match="larger than 2 MB"):
        source.read(source.entries[0])
    tar_of(tmp_path / "a.tar", regular("b.bmp", 3))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(regular("b.bmp", 3 * 2**20), io.BytesIO(bytes(3 * 2**20)))
    with closing(open_source(tmp_path / "a.tar")) as source, pytest.raises(ImageError, match="larger than 2 MB"):
        source.read(source.entries[0])


@pytest.mark.parametrize(("kind", "name"), [(gzip, "gz"), (bz2, "bz2"), (lzma, "xz")])
def test_a_compressed_tar_that_unpacks_to_hundreds_of_times_its_size_is_refused(tmp_path, kind, name):
    file = tmp_path / f"bomb.{name}"
    file.write_bytes(kind.compress(bytes(80 * 2**20)))
    with pytest.raises(DatasetError, match=rf"bomb\.{name} unpacks to more than 200 times its size"):
        open_source(file)
    assert list(tmp_path.iterdir()) == [file]


def test_a_compressed_tar_that_unpacks_to_more_than_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_TOTAL_BYTES", 2**20)
    file = tar_of(tmp_path / "a.tgz", regular("a.bmp", 50), mode="w:gz")
    with tarfile.open(file, "w:gz") as archive:
        archive.addfile(regular("a.bmp", 2 * 2**20), io.BytesIO(os.urandom(2 * 2**20)))
    with pytest.raises(DatasetError, match=r"a\.tgz unpacks to more than .* Split it"):
        open_source(file)


def test_xz_that_asks_for_gigabytes_of_memory_is_refused(tmp_path):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**30}]
    (tmp_path / "a.xz").write_bytes(lzma.compress(b"x", filters=filters))
    with pytest.raises(DatasetError, match=r"a\.xz is damaged"):
        open_source(tmp_path / "a.xz")


@pytest.mark.parametrize("ending", ["zip", "tar"])
def test_too_many_entries_are_refused_before_they_are_listed(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(limits, "MAX_ENTRIES", 100)
    file = tmp_path / f"many.{ending}"
    if ending == "tar":
        tar_of(file, *(special(f"{number}", tarfile.DIRTYPE) for number in range(101)))
    else:
        with zipfile.ZipFile(file, "w") as archive:
            for number in range(101):
                archive.writestr(f"{number}.jpg", b"")
        raw = bytearray(file.read_bytes())
        raw[-14:-10] = struct.pack("<HH", 1, 1)  # its own count of them is a lie
        file.write_bytes(raw)
    with pytest.raises(DatasetError, match=rf"many\.{ending} holds 101 files; at most 100"):
        open_source(file)


# Lies


def test_a_zip64_entry_that_claims_to_be_larger_than_the_file_is_set_aside(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.jpg", GOOD)
        archive.writestr("lie.jpg", GOOD)
    raw = (tmp_path / "a.zip").read_bytes()
    start = raw.rindex(b"PK\x01\x02")
    entry = bytearray(raw[start : raw.rindex(b"PK\x05\x06")])
    extra = struct.pack("<HHQQ", 1, 16, 2**60, 2**60)
    entry[20:28] = b"\xff" * 8
    entry[30:32] = struct.pack("<H", len(extra))
    first = raw.index(b"PK\x01\x02")
    directory = raw[first:start] + bytes(entry) + extra
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 2, 2, len(directory), first, 0)
    (tmp_path / "a.zip").write_bytes(raw[:first] + directory + end)
    good, bad = opened(tmp_path / "a.zip")
    assert good == {"good.jpg": GOOD}
    assert bad == {"lie.jpg": "Its size in the .zip file cannot be true. Make the .zip file again."}


def test_a_zip_entry_that_unpacks_to_more_than_it_claims_is_damaged(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lie.jpg", bytes(5000))
    raw = bytearray((tmp_path / "a.zip").read_bytes())
    place = raw.rindex(b"PK\x01\x02") + 24
    raw[place : place + 4] = struct.pack("<I", 10)
    (tmp_path / "a.zip").write_bytes(raw)
    with closing(open_source(tmp_path / "a.zip")) as source, pytest.raises(ImageError, match="is damaged"):
        source.read(source.entries[0])


def with_pax(file: Path, **headers: str) -> Path:
    info = regular("odd.jpg")
    info.pax_headers = headers
    return tar_of(file, info, format=tarfile.PAX_FORMAT)


@pytest.mark.parametrize("size", ["-512", "-1", "99999999999999999999", "9" * 5000, "1.5", "nan", "", "0x10", "\u0663"])
def test_odd_sizes_in_a_tar_neither_hang_nor_crash(tmp_path, size):
    try:
        good, _ = opened(with_pax(tmp_path / "a.tar", size=size))
        assert set(good) <= {"odd.jpg", "good.jpg"}
    except DatasetError:
        pass


def test_a_tar_entry_whose_size_leads_backwards_does_not_hang(tmp_path):
    file = tar_of(tmp_path / "a.tar", regular("a.jpg"))
    raw = bytearray(file.read_bytes())
    header = raw[1024:1536]
    header[124:136] = b"\xff" * 10 + struct.pack(">h", -1024)  # base 256, negative
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    raw[1024:1536] = header
    file.write_bytes(raw)
    good, bad = opened(file)
    assert set(good) == {"a.jpg"}
    assert bad == {"a.tar": "The rest of this archive is damaged or missing. Make it again."}


def test_a_tar_header_that_takes_memory_or_time_is_refused(tmp_path):
    for comment in ("x" * 2**21, "1" * 2**19):
        with pytest.raises(DatasetError, match=r"a\.tar is not a \.tar file, or it is damaged"):
            open_source(with_pax(tmp_path / "a.tar", comment=comment))


def test_thousands_of_headers_in_a_row_are_refused(tmp_path):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 512
    block = info.tobuf(tarfile.USTAR_FORMAT) + b"11 path=ab\n".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(block * 20_000)
    with pytest.raises(DatasetError, match=r"a\.tar is not a \.tar file, or it is damaged"):
        open_source(tmp_path / "a.tar")


# Anything at all


@pytest.mark.parametrize("ending", ["zip", "tar", "tgz"])
def test_whatever_is_damaged_in_an_archive_is_told_in_words(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(4):
                archive.writestr(f"cat/{number}.jpg", os.urandom(300))
    else:
        members = [regular(f"{'ü' * 80}/{number}.jpg", 90) for number in range(4)]
        tar_of(file, *members, mode="w" if ending == "tar" else "w:gz", format=tarfile.PAX_FORMAT)
    whole = file.read_bytes()
    chance = random.Random(1)
    for _ in range(300):
        raw = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        file.write_bytes(raw)
        try:
            with closing(open_source(file)) as source:
                for entry in source.entries:
                    try:
                        source.read(entry)
                    except ImageError as error:
                        assert str(error).endswith(".")
        except ThawError as error:
            assert str(error).startswith(file.name)
