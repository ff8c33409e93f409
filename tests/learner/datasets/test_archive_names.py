"""Entries of an archive whose names or kinds do harm are set aside, and nothing outside is touched."""

import io
import stat
import tarfile
import zipfile
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner.datasets.sources import open_source
from learner.datasets.sources.entry_names import read_name
from tests.learner.datasets.archives import GOOD, opened, regular, special, tar_of

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
