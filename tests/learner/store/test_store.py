"""The store does the same on SQLite and on PostgreSQL, with several processes at once."""

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from itertools import pairwise
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

import learner.store.runs
from learner.errors import DatasetError, ModelError, RecipeError, RunError, StoreError, ThawError
from learner.evaluation.history import accuracies, thinned_steps
from learner.recipe import Head, Recipe
from learner.store import Store
from learner.store.database import MIGRATIONS, NEWEST_REVISION, open_database
from learner.store.runs import MOST_DEATHS, SILENT_AFTER_S, UNDO_S
from learner.store.tables import Base
from learner.workspace import Workspace
from tests.patience import GIVE_UP_S

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, workspace, monkeypatch) -> Workspace:
    """An empty workspace on each kind of database, for this process and the ones it starts."""
    if request.param == "postgresql":
        address = request.getfixturevalue("postgres_database")
        assert address.startswith("postgresql://")
        monkeypatch.setenv("DATABASE_URL", address)
    return workspace


@pytest.fixture
def store(database) -> Store:
    """A store with a data set `pets` of two rows and no files, which is enough to submit runs."""
    store = Store(database)
    store.datasets.add_version("pets", TWO_IMAGES, [], note="", fingerprint="")
    return store


TWO_IMAGES = [
    {
        "path": label,
        "file": label,
        "label": label,
        "split": "",
        "sha256": label,
        "width": 9,
        "height": 9,
        "excluded": False,
    }
    for label in ("cat", "dog")
]


def submit(store: Store, running: bool = False) -> int:
    return store.submit(Recipe("pets"), running)


def in_processes(count: int, code: str) -> list[str]:
    """What `count` processes print that execute `code` at the same moment; all must end well.

    They are forks of one fresh interpreter, so that they truly meet: none is still importing while others are done.
    """
    script = f"""
import os, sys, time
from learner.store import Store
begin, children = time.time() + 0.5, []
for number in range({count}):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        time.sleep(begin - time.time())
{textwrap.indent(code, " " * 8)}
        sys.stdout.flush()
        os._exit(0)
    os.close(writer)
    children.append((pid, reader))
for pid, reader in children:
    print(repr(open(reader).read()))
    assert os.waitpid(pid, 0)[1] == 0
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=GIVE_UP_S)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return [ast.literal_eval(line) for line in done.stdout.splitlines()]


# The queue


def test_a_submitted_run_waits_with_its_whole_recipe_and_the_version_it_will_use(store):
    store.datasets.add_version("pets", TWO_IMAGES, [], note="", fingerprint="more")
    before = time.time()
    run = store.runs.get(submit(store))
    assert (run.status, run.reason, run.started_at, run.finished_at) == ("queued", "", None, None)
    assert before <= run.created_at <= time.time()
    assert Recipe.from_dict(run.recipe) == Recipe("pets", version=2)
    assert store.runs.dataset_of(run) == ("pets", 2)


def test_a_recipe_with_mistakes_or_an_unknown_data_set_is_not_queued(store):
    with pytest.raises(RecipeError, match="batch_size"):
        broken = Recipe("pets")
        broken.batch_size = 0
        store.submit(broken)
    with pytest.raises(DatasetError, match=r"'dogs'.*pets"):
        store.submit(Recipe("dogs"))
    with pytest.raises(DatasetError, match="version 7 of data set 'pets'"):
        store.submit(Recipe("pets", version=7))
    assert store.runs.all() == []


def test_a_weights_file_is_kept_with_its_whole_path_for_a_worker_in_another_folder(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = store.runs.get(store.submit(Recipe("pets", weights="my.safetensors")))
    assert run.recipe["weights"] == str(tmp_path / "my.safetensors")
    assert store.runs.get(store.submit(Recipe("pets", weights="random"))).recipe["weights"] == "random"


def test_runs_are_claimed_oldest_first_and_each_only_once(store):
    first, second = submit(store), submit(store)
    assert store.queue.waiting_before(second) == 1
    assert [store.runs.claim() for _ in range(3)] == [first, second, None]
    run = store.runs.get(first)
    assert (run.status, run.pid) == ("running", os.getpid())
    assert run.started_at == run.heartbeat_at == pytest.approx(time.time(), abs=30)


def test_a_run_in_the_foreground_is_never_in_the_queue(store):
    run_id = submit(store, running=True)
    assert store.runs.get(run_id).status == "running"
    assert store.runs.claim() is None


CLAIM_ALL = """
store = Store()
while (run_id := store.runs.claim()) is not None:
    print(run_id)
    time.sleep(0.02)
