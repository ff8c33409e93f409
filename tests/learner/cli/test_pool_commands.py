"""`python -m learner data pool`: photos without a class are added, asked about and labelled from a shell."""

import pytest

from learner.datasets.rows import rows_of
from learner.store import Store
from learner.workspace import Workspace
from tests.learner.cli.shell import use
from tests.samples import copy_workspace, make_photos


@pytest.fixture
def store(trained, tmp_path, monkeypatch) -> Store:
    """A workspace with a data set `pets` and a run on it."""
    copy_workspace(trained[0].workspace.root, tmp_path / "thaw")
    use(tmp_path / "thaw", monkeypatch)
    return Store(Workspace(tmp_path / "thaw"))


def test_photos_are_added_asked_about_labelled_and_trained_on(store, thaw, tmp_path):
    found = make_photos(tmp_path / "found", {"cat": 3, "dog": 3}, seed=7)
    assert thaw("data", "pool", "add", "pets", found, "--json").json == {"name": "pets", "version": 2, "pool": 6}
    said = thaw("data", "pool", "next", "pets", "--most", 3, "--json").json
    assert (said["run"], said["pool"], len(said["photos"])) == (1, 6, 3)
    first, second, third = (photo["path"] for photo in said["photos"])
    assert [one["class"] for one in said["photos"][0]["proposals"]] in (["cat", "dog"], ["dog", "cat"])
    table = thaw("data", "pool", "next", "pets", "--most", 3).out
    assert all(path in table for path in (first, second, third)) and "6 photos wait for a class; run 1" in table

    told = thaw("data", "pool", "label", "pets", "cat", first, second).out
    assert told == "2 labels not saved yet. Save them and train again: python -m learner results retrain 1\n"
    thaw("data", "pool", "label", "pets", "-", third)
    thaw("data", "pool", "unlabel", "pets", second)
    assert thaw("data", "pool", "list", "pets", "--json").json["labels"] == {first: "cat", third: ""}
    assert "4 photos wait for a class, 2 labelled and not saved." in thaw("data", "pool", "list", "pets").out
    assert second in [one["path"] for one in thaw("data", "pool", "next", "pets", "--json").json["photos"]]

    again = thaw("results", "retrain", 1, "--queue", "--json").json
    assert store.runs.dataset_of(store.runs.get(again["run"])) == ("pets", 3)
    rows = {row.path: row for row in rows_of(store, store.datasets.version("pets"))}
    assert (rows[first].label, rows[first].split, rows[second].label) == ("cat", "train", "")
    grown = thaw("data", "pool", "growth", "pets").out
    assert "24 photos" in grown


def test_each_mistake_is_a_line(store, thaw, tmp_path):
    for words, said in [
        (("next", "pets", "--run", 9), "Run 9 is no finished run on pets."),
        (("next", "pets"), "pets has no photos without a class."),
        (("label", "pets", "cat", "nowhere.jpg"), "pets has no photo 'nowhere.jpg' that waits for a class."),
        (("list", "birds"), "There is no data set 'birds'."),
        (("add", "birds", tmp_path), "There is no data set 'birds'."),
    ]:
        told = thaw("data", "pool", *words)
        assert told.code == 2 and said in told.err and len(told.err.strip().splitlines()) == 1
