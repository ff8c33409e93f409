"""A run trains what its phases say and nothing else, and writes down what happened."""

import hashlib
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from samples import make_photos

import learner.training.progress
from learner.datasets import add_dataset
from learner.evaluation.results import load_predictions, load_result
from learner.features.loaders import Decoder, LabelledFile, Order, make_dataloaders
from learner.features.preprocess import Preprocess
from learner.models.backbones import build
from learner.models.checkpoint import load_model
from learner.models.heads import build_head
from learner.models.network import Network
from learner.models.precision import Precision
from learner.recipe import Head, Phase, Recipe
from learner.store import Store
from learner.training.callbacks import FrozenStagesEval
from learner.training.phases import build_learner, fit_phase, prepare_phase
from learner.training.process import execute
from learner.training.progress import Listener
from learner.workspace import Workspace
from tests.samples import SMALL, small_recipe

STAGES = ["stem", "layer1", "layer2", "layer3", "layer4"]
RATES = [1e-4, 1e-2]
RATES_FROM_LAYER3 = [0, 0, 0, 1e-4, 1e-3, 1e-2]


class Recorder(Listener):
    """Remembers what it hears."""

    def __init__(self):
        self.progress = []

    def on_progress(self, progress) -> None:
        self.progress.append(progress)


def run(store: Store, recipe: Recipe, listener: Listener | None = None) -> int:
    run_id = store.submit(recipe, running=True)
    execute(store, run_id, listener)
    return run_id


def run_well(store: Store, recipe: Recipe, listener: Listener | None = None) -> int:
    run_id = run(store, recipe, listener)
    ended = store.runs.get(run_id)
    assert ended.status == "finished", ended.reason
    return run_id


@pytest.fixture
def learn(photos):
    """The Learner that a run trains, on the photos."""
    train, valid = (
        [
            LabelledFile(path, path.parent.name, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted((photos / split).rglob("*.jpg"))
        ]
        for split in ("train", "valid")
    )
    backbone = build(SMALL, "random")
    dls = make_dataloaders(
        train,
        valid,
        ["cat", "dog"],
        Decoder(32),
        Preprocess(32, backbone.mean, backbone.std),
        views=None,
        batch_size=8,
        device=torch.device("cpu"),
        order=Order(0),
    )
    learn = build_learner(
        Network(backbone.body, build_head(Head(), backbone.num_features, 2, (1, 1)), Precision("fp32", "")), dls
    )
    learn.add_cb(FrozenStagesEval())
    return learn


def run_phase(learn, phase: Phase) -> None:
    prepare_phase(learn, phase, STAGES)
    fit_phase(learn, Recipe("pets"), phase, STAGES)


def state(learn) -> dict[str, dict[str, torch.Tensor]]:
    """A copy of every tensor, batch-norm statistics included, by stage and name."""
    parts = [*learn.model[0].named_children(), ("head", learn.model[1])]
    return {part: {name: t.clone() for name, t in module.state_dict().items()} for part, module in parts}


def changed(before, after) -> set[str]:
    """The parts of which any tensor is no longer the same bit for bit."""
    return {part for part in before if any(not torch.equal(before[part][n], after[part][n]) for n in before[part])}


# Groups and freezing


def test_there_is_one_parameter_group_a_stage_and_one_for_the_head(learn):
    learn.create_opt()
    groups = [{id(p) for p in group} for group in learn.opt.param_lists]
    parts = [*learn.model[0], learn.model[1]]
    assert len(groups) == len(STAGES) + 1
    assert groups == [{id(p) for p in part.parameters()} for part in parts]
    assert sum(map(len, groups)) == len(list(learn.model.parameters()))


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        (lambda learn: learn.freeze(), 5),
        (lambda learn: learn.freeze_to(3), 3),
        (lambda learn: learn.freeze_to(-2), 4),
        (lambda learn: learn.unfreeze(), 0),
    ],
    ids=["freeze", "freeze_to(3)", "freeze_to(-2)", "unfreeze"],
)
def test_freezing_counts_in_stages_as_fastai_users_expect(learn, freeze, frozen):
    learn.freeze_to(2)
    freeze(learn)
    parts = [*learn.model[0], learn.model[1]]
    learns = [{p.requires_grad for p in part.parameters()} for part in parts]
    assert learns == [{False}] * frozen + [{True}] * (len(parts) - frozen)


