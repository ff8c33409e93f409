"""Models are read with care, and predict what the run did."""

import csv
import json
import shutil
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file

from learner.errors import ModelError, RunError
from learner.inference.predictor import BATCH, Predictor
from learner.models.checkpoint import load_model, read_spec
from learner.store import Store


@pytest.fixture(scope="module")
def checkpoint(trained) -> Path:
    store, run_id = trained
    return store.checkpoint(run_id)


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    store, run_id = trained
    return Predictor.open(str(run_id), store)


@pytest.fixture(scope="module")
def valid_photos(photos) -> list[Path]:
    return sorted((photos / "valid").rglob("*.jpg"))


def by_class(prediction) -> dict[str, float]:
    return dict(zip(prediction.classes, prediction.probs, strict=True))


# Pickles


def test_a_pickle_is_opened_only_when_it_is_trusted(trained, predictor, valid_photos):
    store, run_id = trained
    pkl = store.workspace.run_folder(run_id) / "learner.pkl"
    with pytest.raises(ModelError, match=r"learner\.pkl is a pickle, which can run any program .*--trust-pickle"):
        Predictor.open(str(pkl), store)
    trusted = Predictor.open(str(pkl), store, trust_pickle=True)
    for theirs, ours in zip(trusted.predict(valid_photos[:3]), predictor.predict(valid_photos[:3]), strict=True):
        assert by_class(theirs) == pytest.approx(by_class(ours), abs=1e-3)


def test_a_pickle_that_is_no_learner_of_ours_is_told(tmp_path, store):
    (tmp_path / "other.pkl").write_bytes(b"not a pickle")
    with pytest.raises(ModelError, match=r"other\.pkl is not a learner\.pkl that Thaw exported"):
        Predictor.open(str(tmp_path / "other.pkl"), store, trust_pickle=True)
    with pytest.raises(ModelError, match=r"There is no model at .*none\.pkl"):
        Predictor.open(str(tmp_path / "none.pkl"), store, trust_pickle=True)


# safetensors


def test_a_model_that_is_missing_damaged_or_foreign_is_refused_with_its_reason(checkpoint, tmp_path):
    with pytest.raises(ModelError, match=r"There is no model at .*none\.safetensors"):
        load_model(tmp_path / "none.safetensors")

    whole = checkpoint.read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("noise", b"\xff" * 1000)):
        (tmp_path / f"{name}.safetensors").write_bytes(content)
        with pytest.raises(ModelError, match=rf"{name}\.safetensors is not a whole safetensors file .*Export it once"):
            load_model(tmp_path / f"{name}.safetensors")

    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"foreign\.safetensors was not written by Thaw"):
        load_model(tmp_path / "foreign.safetensors")


def with_spec(checkpoint: Path, target: Path, **changes) -> Path:
    spec = asdict(read_spec(checkpoint)) | changes
    save_file(load_file(checkpoint), target, metadata={"thaw": json.dumps(spec)})
    return target


def test_a_model_of_another_format_asks_for_a_newer_thaw(checkpoint, tmp_path):
    file = with_spec(checkpoint, tmp_path / "new.safetensors", format=3, surprise=True)
    with pytest.raises(ModelError, match=r"new\.safetensors has format 3; this Thaw reads formats up to 2"):
        load_model(file)


def test_a_model_whose_description_was_tampered_with_is_refused(checkpoint, tmp_path):
    with pytest.raises(ModelError, match="do not fit the test_resnet that it names"):
        load_model(with_spec(checkpoint, tmp_path / "a.safetensors", classes=["only one"]))
    with pytest.raises(ModelError, match=r"b\.safetensors is damaged: .*surprise"):
        load_model(with_spec(checkpoint, tmp_path / "b.safetensors", surprise=True))
    save_file(load_file(checkpoint), tmp_path / "c.safetensors", metadata={"thaw": "{"})
    with pytest.raises(ModelError, match=r"c\.safetensors is damaged"):
        load_model(tmp_path / "c.safetensors")


def test_a_model_is_named_by_run_or_file_and_nothing_else(trained, tmp_path):
    store, run_id = trained
    with pytest.raises(ModelError, match="'vgg16' is neither a run's id, nor"):
        Predictor.open("vgg16", store)
    with pytest.raises(RunError, match="There is no run 4711"):
        Predictor.open("4711", store)
    exported = shutil.copy(store.checkpoint(run_id), tmp_path / "mine.safetensors")
    assert Predictor.open(str(exported), Store(store.workspace)).spec == Predictor.open(str(run_id), store).spec