"""


def test_processes_that_claim_at_once_take_every_run_and_none_twice(store):
    runs = [submit(store) for _ in range(20)]
    taken = [output.split() for output in in_processes(4, CLAIM_ALL)]
    assert sorted(int(run_id) for each in taken for run_id in each) == runs
    assert sum(bool(each) for each in taken) >= 2  # they really were at it together
    assert {run.status for run in store.runs.all()} == {"running"}


def test_a_waiting_run_moves_in_the_queue_and_is_taken_from_its_new_place(store):
    first, second, third, fourth = (submit(store) for _ in range(4))
    store.queue.move(fourth, -2)
    assert [run.id for run in store.queue.waiting()] == [first, fourth, second, third]
    with pytest.raises(RunError, match="The queue has changed meanwhile"):
        store.queue.move(fourth, -1, seen=[first, second, third, fourth])
    store.queue.move(first, 99)
    assert [run.id for run in store.queue.waiting()] == [fourth, second, third, first]
    assert [store.queue.waiting_before(run_id) for run_id in (fourth, first)] == [0, 3]
    last = submit(store)  # a new one still comes after all of them
    assert [store.runs.claim() for _ in range(5)] == [fourth, second, third, first, last]
    assert store.queue.waiting_before(first) == 5  # all of them are running
    with pytest.raises(RunError, match=rf"Run {first} does not wait in the queue \(running\)"):
        store.queue.move(first, 1)


def test_repeats_are_a_series_of_runs_with_one_seed_after_the_other(store):
    first = store.submit(Recipe("pets", seed=5, repeats=3))
    runs = store.queue.waiting()
    assert [run.id for run in runs] == [first, first + 1, first + 2]
    assert [run.series for run in runs] == [None, first, first]
    assert [(run.recipe["seed"], run.recipe["repeats"]) for run in runs] == [(5, 1), (6, 1), (7, 1)]


# What a person asks


def test_stopping_a_queued_run_ends_it_at_once(store):
    run_id = submit(store)
    assert store.runs.ask(run_id, "stop") == "stopped"
    run = store.runs.get(run_id)
    assert (run.status, run.reason) == ("stopped", "Taken out of the queue.")
    assert run.finished_at is not None
    assert store.runs.claim() is None


@pytest.mark.parametrize("request_", ["stop", "stop_after_epoch", "pause"])
def test_a_running_run_hears_what_is_asked_with_its_next_report(store, request_):
    run_id, other = submit(store, running=True), submit(store, running=True)
    assert store.runs.report(run_id, {"done": 0.1}) == ""
    assert store.runs.ask(run_id, request_) == "running"
    assert store.runs.report(run_id, {"done": 0.2}) == request_
    assert store.runs.report(other, {"done": 0.2}) == ""
    run = store.runs.get(run_id)
    assert (run.status, run.progress) == ("running", {"done": 0.2})
    store.runs.withdraw(run_id)
    assert store.runs.report(run_id, {"done": 0.3}) == ""


def test_a_waiting_run_is_paused_at_once_and_keeps_out_of_the_way(store):
    run_id, other = submit(store), submit(store)
    assert store.runs.ask(run_id, "pause") == "paused"
    assert [store.runs.claim(), store.runs.claim()] == [other, None]
    store.runs.resume(run_id)
    assert store.runs.claim() == run_id


def test_a_run_that_was_begun_is_checked_once_more_before_it_stops(store):
    paused, requeued = submit(store, running=True), submit(store, running=True)
    store.runs.end(paused, "paused")
    store.runs.requeue(requeued, "The worker was ended.", died=False)
    for run_id in (paused, requeued):
        assert store.runs.ask(run_id, "stop") == "queued"
        run = store.runs.get(run_id)
        assert (run.status, run.asked) == ("queued", "stop")
    assert {store.runs.claim(), store.runs.claim()} == {paused, requeued}
    assert store.runs.report(paused, {}) == "stop"


def test_there_is_nothing_to_ask_of_a_run_that_ended_or_never_was(store):
    run_id = submit(store, running=True)
    store.runs.end(run_id, "finished")
    for request_, verb in (("stop", "stop"), ("stop_after_epoch", "stop"), ("pause", "pause")):
        with pytest.raises(RunError, match=rf"Run {run_id} is not under way \(finished\); there is nothing to {verb}"):
            store.runs.ask(run_id, request_)
        with pytest.raises(RunError, match="There is no run 4711"):
            store.runs.ask(4711, request_)
    with pytest.raises(RunError, match="There is no run 4711"):
        store.runs.get(4711)


@pytest.mark.parametrize("status", ["paused", "stopped", "interrupted", "failed"])
def test_a_run_that_did_not_finish_goes_on_in_the_queue_or_here(store, status):
    run_id = submit(store, running=True)
    began = store.runs.get(run_id).started_at
    for running, becomes in ((False, "queued"), (True, "running")):
        store.runs.end(run_id, status, "A reason.")
        store.runs.resume(run_id, running)
        run = store.runs.get(run_id)
        assert (run.status, run.reason, run.finished_at, run.asked) == (becomes, "", None, "")
        if not running:
            assert store.runs.claim() == run_id
        assert store.runs.get(run_id).started_at == began
    assert store.runs.get(run_id).pid == os.getpid()


def test_a_run_that_is_done_under_way_or_deleted_cannot_be_resumed(store):
    finished, running, waiting, deleted = (submit(store, running=place != 2) for place in range(4))
    store.runs.end(finished, "finished")
    store.runs.end(deleted, "paused")
    store.runs.delete(deleted)
    for run_id in (finished, running, waiting, deleted):
        with pytest.raises(RunError, match="Only a run that is paused, stopped, interrupted or failed can go on"):
            store.runs.resume(run_id)


def test_a_finished_run_is_extended_by_a_longer_recipe_and_no_other_is(store):
    run_id, other = submit(store, running=True), submit(store, running=True)
    store.runs.end(run_id, "finished")
    longer = store.runs.get(run_id).recipe | {"seed": 7}
    store.runs.extend(run_id, longer)
    run = store.runs.get(run_id)
    assert (run.status, run.recipe["seed"], run.finished_at) == ("queued", 7, None)
    with pytest.raises(RunError, match="Only a finished run can be given more epochs"):
        store.runs.extend(other, longer)


# Deleting


def test_a_deleted_run_is_out_of_sight_until_it_is_brought_back(store):
    kept, gone, waiting = submit(store, running=True), submit(store, running=True), submit(store)
    store.runs.end(gone, "finished")
    store.runs.delete(gone)
    store.runs.delete(waiting)
    assert [run.id for run in store.runs.all()] == [kept]
    assert [run.id for run in store.runs.deleted()] == [waiting, gone]
    assert store.queue.waiting() == [] and store.runs.claim() is None
    store.runs.undelete(gone)
    store.runs.undelete(waiting)
    assert [run.id for run in store.runs.all()] == [waiting, gone, kept]
    assert store.runs.claim() == waiting
    with pytest.raises(RunError, match=f"Run {gone} is not deleted"):
        store.runs.undelete(gone)


def test_a_running_run_cannot_be_deleted(store):
    run_id = submit(store, running=True)
    with pytest.raises(RunError, match=rf"Run {run_id} is running\. Stop it first"):
        store.runs.delete(run_id)
    with pytest.raises(RunError, match="There is no run 99"):
        store.runs.delete(99)


def test_a_deleted_run_is_forgotten_after_its_time_with_all_its_figures(store, monkeypatch):
    old, new = submit(store, running=True), submit(store)
    add_epoch(store, old, 1)
    store.runs.end(old, "finished")
    store.runs.delete(old)
    now = time.time()
    monkeypatch.setattr(learner.store.runs.time, "time", lambda: now + UNDO_S - 60)
    store.runs.delete(new)
    assert store.runs.purge() == []
    monkeypatch.setattr(learner.store.runs.time, "time", lambda: now + UNDO_S + 60)
    assert store.runs.purge() == [old]
    assert store.runs.epochs(old) == []
    assert [run.id for run in store.runs.deleted()] == [new]
    with pytest.raises(RunError, match=f"There is no run {old}"):
        store.runs.get(old)


# Starting again from the end of a phase


def test_a_run_that_starts_from_a_phases_end_takes_the_figures_until_then_with_it(store):
    parent = submit(store, running=True)
    for number, phase in ((1, 0), (2, 0), (3, 1)):
        add_epoch(store, parent, number, phase=phase)
        store.runs.add_step(parent, at=number - 0.5, train_loss=1.0, lrs=[0.1])
    keep_phase_end(store, parent, 0)
    child = store.runs.get(store.submit(Recipe("pets", seed=1), parent=(parent, 0)))
    assert (child.parent, child.parent_phase, child.series) == (parent, 0, None)
    assert [(epoch.epoch, epoch.phase) for epoch in store.runs.epochs(child.id)] == [(1, 0), (2, 0)]
    assert [step.at for step in store.runs.steps(child.id)] == [0.5, 1.5]
    assert len(store.runs.epochs(parent)) == 3


def test_a_run_cannot_start_where_nothing_was_kept_or_nothing_follows_or_with_another_network(store):
    parent = submit(store, running=True)
    with pytest.raises(RunError, match="kept nothing from the end of phase 1"):
        store.submit(Recipe("pets"), parent=(parent, 0))
    keep_phase_end(store, parent, 0)
    keep_phase_end(store, parent, 1)
    with pytest.raises(RecipeError, match="there is nothing to train after phase 2"):
        store.submit(Recipe("pets"), parent=(parent, 1))
    with pytest.raises(RecipeError, match=f"backbone: it must stay as in run {parent}"):
        store.submit(Recipe("pets", backbone="vgg19"), parent=(parent, 0))
    with pytest.raises(RecipeError, match=f"head: it must stay as in run {parent}"):
        store.submit(Recipe("pets", head=Head("linear")), parent=(parent, 0))
    assert [run.id for run in store.runs.all()] == [parent]


def keep_phase_end(store: Store, run_id: int, phase: int) -> None:
    path = store.workspace.phase_end(run_id, phase)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a model")


# The end, and processes that die


def test_an_ended_run_keeps_its_first_ending(store):
    run_id = submit(store, running=True)
    store.runs.end(run_id, "failed", "The disk is full.")
    ended = store.runs.get(run_id).finished_at
    store.runs.end(run_id, "interrupted", "It was killed.")
    run = store.runs.get(run_id)
    assert (run.status, run.reason, run.finished_at) == ("failed", "The disk is full.", ended)


def test_a_run_that_has_not_been_heard_of_is_queued_again_first_in_line_and_a_fresh_one_is_not(store, monkeypatch):
    silent, fresh, waiting = submit(store, running=True), submit(store, running=True), submit(store)
    now = time.time()
    monkeypatch.setattr(learner.store.runs.time, "time", lambda: now + SILENT_AFTER_S + 1)
    store.runs.beat(fresh)
    assert store.runs.requeue_silent() == [silent]
    run = store.runs.get(silent)
    assert (run.status, run.deaths, run.finished_at) == ("queued", 1, None)
    assert "ended without a word" in run.reason
    assert store.runs.get(fresh).status == "running"
    assert store.runs.requeue_silent() == []
    assert [store.runs.claim(), store.runs.claim()] == [silent, waiting]


def test_a_run_whose_process_dies_again_and_again_is_given_up_until_somebody_resumes_it(store):
    run_id = submit(store, running=True)
    for _ in range(MOST_DEATHS - 1):
        store.runs.requeue(run_id, "It was killed.")
        assert store.runs.claim() == run_id
    store.runs.requeue(run_id, "It was killed.")
    run = store.runs.get(run_id)
    assert (run.status, run.deaths) == ("interrupted", MOST_DEATHS)
    assert run.reason.startswith("It was killed. That happened 3 times")
    store.runs.resume(run_id)
    assert (store.runs.get(run_id).status, store.runs.get(run_id).deaths) == ("queued", 0)


def test_deaths_count_only_between_epochs_and_the_end_of_a_worker_is_none(store):
    run_id = submit(store, running=True)
    for number in range(1, 4):
        store.runs.requeue(run_id, "It was killed.")
        store.runs.claim()
        add_epoch(store, run_id, number)
        store.runs.requeue(run_id, "The worker was ended.", died=False)
        store.runs.claim()
        assert store.runs.get(run_id).deaths == 0
    assert store.runs.get(run_id).status == "running"


def test_every_kind_of_sign_of_life_keeps_a_run_from_being_queued_again(store, monkeypatch):
    runs = [submit(store, running=True) for _ in range(3)]
    later = time.time() + SILENT_AFTER_S + 1
    monkeypatch.setattr(learner.store.runs.time, "time", lambda: later)
    store.runs.beat(runs[0])
    store.runs.report(runs[1], {})
    store.runs.take(runs[2])
    assert store.runs.requeue_silent() == []


# Figures


def test_epochs_and_steps_come_back_as_they_were_written(store):
    run_id = submit(store, running=True)
    figures = {
        "train_loss": None, "valid_loss": 0.25, "error_rate": 0.25, "lrs": [0.0, 1e-3], "seconds": 1.5,
        "grad_norm": 2.5, "images_per_s": None, "samples": [[1, 0.75, 0.25], [0, 0.5, 0.5]],
    }  # fmt: skip
    store.runs.add_step(run_id, at=0.5, train_loss=1.25, lrs=[0.0, 1e-4], grad_norm=3.5, images_per_s=40.0)
    store.runs.add_epoch(run_id, True, epoch=1, phase=0, accuracy=0.75, **figures)
    store.runs.add_epoch(run_id, False, epoch=2, phase=1, accuracy=0.5, **figures)
    first, second = store.runs.epochs(run_id)
    assert {name: getattr(first, name) for name in figures} == figures
    assert (second.epoch, second.phase, second.accuracy) == (2, 1, 0.5)
    [step] = store.runs.steps(run_id)
    assert (step.at, step.train_loss, step.lrs, step.grad_norm, step.images_per_s) == (
        0.5, 1.25, [0.0, 1e-4], 3.5, 40.0,
    )  # fmt: skip
    run = store.runs.get(run_id)
    assert (run.best_epoch, run.best_accuracy) == (1, 0.75)


def add_epoch(store: Store, run_id: int, number: int, phase: int = 0) -> None:
    figures = {"train_loss": 1.0, "valid_loss": 1.0, "accuracy": 0.5, "error_rate": 0.5, "lrs": [0.1], "seconds": 1.0}
    store.runs.add_epoch(run_id, True, epoch=number, phase=phase, samples=[], **figures)


def test_what_was_written_after_the_last_checkpoint_is_forgotten(store):
    run_id, other = submit(store, running=True), submit(store, running=True)
    for number in (1, 2, 3):
        add_epoch(store, run_id, number)
        add_epoch(store, other, number)
        store.runs.add_step(run_id, at=number - 0.5, train_loss=1.0, lrs=[])
    store.runs.rewind(run_id, 1.5, best_accuracy=0.25, best_epoch=1)
    assert [epoch.epoch for epoch in store.runs.epochs(run_id)] == [1]
    assert [step.at for step in store.runs.steps(run_id)] == [0.5, 1.5]
    assert (store.runs.get(run_id).best_accuracy, store.runs.get(run_id).best_epoch) == (0.25, 1)
    assert len(store.runs.epochs(other)) == 3


def test_facts_are_added_to_and_replaced_one_by_one(store):
    run_id = submit(store, running=True)
    store.runs.add_facts(run_id, backbone="vgg16", notes=["One."])
    store.runs.add_facts(run_id, notes=["One.", "Two."])
    assert store.runs.get(run_id).facts == {"backbone": "vgg16", "notes": ["One.", "Two."]}


def test_curves_of_many_runs_are_read_at_once_phase_by_phase(store):
    first, second, empty = (submit(store, running=True) for _ in range(3))
    for number, phase in ((1, 0), (2, 1)):
        add_epoch(store, first, number, phase)
    add_epoch(store, second, 1)
    assert accuracies(store, [first, second, empty]) == {first: [(0, 0.5), (1, 0.5)], second: [(0, 0.5)]}
    assert accuracies(store, []) == {}


@pytest.mark.parametrize(("written", "kept"), [(0, 0), (1, 1), (10, 10), (11, 6), (95, 10)])
def test_a_long_curve_is_thinned_evenly_and_keeps_its_newest_step(store, written, kept):
    run_id, other = submit(store, running=True), submit(store, running=True)
    for number in range(written):
        store.runs.add_step(run_id, at=float(number), train_loss=1.0, lrs=[0.1])
        store.runs.add_step(other, at=0.0, train_loss=1.0, lrs=[0.1])  # two runs that write at the same time
    places = [step.at for step in thinned_steps(store, run_id, most=10)]
    assert len(places) == kept
    assert places == sorted(places) and (not written or places[-1] == written - 1)
    assert len({after - before for before, after in pairwise(places)}) <= 1


def test_a_run_without_a_checkpoint_says_when_one_is_kept(store):
    with pytest.raises(ModelError, match=r"Run 1 \(queued\) has no model: one is kept from the end of the first epoch"):
        store.checkpoint(submit(store))
    with pytest.raises(RunError, match="There is no run 2"):
        store.checkpoint(2)


def test_a_worker_is_listed_while_its_heartbeat_is_fresh(store, monkeypatch):
    leaving, silent, fresh = (store.workers.start() for _ in range(3))
    assert {worker.pid for worker in store.workers.alive()} == {os.getpid()}
    store.workers.end(leaving)
    later = time.time() + SILENT_AFTER_S + 1
    monkeypatch.setattr(learner.store.runs.time, "time", lambda: later)
    store.workers.beat(fresh)
    assert [worker.id for worker in store.workers.alive()] == [fresh]
    assert silent != fresh


# Tables


def test_eight_processes_that_open_an_empty_workspace_at_once_migrate_it_once(database):
    assert in_processes(8, "print(len(Store().runs.all()))") == ["0\n"] * 8
    with connect(database) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [NEWEST_REVISION]


def connect(workspace: Workspace):
    return create_engine(workspace.database_url.replace("postgresql:", "postgresql+psycopg:")).connect()


def test_the_newest_revision_is_the_last_step_of_the_migrations():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [NEWEST_REVISION]


def test_the_migrated_tables_are_those_of_the_models(store):
    with connect(store.workspace) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_opening_a_store_again_keeps_everything_and_runs_no_migration(store, monkeypatch):
    run_id = submit(store)
    monkeypatch.setattr("learner.store.database._upgrade", lambda engine: pytest.fail("it migrated again"))
    assert Store(store.workspace).runs.get(run_id).status == "queued"


def test_sqlite_keeps_a_write_ahead_log_so_that_readers_and_a_writer_do_not_wait_for_each_other(workspace):
    Store(workspace)
    engine = open_database(workspace.database_url, workspace.root)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    assert (workspace.root / "thaw.db").exists()
    with engine.begin() as writer:
        writer.execute(text("DELETE FROM runs"))  # takes the write lock
        assert Store(workspace).runs.all() == []


# Whose it is


def test_a_database_outside_belongs_to_the_workspace_that_came_first(tmp_path, postgres_database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    first, other = Workspace(tmp_path / "first"), Workspace(tmp_path / "other")
    opened = Store(first)
    Store(first)
    with pytest.raises(StoreError, match=r"belongs to another workspace than .*other, .* Set THAW_HOME to") as caught:
        Store(other)
    assert opened.workers.alive() == []
    shutil.copytree(first.root, tmp_path / "copy")
    Store(Workspace(tmp_path / "copy"))
    other.id_file.write_text(re.search(r"write (\w+) into", str(caught.value))[1])
    Store(other)


def test_a_worker_of_another_workspace_takes_no_run(tmp_path, postgres_database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    store = Store(Workspace(tmp_path / "first"))
    store.datasets.add_version("pets", TWO_IMAGES, [], note="", fingerprint="")
    run_id = submit(store)
    environment = os.environ | {"THAW_HOME": str(tmp_path / "other"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "learner", "worker"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=GIVE_UP_S)
    assert done.returncode == 2
    assert "belongs to another workspace" in done.stderr and len(done.stderr.splitlines()) == 1
    assert store.runs.get(run_id).status == "queued"


def test_a_workspace_with_its_own_file_needs_no_id_and_may_be_moved(workspace, tmp_path):
    run_id = Store(workspace).workers.start()
    assert not workspace.id_file.exists()
    workspace.root.rename(tmp_path / "moved")
    assert [worker.id for worker in Store(Workspace(tmp_path / "moved")).workers.alive()] == [run_id]


# Addresses that do not work


def test_a_database_address_that_is_none_is_told_without_its_password(workspace, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql//thaw:s3cret@db/thaw")
    with pytest.raises(ThawError, match="DATABASE_URL is not a database address") as caught:
        Store(workspace)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server_that_does_not_answer_is_told_without_its_password(workspace, monkeypatch, scheme):
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://thaw:s3cret@127.0.0.1:1/thaw")
    with pytest.raises(ThawError, match=r"127\.0\.0\.1:1/thaw cannot be opened: .*Check DATABASE_URL") as caught:
        Store(workspace)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["mysql://thaw:s3cret@db/thaw", "nosuch://thaw:s3cret@db/thaw"])
def test_a_kind_of_database_that_is_not_known_or_not_installed_is_told(workspace, monkeypatch, address):
    monkeypatch.setenv("DATABASE_URL", address)
    with pytest.raises(ThawError, match="DATABASE_URL is not a database address that Thaw can use") as caught:
        Store(workspace)
    assert "s3cret" not in str(caught.value)


def test_a_folder_that_cannot_hold_the_workspace_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        ThawError, match=r"The workspace .*file/thaw cannot be made \(Not a directory\)\. Set THAW_HOME"
    ):
        Store(Workspace(tmp_path / "file" / "thaw"))


def test_edits_and_measurements_are_kept_once_on_every_database(store):
    content = {
        "sha256": "a" * 64, "num_bytes": 1, "phash": "0" * 16, "tiny": bytes(1024), "brightness": 1.0, "contrast": 2.0,
        "sharpness": 3.0, "camera": "", "taken_at": None, "treatment": "",
    }  # fmt: skip
    store.datasets.add_contents([content, content])
    store.datasets.add_contents([content | {"num_bytes": 9}])
    row = TWO_IMAGES[0] | {"sha256": "a" * 64}
    version = store.datasets.add_version("measured", [row], [], "", "f")
    assert {sha: found.num_bytes for sha, found in store.datasets.contents(version.id).items()} == {"a" * 64: 1}
    assert store.datasets.contents(version.id)["a" * 64].tiny == bytes(1024)

    assert store.datasets.draft("measured").edits == []
    store.datasets.change_draft("measured", lambda edits, undone: ([*edits, {"action": "x"}], undone))
    store.datasets.change_draft("measured", lambda edits, undone: ([*edits, {"action": "y"}], undone))
    assert [edit["action"] for edit in store.datasets.draft("measured").edits] == ["x", "y"]
    assert [version.number for version in store.datasets.versions("measured")] == [1]
