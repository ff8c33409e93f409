"""A question in a process of its own: progress while it lasts, a sentence when it fails, nothing left when stopped."""

import importlib
import logging
import os

import pytest

from learner.planning.estimate import resolve_recipe
from learner.questions.answers import answer_file, forget_oldest, keep_answer, read_answer, read_progress
from learner.questions.layers import layers_file
from learner.questions.process import ANSWERED_BY, ask, why_it_failed
from learner.recipe import Head, Recipe
from tests.patience import GIVE_UP_S, until

NETWORK = Recipe("pets", version=1, backbone="test_resnet", image_size=64, head=Head("linear"))


def test_every_question_names_a_function_that_is_there():

    for place in ANSWERED_BY.values():
        module, _, function = place.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_its_progress_stands_beside_the_answer_until_it_is_found(pets):
    file = layers_file(pets.workspace, NETWORK, 2)
    process = ask(pets, "layers", file, NETWORK)
    until(lambda: read_progress(file) or process.poll() is not None, every_s=0.01)
    assert process.wait(GIVE_UP_S) == 0 and why_it_failed(process, "Lost.") == ""
    assert file.exists() and read_progress(file) == "" and list(file.parent.iterdir()) == [file]


def test_what_a_person_can_put_right_is_its_last_words(pets, tmp_path):
    process = ask(pets, "rates", tmp_path / "rates.json", resolve_recipe(pets, NETWORK), 7)
    assert process.wait(GIVE_UP_S) == 2
    assert why_it_failed(process, "Lost.") == "There is no phase 8: the recipe has 2."
    assert list(tmp_path.glob("rates*")) == []


def test_of_a_defect_a_person_gets_a_sentence_and_the_log_the_traceback(pets, tmp_path, caplog):
    process = ask(pets, "rates", tmp_path / "rates.json", NETWORK, "no number")
    assert process.wait(GIVE_UP_S) == 1
    with caplog.at_level(logging.ERROR):
        assert why_it_failed(process, "No rate could be found.") == "No rate could be found."
    assert "Traceback" in caplog.text and "TypeError" in caplog.text


def test_stopping_it_leaves_nothing(pets):
    file = layers_file(pets.workspace, NETWORK, 2)
    process = ask(pets, "layers", file, NETWORK)
    until(lambda: read_progress(file) or process.poll() is not None, every_s=0.01)
    process.terminate()
    process.communicate(timeout=GIVE_UP_S)
    assert read_progress(file) == ""


def test_an_answer_is_found_by_what_decides_it(workspace):
    file = answer_file(workspace, "rates", {"a": 1, "b": [2]})
    assert file == answer_file(workspace, "rates", {"b": [2], "a": 1})
    assert file != answer_file(workspace, "rates", {"a": 1, "b": [3]})
    keep_answer(file, {"size": 3})
    assert read_answer(file, dict) == {"size": 3}


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"siz'])
def test_a_damaged_answer_is_none(workspace, text):
    file = answer_file(workspace, "rates", 1)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert read_answer(file, Recipe) is None


def test_of_large_answers_only_the_newest_are_kept(tmp_path):
    for age, name in enumerate(["new", "old", "oldest"]):
        keep_answer(tmp_path / f"{name}.json", {})
        os.utime(tmp_path / f"{name}.json", (1000 - age, 1000 - age))
    forget_oldest(tmp_path, 2)
    assert sorted(file.stem for file in tmp_path.iterdir()) == ["new", "old"]
    forget_oldest(tmp_path / "nowhere", 2)
