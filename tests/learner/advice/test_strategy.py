"""Recommending a strategy: the map and its marks, what is measured, and what is kept of it."""

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from learner.advice.strategy import FEWEST, MOST_IMAGES, probe, recommend, sample
from learner.datasets import add_dataset
from learner.datasets.exclusions import ImageRow
from learner.errors import DatasetError, RunError
from learner.jobs.device import exclusive_device
from learner.planning.estimate import resolve_recipe
from learner.questions.process import ask
from learner.questions.strategy import (
    MANY_PER_CLASS,
    Recommendation,
    read_recommendation,
    recommendation_file,
    recommended_recipe,
    strategy_for,
)
from learner.recipe import Recipe
from learner.recipe.backbones import FALLBACK_ARCH
from tests.machine import keep_speed
from tests.patience import GIVE_UP_S
from tests.samples import make_photos

PETS = Recipe("pets", backbone=FALLBACK_ARCH, image_size=64)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No hub is asked for weights."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def row(number: int, label: str, **more) -> ImageRow:
    name = f"{label}{number}"
    return ImageRow(
        f"{name}.png", f"{name}.png", label, "", f"{random.Random(name).getrandbits(256):064x}", 9, 9, **more
    )


def rows(**classes: int) -> list[ImageRow]:
    return [row(number, label) for label, images in classes.items() for number in range(images)]


class TestTheMap:
    @pytest.mark.parametrize(
        ("images", "accuracy", "strategy"),
        [
            (60, 0.99, "frozen"),
            (60, 0.60, "some"),
            (MANY_PER_CLASS, 0.99, "some"),
            (MANY_PER_CLASS, 0.60, "everything"),
            (MANY_PER_CLASS - 1, 0.60, "some"),
        ],
    )
    def test_size_and_likeness_decide(self, images, accuracy, strategy):
        assert strategy_for(images, accuracy, chance=0.25) == strategy

    def test_what_chance_gives_counts_for_nothing(self):
        assert strategy_for(60, 0.96, chance=0.1) == "frozen"  # 0.956 of the way from chance
        assert strategy_for(60, 0.96, chance=0.9) == "some"  # 0.6 of the way
        assert strategy_for(60, 0.9, chance=1.0) == "some"


class TestTheProbe:
    def test_features_that_tell_classes_apart_are_found_out(self):
        taken = rows(cat=30, dog=30)
        labels = np.array([one.label == "cat" for one in taken], dtype=np.float32)
        noise = np.random.default_rng(0).normal(size=(60, 40)).astype(np.float32)
        right, chance = probe(taken, np.column_stack([*[labels] * 8, noise]))
        assert len(right) == 60 and right.mean() > 0.9 and chance == 0.5

    def test_features_that_say_nothing_are_no_better_than_chance(self):
        noise = np.random.default_rng(0).normal(size=(200, 40)).astype(np.float32)
        right, chance = probe(rows(cat=150, dog=50), noise)
        assert chance == 0.75 and right.mean() < 0.8

    def test_what_belongs_together_is_never_learnt_from_and_asked_for(self):
        """Images of one group are alike and otherwise random: a model that has seen one of them knows the others."""
        draws = np.random.default_rng(1)
        taken, features = [], []
        for group in range(30):
            looks = draws.normal(size=60)
            for number in range(4):
                taken.append(row(4 * group + number, "cat" if group % 2 else "dog", group=f"g{group}"))
                features.append(looks + 0.01 * draws.normal(size=60))
        features = np.array(features, dtype=np.float32)
        grouped, _ = probe(taken, features)
        alone, _ = probe([replace(one, group="") for one in taken], features)
        assert alone.mean() > 0.95 and grouped.mean() < 0.75

    def test_a_sample_keeps_every_class_in_proportion_and_is_always_the_same(self):
        taken = sample(rows(cat=3000, dog=1000, newt=FEWEST, rare=FEWEST - 1))
        counts = {label: sum(one.label == label for one in taken) for label in ("cat", "dog", "newt", "rare")}
        assert counts["rare"] == 0 and counts["newt"] == FEWEST
        assert counts["cat"] == pytest.approx(3 * counts["dog"], abs=2)
        assert MOST_IMAGES - 5 <= len(taken) <= MOST_IMAGES + FEWEST
        assert {one.path for one in sample(list(reversed(rows(cat=3000, dog=1000, newt=FEWEST))))} == {
            one.path for one in taken
        }

    @pytest.mark.parametrize(
        ("classes", "said"), [({"cat": 9, "dog": 4}, "there is 1"), ({"cat": 4}, "there are none")]
    )
    def test_too_few_images_are_told(self, classes, said):
        with pytest.raises(DatasetError, match=f"two classes with at least 5 images each are needed; {said}"):
            sample(rows(**classes))


