"""Results: figures, mistakes and their correction, comparisons, in every state, on answers that a test decides."""

import json
import re
import shutil

import pytest

from learner.datasets import add_dataset
from learner.datasets.editing import edits_of
from learner.evaluation.results import is_complete, load_result
from learner.store import Store
from learner.training.process import execute
from tests.finished import finish
from tests.pages.reading import button, choose, press, tiles, wait_for, words
from tests.samples import TWO_PHASES, make_photos, small_recipe
from ui import state
from ui.questions import get_questions


def photos_of(label: str, *numbers: int, side: str = "valid") -> list[str]:
    return [f"{side}/{label}/{label}_{number:03}.jpg" for number in numbers]


def said(what: str, *paths: str) -> dict[str, str]:
    return dict.fromkeys(paths, what)


CATS = photos_of("cat", 0, 1)
[DOG] = photos_of("dog", 0)
WRONG = said("dog", *CATS) | said("cat", DOG)
"""Of ten validation photos of each class, two cats taken for dogs and a dog taken for a cat."""


@pytest.fixture
def pets(store, tmp_path):
    """A data set with a split of its own: ten validation photos of each of two classes."""
    make_photos(tmp_path / "pets" / "train", {"cat": 6, "dog": 6}, size=(48, 40), seed=1)
    make_photos(tmp_path / "pets" / "valid", {"cat": 10, "dog": 10}, size=(48, 40), seed=2)
    return add_dataset(store, tmp_path / "pets", "pets")