def test_a_phase_changes_its_stages_and_leaves_every_bit_of_those_below(learn):
    start = state(learn)
    run_phase(learn, Phase("a", trainable="head", epochs=1, lr=0.01))
    head_trained = state(learn)
    assert changed(start, head_trained) == {"head"}

    run_phase(learn, Phase("b", trainable="layer3", epochs=1, lr=RATES))
    upper_trained = state(learn)
    assert changed(head_trained, upper_trained) == {"layer3", "layer4", "head"}

    run_phase(learn, Phase("c", trainable="all", epochs=1, lr=RATES))
    all_trained = state(learn)
    assert changed(upper_trained, all_trained) == {*STAGES, "head"}

    run_phase(learn, Phase("d", trainable="head", epochs=1, lr=0.01))
    assert changed(all_trained, state(learn)) == {"head"}


def test_batch_norm_statistics_move_in_stages_that_learn_only(learn):
    def statistics(state):
        return {f"{part} {n}": t for part, tensors in state.items() for n, t in tensors.items() if "running" in n}

    before = statistics(state(learn))
    run_phase(learn, Phase("b", trainable="layer4", epochs=1, lr=0.01))
    after = statistics(state(learn))
    assert any(name.startswith("layer1 ") for name in before)
    for name in before:
        moved = not torch.equal(before[name], after[name])
        assert moved == name.startswith(("layer4 ", "head ")), name


def test_a_whole_run_that_trains_only_the_head_keeps_the_given_weights_bit_for_bit(pets, tmp_path):
    given = build(SMALL, "random")
    for tensor in given.body.state_dict().values():
        if tensor.is_floating_point():
            tensor.mul_(1.01)
    file = tmp_path / "given.safetensors"
    save_file({given.timm_names[name]: tensor for name, tensor in given.body.state_dict().items()}, file)
    run_id = run_well(pets, small_recipe(weights=str(file)))
    kept = load_file(pets.checkpoint(run_id))
    for name, tensor in given.body.state_dict().items():
        assert torch.equal(kept[f"0.{name}"], tensor), name


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


# Ends other than well


def test_a_loss_that_is_no_number_fails_the_run_with_the_remedy(pets, tmp_path):
    weights = build(SMALL, "random")
    body = {weights.timm_names[name]: tensor * 1e30 for name, tensor in weights.body.state_dict().items()}
    save_file(body, tmp_path / "huge.safetensors")
    run_id = run(pets, small_recipe(weights=str(tmp_path / "huge.safetensors")))
    ended = pets.runs.get(run_id)
    assert ended.status == "failed"
    assert ended.reason.startswith("The loss stopped being a number, which mostly means that the learning rate is too")
    assert "Try a tenth of it in phase 1" in ended.reason


def test_a_stage_that_the_backbone_lacks_fails_the_run_before_anything_is_trained(pets):
    run_id = run(pets, small_recipe(phases=[Phase("a", "block5")]))
    ended = pets.runs.get(run_id)
    assert ended.status == "failed"
    assert f"phases.0.trainable: 'block5' is not a part of {SMALL}" in ended.reason
    assert pets.runs.epochs(run_id) == []


def test_a_missing_image_fails_the_run_by_its_name(pets):
    victim = next(pets.workspace.datasets.rglob("*.jpg"))
    victim.unlink()
    ended = pets.runs.get(run(pets, small_recipe()))
    assert ended.status == "failed"
    assert victim.name in ended.reason


