"""What a run costs, from a shell: before it (`--dry-run`), after it (`runs show`), and on disk (`cache`)."""

import io
import sys

import pytest

from learner.planning.cost import RunPlan
from learner.store import Run
from tests.learner.cli.shell import TINY
from tests.samples import SMALL, small_recipe

THREE_PHASES = [
    *TINY,
    "--set",
    "phases=[{name: Warm-up, epochs: 200}, {name: Upper, trainable: layer4, epochs: 9}, {name: All, trainable: all}]",
]


# Before


def test_a_dry_run_measures_once_tells_every_phase_and_begins_no_run(pets, thaw):
    pets.workspace.speeds.unlink()
    said = thaw("train", "--dataset", "pets", *THREE_PHASES, "--dry-run")
    assert (said.code, said.err) == (0, "Measuring this machine, about 15 s\n")
    about, weights, precision, heading, *rows = said.out.splitlines()
    assert about.startswith(f"pets, version 1: {SMALL} at 32 px, 8 images a step, on CPU, ")
    assert weights == "Random weights were asked for, so nothing pretrained is used."
    assert precision.startswith("Computed in ") and precision.endswith(".")
    assert heading.split() == ["Part", "Epochs", "Expected", "Cache", "Disk", "Why"]
    told = {row.split("  ")[0]: row for row in rows}
    assert list(told)[:2] == ["Reading images", "Warm-up"] and list(told)[-1] == "Together"
    assert told["Warm-up"].split()[1] == "200" and " yes " in told["Warm-up"] and "instead of" in said.out
    assert told["Upper"].split()[1] == "9"
    assert " no " in told["All"] and "Every stage learns" in " ".join(said.out.split())

    again = thaw("train", "--dataset", "pets", *THREE_PHASES, "--dry-run")
    assert again.err == "" and again.out.splitlines()[:2] == said.out.splitlines()[:2]
    assert pets.runs.all() == []


def test_a_dry_run_prints_one_json_object_when_asked(pets, thaw):
    said = thaw("train", "--dataset", "pets", *THREE_PHASES, "--set", "cache=off", "--dry-run", "--json")
    assert said.err == ""
    told = said.json
    assert told["recipe"]["version"] == 1 and told["recipe"]["image_size"] == 32
    phases = told["plan"]["phases"]
    assert [(phase["name"], phase["epochs"], phase["cached"]) for phase in phases] == [
        ("Warm-up", 200, False),
        ("Upper", 9, False),
        ("All", 3, False),
    ]
    assert phases[0]["reason"] == "The recipe turns the cache off."
    assert told["plan"]["refit"] == []
    total = told["plan"]["decode_s"] + sum(phase["expected_s"] for phase in phases)
    assert told["expected_s"] == pytest.approx(total)


def test_a_dry_run_on_a_folder_adds_it_once(store, thaw, photos):
    for _ in range(2):
        assert thaw("train", "--dataset", photos, *THREE_PHASES, "--dry-run", "--json").code == 0
    assert store.datasets.names() == ["pets"]
    assert store.datasets.version("pets").number == 1


def test_a_dry_run_finds_the_mistakes_that_the_run_would(pets, thaw):
    thaw("train", "--dataset", "pets", *THREE_PHASES, "--dry-run")
    for change, message in (
        ("phases.1.trainable=block5", "'block5' is not a part of test_resnet"),
        ("weights=/no/such/file.pth", "/no/such/file.pth"),
    ):
        said = thaw("train", "--dataset", "pets", *THREE_PHASES, "--set", change, "--dry-run")
        assert said.code == 2
        [line] = said.err.splitlines()
        assert line.startswith("Error: ") and message in line


# After


def test_a_run_shows_what_was_expected_beside_what_came_true(home, thaw):
    shown = thaw("runs", "show", 1)
    plan = RunPlan.from_facts(thaw("runs", "show", 1, "--json").json["facts"])
    assert f"Computed in {plan.precision}. " in shown.out
    lines = shown.out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split() == ["Part", "Expected", "True", "Cache", "Why"])
    table = "\n".join(lines[start:])
    for part in ("Reading images", "Solve the head", "Fine-tuning", "Together"):
        assert part in table
    assert "–" not in table.split("Accuracy")[0]  # all of it has run


