"""Pages on a machine that shares a database and an object store, and no folder, with the one that trained."""

import shutil

from learner.datasets import add_dataset
from learner.store import Store
from learner.training.process import execute
from learner.workspace import Workspace
from tests.machine import keep_small_speeds
from tests.pages.reading import words
from tests.samples import make_photos, small_recipe

PAGES = ("data", "runs", "results", "predict")


def test_runs_results_and_photos_are_shown_where_nothing_of_them_was(open_page, tmp_path, monkeypatch):
    monkeypatch.setenv("THAW_FILES", str(tmp_path / "store"))  # a folder is a store, too
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'shared.db'}")
    one = Store(Workspace(tmp_path / "one"))
    add_dataset(one, make_photos(tmp_path / "photos", {"cat": 6, "dog": 6}), "pets")
    keep_small_speeds(one.workspace)
    run_id = one.submit(small_recipe(), running=True)
    assert execute(one, run_id) == "finished"
    monkeypatch.setenv("THAW_HOME", str(tmp_path / "one"))
    shown = {page: words(open_page(page)) for page in PAGES}
    shutil.rmtree(one.workspace.root)

    monkeypatch.setenv("THAW_HOME", str(tmp_path / "two"))
    for page, before in shown.items():
        assert words(open_page(page)) == before
    assert (Workspace(tmp_path / "two").run_folder(run_id) / "result.json").exists()
