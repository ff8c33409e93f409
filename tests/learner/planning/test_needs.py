"""What a run needs of a machine, and what this one has."""

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from learner.jobs import device, memory
from learner.jobs.memory import total_memory
from learner.planning.needs import lack_of
from learner.recipe import Recipe
from learner.recipe.backbones import FALLBACK_ARCH
from learner.workspace import Workspace
from tests.gpus import path_with_gpus

PETS = Recipe("pets")


def lacks(workspace: Workspace, **changes) -> str | None:
    found = lack_of(replace(PETS, **changes).to_dict(), workspace)
    return None if found is None else f"{found.what}{'' if found.is_final else '?'}"


def test_a_plain_recipe_needs_nothing(workspace):
    assert lacks(workspace) is None


def test_a_recipe_of_an_older_thaw_needs_nothing(workspace):
    older = {key: value for key, value in PETS.to_dict().items() if key not in ("device", "memory")}
    assert lack_of(older, workspace) is None


def test_a_gpu_is_there_or_not(workspace, tmp_path, monkeypatch):
    assert lacks(workspace, device="gpu") == "a GPU"
    monkeypatch.setenv("PATH", path_with_gpus(tmp_path))
    device._parts_of_gpus.cache_clear()
    assert lacks(workspace, device="gpu") is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert lacks(workspace, device="gpu") == "a GPU"
    device._parts_of_gpus.cache_clear()


def test_memory_is_that_of_the_machine_or_of_its_container(workspace, tmp_path, monkeypatch):
    has = psutil.virtual_memory().total / 1e9
    assert lacks(workspace, memory=round(2 * has)) == f"{round(2 * has):g} GB of memory"
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (tmp_path / "not there", limit))
    assert lacks(workspace, memory=1.5) is None
    limit.write_text("1000000000\n")
    assert total_memory() == 1_000_000_000
    assert lacks(workspace, memory=1.5) == "1.5 GB of memory"
    limit.write_text("max\n")
    assert lacks(workspace, memory=1.5) is None


@pytest.mark.parametrize("backbone", ["vgg16", "vgg19"])
def test_weights_that_are_not_at_hand_may_be_had_elsewhere(workspace, monkeypatch, tmp_path, backbone):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert (lacks(workspace, backbone=backbone) or "").endswith("?")
    workspace.weights.mkdir(parents=True)
    (workspace.weights / f"{backbone}.safetensors").touch()
    assert lacks(workspace, backbone=backbone) is None


def test_weights_that_come_with_thaw_or_are_not_wanted_are_no_need(workspace):
    assert lacks(workspace, backbone=FALLBACK_ARCH) is None
    assert lacks(workspace, backbone="vgg16", weights="random") is None
    assert lacks(workspace, backbone="vgg16", weights="run:3") is None


def test_a_file_that_is_named_has_to_be_there(workspace, tmp_path: Path):
    file = tmp_path / "mine.safetensors"
    assert lacks(workspace, backbone="vgg16", weights=str(file)) == "the file mine.safetensors?"
    file.touch()
    assert lacks(workspace, backbone="vgg16", weights=str(file)) is None
