"""What a study compares: its variants, and the runs that come of them."""

from collections import Counter
from dataclasses import replace

import pytest

from learner.datasets import add_dataset, held_back_by
from learner.errors import RecipeError, StudyError
from learner.recipe import Phase, Recipe
from learner.store import Store
from learner.studies.design import Design, Variant, create_study, grid, resume_study, stop_study, unfreezing
from learner.workspace import Workspace
from tests.samples import make_photos, small_recipe

BASE = small_recipe(phases=[Phase("Solve the head", solve=True), Phase("Fine-tuning", trainable="all", epochs=1)])


@pytest.fixture(scope="module")
def pets(tmp_path_factory) -> Store:
    """A data set without a split of its own; each test makes studies of its own."""
    home = tmp_path_factory.mktemp("studies")
    store = Store(Workspace(home))
    add_dataset(store, make_photos(home / "photos", {"cat": 6, "dog": 6}), "pets")
    return store


def two(**changes) -> tuple[Variant, ...]:
    return (Variant("a", BASE), Variant("b", replace(BASE, **changes)))


class TestVariants:
    def test_a_grid_has_every_combination_the_first_values_first(self):
        found = grid(BASE, ["phases.1.trainable=head,all", "batch_size=4,8"])
        assert [one.name for one in found] == [
            "trainable head, batch_size 4",
            "trainable head, batch_size 8",
            "trainable all, batch_size 4",
            "trainable all, batch_size 8",
        ]
        assert [(one.recipe.phases[1].trainable, one.recipe.batch_size) for one in found] == [
            ("head", 4),
            ("head", 8),
            ("all", 4),
            ("all", 8),
        ]

    def test_one_key_gives_its_values_as_names_and_a_list_is_one_value(self):
        found = grid(BASE, ["phases.1.trainable=[layer4, head],all"])
        assert [(one.name, one.recipe.phases[1].trainable) for one in found] == [
            ("[layer4, head]", ["layer4", "head"]),
            ("all", "all"),
        ]

    @pytest.mark.parametrize("text", ["batch_size", "=1,2", "batch_size=", "batch_size=4,,8"])
    def test_what_is_no_choice_is_told(self, text):
        with pytest.raises(StudyError, match="is not of the form key=value,value"):
            grid(BASE, [text])

    def test_a_value_that_no_recipe_can_have_is_told(self):
        with pytest.raises(RecipeError, match="batch_size"):
            grid(BASE, ["batch_size=8,huge"])

    def test_did_unfreezing_help_goes_from_the_head_alone_to_everything(self):
        found = unfreezing(Recipe("pets"), "vgg16")
        assert [one.name for one in found] == ["head only", "block5", "block4 and up", "everything"]
        assert [[phase.trainable for phase in one.recipe.phases[1:]] for one in found] == [
            [],
            ["block5"],
            ["block4"],
            ["all"],
        ]
        assert all(one.recipe.phases[0].solve and one.recipe.backbone == "vgg16" for one in found)

    def test_a_budget_has_no_say_in_what_thaws(self):
        assert {one.recipe.budget for one in unfreezing(Recipe("pets", budget=600), "vgg16")} == {0}

    def test_a_recipe_that_trains_the_head_by_steps_keeps_doing_so(self):
        steps = Recipe("pets", phases=[Phase("All", trainable="all", epochs=2, lr=[1e-5, 1e-4])])
        found = unfreezing(steps, "vgg16")
        assert [phase.trainable for one in found for phase in one.recipe.phases[:1]] == ["head"] * 4
        assert [len(one.recipe.phases) for one in found] == [1, 2, 2, 2]

    def test_stages_that_nobody_knows_by_name_are_asked_for(self):
        with pytest.raises(StudyError, match="Say what varies"):
            unfreezing(Recipe("pets"), "some_other_net")


