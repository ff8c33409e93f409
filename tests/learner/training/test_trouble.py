"""Memory that runs out, a full disk, a loss that is no number, images that vanish: a clear end, and nothing is lost."""

import ctypes
import resource
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

import learner.training.process
from learner.datasets import add_dataset
from learner.recipe import Head, Phase
from learner.recipe.backbones import SMALL_CNN
from learner.store import Store
from learner.training.process import execute
from learner.workspace import Workspace
from tests.disks import disk_of
from tests.learner.killing import die_at_batch, left_behind, train_in_a_process
from tests.learner.training.running import with_whole_run
from tests.machine import keep_small_speeds
from tests.samples import copy_workspace, make_photos, small_recipe

RECIPE = small_recipe(
    batch_size=4,
    phases=[Phase("Warm-up", epochs=2, lr=0.01), Phase("Fine-tuning", "all", epochs=2, lr=[1e-4, 1e-3])],
    precision="fp32",
    cache="off",
)


@pytest.fixture(scope="module")
def home_with_whole(pets_home, tmp_path_factory) -> Path:
    """A workspace in which the recipe was trained once, without trouble."""
    return with_whole_run(pets_home, tmp_path_factory.mktemp("whole"), RECIPE)


@pytest.fixture
def whole(home_with_whole, store) -> int:
    """That run, in the test's own workspace."""
    copy_workspace(home_with_whole, store.workspace.root)
    [run] = store.runs.all()
    return run.id


def _limit_memory(room: int) -> None:
    """Let this process have so many bytes of addresses more than it has now.

    glibc frees addresses, other than memory, only of blocks that it maps one by one, which Thaw turns off for speed.
    """
    learner.training.process.retain_memory = lambda: None
    libc = ctypes.CDLL(None)
    libc.mallopt(-8, 1)  # M_ARENA_MAX: else each thread that has to wait reserves addresses of its own
    libc.mallopt(-3, 1_000_000)  # M_MMAP_THRESHOLD: else glibc maps fewer blocks one by one as it goes
    limit = psutil.Process().memory_info().vms + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def test_where_memory_runs_out_it_goes_on_with_a_smaller_batch_and_says_so(store, tmp_path):
    add_dataset(store, make_photos(tmp_path / "photos", {"cat": 21, "dog": 21}), "pets")  # 32 of them for training
    keep_small_speeds(store.workspace, [384], [4, 8, 16, 32])
    # One stage's output for 32 images of 384 px takes 32 × 192 × 192 × 32 × 4 bytes = 151 MB, and gradients as much.
    recipe = small_recipe(
        batch_size=32, image_size=384, phases=[Phase("All", "all", epochs=1, lr=1e-3)], precision="fp32", cache="off"
    )
    run_id = store.submit(recipe)
    train_in_a_process(store, run_id, prepare=partial(_limit_memory, 850_000_000))
    run = store.runs.get(run_id)
    assert run.status == "finished", run.reason
    used = run.facts["recipe"]
    assert used["batch_size"] < 32 and used["batch_size"] * used["accumulate"] == 32
    notes = run.facts["notes"]
    assert notes[0].startswith("Memory ran out. It goes on with 16 images a batch instead of 32, and 2 batches a step")
    assert len(store.runs.epochs(run_id)) == 1


def test_where_even_the_smallest_batch_is_too_large_the_run_ends_with_the_ways_out(store, tmp_path):
    add_dataset(store, make_photos(tmp_path / "photos"), "pets")
    recipe = small_recipe(batch_size=4, image_size=1024, phases=[Phase("All", "all", epochs=1)], cache="off")
    run_id = store.submit(recipe)
    train_in_a_process(store, run_id, prepare=partial(_limit_memory, 60_000_000))
    run = store.runs.get(run_id)
    assert run.status == "failed"
    assert run.reason == (
        "Memory ran out, even with the smallest batch. Use a smaller image size, or let fewer stages learn."
    )


def test_a_run_that_died_twice_is_tried_once_more_with_a_smaller_batch(pets):
    run_id = pets.submit(RECIPE)
    for _ in range(2):
        assert train_in_a_process(pets, run_id, prepare=partial(die_at_batch, 1, 0)) == -9
        pets.runs.claim()
        pets.runs.requeue(run_id, "It died.")
    assert train_in_a_process(pets, run_id) == 0
    run = pets.runs.get(run_id)
    assert (run.status, run.deaths) == ("finished", 0)
    assert run.facts["notes"] == [
        "The training process died twice, perhaps for lack of memory. It goes on with 2 images a batch instead of 4, "
        "and 2 batches a step, which comes to nearly the same in less memory."
    ]


