"""The recipes that ship: each can be read, fits its backbone, and says what it is for."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, takewhile

import pytest
import timm
from safetensors.numpy import load_file
from timm.models.vgg import cfgs as vgg_steps

from learner.datasets import add_dataset
from learner.datasets.gallery import KNOWN
from learner.errors import RecipeError, RunError
from learner.planning.estimate import resolve_recipe
from learner.recipe import AUTO, RECIPES, Phase, Recipe, read_recipe, recipe_names
from learner.recipe.backbones import FALLBACK_ARCH
from learner.store import Store
from learner.training.process import execute
from learner.workspace import Workspace
from tests.machine import STAGES, keep_speed
from tests.samples import make_photos

ANY = ["vgg16", FALLBACK_ARCH]
"""What `auto` may become."""


def read(name: str) -> Recipe:
    return read_recipe(name, "photos")


def comment(name: str) -> str:
    lines = (RECIPES / f"{name}.yaml").read_text("utf-8").splitlines()
    return " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines))


def test_all_that_were_promised_are_there():
    promised = {"auto", "quick", "default", "gradual", "elpv", "flowers17", "calico_tabby", "calico_tabby_baseline"}
    promised |= {"flower5_to_flower102", "knifey_spoony", "vgg19", "resnet50", "attention_vgg16"}
    promised |= {"size_similarity", "size_similarity_everything", "size_similarity_frozen"}
    assert promised == set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_it_can_be_read_and_fits_its_backbone(name):
    recipe = read(name)
    for backbone in ANY if recipe.backbone == "auto" else [recipe.backbone]:
        recipe.check(STAGES[backbone])


@pytest.mark.parametrize("name", recipe_names())
def test_it_begins_with_a_comment_that_says_which_data_set_it_wants(name):
    said = comment(name)
    assert len(said) > 100
    assert any(words in said for words in ("Data set: ", "Data sets: ", "any data set", "data set (ELPV)", "photos"))
    gallery = {"flowers17": ["flowers-17"], "knifey_spoony": ["knifey-spoony"]}
    gallery["flower5_to_flower102"] = ["flower-photos", "flowers-102"]
    for key in gallery.get(name, []):
        assert key in said and key in KNOWN


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("calico_tabby", ["71.7 %", "66.7 %"]),
        ("calico_tabby_baseline", ["71.7 %", "66.7 %"]),
        ("knifey_spoony", ["73.77 %", "77.55 %"]),
        ("elpv", ["88.42 %"]),
    ],
)
def test_a_published_figure_stands_in_its_comment(name, figures):
    assert all(figure in comment(name) for figure in figures)


def test_calico_tabby_freezes_the_first_15_layers_as_keras_counts_them():
    # With its input layer, Keras's VGG16 has 1 + 3 + 3 + 4 + 4 = 15 layers up to the pooling of block4.
    recipe = read("calico_tabby")
    assert [phase.first_trainable_group(STAGES["vgg16"]) for phase in recipe.phases] == [5, 4]
    assert recipe.phases[1].group_rates(STAGES["vgg16"], batch_norm=False) == [0, 0, 0, 0, 1e-4, 1e-4]
    assert recipe.phases[1].momenta() == (0.9, 0.9)
    assert recipe.image_size == read("calico_tabby_baseline").image_size == 150
    assert recipe.augment == read("calico_tabby_baseline").augment


def test_knifey_spoony_enlarges_as_keras_does():
    # Keras's zoom_range is the share of the picture that is shown; Thaw's factor is how much larger things become.
    assert read("knifey_spoony").augment.zoom_range == pytest.approx((1 / 1.5, 1 / 0.9), abs=0.005)


def test_gradual_thaws_one_block_a_phase_and_each_learns_2_6_times_slower_than_the_one_above():
    recipe, stages = read("gradual"), STAGES["vgg16"]
    assert [phase.first_trainable_group(stages) for phase in recipe.phases] == [5, 4, 3, 2, 1, 0]
    for phase in recipe.phases[1:]:
        learning = [rate for rate in phase.group_rates(stages, batch_norm=False) if rate]
        assert [high / low for low, high in pairwise(learning)] == pytest.approx([2.6] * (len(learning) - 1), rel=0.03)


@pytest.mark.parametrize("name", ["vgg19", "resnet50", "attention_vgg16"])
def test_medical_recipes_never_turn_a_picture_over(name):
    augment = read(name).augment
    assert not augment.flip_vertical and not augment.quarter_turns
    assert augment.rotate <= 10 and augment.lighting <= 0.2


def test_the_three_strategies_differ_in_how_deep_they_thaw_and_in_nothing_that_is_not_training():
    names = ["size_similarity_everything", "size_similarity", "size_similarity_frozen"]
    recipes = [read(name) for name in names]
    assert [min(p.first_trainable_group(STAGES["vgg16"]) for p in recipe.phases) for recipe in recipes] == [0, 3, 5]
    rest = [{key: value for key, value in recipe.to_dict().items() if key != "phases"} for recipe in recipes]
    assert rest[0] == rest[1] == rest[2]


NARROW = 16
"""How many times fewer channels a network has here. Its layers and stages are those of the recipes."""
SMALL = {"image_size": 32, "batch_size": 4, "precision": "fp32"}


@pytest.fixture(scope="module")
def narrow() -> Iterator[None]:
    """Networks without the millions of weights that only cost time here."""
    whole = timm.create_model
    vgg = {arch: [step if step == "M" else step // NARROW for step in steps] for arch, steps in vgg_steps.items()}
    channels = {"resnet50": {"channels": [width // NARROW for width in (64, 128, 256, 512)]}}

    def create(arch: str, **how):
        return whole(arch, **how, **channels.get(arch, {}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm, "create_model", create)
        for arch, steps in vgg.items():
            patch.setitem(vgg_steps, arch, steps)
        yield


@pytest.fixture(scope="module")
def tiny(narrow, tmp_path_factory) -> Store:
    """A workspace with two data sets of a few small photos, one of which carries a body over to the other."""
    store = Store(Workspace(tmp_path_factory.mktemp("recipes")))
    for name, classes in (("flower-photos", {"rose": 4, "tulip": 4}), ("photos", {"cat": 6, "dog": 4, "owl": 5})):
        add_dataset(store, make_photos(tmp_path_factory.mktemp(name), classes), name)
    keep_speeds(store)
    return store


def keep_speeds(store: Store) -> None:
    for arch in STAGES:
        settled = Recipe("photos", backbone=arch, **SMALL)
        keep_speed(store, settled, device="CPU, 1 thread", precision="fp32")


@pytest.fixture(scope="module")
def flowers(tiny) -> int:
    """A finished run on `flower-photos`."""
    recipe = replace(read("quick"), dataset="flower-photos", weights="random", **SMALL)
    run_id = tiny.submit(recipe, running=True)
    assert execute(tiny, run_id) == "finished", tiny.runs.get(run_id).reason
    return run_id


@pytest.mark.usefixtures("flowers")
@pytest.mark.parametrize("name", [name for name in recipe_names() if name != AUTO])  # see test_search
def test_it_trains_from_its_first_phase_to_a_model(tiny, name):
    """One epoch a phase at 32 px from random weights; everything else is the recipe's own."""
    keep_speeds(tiny)  # the run before may have shown that its figures are none of this machine
    recipe = read(name)
    small = SMALL | {"views": min(recipe.views, 2)}
    if not recipe.weights.startswith("run:"):
        small["weights"] = "random"
    phases = [replace(phase, epochs=1, image_size=phase.image_size and 48) for phase in recipe.phases]
    run_id = tiny.submit(replace(recipe, **small, phases=phases), running=True)
    assert execute(tiny, run_id) == "finished", tiny.runs.get(run_id).reason
    run = tiny.runs.get(run_id)
    assert [epoch.phase for epoch in tiny.runs.epochs(run_id)] == list(range(len(phases)))
    trainable = [phase.first_trainable_group(run.facts["stages"]) for phase in phases]
    assert [next(i for i, rate in enumerate(rates) if rate) for rates in run.facts["rates"]] == trainable
    assert (tiny.workspace.run_folder(run_id) / "learner.pkl").exists()
    if recipe.weights.startswith("run:"):
        assert run.facts["weights"]["kind"] == "run"


