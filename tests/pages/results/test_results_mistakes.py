"""Results: photos that the model got wrong are found, looked at and corrected."""

import pytest

from learner.datasets import add_dataset
from learner.datasets.editing import edits_of
from tests.finished import finish
from tests.pages.reading import button, choose, press, tiles, words
from tests.pages.results.answers import CATS, DOG, WRONG, choose_in, class_key, is_whole, paths, photos_of, said
from tests.samples import make_photos
from ui import state


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
