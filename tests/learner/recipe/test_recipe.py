"""A recipe holds every decision and tells every mistake at once."""

import pytest
import yaml
from fastcore.basics import even_mults

from learner.errors import RecipeError
from learner.recipe import Phase, Recipe, choose_image_size, setting_help

VGG_STAGES = ["block1", "block2", "block3", "block4", "block5"]


def mistakes(values) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_dict(values)
    return caught.value.problems


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
    known = "Choose one of head, last, all, block1, block2, block3, block4, block5"
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


def test_every_key_has_its_help_text():
    help_of, values = setting_help(), Recipe("pets").to_dict()
    assert {*values, *values["phases"][0], *values["augment"], *values["head"]} == set(help_of)
    assert all(text.endswith(".") for text in help_of.values())


# Augmentation and what the cache can keep of it


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
        ({"workers": 65}, "workers", "less than or equal to 64"),
        ({"workers": 2, "budget": "3m"}, "budget", "With workers it should be 0"),
        ({"phases": [{"name": "x", "momentum": 1}]}, "phases.0.momentum", ""),
        ({"phases": [{"name": "x", "solve": True, "trainable": "all"}]}, "phases.0.solve", "With trainable: head"),
        ({"head": {"kind": "fc"}, "phases": [{"name": "x", "solve": True}]}, "phases", "A head of kind fc cannot be"),
        ({"phases": [{"name": "x", "patience": 2, "interpolate": True}]}, "phases.0.interpolate", "With patience: 0"),
        ({"phases": [{"name": "x", "trainable": []}]}, "phases.0.trainable", ""),
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


@pytest.mark.parametrize(
    ("trainable", "learns", "rates"),
    [
        (["block1", "head"], [True, False, False, False, False, True], [1e-5, 0, 0, 0, 0, 1e-3]),
        (["block5"], [False, False, False, False, True, False], [0, 0, 0, 0, 1e-5, 0]),
        ("block5", [False, False, False, False, True, True], [0, 0, 0, 0, 1e-5, 1e-3]),
    ],
)
def test_a_list_names_just_the_parts_that_learn(trainable, learns, rates):
    phase = Phase("x", trainable, lr=[1e-5, 1e-3])
    assert phase.parts(VGG_STAGES) == learns
    assert phase.group_rates(VGG_STAGES, False) == pytest.approx(rates)
    assert phase.first_trainable_group(VGG_STAGES) == learns.index(True)


def test_every_part_of_a_list_must_be_one_of_the_backbones():
    recipe = Recipe("pets", phases=[Phase("x", ["block1", "block9"])])
    with pytest.raises(RecipeError, match=r"phases\.0\.trainable: 'block9' is not a part of auto"):
        recipe.check(VGG_STAGES)


@pytest.mark.parametrize(
    ("images", "batch_size", "accumulate", "epochs"),
    [(320, 16, 1, 10), (320, 8, 2, 10), (40, 16, 1, 30), (100_000, 16, 1, 1), (1000, 16, 1, 3)],
)
def test_auto_epochs_make_about_two_hundred_steps_but_thirty_epochs_at_most(images, batch_size, accumulate, epochs):
    phases = [Phase("solved", solve=True), Phase("x", "all", "auto")]
    recipe = Recipe("pets", batch_size=batch_size, accumulate=accumulate, phases=phases)
    assert [phase.epochs for phase in recipe.with_epochs(images).phases] == [1, epochs]


def test_a_recipe_that_names_no_head_has_one_that_suits_its_phases():
    assert Recipe("pets", phases=[Phase("x", solve=True)]).head.kind == "multiscale"
    assert Recipe("pets", phases=[Phase("x")]).head.kind == "fastai"
    assert Recipe.from_dict({"dataset": "pets", "head": {"kind": "linear"}, "phases": [{"name": "x", "solve": True}]})
