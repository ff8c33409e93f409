"""A backup may come from anyone: whatever it holds, nothing lands outside, and an empty workspace stays empty."""

import json
import random
import stat
import zipfile
from pathlib import Path

import pytest

from learner.errors import BackupError
from learner.operations.backup import back_up
from learner.operations.manifest import MANIFEST
from learner.operations.restore import restore
from learner.store import Store
from learner.workspace import Workspace
from tests.learner.operations.archives import entries_of, files_of, forge, holds_nothing, rows_of
from tests.samples import copy_workspace

ROW = "database/images.jsonl"


@pytest.fixture(scope="module")
def backup(pets_home, tmp_path_factory) -> Path:
    workspace = Workspace(tmp_path_factory.mktemp("small"))
    copy_workspace(pets_home, workspace.root, "cache")
    return back_up(workspace, workspace.root / "b.zip").path


@pytest.fixture
def entries(backup) -> dict[str, bytes]:
    return entries_of(backup)


@pytest.fixture
def new(tmp_path, monkeypatch) -> Workspace:
    monkeypatch.setenv("THAW_HOME", str(tmp_path / "deep" / "er" / "new"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return Workspace.current()


def refused(new: Workspace, file: Path, told: str) -> None:
    around = {path for path in file.parent.rglob("*") if not path.is_relative_to(new.root)}
    with pytest.raises(BackupError, match=told) as error:
        restore(new, file)
    assert "cannot be restored: " in str(error.value) and "Nothing was changed" in str(error.value)
    assert holds_nothing(new)
    assert {path for path in file.parent.rglob("*") if not path.is_relative_to(new.root)} - {new.root.parent} <= (
        around | {new.root.parent.parent}
    )


@pytest.mark.parametrize(
    "name",
    [
        "files/../../../evil",
        "files/datasets/../../evil",
        "files//etc/evil",
        "/etc/evil",
        "files/datasets/./x",
        "files/datasets//x",
        "files/thaw.db",
        "files/datasets",
        "files/workspace.id",
        "files/locks/x",
        "files/.restoring/journal.json",
        "evil",
        "..",
        "",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(entries, new, tmp_path, name):
    refused(
        new,
        forge(tmp_path / "b.zip", entries | {name: b"x"}),
        "belongs to no place in a workspace|is no name of a file",
    )


@pytest.mark.parametrize("table", ["../../evil", "x/../../y", "runs/x", "", "A b"])
def test_a_table_whose_name_leads_elsewhere_is_refused(entries, new, tmp_path, table):
    forged = entries | {f"database/{table}.jsonl": b"{}\n"}
    refused(new, forge(tmp_path / "b.zip", forged, rows=lambda rows: rows | {table: 1}), "cannot be understood")


@pytest.mark.parametrize("table", ["alembic_version", "workspace", "workers", "sqlite_master", "evil"])
def test_rows_of_other_tables_are_refused(entries, new, tmp_path, table):
    forged = entries | {f"database/{table}.jsonl": b"{}\n"}
    refused(new, forge(tmp_path / "b.zip", forged, rows=lambda rows: rows | {table: 1}), "has rows of a table")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_links_and_what_else_is_no_file_are_refused(entries, new, tmp_path, kind):
    plain = forge(tmp_path / "plain.zip", entries | {"files/weights/vgg16.pth": b"/etc/passwd"})
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name, held in entries_of(plain).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind if name.startswith("files/weights") else stat.S_IFREG) << 16
            archive.writestr(info, held)
    refused(new, tmp_path / "b.zip", "is a link or a folder, which no backup holds")


def test_a_packed_entry_is_refused_before_it_is_unpacked(entries, new, tmp_path):
    plain = forge(tmp_path / "plain.zip", entries | {"files/weights/bomb": bytes(50_000_000)})
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, held in entries_of(plain).items():
            archive.writestr(name, held)
    refused(new, tmp_path / "b.zip", "is packed or encrypted, which no backup is")


def test_entries_that_claim_more_than_the_file_holds_are_refused(entries, new, tmp_path):
    forged = forge(tmp_path / "b.zip", entries | {"files/weights/bomb": b"0123456789" * 100})
    held = forged.read_bytes()
    at = held.rindex(b"PK\x01\x02", 0, held.rindex(b"files/weights/bomb"))
    lie = (10**9).to_bytes(4, "little")
    forged.write_bytes(held[: at + 20] + lie + lie + held[at + 28 :])
    refused(new, forged, "claim to be larger than the file")


def test_entries_that_share_their_bytes_are_refused(entries, new, tmp_path):
    """As in zip bombs that need no compression: many names for one place of the file."""
    many = {f"files/weights/{number}": b"x" * 100_000 for number in range(50)}
    forged = forge(tmp_path / "b.zip", entries | many)
    held = bytearray(forged.read_bytes())
    with zipfile.ZipFile(forged) as archive:
        first = archive.getinfo("files/weights/0").header_offset
    for number in range(1, 50):
        at = held.rindex(b"PK\x01\x02", 0, held.rindex(f"files/weights/{number}".encode()))
        held[at + 42 : at + 46] = first.to_bytes(4, "little")
    forged.write_bytes(bytes(held))
    refused(new, forged, "cannot be read|is damaged")


def test_two_entries_of_one_name_are_refused(backup, new, tmp_path):
    forged = tmp_path / "b.zip"
    forged.write_bytes(backup.read_bytes())
    with zipfile.ZipFile(forged, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(MANIFEST, b"{}")
    refused(new, forged, "have the same name")


def test_content_that_differs_from_the_manifest_is_refused_before_anything_is_in_place(entries, new, tmp_path):
    last = max(name for name in entries if name.startswith("files/"))

    def other(told):
        return told | {last: told[last] | {"sha256": "0" * 64}}

    refused(new, forge(tmp_path / "b.zip", entries, entries=other), "is damaged: its content is not what")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"entries": lambda entries: dict(list(entries.items())[1:])}, "is not there, or not as its manifest says"),
        ({"entries": lambda e: e | {"files/weights/x": {"bytes": 1, "sha256": "0" * 64}}}, "is not there, or not as"),
        ({"entries": {}}, "is not there"),
        ({"rows": {}}, "its tables are not those that its manifest names"),
        ({"rows": lambda rows: rows | {"runs": 5}}, "not as many rows as its manifest says"),
        ({"format": 2}, "its format is 2, and this Thaw reads format 1"),
        ({"schema_revision": "../1"}, "its manifest cannot be understood"),
        ({"thaw": "\x1b[31m0.1"}, "its manifest cannot be understood"),
        ({"made_at": 1e300}, "its manifest cannot be understood"),
        ({"entries": {"a": {"bytes": -1, "sha256": "x"}}}, "its manifest cannot be understood"),
        ({"more": 1}, "its manifest cannot be understood"),
    ],
)
def test_a_manifest_that_says_other_than_what_is_there_is_refused(entries, new, tmp_path, change, told):
    refused(new, forge(tmp_path / "b.zip", entries, **change), told)


