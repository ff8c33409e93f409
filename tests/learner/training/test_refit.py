"""The refit: the same steps once more, with the validation images to learn from, too."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from learner.datasets import add_dataset, image_path
from learner.datasets.images import read_squished
from learner.evaluation.inspect import complete
from learner.evaluation.results import load_result
from learner.models.checkpoint import load_model, read_spec
from learner.models.weights import find_weights
from learner.recipe import Phase
from learner.store import Epoch, Store
from learner.training.callbacks import Reporter
from learner.training.position import may_be_best
from learner.training.refit import refit_phases
from learner.workspace import Workspace
from tests.learner.training.running import run, run_well
from tests.samples import make_photos, small_recipe

SOLVE = Phase("Solve the head", solve=True)
TUNE = Phase("Fine-tuning", trainable="layer4", epochs=4, lr=[1e-4, 1e-3], average=True, interpolate=True)


@pytest.fixture
def pets(tmp_path):
    store = Store(Workspace(tmp_path / "home"))
    add_dataset(store, make_photos(tmp_path / "photos", {"cat": 12, "dog": 10, "owl": 8}), "pets")
    return store


def epochs_of(*phases: int) -> list[Epoch]:
    """Rows of a run, an epoch each, of these phases."""
    return [Epoch(epoch=number, phase=phase) for number, phase in enumerate(phases, 1)]


class TestPhases:
    RECIPE = small_recipe(batch_size=10, phases=[SOLVE, TUNE])

    def test_about_as_many_steps_are_made_with_more_images(self):
        # 4 epochs of 10 batches are 40 steps; 125 images are 13 batches, and 3 epochs of these are 39.
        found = refit_phases(self.RECIPE, epochs_of(0, 1, 1, 1, 1), 5, {}, 100, 125)
        assert [(one.phase.length, one.epochs) for one in found] == [(1, 1), (3, 3)]

    def test_what_came_after_the_best_epoch_is_left_out(self):
        facts = {"interpolated": {"1": {"point": 0.2}}}
        found = refit_phases(self.RECIPE, epochs_of(0, 1, 1, 1, 1), 3, facts, 100, 100)
        assert [(one.phase.length, one.epochs, one.point) for one in found] == [(1, 1, None), (4, 2, None)]
        found = refit_phases(self.RECIPE, epochs_of(0, 1, 1, 1, 1), 1, {}, 100, 100)
        assert [one.phase.name for one in found] == ["Solve the head"]

    def test_what_was_chosen_stays(self):
        facts = {"solved": {"0": {"strength": 0.03}}, "interpolated": {"1": {"point": 0.4}}}
        solve, tune = refit_phases(self.RECIPE, epochs_of(0, 1, 1, 1, 1), 5, facts, 100, 125)
        assert (solve.strength, tune.point) == (0.03, 0.4)


def features_of(store: Store, run_id: int) -> tuple[np.ndarray, np.ndarray]:
    """What the frozen body makes of every image, maximum and average, and the images' classes."""
    model, spec = load_model(store.checkpoint(run_id))
    rows, targets = [], []
    version = store.datasets.version("pets")
    for image in store.datasets.images(version.id):
        pixels = np.asarray(read_squished(image_path(store.workspace, "pets", image), 32)) / 255
        x = torch.tensor((pixels - spec.mean) / spec.std, dtype=torch.float32).permute(2, 0, 1)[None]
        with torch.inference_mode():
            maps = model[0](x)
        rows.append(torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], 1)[0].numpy())
        targets.append(spec.classes.index(image.label))
    return np.stack(rows), np.array(targets)


def test_a_solved_head_is_solved_on_all_images(pets):
    recipe = small_recipe(phases=[SOLVE], refit=True, precision="fp32")
    run_id = run_well(pets, recipe)
    features, targets = features_of(pets, run_id)
    model, _ = load_model(pets.checkpoint(run_id))
    head = model[1][-1]
    with torch.inference_mode():
        said = (torch.tensor(features) @ head.weight.T + head.bias).softmax(1).numpy()
    strength = pets.runs.get(run_id).facts["solved"]["0"]["strength"]
    variance = features.var(0)
    standard = (features - features.mean(0)) / np.sqrt(variance + variance.mean() / 10)
    expected = LogisticRegression(C=1 / (strength * len(targets)), max_iter=5000, tol=1e-8).fit(standard, targets)
    wanted = expected.predict_proba(standard)
    assert said == pytest.approx(wanted, abs=0.01)