@pytest.fixture
def tested(store, tmp_path) -> Store:
    """A real run on a data set with five test images of each class."""
    for side, seed in (("train", 1), ("valid", 2), ("test", 3)):
        make_photos(tmp_path / "pets" / side, {"cat": 5, "dog": 5}, size=(48, 40), seed=seed)
    add_dataset(store, tmp_path / "pets", "pets")
    run_id = store.submit(small_recipe(), running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    return store


def look_at(app, view: str):
    """Turn to a view of the Results page."""
    return app.segmented_control(key=state.RESULTS_VIEW).set_value(view).run()


def paths(app) -> list[str]:
    return [tile["path"] for tile in tiles(app)]


def table(app, column: str):
    """The table on the page that has that column, by its first column."""
    found = next(table.value for table in app.table if column in table.value)
    return found.set_index(found.columns[0])


def choices(app, label: str) -> list[str]:
    return next(box for box in app.selectbox if box.label == label).options


def choose_in(app, label: str, option: str):
    return next(box for box in app.selectbox if box.label == label).select(option).run()


def is_whole(app) -> bool:
    return not app.exception and not app.error


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
        assert "Temperature 2.00" in text

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
        assert table(app, "Validation (4)").columns.tolist() == ["Validation (4)", "Training (16)"]


class TestMistakes:
    @pytest.fixture
    def app(self, open_page, store, pets):
        finish(store, WRONG, {CATS[0]: 0.7, CATS[1]: 0.99, DOG: 0.8})
        return open_page("results", view="mistakes")

    def test_wrong_photos_come_first_those_that_the_model_gave_least_to_their_label(self, app):
        assert is_whole(app)
        assert paths(app) == [CATS[1], DOG, CATS[0]]
        assert tiles(app)[0]["caption"] == "✕ dog, 99.0 %\nlabelled cat"
        assert "3 photos of 20." in words(app)

    def test_a_pair_leads_to_its_photos(self, app):
        pairs = [button.label for button in app.button if " taken for " in button.label]
        assert pairs == ["2 of 10: cat taken for dog", "1 of 10: dog taken for cat"]
        assert paths(press(app, pairs[1])) == [DOG]
        assert paths(press(app, pairs[0])) == [CATS[1], CATS[0]]

    def test_photos_are_found_by_class_by_answer_and_by_being_right(self, app):
        app = choose_in(app, "Shows", "dog")
        assert paths(app) == [DOG]
        app = app.segmented_control(key="mistakes-which").set_value("Right").run()
        assert sorted(paths(app)) == photos_of("dog", *range(1, 10))
        assert tiles(app)[0]["caption"] == "✓ dog, 90.0 %"
        app = choose_in(app, "Model said", "cat")
        assert paths(app) == [] and "No photo is like that." in words(app)
        app = app.segmented_control(key="mistakes-which").set_value("All").run()
        assert paths(app) == [DOG]

    def test_photos_are_sorted_as_asked(self, app):
        assert paths(choose_in(app, "Sort", "Least sure")) == [CATS[0], DOG, CATS[1]]
        assert paths(choose_in(app, "Sort", "By name")) == [*CATS, DOG]
        assert paths(choose_in(app, "Sort", "Least like training photos")) == [DOG, CATS[1], CATS[0]]

    def test_training_photos_are_kept_apart(self, app, store):
        finish(store, said("dog", *photos_of("cat", 3, side="train")))
        app.switch_page("pages/results.py").run()
        app = app.selectbox[0].select(2).run()
        app = app.segmented_control(key="mistakes-split").set_value("train").run()
        assert paths(app) == photos_of("cat", 3, side="train")
        assert "Move to validation" in words(app)

    def test_each_choice_of_a_run_counts(self, app, store):
        finish(store, said("dog", *photos_of("cat", 3, side="train")))
        app.switch_page("pages/results.py").run()
        for run_id in (2, 1, 2):
            app = app.selectbox[0].select(run_id).run()
            assert (app.selectbox[0].value, app.query_params["run"]) == (run_id, str(run_id))

    def test_many_photos_come_page_by_page(self, open_page, store, tmp_path):
        for side, seed in (("train", 1), ("valid", 2)):
            make_photos(tmp_path / "many" / side, {"cat": 30, "dog": 2}, size=(24, 24), seed=seed)
        add_dataset(store, tmp_path / "many", "many")
        finish(store, said("dog", *photos_of("cat", *range(30))), dataset="many")
        app = choose_in(open_page("results", view="mistakes"), "Sort", "By name")
        assert paths(app) == photos_of("cat", *range(24))
        assert paths(press(app, "Next")) == photos_of("cat", *range(24, 30))

    def test_with_every_photo_right_there_is_nothing_to_correct(self, open_page, store, pets):
        finish(store)
        app = open_page("results", view="mistakes")
        assert is_whole(app) and "Every validation image was predicted right." in words(app)
        assert "taken for" not in words(app) and paths(app) == []

    def test_one_photo_is_shown_with_what_the_model_made_of_it(self, app):
        app = choose(app, [CATS[0]])
        assert is_whole(app) and f"**{CATS[0]}**" in words(app)
        bars = next(one.proto.body for one in app.get("html") if "thaw-bars" in one.proto.body)
        assert bars.index("dog") < bars.index("cat") and "70.0 %" in bars and "30.0 %" in bars
        assert f"**{CATS[0]}**" not in words(choose(app, CATS))

    def test_a_run_on_other_classes_begins_without_the_filters_of_the_last(self, app, store, tmp_path):
        for side, seed in (("train", 1), ("valid", 2)):
            make_photos(tmp_path / "fruit" / side, {"apple": 3, "pear": 3}, size=(24, 24), seed=seed)
        add_dataset(store, tmp_path / "fruit", "fruit")
        finish(store, said("pear", *photos_of("apple", 1)), dataset="fruit")
        app = press(app, "1 of 10: dog taken for cat")
        app.switch_page("pages/results.py").run()
        app = app.selectbox[0].select(2).run()
        assert is_whole(app) and paths(app) == photos_of("apple", 1)


class TestCorrecting:
    @pytest.fixture
    def app(self, open_page, store, pets):
        finish(store, WRONG)
        return open_page("results", view="mistakes")

    def test_nothing_can_be_done_before_a_photo_is_chosen(self, app):
        assert "Choose photos below" in words(app)
        assert all(button(app, label).disabled for label in ("Relabel", "Set aside", "Move to training"))

    def test_photos_are_relabelled(self, app, store):
        app = choose(app, CATS)
        assert "**2 photos** chosen" in words(app) and button(app, "Relabel").disabled
        app = app.selectbox(key=class_key(app)).set_value("dog").run()
        app = press(app, "Relabel")
        [edit] = edits_of(store, "pets")
        assert (edit.action, sorted(edit.paths), edit.to) == ("relabel", CATS, "dog")
        assert "**Corrections that wait.** 1 edit: 2 images relabelled as dog." in words(app)
        assert {tile["caption"].splitlines()[-1] for tile in tiles(app) if tile["path"] in CATS} == {"to be dog"}

    def test_photos_are_set_aside(self, app, store):
        app = press(choose(app, [DOG]), "Set aside")
        [edit] = edits_of(store, "pets")
        assert (edit.action, edit.paths, edit.to) == ("exclude", (DOG,), "Set aside after run 1.")
        [tile] = [tile for tile in tiles(app) if tile["path"] == DOG]
        assert tile["aside"] and tile["caption"].endswith("to be set aside")

    def test_photos_are_moved_to_the_other_side(self, app, store):
        press(choose(app, CATS[:1]), "Move to training")
        [edit] = edits_of(store, "pets")
        assert (edit.action, edit.paths, edit.to) == ("move", tuple(CATS[:1]), "train")

    def test_the_last_correction_can_be_undone_and_done_again(self, app, store):
        app = press(choose(app, [DOG]), "Set aside")
        app = press(app, "Undo")
        assert edits_of(store, "pets") == [] and "Save and train again" not in words(app)
        assert "to be set aside" not in "".join(tile["caption"] for tile in tiles(app))
        app = press(app, "Redo")
        assert [edit.paths for edit in edits_of(store, "pets")] == [(DOG,)]
        assert is_whole(app) and "1 image set aside" in words(app)

    def test_saving_trains_again_with_the_same_recipe_to_be_compared_with_this_run(self, app, store):
        app = press(press(choose(app, [DOG]), "Set aside"), "Save and train again")
        assert app.title[0].value == "Runs" and is_whole(app)
        again, before = store.runs.get(2), store.runs.get(1)
        assert (again.status, again.baseline) == ("queued", 1)
        assert again.recipe == before.recipe | {"version": 2}
        assert edits_of(store, "pets") == []

    def test_the_run_leads_to_what_its_corrections_brought(self, app, store):
        finish(store, said("dog", CATS[0]), baseline=1)
        app = press(app.run(), "Run 2 learnt from what you corrected here")
        assert is_whole(app) and app.segmented_control(key=state.RESULTS_VIEW).value == "compare"
        assert "**Fixed: 2 photos**" in words(app)


def class_key(app) -> str:
    return next(box.key for box in app.selectbox if box.label == "Class")


class TestCompare:
    def test_with_one_run_alone_the_way_to_another_is_told(self, open_page, store, pets, tmp_path):
        add_dataset(store, make_photos(tmp_path / "others", size=(24, 24)), "others")
        finish(store, dataset="others")
        finish(store)
        app = open_page("results", view="compare", run="2")
        assert is_whole(app) and "Nothing to compare with yet." in words(app)

    def test_photos_fixed_and_broken_are_counted_and_shown(self, open_page, store, pets):
        finish(store, WRONG, {DOG: 0.8})
        finish(store, said("cat", *photos_of("dog", 5)))
        app = open_page("results", view="compare", run="2")
        assert is_whole(app)
        assert "These photos do not show that either is better" in words(app)
        row = table(app, "Fixed").loc["Run 1"]
        assert [row[name] for name in ("Photos", "Its accuracy", "This run")] == ["20", "85.0 %", "95.0 %"]
        assert row["Difference (95 %)"].startswith("+10.0 points (−") and (row["Fixed"], row["Broken"]) == ("3", "1")
        assert row["p"] == "0.625"  # McNemar, 3 against 1: 2 (1 + 4) / 16
        assert "**Fixed: 3 photos**" in words(app) and "**Broken: 1 photo**" in words(app)
        shown = "".join(element.proto.body for element in app.get("html"))
        listed = re.findall(r'alt="(\S+?): labelled', shown)
        assert listed == [*CATS, DOG, *photos_of("dog", 5)]  # of the fixed those first that it was surest of
        assert "✓ dog, 90.0 %<br>before: cat, 80.0 %" in shown
        assert "Holm" not in words(app)

    def test_several_runs_are_compared_at_once_with_p_values_raised_for_that(self, open_page, store, pets):
        finish(store, WRONG)
        finish(store, said("dog", *photos_of("cat", *range(8))))
        finish(store)
        app = open_page("results", view="compare", run="3")
        app = app.multiselect[0].set_value([1, 2]).run()
        assert is_whole(app)
        # McNemar: 3 against none is 2/8, 8 against none is 2/256; Holm doubles the smaller
        assert table(app, "p")["p"].to_dict() == {"Run 1": "0.250", "Run 2": "0.016"}
        assert "raised for 2 comparisons (Holm)" in words(app)
        assert "Run 3 beats Run 2" in words(app)
        assert "**Fixed: 3 photos**" in words(app)
        app = app.segmented_control(key="against").set_value(2).run()
        assert "**Fixed: 8 photos**" in words(app)
        app = app.multiselect[0].set_value([1]).run()
        assert is_whole(app) and "**Fixed: 3 photos**" in words(app)
        app = app.multiselect[0].set_value([]).run()
        assert is_whole(app) and "Choose at least one run." in words(app)

    def test_the_run_before_the_corrections_is_chosen_already(self, open_page, store, pets):
        finish(store, WRONG)
        finish(store)
        finish(store, baseline=1)
        assert open_page("results", view="compare", run="3").multiselect[0].value == [1]
        assert open_page("results", view="compare", run="2").multiselect[0].value == [3]  # the newest other

    def test_runs_without_a_photo_in_common_are_not_compared(self, open_page, store, tmp_path):
        add_dataset(store, make_photos(tmp_path / "plain", {"cat": 6, "dog": 6}, size=(24, 24)), "plain")
        finish(store, dataset="plain", folds=2, fold=1)
        finish(store, dataset="plain", folds=2, fold=2)
        app = open_page("results", view="compare", run="2")
        assert is_whole(app)
        assert "Run 1 and run 2 were not checked on any photo in common." in words(app)
        assert "McNemar" not in words(app) and "Fixed" not in words(app)
        assert "Recipes" in words(app)

    def test_a_photo_that_was_relabelled_in_between_proves_nothing(self, open_page, store, pets):
        finish(store, WRONG)
        app = choose(open_page("results", view="mistakes"), [DOG])
        app = app.selectbox(key=class_key(app)).set_value("cat").run()
        press(press(app, "Relabel"), "Save and train again")
        store.runs.ask(2, "stop")
        finish(store, baseline=1)
        app = open_page("results", view="compare", run="3")
        assert table(app, "Photos").loc["Run 1", "Photos"] == "19"
        assert "Left out against run 1: 1 relabelled in between." in words(app)

    def test_recipes_stand_beside_each_other_and_what_differs_is_marked(self, open_page, store, pets):
        finish(store, batch_size=4, seed=1)
        finish(store, batch_size=8, seed=1)
        app = open_page("results", view="compare", run="2")
        recipes = table(app, "Run 2")
        assert recipes.loc["◆ batch_size"].tolist() == ["8", "4"] and len(recipes) == 1
        assert "◆ 1 setting of " in words(app)
        app = app.toggle(key="recipes-whole").set_value(True).run()
        assert table(app, "Run 2").loc["seed"].tolist() == ["1", "1"]
        finish(store, batch_size=8, seed=1)
        app = open_page("results", view="compare", run="3")
        assert "The recipes are the same." in words(app)
