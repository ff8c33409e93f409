"""The Runs page offers in every status what can be done: stop, pause, resume, extend, start again."""

import pytest

from tests.pages.reading import button, press, words
from tests.pages.shown_runs import LONG, PROGRESS, WELL, begin, finished, keep, labels, learn


@pytest.mark.parametrize(
    ("label", "asked", "said"),
    [
        ("Stop and keep what it has learnt", "stop", "is checked on the validation images and kept"),
        ("Stop after this epoch", "stop_after_epoch", "It stops when this epoch is done."),
        ("Pause after this epoch", "pause", "It pauses when this epoch is done."),
    ],
)
def test_a_running_run_is_asked_and_that_can_be_taken_back(open_page, store, pets, label, asked, said):
    run_id = begin(store)
    store.runs.report(run_id, PROGRESS)
    app = press(open_page("runs"), label)
    assert store.runs.get(run_id).asked == asked
    assert said in app.info[0].value
    assert label not in labels(app)
    press(app, "Take that back and go on")
    assert store.runs.get(run_id).asked == ""
    assert label in labels(app)


def test_a_run_that_is_to_stop_later_can_still_be_stopped_now(open_page, store, pets):
    run_id = begin(store)
    store.runs.report(run_id, PROGRESS)
    app = press(press(open_page("runs"), "Stop after this epoch"), "Stop now")
    assert store.runs.get(run_id).asked == "stop"
    assert "Stop now" not in labels(app)


def test_a_paused_run_is_resumed_or_stopped_for_good(open_page, store, pets):
    first, second = begin(store), begin(store)
    for run_id in (first, second):
        store.runs.end(run_id, "paused", "Paused by hand.")
    app = open_page("runs", run=str(first))
    assert "Paused by hand. Nothing is lost" in words(app)
    press(app, "Resume")
    press(open_page("runs", run=str(second)), "Stop and keep what it has learnt")
    assert [(run.id, run.asked) for run in store.queue.waiting()] == [(first, ""), (second, "stop")]


@pytest.mark.parametrize("status", ["stopped", "interrupted", "failed"])
def test_a_run_that_ended_early_is_resumed_where_there_is_something_to_resume(open_page, store, pets, status):
    run_id = begin(store)
    learn(store, run_id, *WELL[:2])
    store.runs.end(run_id, status, "The disk is full.")
    assert not [label for label in labels(open_page("runs")) if label.startswith(("Resume", "Start it"))]
    keep(store.workspace.resume_point(run_id))
    press(open_page("runs"), "Resume where it stopped")
    assert store.runs.get(run_id).status == "queued"


def test_a_run_that_learnt_nothing_is_started_again(open_page, store, pets):
    run_id = begin(store)
    store.runs.end(run_id, "failed", "The disk is full.")
    press(open_page("runs"), "Start it again")
    assert store.runs.get(run_id).status == "queued"


def test_a_finished_run_is_given_more_epochs(open_page, store, pets):
    run_id = finished(store)
    app = open_page("runs")
    app.number_input[0].set_value(7).run()
    press(app, "Train 7 more")
    run = store.runs.get(run_id)
    assert run.status == "queued"
    assert [(phase["name"], phase["epochs"]) for phase in run.recipe["phases"][2:]] == [("More epochs", 7)]
    assert "Run 1: waiting" in words(app)


def test_a_run_is_planned_from_a_phases_end_only_where_that_was_kept(open_page, store, pets):
    run_id = finished(store)
    assert "Plan a run from there" not in labels(open_page("runs"))
    keep(store.workspace.phase_end(run_id, 0))
    keep(store.workspace.phase_end(run_id, 1))
    app = open_page("runs")
    [box] = [box for box in app.selectbox if box.label == "Start again from the end of"]
    assert box.options == ["Warm-up (phase 1)", "Fine-tuning (phase 2)"]
    press(app, "Plan a run from there")
    assert app.title[0].value == "Train"
    assert app.session_state["parent"] == (run_id, 0)


def test_a_request_that_comes_too_late_is_no_error(open_page, store, pets):
    run_id = begin(store)
    store.runs.report(run_id, PROGRESS)
    app = open_page("runs")
    store.runs.end(run_id, "finished")
    press(app, "Pause after this epoch")
    assert "Run 1: finished" in words(app)
    assert not app.exception and not app.error


@pytest.mark.parametrize("status", ["queued", "running", "paused", "finished", "stopped", "interrupted", "failed"])
def test_every_status_has_one_primary_button_at_most(open_page, store, pets, status):
    run_id = begin(store) if status != "queued" else store.submit(LONG)
    if status == "running":
        store.runs.report(run_id, PROGRESS)
    elif status != "queued":
        learn(store, run_id, *WELL)
        store.runs.end(run_id, status, "A reason.")
        keep(store.workspace.resume_point(run_id))
    app = open_page("runs")
    assert sum(each.proto.type == "primary" for each in app.button) <= 1
    assert (not app.exception and not app.error) or status == "failed"
    assert button(app, "Take it out" if status == "queued" else "Stop and" if status == "running" else "Delete run")


def test_a_recipe_that_failed_before_it_learnt_anything_is_to_be_changed_first(open_page, store, pets):
    run_id = begin(store)
    store.runs.end(run_id, "failed", "The recipe has 1 mistake.")
    app = open_page("runs")
    assert [each.label for each in app.button if each.proto.type == "primary"] == ["Change the recipe"]
    assert button(app, "Start it again")


def test_a_run_whose_process_died_says_that_it_goes_on_by_itself(open_page, store, pets):
    run_id = begin(store)
    store.runs.requeue(run_id, "The training process was killed.")
    said = words(open_page("runs"))
    assert f"Run {run_id}: waiting" in said
    assert "The training process was killed. Nothing is lost: it goes on by itself from where it stood." in said
    store.runs.claim()
    said = words(open_page("runs"))
    assert f"Run {run_id}: training" in said
    assert "The training process was killed. It was taken up again from where it stood" in said