class TestRuns:
    def test_every_variant_is_judged_by_every_image_once_a_seed_on_the_same_folds(self, pets):
        study = create_study(pets, Design(two(batch_size=4), seeds=2, folds=3))
        runs = pets.studies.runs_of(study)
        assert len(runs) == 2 * 2 * 3 and {run.status for run in runs} == {"queued"}
        assert [run.variant for run in runs] == [0, 1] * 6  # stopped at any time, nearly all are pairs
        images = pets.datasets.images(runs[0].dataset_version_id)
        judged: dict[int, Counter] = {0: Counter(), 1: Counter()}
        for first, second in zip(runs[::2], runs[1::2], strict=True):
            recipes = [Recipe.from_dict(run.recipe) for run in (first, second)]
            held = [{image.path for image in held_back_by(recipe, images)} for recipe in recipes]
            assert held[0] == held[1] and recipes[0].seed == recipes[1].seed
            judged[0].update(held[0])
            judged[1].update(held[1])
        assert judged[0] == judged[1] == Counter({image.path: 2 for image in images})

    def test_a_design_is_read_back_as_it_was_written(self, pets):
        study = create_study(pets, Design(two(batch_size=4), seeds=1, folds=2))
        found = Design.from_dict(pets.studies.get(study).design)
        assert [one.name for one in found.variants] == ["a", "b"] and (found.seeds, found.folds) == (1, 2)
        assert found.variants[1].recipe.batch_size == 4 and found.variants[1].recipe.version == 1

    def test_own_validation_images_judge_every_run(self, pets, tmp_path):
        for seed, side in enumerate(("train", "valid")):
            make_photos(tmp_path / "own" / side, {"cat": 4, "dog": 4}, seed=seed + 1)
        add_dataset(pets, tmp_path / "own", "own")
        variants = tuple(replace(one, recipe=replace(one.recipe, dataset="own")) for one in two(batch_size=4))
        study = create_study(pets, Design(variants, seeds=2, folds=5))
        runs = pets.studies.runs_of(study)
        assert len(runs) == 2 * 2
        images = pets.datasets.images(runs[0].dataset_version_id)
        for run in runs:
            assert {image.split for image in held_back_by(Recipe.from_dict(run.recipe), images)} == {"valid"}
        with pytest.raises(StudyError, match="shows no chance"):
            create_study(pets, Design(variants, seeds=1, folds=5))

    def test_it_is_stopped_and_goes_on(self, pets):
        study = create_study(pets, Design(two(batch_size=4), seeds=1, folds=2))
        assert stop_study(pets, study) == 4
        assert {run.status for run in pets.studies.runs_of(study)} == {"stopped"}
        assert stop_study(pets, study) == 0
        assert resume_study(pets, study) == 4
        assert {run.status for run in pets.studies.runs_of(study)} == {"queued"}

    def test_it_is_deleted_with_its_runs_and_had_back_without_those_deleted_before(self, pets, monkeypatch):
        study = create_study(pets, Design(two(batch_size=4), seeds=1, folds=2))
        first, *others = [run.id for run in pets.studies.runs_of(study)]
        pets.runs.delete(first)
        pets.studies.delete(study)
        assert study not in [one.id for one in pets.studies.all()] and pets.studies.runs_of(study) == []
        pets.studies.undelete(study)
        assert [run.id for run in pets.studies.runs_of(study)] == others
        pets.studies.delete(study)
        for module in ("runs", "studies"):
            monkeypatch.setattr(f"learner.store.{module}.UNDO_S", -1)
        pets.studies.purge()  # its runs are still there
        assert pets.studies.get(study)
        pets.runs.purge()
        pets.studies.purge()
        with pytest.raises(StudyError, match="There is no study"):
            pets.studies.get(study)

    def test_what_trains_is_not_deleted(self, pets):
        study = create_study(pets, Design(two(batch_size=4), seeds=1, folds=2))
        run = pets.studies.runs_of(study)[0].id
        pets.runs.ask(run, "stop")
        pets.runs.resume(run, running=True)
        with pytest.raises(StudyError, match=f"Run {run} of study {study} is running. Stop the study first"):
            pets.studies.delete(study)
        pets.runs.end(run, "stopped")


class TestMistakes:
    @pytest.mark.parametrize(
        ("design", "message"),
        [
            (Design((Variant("a", BASE),)), "at least two variants"),
            (Design((Variant("a", BASE), Variant("a", BASE))), "Two variants are called 'a'"),
            (Design(two(), seeds=0), "1 to 20 seeds, and this one would have 0"),
            (Design(two(), folds=21), "1 to 20 folds"),
            (Design(two(), seeds=1, folds=1), "shows no chance"),
            (Design(two(), seeds=20, folds=20), "1 to 500 runs, and this one would have 800"),
            (Design((Variant("a", BASE), Variant("b", replace(BASE, dataset="dogs")))), "version of one data set"),
        ],
    )
    def test_it_is_told_and_nothing_is_queued(self, pets, design, message):
        before = len(pets.runs.all())
        with pytest.raises(StudyError, match=message):
            create_study(pets, design)
        assert len(pets.runs.all()) == before

    def test_a_mistake_in_one_recipe_queues_none(self, pets):
        before = len(pets.runs.all()), len(pets.studies.all())
        wrong = replace(BASE, phases=[Phase("Fine-tuning", trainable="block9", epochs=1)], backbone="vgg16")
        with pytest.raises(RecipeError, match="block9"):
            create_study(pets, Design((Variant("a", BASE), Variant("b", wrong))))
        assert (len(pets.runs.all()), len(pets.studies.all())) == before
