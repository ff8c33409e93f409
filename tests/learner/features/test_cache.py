"""The feature cache changes how long a run takes and nothing else."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import learner.models.network
from learner.evaluation.results import load_predictions
from learner.features.cache import FeatureCache, Item, all_views
from learner.features.loaders import LabelledFile, Order, Views, make_dataloaders
from learner.features.preprocess import Preprocess
from learner.models.backbones import build
from learner.models.heads import build_head
from learner.models.network import Network
from learner.models.precision import Precision
from learner.recipe import Augment, Head, Phase, Recipe
from learner.store import Store
from learner.training.feed import Feed
from learner.training.phases import build_learner
from learner.training.process import execute
from learner.training.progress import Listener
from learner.workspace import Workspace
from tests import samples
from tests.learner.killing import start_training
from tests.patience import until
from tests.samples import SMALL, copy_workspace

THREE_PHASES = [
    Phase("Warm-up", "head", 2, lr=0.002),
    Phase("Fine-tuning", "layer4", 2, lr=[1e-4, 1e-3]),
    Phase("Head again", "head", 1, lr=0.001),
]
AUGMENT = Augment(flip_horizontal=True, rotate=20, lighting=0.2)
FP32 = Precision("fp32", "")
CPU = torch.device("cpu")


def small_recipe(dataset: str = "pets", precision: str = "fp32", **changes) -> Recipe:
    """With a named precision: `auto` may take another for another recipe, whose features are others then."""
    return samples.small_recipe(dataset, precision=precision, **changes)


def train(store: Store, recipe: Recipe, listener: Listener | None = None) -> int:
    run_id = store.submit(recipe, running=True)
    execute(store, run_id, listener)
    ended = store.runs.get(run_id)
    assert ended.status == "finished", ended.reason
    return run_id


def losses(store: Store, run_id: int) -> list[tuple[float, float, float]]:
    return [(epoch.train_loss, epoch.valid_loss, epoch.accuracy) for epoch in store.runs.epochs(run_id)]


def phases_of(store: Store, run_id: int) -> list[dict]:
    return store.runs.get(run_id).facts["plan"]["phases"]


class CountsStages:
    """How many images each stage of every network has been run on."""

    def __init__(self, monkeypatch):
        self.images: dict[int, int] = {}
        plain = Network.stage

        def counted(network, index, x):
            self.images[index] = self.images.get(index, 0) + len(x)
            return plain(network, index, x)

        monkeypatch.setattr(Network, "stage", counted)
        monkeypatch.setattr("learner.training.trainer.forget_speeds", lambda *_: None)  # measuring would be counted too


# Exactness


@pytest.fixture(scope="module")
def on_and_off(pets_home, tmp_path_factory) -> tuple[Store, int, int]:
    """A run with the cache, one without, and their store; for reading only."""
    home = tmp_path_factory.mktemp("on-and-off")
    copy_workspace(pets_home, home)
    store = Store(Workspace(home))
    return store, *(train(store, small_recipe(phases=THREE_PHASES, cache=cache)) for cache in ("on", "off"))


def test_with_and_without_the_cache_losses_and_weights_are_the_same_in_fp32(on_and_off):
    check_that_both_are_the_same(*on_and_off)


def test_with_and_without_the_cache_augmented_images_give_the_same_too(pets):
    recipe = small_recipe(phases=THREE_PHASES, augment=AUGMENT, views=3)
    check_that_both_are_the_same(pets, *(train(pets, replace(recipe, cache=cache)) for cache in ("on", "off")))


def check_that_both_are_the_same(store: Store, on: int, off: int) -> None:
    """The third phase freezes what the second has changed: its features must not be the first phase's."""
    assert [phase["cached"] for phase in phases_of(store, on)] == [True] * 3
    assert [phase["cached"] for phase in phases_of(store, off)] == [False] * 3
    assert phases_of(store, on)[2]["features_s"] > 0
    for with_cache, without in zip(losses(store, on), losses(store, off), strict=True):
        assert with_cache == pytest.approx(without, rel=1e-5)
    kept, recomputed = (load_file(store.checkpoint(run_id)) for run_id in (on, off))
    for name, weights in recomputed.items():
        assert (kept[name] - weights).float().norm() <= 1e-5 * weights.float().norm(), name


