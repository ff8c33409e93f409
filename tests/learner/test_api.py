"""Thaw from Python, as docs/python.md shows it: its examples run, and mistakes are told before anything is done."""

import doctest
import inspect

import numpy as np
import pytest
from fastai.learner import Learner

import learner
from learner import api
from learner.datasets import dataset_folder
from learner.errors import DatasetError, ImageError, ModelError, RecipeError, RunError
from learner.evaluation.intervals import wilson
from learner.recipe import Recipe
from tests.samples import make_photos, small_recipe


@pytest.fixture
def folder(tmp_path, workspace, monkeypatch):
    """An empty working folder with `photos` of cats and dogs in it; the network comes from the bundled package."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    make_photos(tmp_path / "photos", {"cat": 12, "dog": 12}, size=(48, 40))
    return tmp_path


@pytest.fixture
def result(folder) -> api.Result:
    return learner.train("photos", recipe=small_recipe(), model="pets.safetensors", progress=False)


def test_the_examples_in_the_documentation_are_true(result):
    for documented in (api.train, api.load):
        for test in doctest.DocTestFinder(recurse=False).find(documented, globs={}):
            assert test.examples
            assert doctest.DocTestRunner().run(test).failed == 0


def test_what_came_of_it_is_there_as_figures_tables_and_a_learner(result):
    figures = result.figures
    right = round(figures["accuracy"] * figures["images"])
    assert (result.accuracy.low, result.accuracy.high) == pytest.approx(wilson(right, figures["images"]))
    assert str(result.accuracy).startswith(f"{100 * result.accuracy:.1f} % (")
    predictions = result.predictions()
    for row, column in (("cat", "cat"), ("cat", "dog"), ("dog", "cat"), ("dog", "dog")):
        counted = ((predictions["label"] == row) & (predictions["predicted"] == column)).sum()
        assert result.confusion.loc[row, column] == counted
    assert len(result.epochs) == sum(phase.epochs for phase in Recipe.from_dict(result.run.recipe).phases)
    assert set(result.per_class["class"]) == {"cat", "dog"}
    assert isinstance(result.learner, Learner)
    again = learner.open_run(result.run_id)
    assert again.figures == figures and repr(again.accuracy) == repr(result.accuracy)


def test_a_model_says_of_pictures_what_the_run_said_of_them(result, folder):
    model = learner.load("pets.safetensors")
    predictions = result.predictions()
    files = [dataset_folder(result.store.workspace, "photos") / file for file in predictions["file"]]
    several = model.predict(files)
    assert [answer.label for answer in several] == predictions["predicted"].tolist()
    assert np.allclose([answer.probability for answer in several], predictions["probability"], atol=1e-3)
    with files[0].open("rb") as stream:
        assert model.predict(stream).label == several[0].label
    (folder / "letter.txt").write_text("no picture")
    with pytest.raises(ImageError):
        model.predict("letter.txt")
    assert model.predict(["letter.txt"])[0].error


def test_a_data_set_that_is_there_is_used_by_its_name(result):
    again = learner.train("photos", recipe=small_recipe(), progress=False)
    assert again.run.dataset_version_id == result.run.dataset_version_id
    assert again.figures["accuracy"] == result.figures["accuracy"]  # the same seed gives the same model


def test_the_report_is_one_file(result, folder):
    assert "<html" in result.report(folder / "report.html").read_text("utf-8")


def test_mistakes_are_told_before_anything_is_done(folder, store):
    with pytest.raises(RecipeError, match="no shipped recipe of that name"):
        learner.train("photos", recipe="best")
    with pytest.raises(RecipeError, match="epochs"):
        learner.train("photos", changes=["phases.0.epochs=0"])
    with pytest.raises(ModelError, match=r"pets.model .*let it end in .pkl, .safetensors, .onnx"):
        learner.train("photos", model="pets.model")
    with pytest.raises(DatasetError, match="nothing"):
        learner.train("nothing")
    assert store.datasets.names() == [] and store.runs.all() == []
    with pytest.raises(RunError, match="There is no run 7"):
        learner.open_run(7)
    with pytest.raises(ModelError, match="trust_pickle=True"):
        learner.load("pets.pkl")


def test_a_run_that_fails_raises_its_reason(folder):
    with pytest.raises(RunError, match=r"Run 1 failed\. .*not an architecture"):
        learner.train("photos", recipe=small_recipe(backbone="nosuch"), progress=False)


def test_every_public_name_is_there_and_documented():
    for name in learner.__all__:
        value = getattr(learner, name)
        assert name == "__version__" or inspect.getdoc(value), name
    with pytest.raises(AttributeError, match="no attribute 'tain'"):
        _ = learner.tain
