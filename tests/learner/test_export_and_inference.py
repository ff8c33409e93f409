"""What leaves Thaw opens elsewhere with the same answers, and what comes in is read with care."""

import csv
import json
import pickletools
import subprocess
import sys
import zipfile
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from torch import nn

from learner.backbones import build
from learner.errors import ModelError, RunError
from learner.export import export_learner, export_safetensors
from learner.heads import build_head
from learner.inference import BATCH, Predictor
from learner.models import ModelSpec, load_model, read_spec, save_model
from learner.recipe import Head
from learner.store import Store

WITHOUT_THAW = """
import json, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("learner", "ui", "pages"):
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Blocker())
try:
    import learner
except ImportError:
    pass
from fastai.learner import load_learner
learn = load_learner(sys.argv[1])
answers = [learn.predict(path) for path in sys.argv[2:]]
print(json.dumps({"vocab": list(learn.dls.vocab), "answers": [[label, probs.tolist()] for label, _, probs in answers]}))
"""


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


# learner.pkl


def test_learner_pkl_opens_in_plain_fastai_without_thaw_and_gives_the_same_answers(
    checkpoint, predictor, valid_photos, tmp_path
):
    pkl = export_learner(checkpoint, tmp_path / "out.pkl")
    command = [sys.executable, "-c", WITHOUT_THAW, str(pkl), *map(str, valid_photos[::4])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["vocab"] == ["cat", "dog"]
    ours = list(predictor.predict(valid_photos[::4]))
    assert len(ours) == len(said["answers"]) == 4
    for (label, probs), prediction in zip(said["answers"], ours, strict=True):
        assert label == prediction.classes[0]
        assert dict(zip(said["vocab"], probs, strict=True)) == pytest.approx(by_class(prediction), abs=1e-3)


def test_nothing_in_learner_pkl_names_our_modules(trained):
    store, run_id = trained
    names = globals_of(store.workspace.run_folder(run_id) / "learner.pkl")
    assert "fastai.learner" in {name.rpartition(".")[0] for name in names}
    ours = [name for name in names if name.split(".")[0] in ("learner", "ui", "pages", "conftest", "__main__")]
    assert ours == []


def globals_of(pkl: Path) -> set[str]:
    """Every `module.name` that opening the pickle imports, read without opening it."""
    with zipfile.ZipFile(pkl) as archive:
        [member] = [name for name in archive.namelist() if name.endswith("data.pkl")]
        content = archive.read(member)
    names, strings = set(), []
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "GLOBAL":
            names.add(argument.replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            names.add(".".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    return names


def test_a_vgg16s_learner_pkl_is_at_most_70_megabytes(tmp_path):
    backbone = build("vgg16", "random")
    spec = ModelSpec(
        "vgg16", backbone.stages, list("abcde"), 224, list(backbone.mean), list(backbone.std), backbone.num_features
    )
    model = nn.Sequential(backbone.body, build_head(Head(), backbone.num_features, 5, (1, 1)))
    save_model(model, spec, tmp_path / "vgg16.safetensors")
    pkl = export_learner(tmp_path / "vgg16.safetensors", tmp_path)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert pkl == tmp_path / "learner.pkl"
    assert 4 * parameters < pkl.stat().st_size <= 70_000_000


def test_classes_keep_their_order_in_learner_pkl_whatever_their_names(checkpoint, tmp_path):
    model, spec = load_model(checkpoint)
    spec.classes = ["zebra 10", "ant 2"]  # not in any order that sorting would give
    save_model(model, spec, tmp_path / "model.safetensors")
    pkl = export_learner(tmp_path / "model.safetensors", tmp_path / "learner.pkl")
    assert Predictor.open(str(pkl), None, trust_pickle=True).spec.classes == ["zebra 10", "ant 2"]
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


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


def test_exported_safetensors_hold_the_very_same_tensors_beside_a_readable_json(checkpoint, tmp_path):
    target = export_safetensors(checkpoint, tmp_path)
    assert target == tmp_path / "model.safetensors"
    before, after = load_file(checkpoint), load_file(target)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    spec = read_spec(target)
    assert json.loads((tmp_path / "model.json").read_text()) == asdict(spec)
    assert (spec.arch, spec.classes, spec.image_size) == ("test_resnet", ["cat", "dog"], 32)
    model, _ = load_model(target)
    assert not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


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
    with pytest.raises(
        ModelError, match=r"new\.safetensors has format 3; this Thaw reads formats up to 2"
    ):
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
    exported = export_safetensors(store.checkpoint(run_id), tmp_path)
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