def test_in_bf16_the_difference_is_no_larger_than_bf16s_own_noise(pets):
    """The noise: what changes when the same stages run on other groupings of images and in fp32 instead."""
    recipe = small_recipe(phases=THREE_PHASES, precision="bf16")
    on, off = (train(pets, replace(recipe, cache=cache)) for cache in ("on", "off"))
    exact = train(pets, replace(recipe, precision="fp32", cache="off"))

    def gap(one: int, other: int) -> float:
        pairs = zip(losses(pets, one), losses(pets, other), strict=True)
        return max(abs(a[0] - b[0]) for a, b in pairs)

    assert gap(on, off) <= gap(off, exact)
    assert gap(off, exact) < 0.2  # and bf16 learns the same thing


def test_a_network_that_skips_its_first_stages_gives_the_same_logits():
    torch.manual_seed(0)
    backbone = build(SMALL, "random")
    network = Network(backbone.body, build_head(Head(), backbone.num_features, 3, (1, 1)), FP32).eval()
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        whole = network(x)
        for index in range(3):
            x = network[0][index](x)
        network.skip = 3
        assert torch.allclose(network(x), whole, rtol=1e-5, atol=1e-6)
        network.skip = 0


def test_stages_in_pieces_give_what_they_give_at_once(monkeypatch):
    torch.manual_seed(0)
    network = Network(build(SMALL, "random").body, torch.nn.Identity(), FP32).eval()
    x = torch.rand(5, 3, 32, 32)
    with torch.no_grad():
        at_once = network(x)
        monkeypatch.setattr(learner.models.network, "PIECE_BYTES", 1)
        assert torch.allclose(network(x), at_once, rtol=1e-5, atol=1e-6)


# What is computed, and what is found again


def test_frozen_stages_see_every_image_once_and_a_second_run_computes_nothing(pets, monkeypatch):
    recipe = small_recipe(phases=[Phase("Warm-up", "head", 4, lr=0.01)], cache="on")
    counts = CountsStages(monkeypatch)
    train(pets, replace(recipe, seed=1))  # measures the machine where `pets` has not said how fast it is
    shutil.rmtree(pets.workspace.features)
    counts.images.clear()
    train(pets, recipe)
    once = 24 + 16
    probes = counts.images[0] - once  # single images that ask for shapes and sizes
    assert 0 <= probes < 10
    counts.images.clear()
    second = train(pets, replace(recipe, phases=[Phase("Warm-up", "head", 2, lr=0.02)]))
    assert counts.images[0] < 10
    assert phases_of(pets, second)[0]["features_s"] == 0


def test_one_pass_also_keeps_what_a_later_phase_starts_from(pets, monkeypatch):
    counts = CountsStages(monkeypatch)
    train(pets, small_recipe(phases=THREE_PHASES[:2], cache="on", seed=1))
    shutil.rmtree(pets.workspace.features)
    counts.images.clear()
    run_id = train(pets, small_recipe(phases=THREE_PHASES[:2], cache="on"))
    assert [phase["also"] for phase in phases_of(pets, run_id)] == [[4], []]
    assert counts.images[0] - 40 < 10


def test_other_weights_are_never_taken_for_the_same(pets, tmp_path):
    """Two weight files, one recipe: the second run must not train on the first one's features."""
    results = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        backbone = build(SMALL, "random")
        named = {backbone.timm_names[name]: tensor for name, tensor in backbone.body.state_dict().items()}
        save_file(named, tmp_path / f"{seed}.safetensors")
        recipe = small_recipe(weights=str(tmp_path / f"{seed}.safetensors"), cache="on")
        results.append(losses(pets, train(pets, recipe)))
    assert results[0] == results[2] != results[1]


@pytest.fixture
def cache_of(workspace, photos):
    """Makes a feature cache on the photos; settings may differ."""

    def make(image_size=32, mean=(0.5, 0.5, 0.5), precision=FP32, views=None, seed=0) -> FeatureCache:
        torch.manual_seed(seed)
        network = Network(build(SMALL, "random").body, torch.nn.Identity(), precision)
        return FeatureCache(workspace, network, SMALL, Preprocess(image_size, mean, (0.5, 0.5, 0.5)), views)

    return make


