"""`backup`, `restore` and `doctor` as a person types them."""

import shutil

import pytest

from tests.learner.cli.shell import shell, use
from tests.patience import GIVE_UP_S
from tests.serving import free_port


@pytest.fixture
def new(tmp_path, monkeypatch):
    """Where to restore to; after this it is the workspace of commands."""
    return lambda: use(tmp_path / "new", monkeypatch)


def test_a_backup_is_made_and_restored_in_words(home, new, thaw, tmp_path):
    said = thaw("backup", tmp_path / "b.zip")
    assert said.code == 0 and said.out.startswith(f"{tmp_path / 'b.zip'}: 1 data set, 40 image rows, 1 run (")
    assert "THAW_HOME=FOLDER python -m learner restore FILE" in said.err
    before = thaw("runs", "show", "1").out
    new()
    back = thaw("restore", tmp_path / "b.zip")
    assert back.code == 0 and "new: 1 data set, 40 image rows, 1 run, as they were on 20" in back.out
    assert thaw("runs", "show", "1").out == before
    again = thaw("restore", tmp_path / "b.zip")
    assert again.code == 2 and again.err.startswith("Error: A backup is restored into an empty workspace only")
    assert len(again.err.splitlines()) == 1


def test_with_json_there_is_one_object(home, new, thaw, tmp_path):
    made = thaw("backup", tmp_path / "b.zip", "--json")
    assert made.json["rows"]["runs"] == 1 and made.json["files"] > 40 and made.json["left_out"] == []
    assert made.json["bytes"] == (tmp_path / "b.zip").stat().st_size and made.err == ""
    new()
    back = thaw("restore", tmp_path / "b.zip", "--json")
    assert back.json["queued"] == [] and back.json["rows"] == made.json["rows"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["backup", "/nowhere/b.zip"], "The folder /nowhere does not exist. Make it first"),
        (["restore", "/nowhere/b.zip"], "/nowhere/b.zip does not exist. Name the file that"),
        (["restore", __file__], "cannot be restored: it is no .zip file"),
    ],
)
def test_mistakes_are_one_line(new, thaw, words, told):
    new()
    said = thaw(*words)
    assert (said.code, said.out) == (2, "") and told in said.err and "Traceback" not in said.err


def test_while_a_restore_is_not_done_every_command_says_so(home, thaw, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    (copy / ".restoring").mkdir()
    use(copy, monkeypatch)
    for words in (["runs"], ["worker"], ["backup", tmp_path / "b.zip"], ["data", "list"]):
        said = thaw(*words)
        assert said.code == 2 and "A backup is being restored into" in said.err


def test_the_doctor_ends_with_1_where_something_does_not_work(home, thaw, monkeypatch):
    monkeypatch.setenv("PORT", str(free_port()))
    well = thaw("doctor")
    assert well.code == 0 and well.err == "" and "No worker is running" in well.out
    assert thaw("doctor", "--json").json["ok"] is True
    monkeypatch.setenv("PORT", "none")
    ill = thaw("doctor", "--json")
    assert ill.code == 1 and ill.json["ok"] is False
    (port,) = (found for found in ill.json["findings"] if found["what"] == "Port")
    assert port == {
        "what": "Port",
        "state": "failed",
        "told": "PORT is 'none', which is no port.",
        "remedy": "Set it to a number from 1 to 65535.",
    }
    assert thaw("doctor").code == 1


def test_in_a_process_of_its_own_the_exit_code_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("PORT", "none")
    process = shell(tmp_path / "new", "doctor")
    out, err = process.communicate(timeout=GIVE_UP_S)
    assert (process.returncode, err) == (1, "") and "which is no port" in out