class StopsAt(Listener):
    """Asks for a stop once training of that phase has come to that epoch and batch."""

    def __init__(self, store: Store, run_id: int, phase: int | None, epoch: int, batch: int):
        self.store, self.run_id, self.where = store, run_id, (phase, epoch, batch)

    def on_progress(self, progress) -> None:
        if (progress.phase, progress.epoch, progress.batch) == self.where:
            self.store.runs.ask(self.run_id, "stop")
            self.where = None


def test_a_stop_in_the_middle_of_an_epoch_checks_and_keeps_what_was_learnt(pets, monkeypatch):
    monkeypatch.setattr(learner.training.progress, "REPORT_EVERY_S", 0)
    phases = [Phase("a", epochs=3, lr=0.01), Phase("b", "all", epochs=3)]
    run_id = pets.submit(small_recipe(phases=phases, batch_size=4), running=True)
    assert execute(pets, run_id, StopsAt(pets, run_id, phase=0, epoch=2, batch=2)) == "stopped"

    assert pets.runs.steps(run_id)[-1].at == 1.5  # three of six batches: heard of with the next report
    epochs = pets.runs.epochs(run_id)
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert epochs[1].accuracy * 16 == pytest.approx(round(epochs[1].accuracy * 16))
    ended, folder = pets.runs.get(run_id), pets.workspace.run_folder(run_id)
    assert ended.best_accuracy == max(epoch.accuracy for epoch in epochs)
    assert load_result(folder)["accuracy"] == ended.best_accuracy
    assert load_result(folder)["images"] == 16
    assert (folder / "learner.pkl").exists()
    assert ended.progress["done"] == 1.0


def test_a_stop_before_the_first_batch_is_a_stop_and_no_failure(pets):
    run_id = pets.submit(small_recipe(), running=True)
    pets.runs.ask(run_id, "stop")
    execute(pets, run_id)
    ended = pets.runs.get(run_id)
    assert ended.status == "stopped"
    assert "before anything was learnt" in ended.reason


def test_a_run_is_interrupted_by_ctrl_c_and_keeps_its_checkpoint(pets):
    class CtrlC(Listener):
        def on_epoch(self, figures, is_best) -> None:
            raise KeyboardInterrupt

    run_id = pets.submit(small_recipe(), running=True)
    with pytest.raises(KeyboardInterrupt):
        execute(pets, run_id, CtrlC())
    ended = pets.runs.get(run_id)
    assert (ended.status, ended.best_epoch) == ("interrupted", 1)
    assert f"runs resume {run_id}" in ended.reason
    assert pets.checkpoint(run_id).exists()


def test_a_defect_fails_the_run_in_words_and_puts_the_traceback_into_the_log(pets, caplog):
    class Broken(Listener):
        def on_epoch(self, figures, is_best) -> None:
            raise ZeroDivisionError("by zero")

    ended = pets.runs.get(run(pets, small_recipe(), Broken()))
    assert ended.status == "failed"
    assert ended.reason == "Something went wrong inside Thaw (ZeroDivisionError). The run's log has the details."
    assert "Traceback" in caplog.text and "by zero" in caplog.text


def test_a_full_disk_is_told_as_such(pets):
    class NoSpace(Listener):
        def on_epoch(self, figures, is_best) -> None:
            raise OSError(28, "No space left on device")

    ended = pets.runs.get(run(pets, small_recipe(), NoSpace()))
    assert (ended.status, ended.reason.split(".")[0]) == ("failed", "The disk is full")


def test_a_run_is_heard_of_while_it_does_one_long_thing(pets, monkeypatch):
    monkeypatch.setattr("learner.training.process.HEARTBEAT_S", 0.05)
    beats = []

    class Slow(Listener):
        def on_epoch(self, figures, is_best) -> None:
            for _ in range(2):
                time.sleep(0.4)
                beats.append(pets.runs.get(run_id).heartbeat_at)

    run_id = pets.submit(small_recipe(), running=True)
    execute(pets, run_id, Slow())
    assert beats[1] > beats[0]
