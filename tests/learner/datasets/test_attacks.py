"""Archives made to hurt: each is refused or loses the entry that hurts, in words, and nothing outside is touched."""

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import zipfile
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner.datasets.sources import limits, open_source
from learner.datasets.sources.inside import read_name
from learner.errors import DatasetError, ImageError, ThawError

GOOD = b"good bytes"


def opened(file: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """What can be read of `file`, and the reasons of the rest."""
    with closing(open_source(file)) as source:
        return {entry.path: source.read(entry) for entry in source.entries}, dict(source.set_aside)


def tar_of(file: Path, *members: tarfile.TarInfo, mode: str = "w", **options) -> Path:
    with tarfile.open(file, mode, **options) as archive:
        for member in [*members, regular("good.jpg", len(GOOD))]:
            archive.addfile(member, io.BytesIO((GOOD * 10)[: member.size]) if member.isreg() else None)
    return file


def regular(name: str, size: int = len(GOOD)) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


OUTSIDE = [
    "../evil.jpg",
    "a/../../evil.jpg",
    "/tmp/evil.jpg",
    "C:/evil.jpg",
    "c:evil.jpg",
    "..\\worse.jpg",
    "\\\\host\\x.jpg",
]


def test_names_in_a_tar_that_lead_outside_are_set_aside(tmp_path):
    good, bad = opened(tar_of(tmp_path / "a.tar", *map(regular, OUTSIDE)))
    assert good == {"good.jpg": GOOD}
    assert len(bad) == len(OUTSIDE)
    assert all("points to a place outside the archive" in reason for reason in bad.values())


def test_links_devices_and_pipes_in_a_tar_are_set_aside(tmp_path):
    members = [
        special("symbolic.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard.jpg", tarfile.LNKTYPE, "good.jpg"),
        special("disk.jpg", tarfile.BLKTYPE),
        special("null.jpg", tarfile.CHRTYPE),
        special("pipe.jpg", tarfile.FIFOTYPE),
        special("odd.jpg", b"V"),
    ]
    good, bad = opened(tar_of(tmp_path / "a.tar", *members))
    assert good == {"good.jpg": GOOD}
    assert [reason.split(",")[0] for reason in bad.values()] == ["It is a link"] * 2 + ["It is a device or a pipe"] * 4


def test_devices_and_pipes_in_a_zip_are_set_aside(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.jpg", GOOD)
        for kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK):
            info = zipfile.ZipInfo(f"{kind}.jpg")
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, b"x")
    good, bad = opened(tmp_path / "a.zip")
    assert good == {"good.jpg": GOOD}
    assert set(bad.values()) == {"It is a device or a pipe, not an image. Leave it out."}


def test_a_sparse_tar_entry_that_claims_gigabytes_is_set_aside(tmp_path):
    pax = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "x.bmp",
        "GNU.sparse.realsize": str(2**40),
    }
    info = regular("x.bmp", 512)
    info.pax_headers = pax
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"1\n0\n1\n".ljust(512, b"\0")))
        archive.addfile(regular("good.jpg"), io.BytesIO(GOOD))
    good, bad = opened(tmp_path / "a.tar")
    assert good == {"good.jpg": GOOD}
    assert bad["x.bmp"].startswith("It is stored with holes")


@pytest.mark.parametrize("ending", ["zip", "tar"])
def test_names_no_computer_can_keep_are_set_aside(tmp_path, ending):
    names = ["a\nb.jpg", "\x1b[31mred.jpg", "x" * 300 + ".jpg", "/".join(["ab"] * 2000) + ".jpg"]
    file = tmp_path / f"a.{ending}"
    if ending == "tar":
        tar_of(file, *map(regular, names))
    else:
        with zipfile.ZipFile(file, "w") as archive:
            for name in [*names, "good.jpg"]:
                archive.writestr(name, GOOD)
    good, bad = opened(file)
    assert good == {"good.jpg": GOOD}
    assert sorted(reason.split(",")[0] for reason in bad.values()) == [
        "It lies more than 100 folders deep. Put it into fewer folders.",
        "Its name holds control characters",
        "Its name holds control characters",
        "Its name is longer than computers can keep (255 bytes). Give it a shorter name.",
    ]
    assert all(path.isprintable() and len(path) <= 101 for path in bad)


def test_a_zip_name_that_hides_its_ending_behind_a_zero_byte_is_set_aside(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("photo.jpgX.exe", GOOD)
    raw = (tmp_path / "a.zip").read_bytes().replace(b"jpgX", b"jpg\0")
    (tmp_path / "a.zip").write_bytes(raw)
    good, bad = opened(tmp_path / "a.zip")
    assert good == {}
    assert next(iter(bad.values())).startswith("Its name holds control characters")


def test_archives_inside_archives_stay_closed(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("cat/1.jpg", GOOD)
    names = ["inner.zip", "a/inner.tar.gz", "inner.7z", "INNER.RAR"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, inner.getvalue())
        archive.writestr("good.jpg", GOOD)
    good, bad = opened(tmp_path / "a.zip")
    assert good == {"good.jpg": GOOD}
    assert set(bad) == set(names)
    assert all(reason.startswith("It is an archive inside an archive") for reason in bad.values())


def test_names_that_differ_only_in_empty_parts_are_the_same_name(tmp_path):
    good, bad = opened(tar_of(tmp_path / "a.tar", regular("a/1.jpg"), regular("a//1.jpg"), regular("./a/./1.jpg")))
    assert set(good) == {"a/1.jpg", "good.jpg"}
    assert list(bad) == ["a/1.jpg"]


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

AWKWARD = st.text(st.sampled_from("ab./\\:\0\n \u202e\u200bé猫C~"), max_size=30) | st.text(max_size=40)


def assert_harmless(path: str) -> None:
    assert path
    assert path.isprintable()
    assert not path.startswith("/")
    assert not any(part in ("", ".", "..") for part in path.split("/"))
    assert "\\" not in path
    assert path[1:2] != ":" or not path[0].isascii() or not path[0].isalpha()


@given(AWKWARD)
def test_a_name_is_harmless_or_has_a_reason_against_it(name):
    path, reason = read_name(name)
    assert path.isprintable()
    if not reason:
        assert_harmless(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=st.lists(AWKWARD.filter(bool), max_size=8), ending=st.sampled_from(["zip", "tar"]))
def test_no_name_in_an_archive_ever_gives_a_path_that_leads_anywhere(tmp_path, names, ending):
    file = tmp_path / f"a.{ending}"
    if ending == "tar":
        tar_of(file, *map(regular, names))
    else:
        with zipfile.ZipFile(file, "w") as archive:
            for name in dict.fromkeys([*names, "good.jpg"]):
                info = zipfile.ZipInfo("x")
                info.filename = name  # ZipInfo itself would cut it at a zero byte
                archive.writestr(info, GOOD)
    with closing(open_source(file)) as source:
        paths = [entry.path for entry in source.entries]
        assert len(set(paths)) == len(paths)
        for path in paths:
            assert_harmless(path)
        assert all(path.isprintable() and reason.endswith(".") for path, reason in source.set_aside)


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
