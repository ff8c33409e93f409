"""What a run leaves at its end: calibrated predictions, what its model knows, golden photos; looks at test images."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax
from sklearn.metrics import log_loss, roc_auc_score

from learner.datasets import add_dataset, dataset_folder
from learner.errors import DatasetError, ModelError, RunError
from learner.evaluation.inspect import (
    MOST_REFERENCES,
    ModelOutputs,
    complete,
    look_at_test,
    reference_images,
    write_split,
)
from learner.evaluation.results import is_complete, load_curves, load_golden, load_predictions, load_result
from learner.exports import export
from learner.inference.predictor import Predictor
from learner.models.calibration import cross_fitted
from learner.models.checkpoint import ModelSpec, load_reference, read_spec
from learner.questions.process import ask
from learner.recipe import Phase, Recipe
from learner.store import Image as Row
from learner.store import Store
from learner.training.process import execute
from learner.training.progress import Listener
from learner.workspace import Workspace
from tests.patience import GIVE_UP_S
from tests.samples import make_photos, small_recipe


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    """A finished run of its own to change."""
    store, run_id = trained
    shutil.copytree(store.workspace.root, tmp_path / "thaw")
    monkeypatch.setenv("THAW_HOME", str(tmp_path / "thaw"))
    return Store(Workspace.current()), run_id


def test_the_predictions_are_those_of_the_predictor_calibrated(trained):
    store, run_id = trained
    folder = store.workspace.run_folder(run_id)
    table = load_predictions(folder)
    files = [dataset_folder(store.workspace, "pets") / file for file in table["file"]]
    said = list(Predictor.open(str(run_id), store).predict(files))
    assert [one.classes[0] for one in said] == table["predicted"].tolist()
    assert [one.probs[0] for one in said] == pytest.approx(table["probability"].tolist(), abs=1e-4)
    assert [one.distance for one in said] == pytest.approx(table["distance"].tolist(), abs=1e-4)
    temperature = read_spec(store.checkpoint(run_id)).temperature
    assert load_result(folder)["temperature"] == temperature > 0


def test_log_loss_and_calibration_of_validation_images_are_not_of_a_temperature_that_was_fitted_on_them(trained):
    store, run_id = trained
    folder = store.workspace.run_folder(run_id)
    table, result = load_predictions(folder), load_result(folder)
    assert result["cross_fitted"] and not load_result(folder, "train")["cross_fitted"]
    probs = table[[f"p({name})" for name in result["classes"]]].to_numpy()
    targets = np.array([result["classes"].index(label) for label in table["label"]])
    judged = cross_fitted(result["temperature"] * np.log(probs), targets)
    assert result["figures"]["log_loss"]["value"] == pytest.approx(log_loss(targets, judged), rel=1e-3)


def test_what_is_judged_by_other_probabilities_keeps_its_own_in_predictions_and_curves(tmp_path):
    spec = ModelSpec("any", [], ["cat", "dog"], 32, [0.5] * 3, [0.5] * 3, 8, temperature=2.0)
    rows = [Row(id=i, label=label, path=f"{i}", file=f"{i}") for i, label in enumerate(["cat", "dog", "dog", "cat"])]
    own = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    judged = np.array([[0.8, 0.2], [0.4, 0.6], [0.6, 0.4], [0.6, 0.4]])
    outputs = ModelOutputs(rows, 2 * np.log(own), np.zeros((4, 8)))
    result = write_split(tmp_path, "valid", spec, outputs, None, judged)
    assert result == load_result(tmp_path) and result["cross_fitted"] and result["temperature"] == 2
    assert result["figures"]["log_loss"]["value"] == pytest.approx(-np.log([0.8, 0.6, 0.4, 0.6]).mean())
    assert result["calibration"]["error"] == pytest.approx((abs(0.8 - 1) + 3 * abs(0.6 - 2 / 3)) / 4)
    assert result["accuracy"] == 0.75 and result["confusion"] == [[2, 0], [1, 1]]
    assert load_predictions(tmp_path)["p(cat)"].tolist() == pytest.approx(own[:, 0].tolist())
    # of the cats 0.9 and 0.7, of the dogs 0.6 and 0.2 for cat; judged, two would tie
    assert [curve["auc"] for curve in load_curves(tmp_path)] == [1.0, 1.0]
    plain = write_split(tmp_path, "test", spec, outputs, None)
    assert plain["figures"]["log_loss"]["value"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7]).mean())
    assert not plain["cross_fitted"]


def test_the_calibration_is_in_the_model_file(trained):
    store, run_id = trained
    spec, reference = read_spec(store.checkpoint(run_id)), load_reference(store.checkpoint(run_id))
    train = load_predictions(store.workspace.run_folder(run_id), "train")
    assert len(reference) == len(train) == 24
    assert np.linalg.norm(reference.numpy(), axis=1) == pytest.approx(np.ones(24), abs=1e-5)
    far = load_predictions(store.workspace.run_folder(run_id))["distance"]
    assert spec.neighbours == 5 and len(spec.distances) == 101
    assert spec.distances[0] == pytest.approx(far.min(), rel=1e-4)
    assert (far <= spec.threshold(0.75)).mean() == pytest.approx(0.75, abs=1 / 16)


def test_training_images_and_validation_images_are_kept_apart(trained):
    store, run_id = trained
    folder = store.workspace.run_folder(run_id)
    assert load_result(folder, "train")["images"] == 24 and load_result(folder)["images"] == 16
    assert load_result(folder, "test") is None
    paths = [set(load_predictions(folder, split)["path"]) for split in ("train", "valid")]
    assert not paths[0] & paths[1]
    assert [curve["class"] for curve in load_curves(folder)] == ["cat", "dog"]


def test_golden_photos_say_what_the_model_answers(trained):
    store, run_id = trained
    folder = store.workspace.run_folder(run_id)
    golden = load_golden(folder)
    assert sorted(photo["label"] for photo in golden["photos"]) == ["cat"] * 3 + ["dog"] * 3
    files = [folder / "golden" / photo["file"] for photo in golden["photos"]]
    assert all(Image.open(file).mode == "RGB" and "icc_profile" not in Image.open(file).info for file in files)
    for photo, said in zip(golden["photos"], Predictor.open(str(run_id), store).predict(files), strict=True):
        by_class = dict(zip(said.classes, said.probs, strict=True))
        assert photo["probs"] == pytest.approx([by_class["cat"], by_class["dog"]], abs=1e-4)
        assert photo["distance"] == pytest.approx(said.distance, abs=1e-4)


def test_a_run_of_an_older_thaw_is_completed(run):
    store, run_id = run
    folder = store.workspace.run_folder(run_id)
    before = {split: load_predictions(folder, split) for split in ("train", "valid")}
    golden, spec = load_golden(folder), read_spec(store.checkpoint(run_id))
    for part in ("golden", "train"):
        shutil.rmtree(folder / part)
    (folder / "curves.json").unlink()
    assert not is_complete(folder)
    heard = []
    complete(store, run_id, heard.append)
    assert is_complete(folder) and heard[-1] == "Looking at training images: 40 of 40"
    for split, table in before.items():
        again = load_predictions(folder, split)
        assert again["path"].tolist() == table["path"].tolist()
        assert again["probability"].tolist() == pytest.approx(table["probability"].tolist(), abs=1e-4)
    assert load_golden(folder)["photos"][0]["probs"] == pytest.approx(golden["photos"][0]["probs"], abs=1e-4)
    assert read_spec(store.checkpoint(run_id)).temperature == pytest.approx(spec.temperature, rel=1e-3)


class Interrupting(Listener):
    """Presses Ctrl-C at the end of the first epoch."""

    def on_epoch(self, figures, is_best):
        raise KeyboardInterrupt


@pytest.mark.usefixtures("provers_here")
def test_what_an_interrupted_run_has_learnt_is_proven_and_exported_and_the_run_can_still_go_on(pets, tmp_path):
    run_id = pets.submit(small_recipe(phases=[Phase("Warm-up", epochs=3, lr=0.01)]), running=True)
    with pytest.raises(KeyboardInterrupt):
        execute(pets, run_id, Interrupting())
    assert pets.runs.get(run_id).status == "interrupted"
    assert export(pets, run_id, "safetensors", tmp_path / "model.safetensors").proof.photos == 6
    assert pets.runs.get(run_id).status == "interrupted"

    pets.runs.resume(run_id, running=True)
    with pytest.raises(RunError, match="Run 1 is running; its results are made when it ends"):
        complete(pets, run_id)
    assert execute(pets, run_id) == "finished"
    assert len(pets.runs.epochs(run_id)) == 3
    assert export(pets, run_id, "safetensors", tmp_path / "after.safetensors").proof.photos == 6


@pytest.mark.usefixtures("provers_here")
def test_golden_photos_of_a_model_that_is_gone_are_not_held_against_the_next(pets, tmp_path):
    recipe = small_recipe(phases=[Phase("Warm-up", epochs=1, lr=0.01)])
    run_id = pets.submit(recipe, running=True)
    assert execute(pets, run_id) == "finished"
    pets.runs.extend(run_id, replace(recipe, version=1, phases=[*recipe.phases, *recipe.phases]).to_dict())
    pets.runs.claim()
    with pytest.raises(KeyboardInterrupt):
        execute(pets, run_id, Interrupting())
    assert not is_complete(pets.workspace.run_folder(run_id))
    assert export(pets, run_id, "safetensors", tmp_path / "model.safetensors").proof.photos == 6


def test_a_run_that_learnt_nothing_has_nothing_to_complete(pets):
    run_id = pets.submit(small_recipe(), running=True)
    pets.runs.end(run_id, "failed", "The disk is full.")
    with pytest.raises(ModelError, match=r"Run 1 \(failed\) has no model"):
        complete(pets, run_id)


def test_another_process_completes_it_for_the_page(run):
    store, run_id = run
    result = store.workspace.run_folder(run_id) / "result.json"
    before = result.stat().st_mtime_ns
    process = ask(store, "results", result, run_id)
    _, errors = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 0, errors
    assert result.stat().st_mtime_ns > before


def test_references_are_as_many_of_each_class_and_never_too_many():
    rows = [Row(id=i, label="many" if i % 10 else "few", sha256=f"{i * 7919 % 10007:05}") for i in range(10_000)]
    chosen = reference_images(rows)
    assert len(chosen) == MOST_REFERENCES
    assert sum(row.label == "few" for row in chosen) == MOST_REFERENCES / 2
    assert [row.id for row in reference_images(rows[::-1])] == [row.id for row in chosen]


# The test set


@pytest.fixture
def tested(store, tmp_path):
    """A finished run on a data set with test images."""
    for split, seed in (("train", 1), ("valid", 2), ("test", 3)):
        make_photos(tmp_path / "pets" / split, {"cat": 5, "dog": 5}, seed=seed)
    add_dataset(store, tmp_path / "pets", "pets")
    run_id = store.submit(small_recipe(), running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    return store, run_id


def test_a_look_at_the_test_images_is_written_down_and_counted(tested):
    store, run_id = tested
    folder = store.workspace.run_folder(run_id)
    assert load_result(folder, "test") is None and store.runs.test_looks("pets") == []
    result = look_at_test(store, run_id)
    table = load_predictions(folder, "test")
    assert result["images"] == len(table) == 10
    assert result["accuracy"] == (table["label"] == table["predicted"]).mean()
    look_at_test(store, run_id)
    looks = store.runs.test_looks("pets")
    assert [(look.run_id, look.images, look.accuracy) for look in looks] == [(run_id, 10, result["accuracy"])] * 2
    assert store.runs.test_looks("others") == []


def test_what_an_earlier_model_made_of_the_test_images_goes_when_the_run_goes_on_and_the_look_stays(tested):
    store, run_id = tested
    look_at_test(store, run_id)
    recipe = Recipe.from_dict(store.runs.get(run_id).recipe)
    store.runs.extend(run_id, replace(recipe, phases=[*recipe.phases, *recipe.phases]).to_dict())
    store.runs.claim()
    assert execute(store, run_id) == "finished"
    assert load_result(store.workspace.run_folder(run_id), "test") is None
    assert len(store.runs.test_looks("pets")) == 1


def test_without_test_images_the_way_to_some_is_told(run):
    store, run_id = run
    with pytest.raises(DatasetError, match=r"has no test images\. Set some apart on the Data page"):
        look_at_test(store, run_id)
    assert store.runs.test_looks("pets") == []


# Older results


def test_probabilities_of_a_model_without_calibration_are_the_plain_ones(run):
    store, run_id = run
    predictor = Predictor.open(str(run_id), store)
    first = load_predictions(store.workspace.run_folder(run_id))["file"][0]
    file = dataset_folder(store.workspace, "pets") / first
    logits = predictor.look(predictor.read(file)[None]).logits
    predictor.spec.temperature = 1.0
    [said] = predictor.predict([file])
    assert sorted(said.probs) == pytest.approx(sorted(softmax(logits[0])), abs=1e-6)


def test_what_was_never_learnt_lies_farther_than_what_was(store, tmp_path):
    """Discs and squares are learnt; triangles and rings are held out."""
    every = make_photos(tmp_path / "every", {"disc": 40, "ring": 20, "square": 40, "wedge": 20}, size=(48, 48))
    for label in ("ring", "wedge"):
        (every / label).rename(tmp_path / label)
    unknown = sorted(tmp_path.glob("ring/*.jpg")) + sorted(tmp_path.glob("wedge/*.jpg"))
    add_dataset(store, every, "shapes")
    run_id = store.submit(small_recipe("shapes"), running=True)
    assert execute(store, run_id) == "finished"
    known = load_predictions(store.workspace.run_folder(run_id))["distance"].to_numpy()
    predictor = Predictor.open(str(run_id), store)
    strange = np.array([said.distance for said in predictor.predict(unknown)])
    truth = np.repeat([0, 1], [len(known), len(strange)])
    assert roc_auc_score(truth, np.concatenate([known, strange])) > 0.8
    threshold = predictor.spec.threshold(0.9)
    assert (known <= threshold).mean() == pytest.approx(0.9, abs=1 / len(known))
    assert (strange > threshold).mean() > 0.5
