"""What predictions are made of beside the network: views of test-time augmentation, and "none of these"."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from learner.datasets import add_dataset
from learner.errors import ModelError
from learner.evaluation.results import load_predictions
from learner.features.augment import draw
from learner.inference.predictor import Predictor
from learner.recipe import Augment, Phase
from learner.store import Store
from learner.training.process import execute
from learner.workspace import Workspace
from tests.samples import make_photos, small_recipe

SIX = dict.fromkeys("abcdef", 24)
KNOWN = "abcd"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    """Photos of six classes; the model is taught four of them."""
    return make_photos(tmp_path_factory.mktemp("shapes"), SIX, size=(64, 64))


@pytest.fixture(scope="module")
def taught(shapes, tmp_path_factory) -> tuple[Store, int]:
    folder = tmp_path_factory.mktemp("known") / "known"
    for label in KNOWN:
        shutil.copytree(shapes / label, folder / label)
    store = Store(Workspace(tmp_path_factory.mktemp("home")))
    add_dataset(store, folder, "known")
    phases = [Phase("All", trainable="all", epochs=12, lr=[1e-2, 1e-2])]
    augment = Augment(flip_horizontal=True, rotate=20)
    run_id = store.submit(small_recipe("known", phases=phases, valid_fraction=0.4, augment=augment), running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    return store, run_id


@pytest.fixture(scope="module")
def predictor(taught) -> Predictor:
    return Predictor.open(str(taught[1]), taught[0])


def test_classes_that_were_held_out_of_training_lie_farther_and_known_images_are_kept(taught, predictor, shapes):
    store, run_id = taught
    valid = load_predictions(store.workspace.run_folder(run_id))
    held_out = [file for label in set(SIX) - set(KNOWN) for file in sorted((shapes / label).glob("*.jpg"))]
    far = np.array([prediction.distance for prediction in predictor.predict(held_out)])
    near = valid["distance"].to_numpy()
    assert len(far) == 48 and len(near) >= 30
    is_new = np.r_[np.zeros(len(near)), np.ones(len(far))]
    assert roc_auc_score(is_new, np.r_[near, far]) > 0.75  # by chance 0.5 ± 0.06
    for coverage in (0.8, 0.9, 0.95, 1.0):
        kept = np.mean(near <= predictor.spec.threshold(coverage) + 1e-6)  # the table has fewer digits
        assert kept == pytest.approx(coverage, abs=1 / len(near))
    turned_away = [
        prediction.is_none_of_these(predictor.spec.threshold(0.9)) for prediction in predictor.predict(held_out)
    ]
    assert np.mean(turned_away) > 0.4  # of known images 0.1


def test_the_most_similar_are_training_images_of_what_it_shows(taught, predictor, shapes):
    store, run_id = taught
    train = load_predictions(store.workspace.run_folder(run_id), "train")
    folder = next(store.workspace.datasets.iterdir())
    for row in train.iloc[::10].itertuples():
        [prediction] = predictor.predict([folder / row.file])
        assert train["file"].iloc[prediction.nearest[0]] == row.file, "an image is most like itself"
    valid = load_predictions(store.workspace.run_folder(run_id))
    labels = [
        train["label"].iloc[prediction.nearest[0]]
        for prediction in predictor.predict([folder / file for file in valid["file"]])
    ]
    assert np.mean(labels == valid["label"].to_numpy()) > 0.8


def test_views_are_averaged_by_their_probabilities(predictor, shapes):
    file = shapes / "a" / "a_000.jpg"
    [plain], [averaged] = predictor.predict([file]), predictor.predict([file], views=4)
    pixels = predictor.read(file)
    content = hashlib.sha256(pixels.tobytes()).hexdigest()
    draws = [draw(Augment(**predictor.spec.augment), 0, content, view) for view in range(4)]
    assert len({tuple(one) for one in draws}) == 4
    probs = [dict(zip(plain.classes, plain.probs, strict=True))]
    for one in draws:
        logits = predictor.look(pixels[None].copy(), one[None]).logits[0] / predictor.spec.temperature
        chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        probs.append(dict(zip(predictor.spec.classes, chances, strict=True)))
    for label, prob in zip(averaged.classes, averaged.probs, strict=True):
        assert prob == pytest.approx(np.mean([one[label] for one in probs]), abs=1e-4)
    assert averaged.probs == sorted(averaged.probs, reverse=True)
    assert (averaged.distance, averaged.nearest) == (plain.distance, plain.nearest)


def test_views_do_not_depend_on_what_else_is_asked(predictor, shapes):
    files = sorted((shapes / "b").glob("*.jpg"))[:3]
    together = list(predictor.predict(files, views=2))
    for file, prediction in zip(files, together, strict=True):
        [alone] = predictor.predict([file], views=2)
        assert alone.classes == prediction.classes and alone.probs == pytest.approx(prediction.probs, abs=1e-4)


def test_views_of_a_model_that_saw_none_are_refused_at_once(trained):
    store, run_id = trained
    with pytest.raises(ModelError, match="was trained without augmentation"):
        Predictor.open(str(run_id), store).predict([], views=1)