class TestADataSet:
    def test_classes_of_their_own_shape_and_colour_need_the_head_only(self, pets):
        told = []
        found = recommend(pets, PETS, told.append)
        assert (found.strategy, found.recipe) == ("frozen", "size_similarity_frozen")
        assert (found.images_per_class, found.fewest, found.probed, found.chance) == (20, 20, 40, 0.5)
        assert found.interval[0] < found.accuracy <= found.interval[1] <= 1
        assert "Running images through the frozen network: 40 of 40" in told[-2]
        advice, size, likeness, why = found.sentences
        assert advice == "Freeze the body and train the head only."
        assert size == "A class has 20 images in the median: few, by the usual mark of 1,000."
        assert "of 40 images right that it did not learn from" in likeness and "gets 50.0 %" in likeness
        assert why.endswith("It is a rule of thumb: try it.")
        assert recommend(pets, PETS, pytest.fail) == found  # not measured again
        assert pets.runs.all() == []

    def test_noise_is_not_told_apart(self, store, tmp_path):
        for label in ("left", "right"):
            (tmp_path / "noise" / label).mkdir(parents=True)
            for number in range(15):
                pixels = random.Random(f"{label}{number}").randbytes(64 * 64 * 3)
                Image.frombytes("RGB", (64, 64), pixels).save(tmp_path / "noise" / label / f"{number}.png")
        add_dataset(store, tmp_path / "noise", "noise")
        found = recommend(store, replace(PETS, dataset="noise"))
        assert found.strategy == "some" and found.accuracy < 0.8
        assert "its features do not tell your classes apart well enough" in found.sentences[2]

    def test_the_test_set_has_no_part_in_it(self, store, tmp_path):
        make_photos(tmp_path / "pets" / "train", {"cat": 8, "dog": 8}, seed=1)
        make_photos(tmp_path / "pets" / "test", {"cat": 6, "dog": 6}, seed=2)
        add_dataset(store, tmp_path / "pets", "pets")
        assert recommend(store, PETS).probed == 16

    def test_it_does_not_run_beside_training(self, pets):
        with exclusive_device(pets.workspace), pytest.raises(RunError, match="This machine is training"):
            recommend(pets, PETS)

    def test_another_process_does_it_for_the_page(self, pets):
        assert read_recommendation(pets.workspace, resolve_recipe(pets, PETS)) is None
        settled = resolve_recipe(pets, PETS)
        keep_speed(pets, settled, device="CPU, 1 thread", precision="fp32")
        process = ask(pets, "strategy", recommendation_file(pets.workspace, settled), settled)
        _, errors = process.communicate(timeout=GIVE_UP_S)
        assert process.returncode == 0, errors
        assert read_recommendation(pets.workspace, resolve_recipe(pets, PETS)).strategy == "frozen"


class TestTheRecipe:
    FOUND = Recommendation("pets", 1, "vgg16", 60, 60, 300, 0.6, [0.5, 0.7], 0.5, "some", "size_similarity", 1.0)

    def test_vgg16_gets_the_shipped_recipe(self):
        recipe = recommended_recipe(self.FOUND)
        assert (recipe.backbone, recipe.phases[-1].trainable, recipe.phases[-1].lr) == ("vgg16", "block4", [1e-5, 1e-4])

    @pytest.mark.parametrize(("arch", "stage"), [("resnet50", "layer3"), (FALLBACK_ARCH, "block5")])
    def test_others_get_stages_and_rates_that_suit_them(self, arch, stage):
        recipe = recommended_recipe(replace(self.FOUND, backbone=arch))
        assert (recipe.backbone, recipe.phases[-1].trainable, recipe.phases[-1].lr) == (arch, stage, "auto")
