"""`python -m learner results`: all that the Results page does, from a shell, and each mistake in one line."""

import csv

import pytest

from learner.datasets import add_dataset
from learner.datasets.editing import edits_of
from learner.evaluation.results import load_predictions
from learner.recipe import Phase
from learner.store import Store
from learner.training.process import execute
from tests.finished import finish
from tests.samples import make_photos, small_recipe

CAT, CAT_1, DOG = "valid/cat/cat_000.jpg", "valid/cat/cat_001.jpg", "valid/dog/dog_000.jpg"
LONG = [Phase("Warm-up", epochs=2, lr=0.01), Phase("Fine-tuning", trainable="all", epochs=6, lr=[1e-3, 1e-2])]


@pytest.fixture
def pets(store, tmp_path) -> Store:
    """A data set with a split of its own: ten validation photos of each of two classes."""
    make_photos(tmp_path / "pets" / "train", {"cat": 6, "dog": 6}, size=(48, 40), seed=1)
    make_photos(tmp_path / "pets" / "valid", {"cat": 10, "dog": 10}, size=(48, 40), seed=2)
    add_dataset(store, tmp_path / "pets", "pets")
    return store


@pytest.fixture
def run(pets) -> int:
    """Two cats taken for dogs, of one of which it was surer, and a dog taken for a cat."""
    return finish(pets, {CAT: "dog", CAT_1: "dog", DOG: "cat"}, {CAT_1: 0.99, DOG: 0.6})


def lines(text: str) -> list[str]:
    """Without what columns are padded with."""
    return [" ".join(line.split()) for line in text.splitlines()]


class TestShow:
    def test_figures_have_intervals_with_their_methods(self, run, thaw):
        said = lines(thaw("results", "show", run).out)
        assert said[0] == "Run 1, 20 validation images"
        assert "Accuracy 85.0 % (64.0–94.8) Wilson" in said  # 17 of 20
        assert "cat 88.9 % 80.0 % 84.2 % 10" in said  # 8 of 9 called so, 8 of 10 found
        assert any("temperature 2.00" in line for line in said)

    def test_training_images_are_shown_apart(self, run, thaw):
        said = lines(thaw("results", "show", run, "--split", "train").out)
        assert said[0] == "Run 1, 12 training images" and "Accuracy 100.0 % (75.8–100.0) Wilson" in said

    def test_json_holds_the_whole_result(self, run, thaw):
        said = thaw("results", "show", run, "--json")
        assert said.err == ""
        assert (said.json["run"], said.json["images"], said.json["accuracy"]) == (1, 20, 0.85)
        assert said.json["confusion"] == [[8, 2], [1, 9]]

    def test_how_much_the_choice_of_the_best_epoch_flatters_is_said_where_it_is_known(self, run, pets, thaw):
        assert "flatters" not in thaw("results", "show", run).out
        assert thaw("results", "show", run, "--json").json["optimism"] is None
        figures = {"phase": 0, "train_loss": 1.0, "accuracy": 0.9, "error_rate": 0.1, "lrs": [], "seconds": 1.0}
        with pets.runs.session() as session, session.begin():
            session.delete(pets.runs.epochs(run)[0])
        for epoch, loss in ((1, 1.0), (2, 0.5)):
            parts = [[2, 2 * loss, 2]] * 10
            pets.runs.add_epoch(run, False, epoch=epoch, valid_loss=loss, parts=parts, **figures)
        assert "The best of 2 states of the network was chosen" in thaw("results", "show", run).out
        assert thaw("results", "show", run, "--json").json["optimism"]["candidates"] == 2
        assert "flatters" not in thaw("results", "show", run, "--split", "train").out

    def test_a_result_of_an_older_thaw_leads_to_completing_it(self, run, pets, thaw):
        (pets.workspace.run_folder(run) / "golden" / "golden.json").unlink()
        assert "python -m learner results complete 1" in thaw("results", "show", run).err