@pytest.fixture
def small_disk(tmp_path):
    with disk_of(12, tmp_path / "disk") as disk:
        yield disk


def test_a_full_disk_ends_the_run_clearly_and_it_goes_on_when_there_is_room(store, whole, small_disk):
    run_id = store.submit(RECIPE)
    folder = store.workspace.run_folder(run_id)
    folder.symlink_to(small_disk)  # only the run's own files are on the small disk
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(6_000_000))
    train_in_a_process(store, run_id)
    run = store.runs.get(run_id)
    assert run.status == "failed"
    assert run.reason.startswith("The disk is full. Free some space and resume the run")

    ballast.unlink()
    folder.unlink()
    shutil.copytree(small_disk, folder)  # a larger one
    store.runs.resume(run_id)
    train_in_a_process(store, run_id)
    assert left_behind(store, run_id) == left_behind(store, whole)


def test_a_loss_that_is_no_number_names_the_phase_and_keeps_what_came_before(pets):
    # Each step multiplies the weights by 1 - lr × decay = -9: after 60 steps no 32-bit number holds them.
    fast = Phase("Too fast", epochs=9, lr=10.0, weight_decay=1, optimizer="sgd", schedule="constant")
    phases = [Phase("Warm-up", epochs=1, lr=0.001), fast]
    recipe = small_recipe(backbone=SMALL_CNN, head=Head("linear"), phases=phases, batch_size=2)
    run_id = pets.submit(recipe, running=True)
    execute(pets, run_id)
    run = pets.runs.get(run_id)
    assert run.status == "failed"
    assert "a tenth of it in phase 2, Too fast" in run.reason
    assert pets.checkpoint(run_id).exists()
    # From the end of the phase before, another rate can be tried.
    gentler = replace(recipe, phases=[phases[0], replace(fast, epochs=1, lr=1e-3)])
    child = pets.submit(gentler, running=True, parent=(run_id, 0))
    assert execute(pets, child) == "finished"


def test_images_that_vanish_are_named_and_the_run_goes_on_once_they_are_back(store, whole, tmp_path):
    run_id = store.submit(RECIPE)
    train_in_a_process(store, run_id, prepare=partial(die_at_batch, 2, 1))
    shutil.rmtree(store.workspace.features)
    images = store.workspace.datasets
    images.rename(tmp_path / "elsewhere")
    train_in_a_process(store, run_id)
    run = store.runs.get(run_id)
    assert run.status == "failed"
    assert "cannot be opened: No such file or directory" in run.reason

    (tmp_path / "elsewhere").rename(images)
    store.runs.resume(run_id)
    train_in_a_process(store, run_id)
    assert left_behind(store, run_id) == left_behind(store, whole)


def test_a_new_version_of_the_data_set_changes_nothing_for_a_run_under_way(store, whole, tmp_path):
    run_id = store.submit(RECIPE)
    train_in_a_process(store, run_id, prepare=partial(die_at_batch, 2, 1))
    add_dataset(store, make_photos(tmp_path / "more", {"cat": 3, "owl": 4}, seed=9), "pets", mode="add")
    assert store.datasets.version("pets").number == 2
    train_in_a_process(store, run_id)
    assert left_behind(store, run_id) == left_behind(store, whole)


def test_a_process_that_was_only_slow_writes_nothing_once_another_has_taken_over(pets):
    run_id = pets.submit(RECIPE, running=True)
    pets.runs.requeue(run_id, "It was silent.")
    assert execute(Store(Workspace(pets.workspace.root)), run_id) == "queued"
    assert pets.runs.epochs(run_id) == []


def test_a_recipe_of_several_processes_says_what_it_needs(pets):
    run_id = pets.submit(replace(RECIPE, workers=2), running=True)
    assert execute(pets, run_id) == "failed"
    assert pets.runs.get(run_id).reason == (
        "The recipe asks for workers: 2, and only a Ray cluster trains one run by several processes. Start the worker "
        "with EXECUTOR=ray (docs/scaling.md), or set workers: 1."
    )
