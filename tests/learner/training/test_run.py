"""A run follows its schedules, writes down what happened, and its result is as good as it says."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import learner.training.progress
from learner.datasets import add_dataset
from learner.evaluation.results import load_predictions, load_result
from learner.models.checkpoint import load_model
from learner.recipe import Phase, Recipe
from learner.store import Store
from learner.training.progress import Listener
from learner.workspace import Workspace
from tests.learner.training.running import RATES, run_well
from tests.samples import SMALL, make_photos, small_recipe
from tests.samples import SMALL_STAGES as STAGES

RATES_FROM_LAYER3 = [0, 0, 0, 1e-4, 1e-3, 1e-2]


class Recorder(Listener):
    """Remembers what it hears."""

    def __init__(self):
        self.progress = []

    def on_progress(self, progress) -> None:
        self.progress.append(progress)


# Schedules, figures and progress


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory, photos):
    """A run with a phase of each schedule, four epochs of three batches, every batch reported."""
    store, listener = Store(Workspace(tmp_path_factory.mktemp("scheduled"))), Recorder()
    add_dataset(store, photos, "pets")
    phases = [Phase(s, "layer3", epochs=4, lr=RATES, schedule=s) for s in ("constant", "flat_cos", "one_cycle")]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(learner.training.progress, "REPORT_EVERY_S", 0)
        run_id = run_well(store, small_recipe(phases=phases), listener)
    return store, run_id, listener


def test_every_epoch_keeps_what_the_validation_images_gave_in_parts(scheduled):
    store, run_id, _ = scheduled
    images = store.runs.get(run_id).facts["valid_images"]
    for epoch in store.runs.epochs(run_id):
        assert sum(part[0] for part in epoch.parts) == images
        assert sum(part[1] for part in epoch.parts) == pytest.approx(images * epoch.valid_loss, rel=1e-4)
        assert sum(part[2] for part in epoch.parts) == pytest.approx(images * epoch.accuracy)


def rates_of_phase(scheduled, phase: int) -> np.ndarray:
    """(12 batches, 6 groups) of learning rates as the store keeps them."""
    store, run_id, _ = scheduled
    steps = [step for step in store.runs.steps(run_id) if 4 * phase < step.at <= 4 * phase + 4]
    assert [step.at for step in steps] == pytest.approx([4 * phase + (i + 1) / 3 for i in range(12)])
    return np.array([step.lrs for step in steps])


def test_a_constant_rate_is_constant_and_zero_where_frozen(scheduled):
    assert rates_of_phase(scheduled, 0) == pytest.approx(np.tile(RATES_FROM_LAYER3, (12, 1)))


def test_flat_cos_is_flat_for_three_quarters_and_then_falls_in_every_group(scheduled):
    rates = rates_of_phase(scheduled, 1)
    assert rates[:10] == pytest.approx(np.tile(RATES_FROM_LAYER3, (10, 1)))
    for part, batch in ((1 / 3, 10), (2 / 3, 11)):  # the cosine after batch 9 of 12
        falling = np.array(RATES_FROM_LAYER3) * (1 + math.cos(math.pi * part)) / 2
        assert rates[batch] == pytest.approx(falling, rel=0.01, abs=1e-6)


def test_one_cycle_climbs_to_every_groups_own_rate_and_falls_to_nearly_nothing(scheduled):
    rates = rates_of_phase(scheduled, 2)
    assert rates[0] == pytest.approx(np.array(RATES_FROM_LAYER3) / 25)
    assert rates.max(axis=0) == pytest.approx(RATES_FROM_LAYER3)
    assert rates[:, -1].argmax() == 3  # a quarter of twelve batches
    learning = rates[:, 3:]
    assert (np.diff(learning[:4], axis=0) > 0).all() and (np.diff(learning[3:], axis=0) < 0).all()
    assert (learning[-1] < 0.1 * learning[3]).all()
    assert (rates[:, :3] == 0).all()


def test_epochs_count_over_all_phases_and_carry_every_figure(scheduled):
    store, run_id, _ = scheduled
    epochs = store.runs.epochs(run_id)
    assert [epoch.epoch for epoch in epochs] == list(range(1, 13))
    assert [epoch.phase for epoch in epochs] == [0] * 4 + [1] * 4 + [2] * 4
    for epoch in epochs:
        assert math.isfinite(epoch.train_loss) and math.isfinite(epoch.valid_loss)
        assert epoch.accuracy * 16 == pytest.approx(round(epoch.accuracy * 16))  # of 16 validation images
        assert epoch.accuracy + epoch.error_rate == pytest.approx(1)
        assert len(epoch.lrs) == len(STAGES) + 1
        assert epoch.seconds > 0
    assert epochs[0].lrs == pytest.approx(RATES_FROM_LAYER3)
    run = store.runs.get(run_id)
    assert sum(epoch.seconds for epoch in epochs) < run.finished_at - run.started_at


def test_progress_only_grows_ends_at_one_and_tells_the_time_left(scheduled):
    store, run_id, listener = scheduled
    done = [progress.done for progress in listener.progress]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0.0, 1.0)
    inside = [progress for progress in listener.progress if progress.epoch]
    assert len(inside) == 12 * (3 + 2)  # every batch, of training and of validation
    assert inside[-1].done == pytest.approx(1.0)
    assert all(progress.seconds_left >= 0 for progress in inside if progress.done > 0.01)
    assert inside[-1].seconds_left == pytest.approx(0, abs=0.01)
    assert [(p.epoch, p.batch, p.batches) for p in inside[:5]] == [
        (1, 1, 3),
        (1, 2, 3),
        (1, 3, 3),
        (1, 1, 2),
        (1, 2, 2),
    ]
    assert store.runs.get(run_id).progress["message"] == "Done"


def test_the_time_left_foretells_what_the_rest_takes(scheduled):
    _, _, listener = scheduled
    assert learner.training.progress.REPORT_EVERY_S <= 0.5
    inside = [progress.seconds_left for progress in listener.progress if progress.epoch]
    assert inside[len(inside) // 4] > inside[len(inside) // 2] > inside[-1]


# The same again


def test_the_same_recipe_gives_the_same_losses_and_weights_and_another_seed_does_not(pets):
    phases = [Phase("a", epochs=1, lr=0.01), Phase("b", "all", epochs=1, lr=RATES)]
    first, again, other = (
        run_well(pets, small_recipe(phases=phases, seed=seed, precision="fp32")) for seed in (1, 1, 2)
    )

    def losses(run_id: int):
        return [(epoch.train_loss, epoch.valid_loss, epoch.accuracy) for epoch in pets.runs.epochs(run_id)]

    def weights(run_id: int):
        return torch.cat([tensor.flatten().float() for tensor in load_file(pets.checkpoint(run_id)).values()])

    assert losses(first) == losses(again) != losses(other)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


# The result


def test_the_kept_checkpoint_is_the_best_epochs_and_is_that_good(trained, photos):
    store, run_id = trained
    ended, epochs = store.runs.get(run_id), store.runs.epochs(run_id)
    best = max(epochs, key=lambda epoch: (epoch.accuracy, -epoch.valid_loss))
    assert (ended.best_epoch, ended.best_accuracy) == (best.epoch, best.accuracy)
    assert best.accuracy > 0.6  # it has learnt something: half are cats

    model, spec = load_model(store.checkpoint(run_id))
    right, losses = 0, []
    for path in sorted((photos / "valid").rglob("*.jpg")):
        pixels = np.asarray(Image.open(path).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)) / 255
        x = torch.tensor((pixels - spec.mean) / spec.std, dtype=torch.float32).permute(2, 0, 1)[None]
        with torch.no_grad():
            probs = model(x).softmax(1)[0]
        right += spec.classes[int(probs.argmax())] == path.parent.name
        losses.append(-math.log(probs[spec.classes.index(path.parent.name)]))
    assert right / 16 == ended.best_accuracy
    assert np.mean(losses) == pytest.approx(best.valid_loss, rel=1e-3)


def test_the_result_agrees_with_its_predictions_counted_again(trained):
    store, run_id = trained
    folder = store.workspace.run_folder(run_id)
    result, predictions = load_result(folder), load_predictions(folder)
    probs = predictions[["p(cat)", "p(dog)"]].to_numpy()
    assert probs.sum(axis=1) == pytest.approx(np.ones(16), abs=1e-5)
    answers = np.array(["cat", "dog"])[probs.argmax(axis=1)]
    assert (answers == predictions["predicted"]).all()
    assert predictions["probability"].to_numpy() == pytest.approx(probs.max(axis=1))
    labels = predictions["label"].to_numpy()
    assert result["classes"] == ["cat", "dog"]
    assert result["accuracy"] == np.mean(answers == labels) == store.runs.get(run_id).best_accuracy
    assert result["confusion"] == [
        [int(((labels == true) & (answers == taken)).sum()) for taken in ("cat", "dog")] for true in ("cat", "dog")
    ]


def test_the_data_sets_own_split_is_used_and_every_validation_image_predicted_once(trained, photos):
    store, run_id = trained
    predictions = load_predictions(store.workspace.run_folder(run_id))
    paths = sorted(str(path.relative_to(photos)) for path in (photos / "valid").rglob("*.jpg"))
    assert sorted(predictions["path"]) == paths
    assert [path.split("/")[1] for path in predictions["path"]] == predictions["label"].tolist()
    assert (store.runs.get(run_id).facts["train_images"], len(paths)) == (24, 16)


def test_a_run_says_what_it_decided_and_leaves_its_files(trained):
    store, run_id = trained
    ended, folder = store.runs.get(run_id), store.workspace.run_folder(run_id)
    facts = ended.facts
    assert (facts["backbone"], facts["image_size"], facts["classes"]) == (SMALL, 32, ["cat", "dog"])
    assert facts["stages"] == STAGES and len(facts["stage_parameters"]) == len(STAGES)
    assert facts["weights"]["kind"] == "random"
    assert {"recipe.yaml", "model.safetensors", "predictions.csv", "result.json", "learner.pkl"} <= {
        path.name for path in folder.iterdir()
    }
    assert not list(folder.glob("*.part"))
    settled = Recipe.from_yaml((folder / "recipe.yaml").read_text())
    assert settled == replace(Recipe.from_dict(ended.recipe), precision=settled.precision)
    assert settled.precision == facts["plan"]["precision"] in ("fp32", "bf16", "fp16")
    assert ended.reason == "" and ended.finished_at > ended.started_at


# Sizes that are awkward


def test_a_last_batch_of_a_single_image_does_no_harm(store, tmp_path):
    folder = tmp_path / "few"
    make_photos(folder / "train", {"cat": 5, "dog": 4}, size=(32, 32), seed=1)
    make_photos(folder / "valid", {"cat": 2, "dog": 1}, size=(32, 32), seed=2)
    add_dataset(store, folder, "few")
    run_id = run_well(store, small_recipe("few", phases=[Phase("a", "all", 1)]))
    assert store.runs.get(run_id).facts["train_images"] == 9  # one more than a batch
    assert load_result(store.workspace.run_folder(run_id))["images"] == 3


def test_two_images_a_class_are_enough_to_train(store, tmp_path):
    add_dataset(store, make_photos(tmp_path / "few", {"cat": 2, "dog": 2}, size=(32, 32)), "few")
    run_id = run_well(store, small_recipe("few"))
    facts = store.runs.get(run_id).facts
    assert (facts["train_images"], facts["valid_images"]) == (2, 2)
