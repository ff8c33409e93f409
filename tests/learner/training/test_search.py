"""The search within a time budget: what it tries, what it takes, and that it goes on where it was killed."""

import time

import numpy as np
import pytest

from learner.datasets import add_dataset, split_by
from learner.errors import RecipeError
from learner.recipe import AUTO, Augment, Head, Recipe, parts, read_recipe
from learner.store import Store
from learner.training import search
from learner.training.process import execute
from learner.training.progress import ProgressReporter
from learner.training.search_trials import Bench, Checked
from learner.workspace import Workspace
from tests.learner.killing import die, train_in_a_process
from tests.machine import keep_small_speeds
from tests.samples import SMALL, make_photos

SIZE = 32
STEPS = 8


@pytest.fixture
def pets(tmp_path):
    store = Store(Workspace(tmp_path / "home"))
    add_dataset(store, make_photos(tmp_path / "photos", {"cat": 14, "dog": 12, "owl": 10}), "pets")
    keep_small_speeds(store.workspace)
    return store


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """What thaws does so for a few steps only."""
    monkeypatch.setattr("learner.recipe.parts.AUTO_STEPS", STEPS)


def asked(**changes) -> Recipe:
    """A recipe that leaves the head and what thaws open, for a small network."""
    plain = {
        "backbone": SMALL,
        "weights": "random",
        "image_size": SIZE,
        "batch_size": 8,
        "budget": 600,
        "precision": "fp32",
    }
    return Recipe("pets", **plain | changes)


def ended(store: Store, recipe: Recipe):
    run_id = store.submit(recipe, running=True)
    execute(store, run_id)
    run = store.runs.get(run_id)
    assert run.status == "finished", run.reason
    return run


def chosen(store: Store, recipe: Recipe):
    """The run once its search is over; what it chose is then trained as any other recipe is."""
    run_id = store.submit(recipe, running=True)
    search.choose_recipe(store, store.runs.get(run_id), ProgressReporter(store, run_id))
    return store.runs.get(run_id)


def trials(run, kind: str) -> list[dict]:
    return [trial for trial in run.facts["search"]["trials"] if trial["kind"] == kind]


class TestBudget:
    @pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("0", 0)])
    def test_it_is_read_as_a_person_writes_it(self, text, seconds):
        assert read_recipe(AUTO, "pets", [f"budget={text}"]).budget == seconds

    @pytest.mark.parametrize("text", ["5s", "-1", "soon", "9d"])
    def test_what_is_no_time_or_too_little_is_told(self, text):
        with pytest.raises(RecipeError, match="budget: "):
            read_recipe(AUTO, "pets", [f"budget={text}"])


class TestFeatures:
    def test_only_what_is_open_is_tried(self, pets, monkeypatch):
        monkeypatch.setattr(search, "MOST_THAWS", 0)
        run = chosen(pets, asked())
        assert [trial["what"].split(", ", 1)[1] for trial in trials(run, "features")] == [f"{SIZE} px"]
        assert run.recipe["head"]["kind"] == "multiscale"
        assert chosen(pets, asked(head=Head("solved"))).recipe["head"]["kind"] == "solved"
        run = chosen(pets, asked(augment="auto", views=3))
        assert len(trials(run, "features")) == 2
        assert trials(run, "features")[1]["what"].endswith("changed copies")

    def test_larger_images_are_tried_where_the_size_is_open(self, pets, monkeypatch):
        monkeypatch.setattr(search, "MOST_THAWS", 0)
        monkeypatch.setattr(search, "choose_image_size", lambda size, side: 64)
        run = chosen(pets, asked(image_size="auto"))
        assert {trial["what"].split(", ")[1] for trial in trials(run, "features")} == {"64 px", "96 px"}

    def test_what_costs_more_is_taken_only_if_it_is_better_by_more_than_chance(self, pets, monkeypatch):
        losses = {64: np.array([1.0, 1.2] * 14), 96: np.array([0.9, 1.3] * 14)}
        monkeypatch.setattr(search, "MOST_THAWS", 0)
        monkeypatch.setattr(search, "choose_image_size", lambda size, side: 64)

        def check(self, recipe, images):
            return Checked(losses[recipe.image_size], np.ones(28), 0.1)

        monkeypatch.setattr(Bench, "check_head", check)
        assert chosen(pets, asked(image_size="auto")).recipe["image_size"] == 64
        losses[96] = losses[64] - np.array([0.2, 0.3] * 14)
        assert chosen(pets, asked(image_size="auto")).recipe["image_size"] == 96

    def test_validation_images_have_no_say(self, pets, monkeypatch):
        seen = set()
        whole = Bench.check_head

        def check(self, recipe, images):
            seen.update(image.sha256 for image in images)
            return whole(self, recipe, images)

        monkeypatch.setattr(Bench, "check_head", check)
        monkeypatch.setattr(search, "MOST_THAWS", 0)
        run = chosen(pets, asked())
        train, _ = split_by(Recipe.from_dict(run.recipe), pets.datasets.images(run.dataset_version_id))
        assert seen == {image.sha256 for image in train} and len(train) < 36


