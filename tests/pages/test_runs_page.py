"""The Runs page lists all runs, orders the queue, brings back what was deleted, and compares."""

import json
import shutil
from dataclasses import replace

import pytest
from streamlit import config

from learner.atomic import read_json
from learner.importing import uploaded_file
from learner.questions.answers import answer_file
from learner.questions.process import ask
from tests.pages.reading import press, words
from tests.pages.shown_runs import LONG, finished, keep, learn
from tests.patience import GIVE_UP_S
from tests.samples import SMALL, TWO_PHASES

# The list and the queue


def test_the_list_shows_status_place_curve_and_what_thawing_gained(open_page, store, pets):
    finished(store)
    store.submit(TWO_PHASES)
    store.submit(TWO_PHASES)
    table = open_page("runs").dataframe[0].value
    assert table["Run"].tolist() == [3, 2, 1]
    assert table["Status"].tolist() == ["Waiting, 2nd", "Waiting, 1st", "Finished"]
    assert [list(curve) for curve in table["Accuracy by epoch"]] == [[], [], [0.8, 0.85, 0.86, 0.9, 0.9]]
    assert table["Thawing gained"].iloc[2] == pytest.approx(4.0)
    assert table["Best accuracy"].tolist() == ["–", "–", "90.0 %"]


def test_waiting_runs_are_moved_and_taken_out_by_buttons(open_page, store, pets):
    first, second = store.submit(TWO_PHASES), store.submit(TWO_PHASES)
    app = open_page("runs")
    assert [app.button(key=f"{way}-{run}").disabled for run in (first, second) for way in ("Earlier", "Later")] == [
        True, False, False, True,
    ]  # fmt: skip
    app.button(key=f"Earlier-{second}").click().run()
    assert [run.id for run in store.queue.waiting()] == [second, first]
    app.button(key=f"cancel-{first}").click().run()
    assert store.runs.get(first).status == "stopped"
    assert [run.id for run in store.queue.waiting()] == [second]


def test_what_two_tabs_ask_of_the_same_queue_is_done_once(open_page, store, pets):
    first, second, third = (store.submit(TWO_PHASES) for _ in range(3))
    app = open_page("runs")
    store.queue.move(third, -1)  # in the other tab
    app.button(key=f"Earlier-{third}").click().run()
    assert [run.id for run in store.queue.waiting()] == [first, third, second]


def test_a_deleted_run_is_had_back_by_undo_which_stays_until_something_else_is_done(open_page, store, pets):
    first, second = finished(store), finished(store)
    app = press(open_page("runs"), "Delete run")
    assert f"Deleted run {second}." in words(app)
    assert f"Run {first}: finished" in words(app)
    app.run()
    assert f"Deleted run {second}." in words(app)
    press(app, "Undo")
    assert [run.id for run in store.runs.all()] == [second, first]
    assert f"Run {second}: finished" in words(app)
    assert "Deleted run" not in words(app)


def test_a_run_deleted_long_ago_is_brought_back_from_the_fold(open_page, store, pets):
    first, second = finished(store), finished(store)
    store.runs.delete(first)
    app = open_page("runs")
    assert [fold.label for fold in app.expander if "deleted" in fold.label] == ["1 deleted run"]
    press(app, "Bring back")
    assert [run.id for run in store.runs.all()] == [second, first]


def test_the_last_run_can_be_deleted_and_had_back_from_the_empty_page(open_page, store, pets):
    finished(store)
    app = press(open_page("runs"), "Delete run")
    assert "No runs yet" in words(app)
    assert "Run 1: finished" in words(press(app, "Undo"))


# Kin


def test_a_run_says_where_it_began_and_which_repeat_it_is(open_page, store, pets):
    parent = finished(store)
    keep(store.workspace.phase_end(parent, 0))
    child = store.submit(replace(LONG, seed=3), parent=(parent, 0))
    assert f"began from the end of phase 1 of run {parent}" in words(open_page("runs", run=str(child)))
    store.runs.ask(child, "stop")
    first = store.submit(replace(LONG, repeats=3))
    for accuracy in (0.5, 0.75):
        run_id = store.runs.claim()
        learn(store, run_id, (0, 1.0, 1.0, accuracy))
        store.runs.end(run_id, "finished")
    said = words(open_page("runs", run=str(first + 2)))
    names = f"runs {first}, {first + 1}, {first + 2}"
    assert f"3rd of 3 repeats ({names}): **62.5 ± 17.7 %**, mean and standard deviation of 2." in said


# Comparing


def test_runs_are_compared_in_one_chart_and_a_table(open_page, store, pets):
    first, second = finished(store), finished(store, [(0, 1.0, 1.0, 0.6), (0, 0.9, 0.9, 0.7), (1, 0.8, 0.8, 0.85)])
    app = open_page("runs")
    assert "Choose at least two" in words(app)
    app.multiselect(key="compared").set_value([first, second]).run()
    assert len(app.get("vega_lite_chart")) == 2
    table = app.dataframe[-1].value
    assert table["Until 85.0 %"].tolist() == ["epoch 2, 20 s", "epoch 3, 30 s"]
    assert table["Later phases gained"].tolist() == ["+4.0 points", "+15.0 points"]
    for key, value in (("compared-figure", "Validation loss"), ("compared-against", "Time")):
        app.segmented_control(key=key).set_value(value).run()
        assert not app.exception and not app.error


def test_comparing_is_not_offered_with_a_single_run(open_page, store, pets):
    finished(store)
    assert not open_page("runs").multiselect


def test_a_model_that_was_trained_elsewhere_is_imported_from_a_file(own, open_page):
    app = open_page("runs")
    [form] = [each for each in app.expander if each.label == "Import a model that was trained elsewhere"]
    assert form is not None
    file = answer_file(own.workspace, "imports", {"file": "1"})
    model = uploaded_file(file, "learner.pkl")
    model.parent.mkdir(parents=True)
    shutil.copyfile(own.run_folder(1) / "learner.pkl", model)
    said = json.dumps({"dataset": "pets", "arch": SMALL, "trusts_pickle": True})
    assert ask(own, "import", file, str(model), said).wait(GIVE_UP_S) == 0
    assert read_json(file) == {"run": 2} and not model.exists()
    assert own.runs.get(2).best_accuracy == own.runs.get(1).best_accuracy
    for page in ("runs", "results"):
        opened = open_page(page, run="2")
        assert not opened.exception and "learner.pkl, which fastai wrote" in words(opened)


def test_where_others_reach_the_page_a_pickle_is_imported_by_the_command_only(own, open_page, monkeypatch):
    def form(app) -> str:
        app.session_state["import-model"] = True
        return words(app.run())

    assert "by the command" not in form(open_page("runs"))
    address = config.get_option("server.address")
    config.set_option("server.address", "0.0.0.0")
    monkeypatch.setenv("THAW_OPEN", "yes")
    try:
        said = form(open_page("runs"))
    finally:
        config.set_option("server.address", address)
    assert "A learner.pkl can run programs" in said and "python -m learner models import" in said
