"""Results: a run is compared with others, photo by photo and setting by setting."""

import re

from learner.datasets import add_dataset
from tests.finished import finish
from tests.pages.reading import choose, press, words
from tests.pages.results.answers import CATS, DOG, WRONG, class_key, is_whole, photos_of, said, table
from tests.samples import make_photos


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