def test_a_body_that_is_carried_over_is_the_other_runs_bit_for_bit(tiny, flowers):
    phases = [Phase("Warm-up", epochs=1)]
    second = tiny.submit(replace(read("quick"), weights=f"run:{flowers}", phases=phases, **SMALL), running=True)
    assert execute(tiny, second) == "finished"
    bodies = [
        {name: tensor.tobytes() for name, tensor in load_file(tiny.checkpoint(run_id)).items() if name[0] == "0"}
        for run_id in (flowers, second)
    ]
    assert bodies[0] == bodies[1]
    assert resolve_recipe(tiny, replace(read("quick"), weights="run:flower-photos", **SMALL)).weights.startswith("run:")
    assert tiny.runs.get(second).facts["classes"] == ["cat", "dog", "owl"]


def test_a_body_that_cannot_be_carried_over_is_told(tiny):
    with pytest.raises(RunError, match=r"needs a finished run on a data set 'nowhere', and there is none"):
        tiny.submit(replace(read("quick"), weights="run:nowhere"))
    with pytest.raises(RunError, match="There is no run 4711"):
        tiny.submit(replace(read("quick"), weights="run:4711"))
    source = tiny.submit(replace(read("quick"), weights="random", backbone="small_cnn", image_size=48), running=True)
    execute(tiny, source)
    with pytest.raises(RecipeError, match="its body does not fit vgg16"):
        tiny.submit(replace(read("quick"), weights=f"run:{source}", backbone="vgg16"))
