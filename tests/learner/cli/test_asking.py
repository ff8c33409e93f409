"""Commands that find something out: rates, what suits a data set, what ImageNet sees, where a model looked."""

import shlex
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

from learner.recipe import Head
from learner.recipe.backbones import FALLBACK_ARCH
from learner.training.process import execute
from tests.learner.cli.shell import TINY
from tests.samples import SMALL, small_recipe

PORTRAIT = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No hub is asked for weights."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_a_rate_is_found_explained_and_can_be_copied(pets, thaw):
    phases = ["--set", "phases=[{name: Warm-up}, {name: Upper, trainable: layer4}]"]
    said = thaw("find-rate", "--dataset", "pets", *TINY, *phases, "--phase", "2")
    assert (said.code, said.err) == (0, "")
    first, heading, *rest = said.out.splitlines()
    assert first.startswith("Phase 2, Upper: ") and " for the lowest part that learns, up to " in first
    assert heading.split() == ["Suggestion", "Rate"]
    assert {"valley", "steep", "minimum"} <= {line.split()[0] for line in rest[:4]}
    assert "Valley is the middle of the longest stretch" in said.out
    use = rest[-1].removeprefix("Use it: --set ").strip("'")
    told = thaw("find-rate", "--dataset", "pets", *TINY, *phases, "--phase", "2", "--json").json
    assert use == f"phases.1.lr={told['lr']}"
    assert thaw("train", "--dataset", "pets", *TINY, *phases, "--set", use, "--queue", "--json").code == 0
    assert pets.runs.get(1).recipe["phases"][1]["lr"] == told["lr"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("find-rate --dataset nosuch", "There is no data set 'nosuch'"),
        ("find-rate --dataset pets --phase 9", "There is no phase 9: the recipe has 2"),
        ("find-rate --dataset pets --recipe nosuch", "there is no such file, and no shipped recipe"),
        ("recommend --dataset nosuch", "There is no data set 'nosuch'"),
        ("recommend --dataset pets --backbone nosuch", "nosuch"),
        ("recommend --dataset pets --set weights=/no/such.pth", "/no/such.pth"),
        ("recommend --dataset pets --set nosuch=1", "nosuch"),
        ("imagenet --dataset pets --set weights=/no/such.pth", "/no/such.pth"),
        ("imagenet --dataset pets --set weights=random", "random has no classifier"),
        ("imagenet --dataset pets --set image_size=32", "The untouched network takes no image_size"),
        ("imagenet", "Name images or a data set (--dataset NAME), one of the two"),
        ("imagenet --dataset nosuch", "There is no data set 'nosuch'"),
        ("imagenet /no/such.jpg", "There is no file or folder /no/such.jpg"),
        ("imagenet --dataset pets --backbone nosuch", "nosuch"),
    ],
)
def test_mistakes_are_one_line(pets, thaw, words, message):
    said = thaw(*words.split())
    assert said.code == 2 and message in said.err
    assert said.err.startswith("Error: ") and said.err.count("\n") == 1


def test_a_strategy_is_recommended_with_its_command(pets, thaw):
    said = thaw("recommend", "--dataset", "pets", "--backbone", FALLBACK_ARCH)
    assert said.code == 0
    assert said.out.splitlines()[0] == "Freeze the body and train the head only."
    assert "It is a rule of thumb: try it." in said.out
    command = said.out.splitlines()[-1].partition("python -m learner ")[2]
    assert command == f"train --dataset pets --recipe size_similarity_frozen --set backbone={FALLBACK_ARCH}"
    told = thaw("recommend", "--dataset", "pets", "--backbone", FALLBACK_ARCH, "--json").json
    assert (told["strategy"], told["recipe"], told["probed"]) == ("frozen", "size_similarity_frozen", 40)
    assert thaw(*command.split(), "--queue", "--json").code == 0
    assert pets.runs.get(1).recipe == told["changed_recipe"] | {"version": 1}


def test_a_recommendation_follows_the_changes_of_the_recipe(pets, thaw):
    words = ["--dataset", "pets", "--set", f"backbone={SMALL}", "--set", "weights=random", "--set", "image_size=32"]
    told = thaw("recommend", *words, "--json").json
    assert (told["backbone"], told["changed_recipe"]["weights"]) == (SMALL, "random")
    command = thaw("recommend", *words).out.splitlines()[-1].partition("python -m learner ")[2]
    assert thaw(*shlex.split(command), "--queue", "--json").code == 0
    assert pets.runs.get(1).recipe == told["changed_recipe"] | {"version": 1}


def test_the_untouched_network_says_what_it_sees(pets, thaw, tmp_path):
    said = thaw("imagenet", PORTRAIT, "--backbone", FALLBACK_ARCH)
    assert said.code == 0 and said.out.startswith(f"{FALLBACK_ARCH}, untouched. ")
    assert f"{PORTRAIT}: military uniform " in said.out
    told = thaw("imagenet", "--dataset", "pets", "--json").json
    assert [(one["label"], one["photos"]) for one in told["classes"]] == [("cat", 20), ("dog", 20)]
    table = thaw("imagenet", "--dataset", "pets").out.splitlines()
    assert table[1].split()[:2] == ["Class", "Photos"] and table[2].split()[:2] == ["cat", "20"]
    (tmp_path / "broken.jpg").write_text("no picture")
    assert thaw("imagenet", tmp_path / "broken.jpg").code == 2


def test_attention_is_drawn_over_each_picture(pets, thaw, tmp_path, photos):
    run_id = pets.submit(small_recipe(head=Head("attention", [8]), image_size=64), running=True)
    assert execute(pets, run_id) == "finished", pets.runs.get(run_id).reason
    pictures = sorted((photos / "valid" / "cat").glob("*.jpg"))[:2]
    said = thaw("predict", run_id, *pictures, "--attention", tmp_path / "maps")
    assert said.code == 0 and f"Wrote 2 pictures to {tmp_path / 'maps'}" in said.out
    drawn = sorted((tmp_path / "maps").iterdir())
    assert [file.name for file in drawn] == [f"{n:04}_{file.stem}.png" for n, file in enumerate(pictures, start=1)]
    with Image.open(drawn[0]) as png, Image.open(pictures[0]) as jpg:
        assert png.size == jpg.size
    said = thaw("predict", run_id, pictures[0], "--attention", tmp_path / "no" / "such")
    assert said.code == 2 and "does not exist" in said.err


def test_a_model_without_attention_says_so(home, thaw, photos, tmp_path):
    picture = next(photos.rglob("*.jpg"))
    said = thaw("predict", 1, picture, "--attention", tmp_path / "maps")
    assert said.code == 2 and "has no attention head" in said.err and not (tmp_path / "maps").exists()