class TestMistakes:
    def test_pairs_and_photos_are_listed_the_surest_first(self, run, thaw):
        said = lines(thaw("results", "mistakes", run).out)
        assert said == [
            "cat taken for dog: 2 of 10",
            "dog taken for cat: 1 of 10",
            "Photo Labelled Model said How sure",
            f"{CAT_1} cat dog 99.0 %",
            f"{CAT} cat dog 90.0 %",
            f"{DOG} dog cat 60.0 %",
            "3 wrong photos, 3 shown.",
        ]

    def test_a_class_or_an_answer_narrows_them_and_a_table_holds_all(self, run, thaw, tmp_path):
        said = thaw("results", "mistakes", run, "--said", "dog", "--most", 1, "--csv", tmp_path / "wrong.csv")
        assert lines(said.out)[-3:] == [
            f"{CAT_1} cat dog 99.0 %",
            "2 wrong photos, 1 shown.",
            f"Wrote 2 rows to {tmp_path / 'wrong.csv'}",
        ]
        with (tmp_path / "wrong.csv").open(newline="", encoding="utf-8") as stream:
            assert [row["path"] for row in csv.DictReader(stream)] == [CAT_1, CAT]
        assert lines(thaw("results", "mistakes", run, "--true", "dog").out)[-1] == "1 wrong photo, 1 shown."

    def test_json_names_pairs_and_photos(self, run, thaw):
        said = thaw("results", "mistakes", run, "--true", "dog", "--json").json
        assert said["split"] == "valid"
        assert said["pairs"][0] == {"true": "cat", "said": "dog", "times": 2, "images": 10}
        assert said["photos"] == [{"path": DOG, "label": "dog", "predicted": "cat", "probability": 0.6}]

    def test_without_a_mistake_it_says_so(self, pets, thaw):
        assert thaw("results", "mistakes", finish(pets)).out.endswith("0 wrong photos, 0 shown.\n")


class TestCompare:
    def test_it_counts_what_was_fixed_and_broken_and_names_the_photos(self, run, pets, thaw):
        after = finish(pets, {"valid/dog/dog_005.jpg": "cat"}, {CAT: 0.8}, baseline=run)
        said = lines(thaw("results", "compare", after).out)
        assert said[0].startswith("These photos do not show that either is better")
        assert said[1].startswith("+10.0 points (−")
        assert said[1].endswith("on 20 photos: 3 fixed, 1 broken, p = 0.625 (McNemar).")
        assert said[2] == f"fixed {CAT_1} is cat, before dog, now cat"
        assert said[-1] == "broken valid/dog/dog_005.jpg is dog, before dog, now cat"

    def test_with_several_runs_p_values_are_raised(self, run, pets, thaw):
        second = finish(pets, {f"valid/cat/cat_{number:03}.jpg": "dog" for number in range(8)})
        best = finish(pets)
        first, other = thaw("results", "compare", best, run, second, "--json").json["compared"]
        # 3 against none: 2/8, kept; 8 against none: 2/256, doubled by Holm
        assert (first["with"], first["p_value"], len(first["fixed"])) == (run, 0.25, 3)
        assert (other["with"], other["p_value"], other["difference"]) == (second, 4 / 256, 0.4)
        assert "Run 3 beats Run 2" in thaw("results", "compare", best, second).out

    def test_photos_that_only_one_of_them_saw_are_left_out(self, run, pets, thaw):
        assert thaw("results", "exclude", run, CAT).code == 0
        assert thaw("results", "retrain", run, "--queue").code == 0
        pets.runs.ask(2, "stop")
        after = finish(pets, baseline=run)
        said = thaw("results", "compare", after).out
        assert "on 19 photos: 2 fixed, 0 broken" in said
        assert "Left out: 0 relabelled in between, 1 checked by run 1 alone, 0 by run 3 alone." in said


