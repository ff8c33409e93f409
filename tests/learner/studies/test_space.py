"""What a search may change: how it is written, what is refused, and what is searched by default."""

import pytest

from learner.errors import RecipeError, StudyError
from learner.recipe import Phase, Recipe
from learner.studies.space import Choice, Range, asked_for, changed, read_space, space_dict, space_from, usual_space
from tests.samples import small_recipe

TUNED = small_recipe(phases=[Phase("Head", epochs=1), Phase("All", trainable="all", epochs=1, lr=[1e-5, 1e-4])])


class TestReading:
    def test_commas_make_a_choice_and_two_dots_a_range(self):
        found = read_space(["phases.1.trainable=head,all", "phases.1.lr.0=1e-6..1e-4", "batch_size=4..16"])
        assert found == {
            "phases.1.trainable": Choice(("head", "all")),
            "phases.1.lr.0": Range(1e-6, 1e-4),
            "batch_size": Range(4, 16),
        }

    def test_whole_numbers_stay_whole_and_wide_ranges_are_on_a_log_scale(self):
        assert (Range(4, 16).is_whole, Range(0.0, 0.5).is_whole) == (True, False)
        assert [one.is_log for one in (Range(1e-6, 1e-4), Range(1, 10), Range(1, 9), Range(0.0, 0.5))] == [
            True,
            True,
            False,
            False,
        ]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("batch_size", "is not of the form"),
            ("=1,2", "is not of the form"),
            ("batch_size=8", "name at least two values"),
            ("batch_size=8,,9", "name at least two values"),
            ("batch_size=16..4", "from a lower to a higher"),
            ("batch_size=4..many", "'many' is not a number"),
            ("seed=1,2", "decides which images judge"),
            ("valid_fraction=0.1..0.3", "decides which images judge"),
            ("label_smoothing=0.0..0.2", "how the loss is counted"),
        ],
    )
    def test_what_cannot_be_searched_is_told(self, text, said):
        with pytest.raises(StudyError, match=said):
            read_space([text])

    def test_a_key_named_twice_is_told(self):
        with pytest.raises(StudyError, match="named twice"):
            read_space(["batch_size=4,8", "batch_size=16,32"])

    def test_it_comes_back_from_the_store_as_it_was(self):
        space = read_space(["augment={},{rotate: 10}", "phases.1.lr.0=1e-6..1e-4", "batch_size=4..16"])
        assert space_from(space_dict(space)) == space


class TestSetting:
    def test_what_was_chosen_is_set_in_the_recipe_and_nothing_else(self):
        space = read_space(["phases.1.trainable=head,all", "phases.1.lr.0=1e-6..1e-4", "augment={},{rotate: 10}"])
        found = changed(TUNED, space, {"phases.1.trainable": "head", "phases.1.lr.0": 2e-6, "augment": "{rotate: 10}"})
        assert (found.phases[1].trainable, found.phases[1].lr, found.augment.rotate) == ("head", [2e-6, 1e-4], 10)
        assert (found.phases[0], found.head, found.batch_size) == (TUNED.phases[0], TUNED.head, TUNED.batch_size)

    def test_a_path_that_leads_nowhere_is_told(self):
        with pytest.raises(RecipeError, match="no entry"):
            changed(TUNED, read_space(["phases.7.lr=1e-6..1e-4"]), {"phases.7.lr": 1e-5})

    def test_the_recipe_as_asked_is_found_in_the_space_or_not(self):
        inside = read_space(["phases.1.trainable=head,all", "phases.1.lr.0=1e-6..1e-4", "augment={},{rotate: 10}"])
        assert asked_for(TUNED, inside) == {"phases.1.trainable": "all", "phases.1.lr.0": 1e-5, "augment": "{}"}
        assert asked_for(TUNED, read_space(["phases.1.lr.0=1e-4..1e-2"])) is None
        assert asked_for(TUNED, read_space(["phases.1.trainable=head,block4"])) is None


class TestDefault:
    @pytest.mark.parametrize("phases", [None, [Phase("Solve", solve=True)], [Phase("All", trainable="all", epochs=2)]])
    def test_it_begins_with_the_recipe_and_every_value_can_be_set(self, phases):
        recipe = Recipe("pets") if phases is None else Recipe("pets", phases=phases)
        base, space = usual_space(recipe, "vgg16")
        assert asked_for(base, space) is not None
        for key, one in space.items():
            for value in one.examples:
                changed(base, space, {key: value}).check(["block1", "block2", "block3", "block4", "block5"])

    def test_a_head_that_is_solved_and_one_trained_by_steps_have_other_kinds_to_choose_from(self):
        solved = usual_space(Recipe("pets", phases=[Phase("Solve", solve=True)]), "vgg16")[1]["head.kind"]
        steps = usual_space(Recipe("pets", phases=[Phase("All", trainable="all", epochs=2)]), "vgg16")[1]["head.kind"]
        assert isinstance(solved, Choice) and isinstance(steps, Choice)
        assert "multiscale" in solved.values and "attention" in steps.values
        assert "attention" not in solved.values and "multiscale" not in steps.values

    def test_a_backbone_without_known_stages_needs_a_space(self):
        with pytest.raises(StudyError, match="--over"):
            usual_space(Recipe("pets"), "some_net")