@pytest.fixture
def items(photos) -> list[Item]:
    files = sorted(photos.rglob("*.jpg"))[:6]
    return [Item(LabelledFile(path, "cat", f"{index:064x}")) for index, path in enumerate(files)]


def test_everything_that_decides_a_feature_is_part_of_its_key(cache_of, items):
    assert cache_of().compute([3], items)
    assert cache_of().has(3, items)
    assert not cache_of().has(4, items)
    assert not cache_of(image_size=64).has(3, items)
    assert not cache_of(mean=(0.4, 0.5, 0.5)).has(3, items)
    assert not cache_of(precision=Precision("bf16", "")).has(3, items)
    assert not cache_of(seed=1).has(3, items)  # other weights
    assert not cache_of().has(3, [Item(replace(items[0].file, sha256="f" * 64))])


def test_views_are_found_by_augmentation_seed_and_number(cache_of, items):
    files = [item.file for item in items]
    views = Views(AUGMENT, 2, seed=1)
    assert cache_of(views=views).compute([3], all_views(files, views))
    more = Views(AUGMENT, 3, seed=1)
    assert cache_of(views=more).missing([3], all_views(files, more)) == 6  # only the third view of each
    for other in (Views(AUGMENT, 2, seed=2), Views(replace(AUGMENT, rotate=21), 2, seed=1)):
        assert not cache_of(views=other).has(3, all_views(files, other))
    assert not cache_of(views=views).has(3, items)  # the images as they are


def test_a_lower_cut_is_computed_even_where_a_higher_one_is_kept(cache_of, items):
    cache = cache_of()
    cache.compute([4], items)
    cache.compute([5, 3], items)
    assert cache.has(5, items) and cache.has(3, items)
    rows = cache.features(3, items)[np.arange(6)]
    shutil.rmtree(cache.budget.root)
    fresh = cache_of()
    fresh.compute([3], items)
    assert np.allclose(fresh.features(3, items)[np.arange(6)], rows, rtol=1e-5, atol=1e-6)


def test_what_this_phase_reads_is_never_removed_to_make_room_for_it(cache_of, items, monkeypatch):
    files = [item.file for item in items]
    views = Views(AUGMENT, 2, seed=1)
    cache_of(views=views).compute([3], items)  # the plain ones, as for validation
    cache = cache_of(views=views)
    cache.weights_changed()
    needed = 12 * int(np.prod(cache.shapes[3])) * 4
    cache.budget.limit = cache.budget.used() + needed // 2
    assert not cache.compute([3], all_views(files, views) + items)
    assert cache.has(3, items)


def test_weights_above_the_cut_do_not_matter(cache_of, items):
    cache = cache_of()
    cache.compute([2], items)
    with torch.no_grad():
        next(cache._network[0][3].parameters()).add_(1)
    cache.weights_changed()
    assert cache.has(2, items)
    with torch.no_grad():
        next(cache._network[0][1].parameters()).add_(1)
    cache.weights_changed()
    assert not cache.has(2, items)


def test_fastais_lr_finder_works_on_what_is_kept_and_leaves_the_weights(workspace, items, monkeypatch):
    torch.manual_seed(0)
    backbone = build(SMALL, "random")
    network = Network(backbone.body, build_head(Head(), backbone.num_features, 2, (1, 1)), FP32)
    files = [replace(item.file, label=("cat", "dog")[index % 2]) for index, item in enumerate(items)]
    cache = FeatureCache(workspace, network, SMALL, Preprocess(32, backbone.mean, backbone.std))
    dls = make_dataloaders(
        files, files, ["cat", "dog"], cache.decoder, Preprocess(32, backbone.mean, backbone.std), None, 3, CPU, Order(0)
    )
    learn = build_learner(network, dls)
    learn.path = workspace.root  # lr_find puts the weights there meanwhile
    learn.create_opt()
    learn.freeze_to(3)
    feed = Feed(network, cache, dls, views=None)
    assert cache.compute([3], [Item(file) for file in files])
    feed.start_at(3, [dls.train, dls.valid])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    counts = CountsStages(monkeypatch)
    learn.lr_find(num_it=6, show_plot=False)
    assert set(counts.images) == {3, 4}
    assert len(learn.recorder.lrs) > 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


