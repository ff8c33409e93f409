"""A recipe survives YAML and the shell: recipe files, changes of single keys, the equivalent command."""

import shlex

import pytest

from learner.errors import RecipeError
from learner.recipe import Augment, Phase, Recipe, read_recipe, recipe_for

UNUSUAL = Recipe(
    dataset="my cats",
    version=3,
    backbone="123",  # YAML would read it as a number
    weights="/tmp/my weights/it's.safetensors",
    image_size=96,
    batch_size=7,
    valid_fraction=0.35,
    seed=2**32 - 1,
    phases=[
        Phase("Wärmung: a, {b} #1", trainable="block3", epochs=1, lr=[1e-7, 1e-5], schedule="flat_cos"),
        Phase("yes", trainable="null", epochs=1000, lr=10, schedule="constant", weight_decay=0),
        Phase("~"),
    ],
)


def test_a_recipe_written_as_yaml_reads_back_equal():
    for recipe in (Recipe(dataset="pets"), UNUSUAL):
        assert Recipe.from_yaml(recipe.to_yaml()) == recipe
        assert Recipe.from_dict(recipe.to_dict()) == recipe


# Shipped recipes and changes


def test_a_data_set_named_like_a_recipe_gets_that_one():
    assert recipe_for("flowers17") == recipe_for("flowers-17") == recipe_for("Flowers 17") == "flowers17"
    assert recipe_for("knifey-spoony") == "knifey_spoony"
    assert recipe_for("my cats") == recipe_for("") == "default"


def test_the_default_recipe_file_says_what_the_code_says():
    assert read_recipe("default", "pets") == Recipe("pets")


def test_a_recipe_file_is_read_for_the_data_set_that_is_named_and_may_leave_keys_out(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("dataset: cars\nseed: 7\n")
    assert read_recipe(str(file), "pets") == Recipe("pets", seed=7)


def test_a_recipe_that_cannot_be_found_or_read_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"'defalt' has 1 mistake: there is no such file.*default, elpv"):
        read_recipe("defalt", "pets")
    with pytest.raises(RecipeError, match="there is no such file"):
        read_recipe(str(tmp_path), "pets")
    file = tmp_path / "photo.yaml"
    file.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(RecipeError, match=r"photo\.yaml has 1 mistake: it is not a text file"):
        read_recipe(str(file), "pets")


def test_changes_reach_every_key_of_a_recipe():
    changes = [
        "version=2",
        "backbone=resnet18",
        "weights=random",
        "image_size=64",
        "batch_size=4",
        "valid_fraction=0.5",
        "seed=0",
        "precision=bf16",
        "cache=off",
        "augment.rotate=10",
        "augment.flip_vertical=true",
        "views=2",
        "phases.0.name=Kopf = Anfang",
        "phases.0.trainable=all",
        "phases.0.epochs=3",
        "phases.0.lr=[1e-5, 1e-3]",
        "phases.0.schedule=constant",
        "phases.0.weight_decay=0.5",
        "phases.0.solve=false",
        "refit=false",
        "phases.1.lr=[1e-5, 1e-3]",
        "phases.1.lr.0=1e-6",
    ]
    first = Phase("Kopf = Anfang", "all", 3, [1e-5, 1e-3], "constant", 0.5)
    second = Recipe("pets").phases[1]
    second.lr = [1e-6, 1e-3]
    assert read_recipe("default", "pets", changes) == Recipe(
        "pets",
        version=2,
        backbone="resnet18",
        weights="random",
        image_size=64,
        batch_size=4,
        valid_fraction=0.5,
        seed=0,
        precision="bf16",
        cache="off",
        augment=Augment(rotate=10, flip_vertical=True),
        views=2,
        phases=[first, second],
        refit=False,
    )


def test_the_last_of_two_changes_of_one_key_counts():
    assert read_recipe("default", "pets", ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed", "'seed' is not of the form key=value, as in phases.0.epochs=3"),
        ("=3", "is not of the form key=value"),
        ("sead=3", "sead: there is no such key"),
        ("phases.0.epoch=3", "phases.0.epoch: there is no such key"),
        ("phases.2.epochs=3", "phases.2.epochs: there is no entry '2', only 0 to 1"),
        ("phases.first.epochs=3", "phases.first.epochs: there is no entry 'first', only 0 to 1"),
        ("phases.-1.epochs=3", "there is no entry '-1'"),
        ("phases.1.epochs.1=1", "phases.1.epochs.1: phases.1.epochs has no parts"),
        ("phases.0.epochs=many", "phases.0.epochs: It should be a valid integer"),
        ("batch_size=1", "batch_size: It should be greater than or equal to 2 (it is 1)"),
        ("seed=[", "--set seed has 1 mistake: it is not valid YAML"),
    ],
)
def test_a_change_that_cannot_be_made_is_named_in_one_line(change, message):
    with pytest.raises(RecipeError) as caught:
        read_recipe("default", "pets", [change])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# The equivalent command


def read_back(command: str) -> Recipe:
    """The recipe that `python -m learner train` would read from this shell command."""
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "learner", "train"]
    options = list(zip(words[4::2], words[5::2], strict=True))
    [dataset] = [value for option, value in options if option == "--dataset"]
    changes = [value for option, value in options if option == "--set"]
    assert len(options) == 1 + len(changes)
    return read_recipe("default", dataset, changes)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("pets"),
        UNUSUAL,
        Recipe("a 'quoted' \"name\" $HOME", seed=1),
        Recipe("pets", weights="~"),
        Recipe("pets", weights="w" * 300),
        Recipe("pets", phases=[Phase("only")]),
        Recipe("pets", phases=[*Recipe("pets").phases, Phase("a third, with = and : in it", "block4", lr=[1e-8, 10])]),
        Recipe("pets", phases=[Phase("Warm-up", lr="auto"), Phase("Fine-tuning", "all", 9, [1e-5, 1e-3])]),
    ],
    ids=lambda recipe: recipe.dataset,
)
def test_the_equivalent_command_reads_back_to_the_same_recipe(recipe):
    assert read_back(recipe.command()) == recipe


def test_the_equivalent_command_names_only_what_differs():
    changed = Recipe("pets", backbone="vgg16")
    changed.phases[1].epochs = 9
    assert Recipe("pets").command() == "python -m learner train --dataset pets"
    assert changed.command("--queue") == (
        "python -m learner train --dataset pets --set backbone=vgg16 --set phases.1.epochs=9 --queue"
    )


def test_augmentation_survives_yaml_and_the_command_that_does_the_same():
    recipe = Recipe("pets", augment=Augment(flip_horizontal=True, zoom=1.5), views=8, cache="on")
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    options = [word for word in shlex.split(recipe.command()) if "=" in word]
    assert sorted(options) == ["augment.flip_horizontal=true", "augment.zoom=1.5", "cache=on", "views=8"]
    assert read_recipe("default", "pets", options) == recipe