@pytest.mark.parametrize("held", [b"", b"[]", b"\xff", b"[" * 100_000, b"nothing"])
def test_a_manifest_that_is_none_is_refused(entries, new, tmp_path, held):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr(MANIFEST, held)
    refused(new, tmp_path / "b.zip", "its manifest cannot be understood")


def test_what_is_no_backup_is_told(new, tmp_path, backup):
    file = tmp_path / "b.zip"
    for held in (b"", b"photos", backup.read_bytes()[:-30], backup.read_bytes()[100:]):
        file.write_bytes(held)
        with pytest.raises(BackupError, match="cannot be restored"):
            restore(new, file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("cat/1.jpg", b"x")
    refused(new, file, "it is no backup of Thaw's")
    with pytest.raises(BackupError, match=r"does not exist\. Name the file that"):
        restore(new, tmp_path / "nowhere.zip")
    with pytest.raises(BackupError, match="cannot be read: Is a directory"):
        restore(new, tmp_path)


@pytest.mark.parametrize(
    ("table", "change", "told"),
    [
        ("images", {"file": "../../../../etc/passwd"}, "names a file outside of its data set"),
        ("images", {"file": "/etc/passwd"}, "names a file outside of its data set"),
        ("images", {"file": ""}, "names a file outside of its data set"),
        ("images", {"width": "wide"}, "has no 'width' that fits"),
        ("images", {"id": 10**40}, "has no 'id' that fits"),
        ("images", {"excluded": 1}, "has no 'excluded' that fits"),
        ("images", {"label": ["cat"]}, "has no 'label' that fits"),
        ("images", {"label": None}, "do not fit"),
        ("images", {"version_id": 99}, "do not fit"),
        ("images", {"evil": 1}, "is none of that table"),
        ("contents", {"tiny": "no base64!"}, "has no 'tiny' that fits"),
    ],
)
def test_rows_that_do_not_fit_are_refused(entries, new, tmp_path, table, change, told):
    first, rest = entries[f"database/{table}.jsonl"].split(b"\n", 1)
    forged = json.dumps(json.loads(first) | change).encode() + b"\n" + rest
    refused(new, forge(tmp_path / "b.zip", entries | {f"database/{table}.jsonl": forged}), told)


@pytest.mark.parametrize("line", [b"{", b"[]", b"null", b"[" * 100_000])
def test_lines_that_are_no_rows_are_refused(entries, new, tmp_path, line):
    refused(new, forge(tmp_path / "b.zip", entries | {ROW: line + b"\n"}), "row 1 of its table 'images' is none")


def test_rows_are_refused_by_postgresql_in_words_too(entries, new, tmp_path, postgres_database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    first, rest = entries[ROW].split(b"\n", 1)
    forged = json.dumps(json.loads(first) | {"label": "a\0b"}).encode() + b"\n" + rest
    refused(new, forge(tmp_path / "b.zip", entries | {ROW: forged}), "rows of its table 'images' do not fit")


def test_wherever_a_byte_is_changed_it_is_refused_or_all_comes_as_it_was(backup, tmp_path):
    held, chance = backup.read_bytes(), random.Random(0)
    Store(Workspace(tmp_path / "good"))
    good = Workspace(tmp_path / "good")
    restore(good, backup)
    whole, came = (files_of(good), rows_of(good.database_url)), 0
    at = [chance.randrange(len(held)) for _ in range(30)]
    at += [chance.randrange(held.rindex(b'"entries"'), len(held)) for _ in range(50)]  # where structure is
    for number, place in enumerate(at):
        file, new = tmp_path / "b.zip", Workspace(tmp_path / str(number))
        file.write_bytes(held[:place] + bytes([held[place] ^ (1 << chance.randrange(8))]) + held[place + 1 :])
        try:
            restore(new, file)
            came += 1
            assert (files_of(new), rows_of(new.database_url)) == whole
        except BackupError:
            assert holds_nothing(new)
    assert came < len(at)
