"""A recipe holds every decision, reads and writes YAML, and tells every mistake at once."""

import shlex

import pytest
import yaml
from fastcore.basics import even_mults

from learner.errors import RecipeError
from learner.recipe import Augment, Phase, Recipe, choose_image_size, read_recipe, recipe_for, setting_help

VGG_STAGES = ["block1", "block2", "block3", "block4", "block5"]
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


def mistakes(values) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_dict(values)
    return caught.value.problems


def test_a_recipe_written_as_yaml_reads_back_equal():
    for recipe in (Recipe(dataset="pets"), UNUSUAL):
        assert Recipe.from_yaml(recipe.to_yaml()) == recipe
        assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_every_mistake_is_told_at_once_with_the_path_of_its_key():
    problems = mistakes(
        {
            "dataset": "",
            "batchsize": 3,
            "batch_size": 1,
            "seed": -1,
            "image_size": "big",
            "valid_fraction": 0.9,
            "phases": [
                {"trainable": "all", "epochs": 0, "lr": [1e-3, 1e-5]},
                {"name": "x", "schedule": "cos", "lrr": 2, "weight_decay": "no"},
            ],
        }
    )
    by_key = dict(problem.split(": ", 1) for problem in problems)
    assert set(by_key) == {
        "dataset",
        "batchsize",
        "batch_size",
        "seed",
        "image_size",
        "valid_fraction",
        "phases.0.name",
        "phases.0.epochs",
        "phases.0.lr",
        "phases.1.schedule",
        "phases.1.lrr",
        "phases.1.weight_decay",
    }
    assert len(problems) == len(by_key)
    assert by_key["batchsize"] == by_key["phases.1.lrr"] == "there is no such key"
    assert by_key["phases.0.name"] == "this key is needed"
    assert by_key["batch_size"] == "It should be greater than or equal to 2 (it is 1)"
    assert "'auto'" in by_key["image_size"] and "(it is 'big')" in by_key["image_size"]
    assert "lowest first" in by_key["phases.0.lr"] and "(it is [0.001, 1e-05])" in by_key["phases.0.lr"]
    assert by_key["phases.1.schedule"] == "It should be 'one_cycle', 'flat_cos' or 'constant' (it is 'cos')"


def test_the_error_counts_its_mistakes_and_says_where_they_are():
    with pytest.raises(RecipeError, match=r"^mine\.yaml has 2 mistakes: dataset: this key is needed; batch_size: "):
        Recipe.from_yaml("batch_size: 1\n", "mine.yaml")
    with pytest.raises(RecipeError, match=r"^mine\.yaml has 1 mistake: it is not valid YAML: .*line 1"):
        Recipe.from_yaml("phases: [1", "mine.yaml")
    with pytest.raises(RecipeError, match="it should be a list of keys and values, not 'cats'"):
        Recipe.from_yaml("cats", "mine.yaml")


@pytest.mark.parametrize("lr", ["1e-3", "0.001", 0.001, [0.001], ["1e-3"]])
def test_a_learning_rate_may_be_written_any_way_a_person_writes_a_number(lr):
    assert Phase("x", lr=lr).lr == 0.001


def test_yaml_reads_a_rate_without_a_dot_as_text_and_it_still_counts():
    phases = "phases: [{name: x, lr: 1e-3}, {name: y, lr: [1e-5, 1e-3]}]"
    assert yaml.safe_load(phases)["phases"][0]["lr"] == "1e-3"
    assert [phase.lr for phase in Recipe.from_yaml(f"dataset: pets\n{phases}").phases] == [1e-3, [1e-5, 1e-3]]


@pytest.mark.parametrize(
    "lr", [0, -1e-3, 11, "fast", [], [1e-5, 1e-4, 1e-3], [1e-3, 1e-5], float("nan"), None, {}, True]
)
def test_what_is_no_learning_rate_is_refused_with_an_example(lr):
    [problem] = mistakes({"dataset": "pets", "phases": [{"name": "x", "lr": lr}]})
    assert problem.startswith("phases.0.lr: Use auto, one number such as 0.002, two, lowest first")


def test_a_recipe_without_phases_trains_nothing_and_is_refused():
    [problem] = mistakes({"dataset": "pets", "phases": []})
    assert problem.startswith("phases: ") and "at least 1" in problem


