"""A page reaches the folders of the server that a setting allows, and nothing else."""

import os

import pytest

from learner.datasets.roots import allowed_roots, browse, check_server_path
from learner.errors import DatasetError


@pytest.fixture
def roots(tmp_path, monkeypatch):
    for folder in ("one/cats", "two", "secret"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "one" / "pets.tar.gz").write_bytes(b"12345")
    (tmp_path / "one" / "notes.txt").write_text("x")
    (tmp_path / "one" / ".hidden").mkdir()
    (tmp_path / "secret" / "keys.zip").write_bytes(b"x")
    (tmp_path / "one" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "one" / "in").symlink_to(tmp_path / "two")
    monkeypatch.setenv("THAW_SERVER_FOLDERS", os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two"), "/gone"]))
    return tmp_path


def test_nothing_is_allowed_unless_a_setting_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv("THAW_SERVER_FOLDERS", raising=False)
    assert allowed_roots() == []
    with pytest.raises(DatasetError, match=r"is off\. Whoever runs Thaw can name the folders in THAW_SERVER_FOLDERS"):
        check_server_path(str(tmp_path))


def test_folders_and_archives_below_the_roots_can_be_taken(roots):
    assert allowed_roots() == [roots / "one", roots / "two"]
    for path in ("one", "one/cats", "one/pets.tar.gz", "two", "one/cats/../../two"):
        assert check_server_path(f" {roots / path} ") == (roots / path).resolve()


@pytest.mark.parametrize(
    "path",
    ["", "/", "/etc/passwd", "{}", "{}/secret/keys.zip", "{}/one/../secret", "{}/one/out/keys.zip", "{}/onerous"],
)
def test_everything_else_is_refused_in_the_same_words(roots, path):
    for asked in (path.format(roots), f"{roots}/secret/no-such-file", "a\0b"):
        with pytest.raises(
            DatasetError, match=r"There is nothing to import at .* below .*one or .*two\. Check the path"
        ):
            check_server_path(asked)


def test_browsing_shows_folders_first_then_archives_and_no_way_out(roots):
    places = browse(str(roots / "one"))
    assert [(place.name, place.is_folder, place.num_bytes) for place in places] == [
        ("cats", True, 0),
        ("in", True, 0),
        ("pets.tar.gz", False, 5),
    ]
    assert places[1].path == roots / "two"
    with pytest.raises(DatasetError, match="nothing to import"):
        browse(str(roots / "one" / "out"))