# When something is wrong with the disk


def test_a_damaged_cache_is_computed_again_and_never_trained_on(pets, caplog):
    recipe = small_recipe(phases=THREE_PHASES[:2], cache="on")
    clean = train(pets, recipe)
    harmed = list(pets.workspace.features.rglob("rows.bin"))
    assert len(harmed) > 3
    for file in harmed:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0xFF
        file.write_bytes(data)
    again = train(pets, recipe)
    assert losses(pets, again) == losses(pets, clean)
    assert "damaged and will be computed again" in caplog.text


def test_without_room_the_run_goes_on_uncached_and_says_so(pets, on_and_off, monkeypatch):
    monkeypatch.setenv("THAW_CACHE_GB", "0")
    run_id = train(pets, small_recipe(phases=THREE_PHASES, cache="on"))
    plan = pets.runs.get(run_id).facts["plan"]
    assert [phase["cached"] for phase in plan["phases"]] == [False] * 3
    assert "the cache has room for 0.0 GB" in plan["phases"][0]["reason"]
    assert not pets.workspace.features.exists()
    store, cached, _ = on_and_off
    assert np.array(losses(pets, run_id)) == pytest.approx(np.array(losses(store, cached)), rel=1e-5)


def test_a_cache_that_cannot_be_written_does_not_end_the_run(pets, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("learner.features.arrays.RowWriter._add", full)
    run_id = train(pets, small_recipe(cache="on"))
    (phase,) = phases_of(pets, run_id)
    assert not phase["cached"]
    assert "The cache cannot be written (No space left on device)" in phase["reason"]


def test_a_run_killed_while_the_cache_is_built_leaves_nothing_that_changes_the_next(pets, tmp_path):
    recipe = small_recipe(phases=THREE_PHASES[:2], cache="on")
    process = start_training(pets, pets.submit(recipe))
    until(lambda: list(pets.workspace.features.glob("*/.*")), every_s=0.001)
    process.kill()
    process.join()
    assert process.exitcode == -9
    after_kill = train(pets, recipe)
    shutil.rmtree(pets.workspace.features)
    assert losses(pets, after_kill) == losses(pets, train(pets, recipe))


# What a person sees and asks for


def test_a_stop_while_features_are_computed_keeps_what_was_learnt_before(pets, monkeypatch):
    monkeypatch.setattr("learner.training.progress.REPORT_EVERY_S", 0)

    class StopsWhilePreparing(Listener):
        def on_progress(self, progress) -> None:
            if progress.phase == 2 and progress.epoch == 0:
                pets.runs.ask(run_id, "stop")

    run_id = pets.submit(small_recipe(phases=THREE_PHASES, cache="on"), running=True)
    assert execute(pets, run_id, StopsWhilePreparing()) == "stopped"
    assert len(pets.runs.epochs(run_id)) == 4
    assert len(load_predictions(pets.workspace.run_folder(run_id))) == 16


def test_expected_and_true_times_stand_side_by_side(trained):
    store, run_id = trained
    plan = store.runs.get(run_id).facts["plan"]
    assert plan["true_decode_s"] > 0
    for phase in plan["phases"]:
        assert phase["true_s"] >= phase["true_features_s"] > 0
        assert phase["uncached_s"] > 0 and phase["reason"]


def test_fresh_augmentation_every_epoch_is_not_cached(pets, monkeypatch):
    monkeypatch.setattr("learner.training.progress.REPORT_EVERY_S", 0)
    reading = []

    class Listens(Listener):
        def on_progress(self, progress) -> None:
            if progress.message == "Reading the images, once":
                reading.append(progress.done)

    run_id = train(pets, small_recipe(augment=AUGMENT, views=0), Listens())
    plan = pets.runs.get(run_id).facts["plan"]
    whole = plan["decode_s"] + sum(phase["uncached_s"] for phase in plan["phases"])
    assert reading[-1] == pytest.approx(plan["decode_s"] / whole)  # reading is done, and counted once
    (phase,) = phases_of(pets, run_id)
    assert not phase["cached"] and "views: 0" in phase["reason"]