@pytest.mark.parametrize(("image_size", "fits"), [("auto", True), (32, True), (1024, True), (31, False), (1025, False)])
def test_image_size_is_auto_or_32_to_1024_pixels(image_size, fits):
    values = {"dataset": "pets", "image_size": image_size}
    assert Recipe.from_dict(values).image_size == image_size if fits else mistakes(values)


@pytest.mark.parametrize(("given", "typical_side", "chosen"), [("auto", 8, 96), ("auto", 64, 96), ("auto", 65, 224)])
def test_auto_image_size_is_96_for_tiny_images_and_224_for_photos(given, typical_side, chosen):
    assert choose_image_size(given, typical_side) == chosen
    assert choose_image_size(160, typical_side) == 160


# Phases and groups


@pytest.mark.parametrize(("trainable", "first"), [("all", 0), ("block1", 0), ("block4", 3), ("block5", 4), ("head", 5)])
def test_a_phase_trains_the_named_stage_and_all_above_it(trainable, first):
    assert Phase("x", trainable=trainable).first_trainable_group(VGG_STAGES) == first


@pytest.mark.parametrize("trainable", ["all", "block3", "block5", "head"])
def test_two_rates_are_spread_as_fastais_slice_spreads_them_over_the_groups_that_learn(trainable):
    phase = Phase("x", trainable=trainable, lr=[1e-5, 1e-3])
    rates = phase.group_rates(VGG_STAGES, batch_norm=False)
    assert rates == phase.group_rates(VGG_STAGES, batch_norm=True)
    first = phase.first_trainable_group(VGG_STAGES)
    learning = len(VGG_STAGES) + 1 - first
    fastais = even_mults(1e-5, 1e-3, learning) if learning > 1 else [1e-3]
    assert rates[:first] == [0.0] * first
    assert rates[first:] == pytest.approx(list(fastais), rel=1e-9)


def test_one_rate_is_the_same_for_every_group_that_learns():
    rates = Phase("x", trainable="block4", lr=0.01).group_rates(VGG_STAGES, batch_norm=False)
    assert rates == pytest.approx([0, 0, 0, 0.01, 0.01, 0.01])


def test_auto_rates_are_fastais_for_the_head_and_gentler_below_where_there_is_no_batch_norm():
    head = Phase("x", trainable="head")
    assert head.lr == "auto"
    assert head.group_rates(VGG_STAGES, batch_norm=False) == head.group_rates(VGG_STAGES, batch_norm=True)
    assert head.group_rates(VGG_STAGES, batch_norm=False) == [0, 0, 0, 0, 0, 2e-3]
    everything = Phase("x", trainable="all", lr="auto")
    with_norm, without = (everything.group_rates(VGG_STAGES, batch_norm) for batch_norm in (True, False))
    assert all(0 < gentle < usual for gentle, usual in zip(without, with_norm, strict=True))
    assert with_norm == sorted(with_norm) and without == sorted(without)


def test_check_names_every_phase_whose_stage_the_backbone_lacks():
    recipe = Recipe("pets", backbone="vgg16", phases=[Phase("a", "layer4"), Phase("b", "block5"), Phase("c", "block6")])
    recipe.check()  # without a backbone nothing is known of its stages
    with pytest.raises(RecipeError) as caught:
        recipe.check(VGG_STAGES)
    known = "Choose one of head, all, block1, block2, block3, block4, block5"
    assert caught.value.problems == [
        f"phases.0.trainable: 'layer4' is not a part of vgg16. {known}",
        f"phases.2.trainable: 'block6' is not a part of vgg16. {known}",
    ]


def test_check_finds_what_was_changed_after_the_recipe_was_made():
    recipe = Recipe("pets")
    recipe.batch_size = 0
    recipe.phases[1].epochs = 0
    with pytest.raises(RecipeError, match=r"2 mistakes: batch_size: .*; phases\.1\.epochs: "):
        recipe.check()


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
        ("phases.0.lr.1=1", "phases.0.lr.1: phases.0.lr has no parts"),
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


def test_every_key_has_its_help_text():
    help_of, values = setting_help(), Recipe("pets").to_dict()
    assert {*values, *values["phases"][0], *values["augment"], *values["head"]} == set(help_of)
    assert all(text.endswith(".") for text in help_of.values())


# Augmentation and what the cache can keep of it


