"""A worker serves the spaces of all people, in turn and within their quotas."""

import pytest

from learner.datasets import add_dataset
from learner.jobs.worker import may_train_more
from learner.people import space_of
from learner.store import Store
from learner.workspace import Workspace
from tests.learner.jobs.test_worker import ended, start_worker
from tests.machine import keep_small_speeds
from tests.patience import GIVE_UP_S, until
from tests.samples import make_photos, small_recipe

NAMES = ("ada@school.example", "bob@school.example")


@pytest.fixture
def spaces(tmp_path) -> list[Store]:
    top = Workspace(tmp_path / "thaw")
    top.root.mkdir()
    top.people_file.write_text("people: [{who: '*', role: trainer}]\nquotas: {running: 1}")
    stores = [Store(space_of(top, name)) for name in NAMES]
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})
    for store in stores:
        add_dataset(store, photos, "pets")
    keep_small_speeds(top)
    return stores


def test_runs_of_every_space_are_trained_also_of_one_that_comes_later(spaces):
    first, later = spaces
    runs = {store: store.submit(small_recipe()) for store in spaces}
    worker = start_worker(first.workspace.top)
    try:
        for store in spaces:
            until(store.workers.alive)
            run = ended(store, runs[store])
            assert run.status == "finished", run.reason
            assert store.workspace.checkpoint(run.id).exists()
    finally:
        worker.terminate()
        worker.wait(GIVE_UP_S)
    assert not first.workers.alive() and not later.workers.alive()


def test_a_space_whose_database_is_damaged_holds_no_other_up(spaces):
    broken, whole = spaces
    (broken.workspace.root / "thaw.db").write_bytes(b"no database" * 1000)
    run = whole.submit(small_recipe())
    worker = start_worker(whole.workspace.top)
    try:
        assert ended(whole, run).status == "finished"
    finally:
        worker.terminate()
        worker.wait(GIVE_UP_S)


def test_no_space_trains_more_at_a_time_than_it_may(spaces):
    first, second = spaces
    assert may_train_more(first)
    first.submit(small_recipe(), running=True)
    assert not may_train_more(first) and may_train_more(second)
    first.workspace.top.people_file.write_text("people: [")
    assert not may_train_more(second)  # nothing is known of its quotas
    assert may_train_more(Store(first.workspace.top))