# Predictions


def test_predictions_are_those_of_the_run_for_its_validation_images(trained, predictor, photos):
    store, run_id = trained
    with (store.workspace.run_folder(run_id) / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, prediction in zip(rows, predictor.predict(photos / row["path"] for row in rows), strict=True):
        assert prediction.classes[0] == row["predicted"]
        assert by_class(prediction) == pytest.approx(
            {"cat": float(row["p(cat)"]), "dog": float(row["p(dog)"])}, abs=1e-3
        )


def test_unreadable_files_in_the_middle_carry_their_error_and_move_no_answer(predictor, valid_photos, tmp_path):
    text, gone = tmp_path / "notes.jpg", tmp_path / "gone.jpg"
    text.write_text("not a picture")
    sources = list(valid_photos)
    sources[3:3] = [text]
    sources[BATCH:BATCH] = [gone, text]
    assert len(sources) > BATCH
    predictions = list(predictor.predict(iter(sources)))
    assert [prediction.source for prediction in predictions] == sources
    alone = {path: by_class(next(predictor.predict([path]))) for path in valid_photos}
    for prediction in predictions:
        if prediction.source in (text, gone):
            assert prediction.error and not prediction.classes and not prediction.probs
        else:
            assert prediction.error == ""
            assert by_class(prediction) == pytest.approx(alone[prediction.source], abs=1e-4)


def test_a_batch_of_nothing_but_unreadable_files_is_no_accident(predictor, tmp_path):
    predictions = list(predictor.predict([tmp_path / "a", tmp_path / "b"]))
    assert all(prediction.error for prediction in predictions) and len(predictions) == 2
    assert list(predictor.predict([])) == []


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_a_photo_that_only_its_exif_mark_turns_upright_gives_the_upright_answer(
    predictor, valid_photos, tmp_path, orientation
):
    upright = Image.open(valid_photos[0]).convert("RGB")
    stored_as = {2: (0,), 3: (3,), 6: (2,), 8: (4,)}[orientation]  # FLIP_LEFT_RIGHT, ROTATE_180, ROTATE_90, ROTATE_270
    turned = upright.transpose(stored_as[0])
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned.save(tmp_path / "turned.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    with Image.open(tmp_path / "turned.png") as again:
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(again)), np.asarray(upright))
    turned, straight, as_stored = predictor.predict(
        [tmp_path / "turned.png", tmp_path / "upright.png", without_exif(turned, tmp_path)]
    )
    assert by_class(turned) == pytest.approx(by_class(straight), abs=1e-6)
    assert by_class(as_stored) != pytest.approx(by_class(straight), abs=1e-6)


def without_exif(image: Image.Image, folder: Path) -> Path:
    image.save(folder / "as_stored.png")
    return folder / "as_stored.png"


def test_grey_pictures_and_transparent_ones_are_looked_at_as_rgb(predictor, valid_photos, tmp_path):
    photo = Image.open(valid_photos[0]).convert("RGB")
    photo.convert("RGBA").save(tmp_path / "opaque.png")
    photo.save(tmp_path / "photo.png")
    photo.convert("L").save(tmp_path / "grey.png")
    photo.convert("L").convert("RGB").save(tmp_path / "grey_rgb.png")
    names = ("opaque", "photo", "grey", "grey_rgb")
    opaque, plain, grey, grey_rgb = map(by_class, predictor.predict(tmp_path / f"{name}.png" for name in names))
    assert opaque == pytest.approx(plain, abs=1e-6)
    assert grey == pytest.approx(grey_rgb, abs=1e-6)


def test_an_open_file_is_as_good_as_a_path(predictor, valid_photos):
    path = valid_photos[0]
    in_memory, on_disk = predictor.predict([BytesIO(path.read_bytes()), path])
    assert by_class(in_memory) == pytest.approx(by_class(on_disk))


def test_top_k_gives_the_most_probable_classes_first_and_no_more_than_there_are(predictor, valid_photos):
    [one], [every] = (list(predictor.predict(valid_photos[:1], top_k)) for top_k in (1, 10))
    assert len(one.classes) == 1 and len(every.classes) == 2
    assert one.classes[0] == every.classes[0]
    assert every.probs == sorted(every.probs, reverse=True)
    assert sum(every.probs) == pytest.approx(1)