def test_augmentation_survives_yaml_and_the_command_that_does_the_same():
    recipe = Recipe("pets", augment=Augment(flip_horizontal=True, zoom=1.5), views=8, cache="on")
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    options = [word for word in shlex.split(recipe.command()) if "=" in word]
    assert sorted(options) == ["augment.flip_horizontal=true", "augment.zoom=1.5", "cache=on", "views=8"]
    assert read_recipe("default", "pets", options) == recipe


def test_a_cache_of_images_that_are_never_the_same_twice_is_refused():
    with pytest.raises(RecipeError, match="views: With cache: on and augmentation it should be 1 or more"):
        Recipe.from_dict({"dataset": "pets", "cache": "on", "views": 0, "augment": {"rotate": 10}})
    assert Recipe.from_dict({"dataset": "pets", "cache": "auto", "views": 0, "augment": {"rotate": 10}}).views == 0
    assert Recipe.from_dict({"dataset": "pets", "cache": "on", "views": 0}).views == 0  # nothing is changed


@pytest.mark.parametrize(
    ("key", "value"),
    [("rotate", 181), ("zoom", 0.9), ("lighting", 1), ("flip_horizontal", "sideways"), ("blur", 0.1)],
)
def test_augmentation_out_of_range_or_unknown_is_told_by_its_key(key, value):
    with pytest.raises(RecipeError, match=f"augment.{key}: "):
        Recipe.from_dict({"dataset": "pets", "augment": {key: value}})


def test_an_unknown_precision_is_told_with_those_there_are():
    with pytest.raises(RecipeError, match=r"precision: .*'fp32', 'bf16' or 'fp16'"):
        Recipe.from_dict({"dataset": "pets", "precision": "fp8"})


# Heads, rates by name, sizes and what goes with what


def test_rates_by_name_are_those_of_the_nearest_named_part_above():
    phase = Phase("x", "block3", lr={"block4": 1e-5, "head": 1e-3})
    assert phase.group_rates(VGG_STAGES, batch_norm=False) == [0, 0, 1e-5, 1e-5, 1e-3, 1e-3]
    assert Phase("x", "block5", lr={"block5": 1e-5}).group_rates(VGG_STAGES, False)[-2:] == [1e-5, 1e-5]


def test_a_rate_for_a_part_that_is_not_there_is_told():
    recipe = Recipe("pets", phases=[Phase("x", "all", lr={"layer9": 1e-3, "head": 1e-3})])
    with pytest.raises(RecipeError, match=r"phases\.0\.lr: 'layer9' is not a part of auto"):
        recipe.check(VGG_STAGES)


@pytest.mark.parametrize(
    ("optimizer", "schedule", "momenta"),
    [
        ("adamw", "one_cycle", (0.95, 0.85)),
        ("sgd", "flat_cos", (0.9, 0.9)),
        ("rmsprop", "one_cycle", (0.0, 0.0)),
        ("rmsprop", "constant", (0.0, 0.0)),
    ],
)
def test_momentum_suits_optimizer_and_schedule(optimizer, schedule, momenta):
    assert Phase("x", optimizer=optimizer, schedule=schedule).momenta() == pytest.approx(momenta)


@pytest.mark.parametrize(
    ("values", "key", "says"),
    [
        ({"mix": "mixup", "cache": "on"}, "cache", "With mix: mixup it cannot be on"),
        ({"loss": "focal", "label_smoothing": 0.1}, "label_smoothing", "With loss: focal it should be 0"),
        (
            {"head": {"kind": "fc", "pool": "flatten"}, "phases": [{"name": "x", "image_size": 64}]},
            "phases",
            "no phase can have its own image_size",
        ),
        ({"augment": {"zoom": [1.2, 0.8]}}, "augment.zoom", "Use one factor from 1 to 3, or two"),
        ({"head": {"kind": "fc", "widths": [0]}}, "head.widths.0", "greater than or equal to 1"),
        ({"accumulate": 0}, "accumulate", "greater than or equal to 1"),
        ({"phases": [{"name": "x", "momentum": 1}]}, "phases.0.momentum", ""),
    ],
)
def test_what_does_not_go_together_is_told_at_its_key(values, key, says):
    problems = mistakes({"dataset": "pets", **values})
    assert any(problem.startswith(f"{key}") and says in problem for problem in problems), problems


def test_a_phase_without_a_size_has_the_recipes():
    assert (
        Recipe.from_dict({"dataset": "pets", "phases": [{"name": "x", "image_size": "auto"}]}).phases[0].image_size
        is None
    )