def test_a_run_without_a_plan_or_without_a_finished_phase_shows_no_table(pets, thaw):
    run_id = pets.submit(small_recipe(), running=True)
    with pets.runs.session() as session, session.begin():
        session.get(Run, run_id).facts = facts_of_an_earlier_thaw()
    shown = thaw("runs", "show", run_id)
    assert shown.code == 0 and "Expected" not in shown.out and "test_resnet at 32 px" in shown.out


def facts_of_an_earlier_thaw() -> dict:
    weights = {"reason": "Random weights were asked for.", "tried": []}
    return {"backbone": SMALL, "image_size": 32, "device": "CPU", "weights": weights}


# On disk


@pytest.fixture
def filled(store):
    """Two stores of 3 MB together."""
    for name, size in (("pixels", 1_000_000), ("outputs", 2_000_000)):
        (store.workspace.features / name / "part").mkdir(parents=True)
        (store.workspace.features / name / "part" / "rows.bin").write_bytes(b"0" * size)
    return store


def test_the_cache_tells_its_size_its_budget_and_where_it_is(filled, thaw, monkeypatch):
    said = thaw("cache")
    assert said.out.startswith(f"3 MB of 20.0 GB (THAW_CACHE_GB) in 2 stores, in {filled.workspace.features}\n")
    assert "python -m learner cache clear" in said.out
    monkeypatch.setenv("THAW_CACHE_GB", "0.5")
    told = thaw("cache", "--json").json
    kinds = {kind.pop("what"): kind for kind in told.pop("kinds")}
    assert kinds["Feature cache"]["bytes"] == 3_000_000 and all(kind["bound"] for kind in kinds.values())
    assert set(kinds) > {"Thumbnails", "Uploads", "Predictions", "Deleted runs", "Logs"}
    assert told == {
        "used": 3_000_000,
        "budget": 500_000_000,
        "stores": 2,
        "folder": str(filled.workspace.features),
    }


def test_a_budget_that_is_no_number_is_one_line(filled, thaw, monkeypatch):
    monkeypatch.setenv("THAW_CACHE_GB", "much")
    said = thaw("cache")
    assert (said.code, said.err.count("\n")) == (2, 1) and "THAW_CACHE_GB is 'much'" in said.err


@pytest.mark.parametrize(("answer", "left"), [("n\n", 2), ("y\n", 0)])
def test_clearing_the_cache_says_what_it_frees_and_asks(filled, thaw, monkeypatch, answer, left):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    said = thaw("cache", "clear")
    assert said.code == 0
    assert "Remove all of the cache and free 3 MB?" in said.err
    assert said.out == ("Nothing was removed.\n" if left else "Removed 3 MB.\n")
    assert len(list(filled.workspace.features.glob("*"))) == left


def test_clearing_the_cache_without_an_answer_removes_nothing(filled, thaw, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    said = thaw("cache", "clear")
    assert said.code == 2 and said.err.splitlines()[-1].startswith("Error: Nothing was removed, because nobody")
    assert thaw("cache", "--json").json["stores"] == 2


def test_clearing_the_cache_need_not_ask(filled, thaw):
    assert thaw("cache", "clear", "--yes").out == "Removed 3 MB.\n"
    assert thaw("cache", "clear").out == "The cache is empty.\n"
    assert thaw("cache").out.startswith("0 MB of 20.0 GB (THAW_CACHE_GB) in 0 stores")


def test_the_cache_is_left_alone_while_a_run_trains(filled, pets, thaw):
    run_id = pets.submit(small_recipe(), running=True)
    said = thaw("cache", "clear", "--yes")
    assert said.code == 2 and f"Run {run_id} is training" in said.err
    assert thaw("cache", "--json").json["stores"] == 2
