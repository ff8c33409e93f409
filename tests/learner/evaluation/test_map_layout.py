"""The map of a run's photos: alike ones near to each other, with what the run says of each."""

import numpy as np
import pytest
from sqlalchemy import update

from learner.datasets.files import image_path
from learner.errors import ImportCancelled, RunError
from learner.evaluation import map_layout
from learner.evaluation.inspect import look_at_test
from learner.evaluation.map_layout import lay_out, make_map
from learner.evaluation.photo_map import COLUMNS, map_file, read_map
from learner.evaluation.results import load_predictions
from learner.inference.predictor import Predictor
from learner.inference.seen import see
from learner.store import Image, Store
from tests.samples import copy_workspace, small_recipe


@pytest.fixture
def run(trained, workspace) -> tuple[Store, int]:
    """A finished run on 24 training and 16 validation photos, in a workspace of the test's own."""
    store, run_id = trained
    copy_workspace(store.workspace.root, workspace.root)
    return Store(workspace), run_id


def test_photos_of_a_kind_lie_together_and_the_same_photos_at_the_same_places():
    chance = np.random.default_rng(0)
    kind = np.arange(60) % 3
    features = chance.normal(0, 0.1, (60, 20)) + chance.normal(0, 1, (3, 20))[kind]
    told: list[str] = []
    places = lay_out(features, told.append)
    assert places.shape == (60, 2) and places.min() >= 0 and places.max() <= 1
    far = np.linalg.norm(places[:, None] - places[None], axis=2) + 9 * np.eye(60)
    assert (kind[far.argmin(axis=1)] == kind).all()
    assert np.array_equal(places, lay_out(features))
    assert told[-1].startswith("Laying out 60 photos: 100 %")


@pytest.mark.parametrize("photos", [1, 2, 3, 12])
def test_few_photos_and_photos_that_are_all_the_same_have_places_too(photos):
    for features in (np.ones((photos, 8)), np.eye(photos, 8)):
        places = lay_out(features)
        assert places.shape == (photos, 2) and np.isfinite(places).all()


def test_a_map_says_of_each_photo_what_the_run_says_and_is_kept(run):
    store, run_id = run
    told: list[str] = []
    made = make_map(store, run_id, told.append)
    assert (len(made), made.split.count("train"), made.split.count("valid"), made.left_out) == (40, 24, 16, 0)
    table = load_predictions(store.run_folder(run_id)).set_index("path")
    for path, split, said, sure in zip(made.path, made.split, made.predicted, made.probability, strict=True):
        if split == "valid":
            assert said == table.loc[path, "predicted"]
            assert sure == pytest.approx(table.loc[path, "probability"], abs=1e-3)
    assert read_map(map_file(store, store.runs.get(run_id))) == made
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in made.rows()]
    assert all(row["wrong"] == (row["label"] != row["predicted"]) and 0 <= row["x"] <= 1 for row in rows)
    assert any(text.startswith("Looking at the photos: 40 of 40") for text in told)
    told.clear()
    make_map(store, run_id, told.append)
    assert not any(text.startswith("Looking") for text in told)


def test_photos_that_cannot_be_read_or_are_too_many_are_left_out_and_counted(run, monkeypatch):
    store, run_id = run
    images = store.datasets.images(store.runs.get(run_id).dataset_version_id)
    image_path(store.workspace, "pets", images[0]).write_bytes(b"no picture any more")
    made = make_map(store, run_id)
    assert made.left_out == 1 and images[0].path not in made.path
    monkeypatch.setattr(map_layout, "MOST", 20)
    made = make_map(store, run_id)
    assert (made.split.count("valid"), made.left_out) == (16, 40 - len(made))
    assert sorted(label for label, split in zip(made.label, made.split, strict=True) if split == "train") in (
        ["cat", "cat", "dog", "dog"],
        ["cat", "cat", "dog"],
        ["cat", "dog", "dog"],
    )


def test_test_images_are_on_no_map_before_the_run_has_looked_at_them(run):
    store, run_id = run
    version = store.runs.get(run_id).dataset_version_id
    some = [image.path for image in store.datasets.images(version) if image.split == "train"][:4:2]
    with store.datasets.session() as session:
        session.execute(update(Image).where(Image.version_id == version, Image.path.in_(some)).values(split="test"))
        session.commit()
    assert not set(some) & set(make_map(store, run_id).path)
    look_at_test(store, run_id)
    made = make_map(store, run_id)
    assert {path for path, split in zip(made.path, made.split, strict=True) if split == "test"} == set(some)


def test_a_run_that_trains_has_no_map(run):
    store, _ = run
    waiting = store.submit(small_recipe())
    with pytest.raises(RunError, match=r"Run \d+ is queued; its map can be made when it has ended"):
        make_map(store, waiting)


def test_what_was_seen_before_a_stop_is_not_looked_at_again(run):
    store, run_id = run
    predictor = Predictor.open(str(run_id), store)
    images = store.datasets.images(store.runs.get(run_id).dataset_version_id)
    pictures = [(image.sha256, image_path(store.workspace, "pets", image)) for image in images]
    told: list[str] = []
    with pytest.raises(ImportCancelled, match="What was seen is kept"):
        see(store, predictor, "model", pictures, told.append, stopped=lambda: len(told) == 1)
    seen = see(store, predictor, "model", pictures, told.append)
    assert [text.split(" of ")[0] for text in told] == [f"Looking at the photos: {done}" for done in (16, 32, 40)]
    looked = predictor.look(np.stack([predictor.read(file) for _, file in pictures]))
    assert seen.logits == pytest.approx(looked.logits, abs=1e-3)
    assert seen.features == pytest.approx(looked.features, abs=1e-3)