class TestMap:
    def test_a_table_has_a_place_for_each_photo_and_what_the_run_said(self, home, thaw, tmp_path):
        said = thaw("results", "map", 1, "--to", tmp_path / "map.csv")
        with (tmp_path / "map.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert said.out.strip() == f"Wrote the places of {len(rows)} photos to {tmp_path / 'map.csv'}."
        table = load_predictions(home / "runs" / "1")
        told = {row["path"]: row["predicted"] for row in rows if row["split"] == "valid"}
        assert told == dict(zip(table["path"], table["predicted"], strict=True))
        assert all(0 <= float(row["x"]) <= 1 and 0 <= float(row["y"]) <= 1 for row in rows)
        assert all(row["wrong"] == str(int(row["label"] != row["predicted"])) for row in rows)

    def test_what_cannot_be_mapped_is_told_in_a_line(self, pets, thaw, tmp_path):
        waiting = pets.submit(small_recipe())
        assert f"Run {waiting} is queued" in thaw("results", "map", waiting, "--to", tmp_path / "map.csv").err
        assert "There is no run 9" in thaw("results", "map", 9, "--to", tmp_path / "map.csv").err
        assert "does not exist" in thaw("results", "map", waiting, "--to", tmp_path / "no" / "map.csv").err


class TestCorrecting:
    def test_photos_are_relabelled_set_aside_and_moved_for_the_next_version(self, run, pets, thaw):
        said = thaw("results", "relabel", run, CAT, CAT_1, "--to", "dog")
        assert said.out == "1 edit: 2 images relabelled as dog. Train on it: python -m learner results retrain 1\n"
        assert thaw("results", "exclude", run, DOG).code == 0
        assert thaw("results", "move", run, "train/dog/dog_001.jpg", "--to", "valid").code == 0
        assert [(edit.action, edit.paths, edit.to) for edit in edits_of(pets, "pets")] == [
            ("relabel", (CAT, CAT_1), "dog"),
            ("exclude", (DOG,), "Set aside after run 1."),
            ("move", ("train/dog/dog_001.jpg",), "valid"),
        ]

    def test_training_again_can_be_left_to_a_worker(self, run, pets, thaw):
        thaw("results", "exclude", run, DOG)
        said = thaw("results", "retrain", run, "--queue", "--json")
        assert said.json == {"run": 2, "status": "queued", "baseline": 1}
        assert (pets.runs.get(2).status, pets.runs.get(2).baseline) == ("queued", 1)


def test_wrong_labels_are_found_corrected_and_proven_to_have_mattered(store, tmp_path, thaw):
    """Eight of fourteen training cats are labelled as dogs; the model learns that, and unlearns it."""
    train = make_photos(tmp_path / "pets" / "train", {"cat": 14, "dog": 14}, seed=1)
    make_photos(tmp_path / "pets" / "valid", {"cat": 10, "dog": 10}, seed=2)
    for photo in sorted((train / "cat").iterdir())[:8]:
        photo.rename(train / "dog" / photo.name)
    add_dataset(store, tmp_path / "pets", "pets")
    run_id = store.submit(small_recipe(phases=LONG), running=True)
    assert execute(store, run_id) == "finished"
    mislabelled = [f"train/dog/cat_{number:03}.jpg" for number in range(8)]

    before = thaw("results", "mistakes", 1, "--json").json["photos"]
    assert len(before) >= 2, "the wrong labels should mislead the model"
    assert thaw("results", "relabel", 1, *mislabelled, "--to", "cat").code == 0
    said = thaw("results", "retrain", 1)
    assert said.code == 0, said.err
    assert "Accuracy" in said.out and "fixed  valid/" in said.out

    [proof] = thaw("results", "compare", 2, "--json").json["compared"]
    tables = [load_predictions(store.workspace.run_folder(number)) for number in (1, 2)]
    wrong = [set(table[table["label"] != table["predicted"]]["path"]) for table in tables]
    assert {photo["path"] for photo in proof["fixed"]} == wrong[0] - wrong[1] != set()
    assert {photo["path"] for photo in proof["broken"]} == wrong[1] - wrong[0]
    assert proof["photos"] == 20 and proof["difference"] == pytest.approx((len(wrong[0]) - len(wrong[1])) / 20)


class TestTestImages:
    @pytest.fixture
    def tested(self, store, tmp_path) -> Store:
        for split, seed in (("train", 1), ("valid", 2), ("test", 3)):
            make_photos(tmp_path / "pets" / split, {"cat": 5, "dog": 5}, seed=seed)
        add_dataset(store, tmp_path / "pets", "pets")
        run_id = store.submit(small_recipe(), running=True)
        assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
        return store

    def test_every_look_at_them_is_counted(self, tested, thaw):
        said = thaw("results", "show", 1, "--split", "test")
        assert (said.code, said.err) == (
            2,
            "Error: Run 1 has not looked at the test images. Do it once: python -m learner results test 1\n",
        )
        first, second = lines(thaw("results", "test", 1).out)
        result = thaw("results", "show", 1, "--split", "test", "--json").json
        assert first.startswith(f"Accuracy {100 * result['accuracy']:.1f} % (") and first.endswith("on 10 test images.")
        assert second == "These test images have been looked at 1 time, by 1 run."
        assert thaw("results", "test", 1, "--json").json["looks"] == 2

    def test_an_older_result_is_completed(self, tested, thaw):
        golden = tested.workspace.run_folder(1) / "golden" / "golden.json"
        golden.unlink()
        said = thaw("results", "complete", 1)
        assert said.code == 0 and said.out.startswith("Accuracy ") and "on 10 validation images" in said.out
        assert golden.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", 9), "There is no run 9"),
        (("show", 2), "Run 2 has no result: it is running."),
        (("mistakes", 2), "Run 2 has no result: it is running."),
        (("mistakes", 1, "--true", "bird"), "Run 1 knows no class 'bird'. It knows cat, dog."),
        (("mistakes", 1, "--most", 0), "Invalid value for '--most'"),
        (("show", 1, "--split", "other"), "Invalid value for '--split'"),
        (("test", 1), "Run 1 (finished) has no model"),
        (("test", 2), "Run 2 is running; its results are made when it ends."),
        (("complete", 2), "Run 2 is running; its results are made when it ends."),
        (("compare", 1), "Name the runs that run 1 is to be compared with: python -m learner results compare 1 ID"),
        (("compare", 1, 1), "Run 1 cannot be compared with itself."),
        (("compare", 1, 2), "Run 2 has no result: it is running."),
        (("compare", 1, 9), "There is no run 9"),
        (("relabel", 9, DOG, "--to", "cat"), "There is no run 9"),
        (("relabel", 1, "none.jpg", "--to", "cat"), "pets has no photo 'none.jpg'. `learner results mistakes 1` names"),
        (("relabel", 1, DOG), "Missing option '--to'"),
        (("relabel", 1, DOG, "--to", "c" * 101), "A class needs a name of 1 to 100 printable characters"),
        (("move", 1, DOG, "--to", "test"), "Invalid value for '--to'"),
        (("retrain", 1), "Nothing has changed in pets since run 1"),
        (("retrain", 9), "There is no run 9"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(run, pets, thaw, words, told):
    pets.submit(small_recipe(), running=True)
    said = thaw("results", *words)
    assert said.code == 2 and said.out == ""
    assert told in said.err and said.err.startswith("Error: ") and said.err.count("\n") == 1
    assert edits_of(pets, "pets") == []


def test_runs_without_a_photo_in_common_cannot_be_compared(store, tmp_path, thaw):
    for name, seed in (("pets", 1), ("strays", 2)):
        add_dataset(store, make_photos(tmp_path / name, seed=seed, size=(24, 24)), name)
        finish(store, dataset=name)
    said = thaw("results", "compare", 2, 1)
    assert (said.code, said.err) == (2, "Error: Run 1 and run 2 were not checked on any photo in common.\n")


def test_a_run_without_test_images_says_how_to_get_some(store, pets, thaw):
    run_id = store.submit(small_recipe(), running=True)
    assert execute(store, run_id) == "finished"
    said = thaw("results", "test", run_id)
    assert said.code == 2 and "has no test images. Set some apart on the Data page" in said.err


def test_an_interrupted_run_has_no_result_even_after_its_model_was_exported(run, pets, thaw):
    with pets.runs.session() as session, session.begin():
        session.get(type(pets.runs.get(run)), run).status = "interrupted"
    said = thaw("results", "show", run)
    assert (said.code, said.err) == (2, "Error: Run 1 has no result: it is interrupted.\n")
