"""A search: which trials are asked for and which are paused, when it ends, what it says. Losses are given by hand."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from learner.errors import RecipeError, StudyError
from learner.recipe import Phase, Recipe
from learner.store import Run, Store
from learner.studies.design import Design, resume_study, stop_study
from learner.studies.search import NEVER_PAUSED, advance, confirmed, create_search, pause_trial
from learner.studies.space import read_space
from learner.studies.trials import FAILURES, Search, SearchResult, result_of_search
from learner.workspace import Workspace
from tests.learner.store.writing import TWO_IMAGES, add_epoch
from tests.samples import small_recipe

BASE = small_recipe(
    phases=[Phase("Solve", solve=True), Phase("Tune", trainable="all", epochs=3, lr=[1e-5, 1e-4])], refit=True
)
RATES = read_space(["phases.1.lr.0=1e-6..1e-3", "phases.1.trainable=layer4,all"])


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(Workspace(tmp_path))
    store.datasets.add_version("pets", TWO_IMAGES, [], note="", fingerprint="")
    return store


def begin(store: Store, trials: int = 6, at_once: int = 0, space=RATES, base: Recipe = BASE) -> int:
    study = create_search(store, Search(base, space, trials, at_once))
    advance(store)
    return study


def claim(store: Store) -> Run:
    run_id = store.runs.claim()
    assert run_id is not None
    return store.runs.get(run_id)


def train(store: Store, *losses: float, ends: str = "finished") -> Run:
    """What a worker does with the next run, with these validation losses; afterwards it looks for more."""
    run = claim(store)
    for epoch, loss in enumerate(losses, 1):
        add_epoch(store, run.id, epoch, valid_loss=loss)
    store.runs.end(run.id, ends)
    advance(store)
    return run


def search_through(store: Store, study: int, loss_of: Callable[[Recipe], float]) -> SearchResult:
    while result_of_search(store, study).status == "under way":
        run = claim(store)
        add_epoch(store, run.id, 1, valid_loss=loss_of(Recipe.from_dict(run.recipe)))
        store.runs.end(run.id, "finished")
        advance(store)
    return result_of_search(store, study)


class TestAsking:
    def test_the_first_trial_is_the_recipe_as_asked_without_a_refit(self, store):
        study = begin(store)
        [run] = store.studies.runs_of(study)
        assert Recipe.from_dict(run.recipe) == replace(BASE, version=1, refit=False)
        assert (run.variant, run.status) == (0, "queued")

    def test_the_next_one_comes_when_one_has_ended_and_is_another(self, store):
        study = begin(store)
        advance(store)
        assert len(store.studies.runs_of(study)) == 1
        first = train(store, 0.5)
        assert len(store.studies.runs_of(study)) == 2
        assert store.studies.runs_of(study)[1].recipe["phases"] != first.recipe["phases"]

    def test_as_many_wait_or_train_as_are_to_at_once(self, store):
        study = begin(store, at_once=3)
        assert len(store.studies.runs_of(study)) == 3
        claim(store)
        advance(store)
        assert len(store.studies.runs_of(study)) == 3

    def test_it_ends_with_the_last_trial_and_no_two_are_the_same(self, store):
        study = begin(store, trials=5)
        result = search_through(store, study, lambda recipe: 1.0)
        assert result.status == "done" and result.done == 5
        chosen = [tuple(trial.chosen.values()) for trial in result.trials]
        assert len(set(chosen)) == 5

    def test_a_space_that_is_used_up_ends_it_early(self, store):
        study = begin(store, trials=9, space=read_space(["phases.1.trainable=layer4,all", "batch_size=8,16"]))
        result = search_through(store, study, lambda recipe: 1.0)
        assert result.status == "done" and len(result.trials) == 4
        assert result.progress == "4 of 4 trials have finished"

    def test_it_finds_what_is_better(self, store):
        best = 4e-5

        def loss_of(recipe: Recipe) -> float:
            rate, _ = recipe.phases[1].lr  # type: ignore[misc]
            return abs(math.log10(rate / best)) + (recipe.phases[1].trainable == "layer4")

        study = begin(
            store, trials=30, base=replace(BASE, phases=[BASE.phases[0], replace(BASE.phases[1], lr=[1e-6, 1e-3])])
        )
        result = search_through(store, study, loss_of)
        assert result.best is not None and result.best.loss is not None
        # 30 rates drawn by chance, half with each depth, lie 0.2 decades apart where the better depth was drawn
        assert result.best.loss < 0.2
        later = sorted(trial.loss for trial in result.trials[15:] if trial.loss is not None)
        earlier = sorted(trial.loss for trial in result.trials[:15] if trial.loss is not None)
        assert later[7] < earlier[7]  # it looks where the last ones did best

    def test_any_worker_goes_on_with_it_as_another_would_have(self, store, tmp_path):
        begin(store, trials=9)
        again = Store(Workspace(tmp_path / "other"))
        again.datasets.add_version("pets", TWO_IMAGES, [], note="", fingerprint="")
        begin(again, trials=9)
        for number in range(8):
            train(store, 0.5 + number / 100)
            train(again, 0.5 + number / 100)
            again = Store(again.workspace)  # nothing is kept in a process
        asked = [result_of_search(one, 1).search.asked for one in (store, again)]
        assert asked[0] == asked[1] and len(asked[0]) == 9

    def test_a_full_queue_is_waited_for(self, store, tmp_path):
        full = Store(store.workspace, most_queued=1)
        full.submit(BASE)
        study = begin(full)
        assert not full.studies.runs_of(study) and result_of_search(full, study).status == "under way"
        claim(full)
        advance(full)
        assert len(full.studies.runs_of(study)) == 1


class TestPausing:
    @pytest.fixture
    def behind(self, store) -> tuple[int, Run]:
        """A search with as many finished trials as it takes, and one that trains."""
        study = begin(store, trials=9)
        for number in range(NEVER_PAUSED):
            train(store, 0.5, 0.3 + number / 100)
        return study, claim(store)

    def test_a_trial_worse_than_the_median_at_the_same_epoch_is_paused(self, store, behind):
        study, run = behind
        add_epoch(store, run.id, 1, valid_loss=2.0)
        advance(store)
        assert not store.runs.get(run.id).asked  # the first epoch says nothing
        add_epoch(store, run.id, 2, valid_loss=1.9)
        advance(store)
        assert store.runs.get(run.id).asked == "pause"
        store.runs.end(run.id, "paused")
        advance(store)
        result = result_of_search(store, study)
        assert result.trials[run.variant].status == "fell behind after 2 epochs"
        assert "1 fell behind and was paused" in result.progress
        assert len(result.trials) == NEVER_PAUSED + 2  # the next one waits

    def test_a_better_one_goes_on_and_so_does_one_that_was_better_once(self, store, behind):
        _, run = behind
        add_epoch(store, run.id, 1, valid_loss=0.2)
        add_epoch(store, run.id, 2, valid_loss=1.0)  # fine-tuning often begins with a step back
        advance(store)
        assert not store.runs.get(run.id).asked

    def test_before_enough_have_finished_none_is_paused(self, store):
        begin(store)
        for _ in range(NEVER_PAUSED - 1):
            train(store, 0.5, 0.3)
        run = claim(store)
        add_epoch(store, run.id, 1, valid_loss=9.0)
        add_epoch(store, run.id, 2, valid_loss=9.0)
        advance(store)
        assert not store.runs.get(run.id).asked

    def test_one_that_a_person_goes_on_with_is_not_paused_again(self, store, behind):
        study, run = behind
        add_epoch(store, run.id, 1, valid_loss=2.0)
        add_epoch(store, run.id, 2, valid_loss=1.9)
        advance(store)
        store.runs.end(run.id, "paused")
        store.runs.resume(run.id, running=True)
        add_epoch(store, run.id, 3, valid_loss=1.9)
        advance(store)
        assert not store.runs.get(run.id).asked
        store.runs.end(run.id, "finished")
        assert result_of_search(store, study).trials[run.variant].status == "finished"

    def test_two_workers_that_see_it_at_once_pause_it_once(self, store, behind):
        study, run = behind
        for _ in range(2):
            pause_trial(store, study, run.variant)
            assert store.runs.get(run.id).asked == "pause"
        store.runs.withdraw(run.id)
        pause_trial(store, study, run.variant)  # the slower one
        assert not store.runs.get(run.id).asked and result_of_search(store, study).search.pruned == [run.variant]

    def test_it_stays_paused_when_the_search_goes_on(self, store, behind):
        study, run = behind
        pause_trial(store, study, run.variant)
        store.runs.end(run.id, "paused")
        advance(store)
        stop_study(store, study)
        resume_study(store, study)
        assert store.runs.get(run.id).status == "paused"
        assert [one.status for one in store.studies.runs_of(study)][-1] == "queued"


class TestEnding:
    def test_one_all_of_whose_first_trials_fail_is_given_up_and_says_so(self, store):
        study = begin(store, trials=9)
        for _ in range(FAILURES):
            train(store, ends="failed")
        result = result_of_search(store, study)
        assert result.status == "stopped" and len(result.trials) == FAILURES
        assert result.answer == ["3 trials failed, so no more are asked for."]

    def test_one_failure_among_others_is_passed_over(self, store):
        study = begin(store, trials=4)
        train(store, 0.5)
        train(store, ends="failed")
        train(store, 0.4)
        train(store, 0.6)
        result = result_of_search(store, study)
        assert result.best is not None and result.best.loss == 0.4 and len(result.failed) == 1

    def test_stopped_it_asks_for_no_more_and_goes_on_where_it_was(self, store):
        study = begin(store, trials=4)
        train(store, 0.5)
        assert stop_study(store, study) == 1
        advance(store)
        assert result_of_search(store, study).status == "stopped"
        assert len(store.studies.runs_of(study)) == 2
        assert resume_study(store, study) == 3  # one that was stopped, and two that nobody has asked for
        advance(store)
        for _ in range(3):
            train(store, 0.6)
        assert result_of_search(store, study).status == "done"

    def test_deleted_it_asks_for_no_more(self, store):
        study = begin(store)
        store.studies.delete(study)
        advance(store)
        assert store.studies.runs_of(study) == [] and store.runs.claim() is None

    def test_a_deleted_trial_is_passed_over(self, store):
        study = begin(store, trials=3)
        run = train(store, 0.2)
        store.runs.delete(run.id)
        train(store, 0.4)
        result = result_of_search(store, study)
        assert result.trials[0].status == "deleted"
        assert result.best is not None and result.best.number == 1


class TestAnswer:
    def test_the_best_is_held_against_what_was_asked(self, store):
        study = begin(store)
        train(store, 0.5, 0.3)
        assert result_of_search(store, study).answer == ["Trial 1 is the best so far, with a loss of 0.300."]
        train(store, 0.4, 0.2)
        told = result_of_search(store, study).answer
        assert told[0] == "Trial 2 is the best so far, with a loss of 0.200; the recipe as it was asked has 0.300."
        assert "a study tells" in told[1]

    def test_it_says_where_nothing_is_better(self, store):
        study = begin(store)
        train(store, 0.3)
        train(store, 0.4)
        [told] = result_of_search(store, study).answer
        assert told == "Nothing is better so far than the recipe as it was asked, with a loss of 0.300."

    def test_confirming_asks_a_study_of_both_recipes(self, store):
        study = begin(store)
        with pytest.raises(StudyError, match="nothing to confirm yet"):
            confirmed(store, study)
        train(store, 0.3)
        with pytest.raises(StudyError, match="Nothing was better"):
            confirmed(store, study)
        better = train(store, 0.2)
        design = Design.from_dict(store.studies.get(confirmed(store, study)).design)
        assert [one.name for one in design.variants] == ["as asked", "found"]
        assert design.variants[0].recipe == replace(BASE, version=1)
        assert design.variants[1].recipe.phases == Recipe.from_dict(better.recipe).phases
        assert design.folds == 5


class TestRefused:
    def test_nothing_to_change(self, store):
        with pytest.raises(StudyError, match="something to change"):
            create_search(store, Search(BASE, {}))

    @pytest.mark.parametrize("trials", [1, 501])
    def test_too_few_or_too_many_trials(self, store, trials):
        with pytest.raises(StudyError, match=f"would have {trials}"):
            create_search(store, Search(BASE, RATES, trials))

    def test_a_key_that_no_recipe_has(self, store):
        with pytest.raises(RecipeError, match="warmth"):
            create_search(store, Search(BASE, read_space(["warmth=1,2"])))
