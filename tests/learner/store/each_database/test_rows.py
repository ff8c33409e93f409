"""What the rows of runs and data sets keep: figures, beginnings and ends, processes that died, what was deleted."""

import os
from itertools import pairwise

import pytest
from sqlalchemy import null, select

from learner.errors import ModelError, RecipeError, RunError
from learner.evaluation.history import accuracies, thinned_steps
from learner.recipe import Head, Recipe
from learner.store import Image, Store
from learner.store.claims import MOST_DEATHS, SILENT_AFTER_S
from learner.store.runs import UNDO_S
from tests.learner.store.writing import TWO_IMAGES, add_epoch, let_pass, submit

# Figures


def test_epochs_and_steps_come_back_as_they_were_written(store):
    run_id = submit(store, running=True)
    figures = {
        "train_loss": None, "valid_loss": 0.25, "error_rate": 0.25, "lrs": [0.0, 1e-3], "seconds": 1.5,
        "grad_norm": 2.5, "images_per_s": None, "samples": [[1, 0.75, 0.25], [0, 0.5, 0.5]],
        "parts": [[2, 0.5, 1], [2, None, 0]],
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


def test_a_worker_is_listed_while_its_heartbeat_is_fresh(store):
    leaving, silent, fresh = (store.workers.start() for _ in range(3))
    assert {worker.pid for worker in store.workers.alive()} == {os.getpid()}
    store.workers.end(leaving)
    let_pass(store, SILENT_AFTER_S + 1)
    store.workers.beat(fresh)
    assert [worker.id for worker in store.workers.alive()] == [fresh]
    assert silent != fresh


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


def test_a_run_that_has_not_been_heard_of_is_queued_again_first_in_line_and_a_fresh_one_is_not(store):
    silent, fresh, waiting = submit(store, running=True), submit(store, running=True), submit(store)
    let_pass(store, SILENT_AFTER_S + 1)
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


def test_every_kind_of_sign_of_life_keeps_a_run_from_being_queued_again(store):
    runs = [submit(store, running=True) for _ in range(3)]
    let_pass(store, SILENT_AFTER_S + 1)
    store.runs.beat(runs[0])
    store.runs.report(runs[1], {})
    store.runs.take(runs[2])
    assert store.runs.requeue_silent() == []


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


def test_a_deleted_run_is_forgotten_after_its_time_with_all_its_figures(store):
    old, new = submit(store, running=True), submit(store)
    add_epoch(store, old, 1)
    store.runs.end(old, "finished")
    store.runs.delete(old)
    let_pass(store, UNDO_S - 60)
    store.runs.delete(new)
    assert store.runs.purge() == []
    let_pass(store, 120)
    assert store.runs.purge() == [old]
    assert store.runs.epochs(old) == []
    assert [run.id for run in store.runs.deleted()] == [new]
    with pytest.raises(RunError, match=f"There is no run {old}"):
        store.runs.get(old)


# Data sets


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


def test_probabilities_come_back_in_their_order_and_none_is_null(store):
    cat, dog = TWO_IMAGES
    probabilities = {"dog": 0.75, "cat": 0.25}
    version = store.datasets.add_version(
        "pets", [cat | {"probabilities": None}, dog | {"probabilities": probabilities}], [], note="", fingerprint=""
    )
    first, second = store.datasets.images(version.id)
    assert first.probabilities is None
    assert list(second.probabilities.items()) == list(probabilities.items())
    with store.datasets.session() as session:
        unknown = select(Image.label).where(Image.version_id == version.id, Image.probabilities.is_(null()))
        assert session.scalars(unknown).all() == ["cat"]
