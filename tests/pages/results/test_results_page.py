"""Results: the page in every state, figures, curves, test images, and runs of an older Thaw."""

import json
import shutil

import pytest

from learner.datasets import add_dataset
from learner.evaluation.results import is_complete, load_result
from learner.store import Store
from learner.training.process import execute
from tests.finished import finish
from tests.pages.reading import button, choose, press, wait_for, words
from tests.pages.results.answers import CATS, WRONG, is_whole, look_at, paths, said, table
from tests.samples import TWO_PHASES, make_photos, small_recipe
from ui import state
from ui.questions import get_questions


@pytest.fixture
def tested(store, tmp_path) -> Store:
    """A real run on a data set with five test images of each class."""
    for side, seed in (("train", 1), ("valid", 2), ("test", 3)):
        make_photos(tmp_path / "pets" / side, {"cat": 5, "dog": 5}, size=(48, 40), seed=seed)
    add_dataset(store, tmp_path / "pets", "pets")
    run_id = store.submit(small_recipe(), running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    return store


def choices(app, label: str) -> list[str]:
    return next(box for box in app.selectbox if box.label == label).options


class TestThePage:
    def test_a_damaged_result_is_a_sentence_and_no_traceback(self, open_page, store, pets):
        run_id = store.submit(TWO_PHASES, running=True)
        store.runs.end(run_id, "finished")
        folder = store.workspace.run_folder(run_id)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{")
        app = open_page("results")
        assert "Something went wrong inside Thaw" in app.error[0].value
        assert not app.exception

    def test_a_damaged_result_of_one_run_leaves_the_others_readable(self, open_page, store, pets):
        good, bad = finish(store), finish(store)
        (store.workspace.run_folder(bad) / "result.json").write_text("{")
        app = open_page("results", run=str(good))
        assert is_whole(app) and app.metric[0].value.startswith("100.0 %")

    def test_runs_that_failed_or_are_under_way_have_no_results(self, open_page, store, pets):
        failed = finish(store)
        with store.runs.session() as session, session.begin():
            session.get(type(store.runs.get(failed)), failed).status = "failed"
        store.submit(small_recipe(), running=True)
        assert "No results yet" in words(open_page("results"))

    def test_the_address_names_run_and_view_so_a_reload_keeps_both(self, open_page, store, pets):
        first, second = finish(store, WRONG), finish(store)
        app = open_page("results", run=str(first), view="mistakes")
        assert "85.0 %" in app.metric[0].value
        assert app.segmented_control(key=state.RESULTS_VIEW).value == "mistakes"
        app = look_at(app, "overview")
        assert app.query_params["view"] in ("overview", ["overview"])
        app = open_page("results", run="nonsense", view="nonsense")
        assert app.selectbox[0].value == second
        assert app.segmented_control(key=state.RESULTS_VIEW).value == "overview"


class TestOverview:
    def test_every_figure_has_an_interval_and_training_stands_beside_validation(self, open_page, store, pets):
        finish(store, said("dog", *CATS))
        app = open_page("results")
        assert is_whole(app)
        assert app.metric[0].label == "Accuracy on 20 validation images"
        assert app.metric[0].value == "90.0 % (69.9–97.2)"  # Wilson, 18 of 20
        figures = table(app, "Validation (20)")
        assert figures.index.tolist() == ["Accuracy", "Balanced accuracy", "Macro F1", "Log loss"]
        assert figures.columns.tolist() == ["Validation (20)", "Training (12)"]
        assert figures.loc["Accuracy"].tolist() == ["90.0 % (69.9–97.2)", "100.0 % (75.8–100.0)"]
        # recall of cats 0.8 and of dogs 1; F1 of cats 8/9 and of dogs 10/11; −(18 ln 0.9 + 2 ln 0.1) / 20
        assert figures.loc["Balanced accuracy", "Validation (20)"].startswith("90.0 % (")
        assert figures.loc["Macro F1", "Validation (20)"].startswith("89.9 % (")
        assert figures.loc["Log loss", "Validation (20)"].startswith("0.325 (")
        assert "95 % intervals" in words(app) and "Wilson" in words(app) and "bootstrap" in words(app)
        assert "From the checkpoint after epoch 1" in words(app)

    def test_classes_have_their_own_figures(self, open_page, store, pets):
        finish(store, said("dog", *CATS))
        rows = open_page("results").dataframe[0].value.set_index("Class")
        assert rows.loc["cat", ["Precision", "Recall"]].tolist() == [100, 80]
        assert rows.loc["dog", ["Precision", "Recall"]].tolist() == [pytest.approx(1000 / 12), 100]
        assert rows.loc["cat", "95 % interval"] == "49.0–94.3"  # Wilson, 8 of 10
        assert rows.loc["dog", "AUC"] == pytest.approx(0.9)  # of ten cats two are as likely dogs as every dog
        assert rows["Images"].tolist() == [10, 10]

    def test_certainty_is_held_against_how_often_it_was_right(self, open_page, store, pets):
        # sure by 0.9 and right in 18 of 20; before: 0.81 beside 0.01 of what they sum to, which is 0.988
        finish(store, said("dog", *CATS))
        text = words(open_page("results"))
        assert "differ by **0.0 %** on average" in text and "by 8.8 % before its certainty was scaled" in text
        assert "Temperature 2.00" in text and "It was fitted on these same validation images" in text

    def test_curves_turn_from_roc_to_precision_and_recall(self, open_page, store, pets):
        finish(store, said("dog", *CATS))
        app = open_page("results")
        assert "Mean area under the curve (AUC) of 2 classes: 0.900" in words(app)
        app = app.segmented_control(key="curve-kind").set_value("Precision and recall").run()
        # dogs: 10 of 12 found at once; cats: 8 of 8, then at last 10 of 20
        assert f"Mean average precision of 2 classes: {(10 / 12 + 0.8 + 0.2 * 0.5) / 2:.3f}" in words(app)
        assert is_whole(app)

    def test_what_was_trained_is_told_phase_by_phase(self, open_page, store, pets):
        finish(store, phases=TWO_PHASES.phases)
        text = words(open_page("results"))
        assert "**Warm-up**, 1 epoch" in text and "**Fine-tuning**, 1 epoch" in text
        assert "test_resnet at 32 px. Random weights, as asked." in text

    def test_runs_that_differ_in_their_seed_alone_are_told_together(self, open_page, store, pets):
        finish(store, seed=1, accuracy=0.8)
        assert "seeds" not in words(open_page("results"))
        finish(store, seed=2, accuracy=0.9)
        finish(store, seed=3, accuracy=1.0, batch_size=4)
        text = words(open_page("results", run="1"))
        assert "**85.0 ± 7.1 %** over 2 seeds (runs 1, 2)" in text  # deviation of two values: their distance / √2

    def test_many_classes_have_a_top_five_and_a_few_curves(self, open_page, store, tmp_path):
        labels = {f"kind {number:02}": 2 for number in range(30)}
        make_photos(tmp_path / "kinds" / "train", labels, size=(24, 24), seed=1)
        make_photos(tmp_path / "kinds" / "valid", labels, size=(24, 24), seed=2)
        shutil.rmtree(tmp_path / "kinds" / "valid" / "kind 29")  # learnt, but checked on nothing
        add_dataset(store, tmp_path / "kinds", "kinds")
        finish(store, {"valid/kind 00/kind 00_000.jpg": "kind 01"}, dataset="kinds")
        app = open_page("results")
        assert is_whole(app)
        assert "Right within the first 5" in table(app, "Validation (58)").index
        shown = next(one for one in app.multiselect if one.label == "Classes")
        assert len(shown.options) == 29 and len(shown.value) == 6
        rows = app.dataframe[0].value.set_index("Class")
        assert rows.loc["kind 29", "Images"] == 0 and rows.loc["kind 29", "95 % interval"] == ""
        app = look_at(app, "mistakes")
        assert is_whole(app) and paths(app) == ["valid/kind 00/kind 00_000.jpg"]
        assert len(choices(app, "Shows")) == 31  # with "Any class"
        assert is_whole(look_at(app, "compare"))


class TestTestImages:
    def test_without_any_the_way_to_some_is_told(self, open_page, store, pets):
        finish(store)
        app = open_page("results")
        assert "There are none in this version of the data set" in words(app)
        assert "Look at the test images" not in words(app)

    def test_they_are_looked_at_when_asked_and_every_look_is_counted(self, open_page, tested):
        app = open_page("results")
        assert "The 10 test images of pets have never been looked at." in words(app)
        assert "Test (10)" not in table(app, "Validation (10)")
        app = press(app, "Look at the test images")
        assert "Stop" in words(app) and "Look at the test images" not in words(app)
        app = wait_for(app)
        assert is_whole(app)
        assert "The 10 test images of pets have been looked at 1 time, by 1 run." in words(app)
        result = load_result(tested.workspace.run_folder(1), "test")
        assert table(app, "Test (10)").loc["Accuracy", "Test (10)"].startswith(f"{100 * result['accuracy']:.1f} %")
        app = wait_for(press(app, "Look at them once more"))
        assert "have been looked at 2 times, by 1 run." in words(app)
        app = look_at(app, "mistakes")
        app = app.segmented_control(key="mistakes-split").set_value("test").run()
        app = app.segmented_control(key="mistakes-which").set_value("All").run()
        assert len(paths(app)) == 10 and all(path.startswith("test/") for path in paths(app))
        app = choose(app, paths(app)[:1])
        assert "Move to" not in words(app) and "Set aside" in words(app)  # test images do not wander

    def test_a_look_that_was_stopped_does_not_count(self, open_page, tested):
        app = press(open_page("results"), "Look at the test images")
        app = press(app, "Stop")
        assert not get_questions().is_busy
        assert "have never been looked at" in words(app.run()) and "Look at the test images" in words(app)

    def test_a_look_that_failed_says_why_and_can_be_tried_again(self, open_page, tested):
        tested.workspace.checkpoint(1).unlink()
        app = wait_for(press(open_page("results"), "Look at the test images"))
        assert "Run 1 (finished) has no model" in app.warning[0].value
        assert not button(app, "Look at the test images").disabled


class TestAnOlderRun:
    def test_is_shown_with_what_it_has_and_completed_when_asked(self, open_page, own):
        folder = own.workspace.run_folder(1)
        for part in ("golden", "train"):
            shutil.rmtree(folder / part)
        (folder / "curves.json").unlink()
        result = json.loads((folder / "result.json").read_text("utf-8"))
        for newer in ("figures", "calibration", "uncalibrated", "temperature"):
            del result[newer]
        for row in result["per_class"]:
            for newer in ("recall_interval", "auc", "average_precision"):
                del row[newer]
        (folder / "result.json").write_text(json.dumps(result), "utf-8")
        app = open_page("results")
        assert is_whole(app) and "This run was trained by an older Thaw" in words(app)
        assert app.dataframe[0].value["Images"].sum() == 4
        assert is_whole(look_at(app, "mistakes"))

        app = wait_for(press(look_at(app, "overview"), "Look at its images once more"))
        assert is_whole(app) and is_complete(folder)
        assert "older Thaw" not in words(app)
        assert "one that was fitted on the other parts" in words(app)
        assert table(app, "Validation (4)").columns.tolist() == ["Validation (4)", "Training (16)"]