class TestThawing:
    @pytest.fixture
    def gains(self, monkeypatch):
        """What each trial of thawing brings, by its rate."""
        found: dict[float, float] = {}

        def thaw(self, recipe, phase, strength, until):
            gain = found.get(phase.lr[0], -0.1)
            nothing = {"gain_interval": [gain, gain], "accuracy_gain": 0.0, "accuracy_gain_interval": [0.0, 0.0]}
            return {"gain": gain, "images": 6, "point": 0.4} | nothing

        monkeypatch.setattr(Bench, "thaw", thaw)
        return found

    def test_what_brought_most_is_trained(self, pets, gains):
        gains |= {1e-5: 0.01, 3e-5: 0.05}
        run = chosen(pets, asked())
        phase = Recipe.from_dict(run.recipe).phases[-1]
        best = max(trials(run, "thawing"), key=lambda trial: trial["gain"])
        assert best["gain"] == 0.05 and phase.lr == pytest.approx([3e-5, 3e-4])
        assert phase.interpolate and phase.average
        assert len(trials(run, "thawing")) == search.MOST_THAWS

    def test_nothing_thaws_where_no_trial_helped_and_none_is_expected_to(self, pets, gains):
        run = chosen(pets, asked())
        assert [phase["name"] for phase in run.recipe["phases"]] == ["Solve the head"]
        assert len(trials(run, "thawing")) == len(search.FIRST_THAWS)
        assert "Nothing thaws" in run.facts["search"]["reasons"][-1]

    def test_a_trial_finds_what_the_phase_gains_and_leaves_the_network_as_it_was(self, pets, monkeypatch):
        kept = []
        whole = Bench.thaw

        def thaw(self, *arguments):
            before = {name: tensor.clone() for name, tensor in self.built.network.state_dict().items()}
            found = whole(self, *arguments)
            kept.append(all((before[name] == tensor).all() for name, tensor in self.built.network.state_dict().items()))
            return found

        monkeypatch.setattr(Bench, "thaw", thaw)
        monkeypatch.setattr(search, "MOST_THAWS", 1)
        run = chosen(pets, asked())
        [trial] = trials(run, "thawing")
        assert kept == [True] and trial["gain"] >= 0 and trial["state"] == "done"


def test_the_choice_becomes_the_runs_recipe_and_is_trained(pets, monkeypatch):
    monkeypatch.setattr(search, "MOST_THAWS", 1)
    run = ended(pets, asked(seed=7))
    recipe = Recipe.from_dict(run.recipe)
    assert (recipe.budget, recipe.seed, recipe.refit) == (0, 7, True)
    assert run.facts["search"]["budget_s"] == 600 and 0 < run.facts["search"]["spent_s"] < 600
    assert run.facts["refit"]["images"] == 36
    assert recipe.phases[0].solve and len(run.facts["search"]["reasons"]) == 2


def test_with_hardly_any_time_one_setting_is_tried_and_nothing_thaws(pets):
    run_id = pets.submit(asked(budget=30), running=True)
    pets.runs.add_facts(run_id, search={"spent_s": 29.0, "trials": [], "budget_s": 30, "reasons": []})
    execute(pets, run_id)
    run = pets.runs.get(run_id)
    assert run.status == "finished", run.reason
    assert next(trial["state"] for trial in trials(run, "features")) == "done"
    assert not trials(run, "thawing")
    assert [phase["name"] for phase in run.recipe["phases"]] == ["Solve the head"]


def _die_in_the_second_trial() -> None:
    whole, calls = Bench.check_head, []

    def check(self, *arguments):
        calls.append(arguments)
        if len(calls) == 2:
            die()
        return whole(self, *arguments)

    Bench.check_head = check
    _one_trial_of_thawing()


def _one_trial_of_thawing() -> None:
    search.MOST_THAWS = 1
    parts.AUTO_STEPS = STEPS


def test_a_search_that_was_killed_goes_on_and_chooses_the_same(pets):
    whole = pets.submit(asked(image_size="auto"))
    assert train_in_a_process(pets, whole, prepare=_one_trial_of_thawing) == 0
    killed = pets.submit(asked(image_size="auto"))
    assert train_in_a_process(pets, killed, prepare=_die_in_the_second_trial) == -9
    assert len(pets.runs.get(killed).facts["search"]["trials"]) == 1
    assert train_in_a_process(pets, killed, prepare=_one_trial_of_thawing) == 0
    runs = [pets.runs.get(run_id) for run_id in (whole, killed)]
    assert [run.status for run in runs] == ["finished"] * 2, runs[1].reason
    assert runs[0].recipe == runs[1].recipe
    figures = [
        [(trial["what"], trial.get("log_loss"), trial.get("gain")) for trial in run.facts["search"]["trials"]]
        for run in runs
    ]
    assert figures[0] == figures[1]
    assert runs[0].best_accuracy == runs[1].best_accuracy


@pytest.mark.parametrize(("asked_for", "status"), [("stop", "stopped"), ("pause", "paused")])
def test_a_person_can_end_it_while_it_chooses(pets, monkeypatch, asked_for, status):
    whole = Bench.check_head

    def check(self, *arguments):
        pets.runs.ask(run_id, asked_for)
        time.sleep(0.4)  # until the next report
        return whole(self, *arguments)

    monkeypatch.setattr(Bench, "check_head", check)
    run_id = pets.submit(asked(), running=True)
    execute(pets, run_id)
    run = pets.runs.get(run_id)
    assert run.status == status


def test_a_search_is_forgotten_with_its_run(pets, monkeypatch):
    monkeypatch.setattr(search, "MOST_THAWS", 0)
    run = chosen(pets, asked())
    pets.runs.end(run.id, "finished")
    assert pets.searches.entries(run.id)
    pets.runs.delete(run.id)
    monkeypatch.setattr("learner.store.runs.UNDO_S", -1)
    assert pets.runs.purge() == [run.id]
    assert not pets.searches.entries(run.id)


def test_auto_leaves_everything_open():
    recipe = read_recipe(AUTO, "pets")
    assert (recipe.backbone, recipe.image_size, recipe.augment, recipe.refit) == (
        "auto",
        "auto",
        Augment(auto=True),
        True,
    )
