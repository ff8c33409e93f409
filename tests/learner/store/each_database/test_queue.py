"""Runs wait in the queue, are claimed from it once each, and hear what a person asks of them."""

import os
import time

import pytest

from learner.errors import DatasetError, RecipeError, RunError
from learner.recipe import Recipe
from tests.learner.store.writing import TWO_IMAGES, in_processes, submit

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
    assert [run.started_at, run.heartbeat_at] == pytest.approx([time.time()] * 2, abs=30)


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