def test_figures_are_of_the_model_before(pets):
    once = run_well(pets, small_recipe(phases=[SOLVE, TUNE], refit=False))
    twice = run_well(pets, small_recipe(phases=[SOLVE, TUNE], refit=True))
    folders = [pets.workspace.run_folder(run_id) for run_id in (once, twice)]
    assert load_result(folders[0]) == load_result(folders[1])
    before, after = (load_file(folders[1] / name) for name in ("checked.safetensors", "model.safetensors"))
    plain = load_file(folders[0] / "model.safetensors")
    assert all(torch.equal(plain[name], before[name]) for name in plain)
    head = max(name for name in plain if name.startswith("1."))
    assert not torch.equal(before[head], after[head])
    assert read_spec(folders[1] / "model.safetensors").temperature == load_result(folders[1])["temperature"]
    facts = pets.runs.get(twice).facts
    assert facts["refit"] == {"images": 30}
    assert len(pets.runs.epochs(once)) == len(pets.runs.epochs(twice))
    plan = facts["plan"]
    assert 1 <= len(plan["refit"]) <= 2 and all(phase["true_s"] > 0 for phase in plan["refit"])


def test_figures_made_again_are_still_of_the_model_before(pets):
    run_id = run_well(pets, small_recipe(phases=[SOLVE, TUNE], refit=True))
    folder = pets.workspace.run_folder(run_id)
    result, weights = load_result(folder), load_file(folder / "model.safetensors")
    complete(pets, run_id)
    again = load_file(folder / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights if name != "reference")
    assert load_result(folder)["accuracy"] == result["accuracy"]
    assert load_result(folder)["temperature"] == pytest.approx(result["temperature"], rel=1e-3)


def test_another_run_takes_the_body_that_saw_no_validation_image(pets):
    run_id = run_well(pets, small_recipe(phases=[SOLVE, TUNE], refit=True))
    source = find_weights("resnet18", f"run:{run_id}", pets.workspace)
    assert source.location == str(pets.workspace.checked_model(run_id))


def test_a_fold_has_no_refit(pets):
    run_id = run_well(pets, small_recipe(phases=[SOLVE], refit=True, folds=3))
    assert "refit" not in pets.runs.get(run_id).facts
    assert not pets.workspace.checked_model(run_id).exists()


def test_a_stop_in_the_refit_keeps_the_model_before(pets, monkeypatch):
    whole = Reporter.before_batch

    def stopping(self):
        if self._is_refit:
            self.progression.asked = "stop"
        whole(self)

    monkeypatch.setattr(Reporter, "before_batch", stopping)
    phases = [Phase("Fine-tuning", trainable="layer4", epochs=2, lr=[1e-4, 1e-3])]
    run_id = run(pets, small_recipe(phases=phases, refit=True))
    assert pets.runs.get(run_id).status == "stopped"
    assert "refit" not in pets.runs.get(run_id).facts
    assert load_result(pets.workspace.run_folder(run_id))
    assert not pets.workspace.checked_model(run_id).exists()


def test_of_a_later_phase_that_interpolates_only_its_end_can_be_the_best(pets, monkeypatch):
    """However low the loss of an epoch between: the least of many is mostly luck."""
    ranks = iter([(0.0, 0.5), (9.0, 1.0), (8.0, 1.0), (7.0, 1.0), (-1.0, 0.5)])
    monkeypatch.setattr("learner.training.callbacks.rank_of", lambda accuracy, loss: next(ranks))
    run_id = run_well(pets, small_recipe(phases=[SOLVE, TUNE], refit=False))
    assert pets.runs.get(run_id).best_epoch == 1


@pytest.mark.parametrize(("index", "is_last", "can"), [(0, False, True), (1, False, False), (1, True, True)])
def test_which_epochs_of_a_phase_that_interpolates_can_be_the_best(index, is_last, can):
    assert may_be_best(TUNE, index, is_last) == can
    assert may_be_best(SOLVE, index, is_last)
