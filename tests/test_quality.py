"""The benchmark of how well Thaw learns: its sets, splits, scores, kept trials and report."""

import re
import sys
from collections import Counter
from dataclasses import replace
from math import log
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import competitors, environments, quality, quality_report, sets, trials
from benchmarks.competitors import Answer, Competitor
from benchmarks.report import BenchmarkError
from benchmarks.sets import Photo, builders
from benchmarks.sets.pictures import Picture, write
from benchmarks.sets.splits import split

CLASSES = ("ace", "king")


@pytest.fixture
def folder(tmp_path):
    """Forty real images in two classes, thirty and ten, each with its own grey."""
    for number in range(40):
        file = tmp_path / "set" / CLASSES[number % 4 == 0] / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(file)
    return tmp_path / "set"


def exercise(folder, inner=False, seed=0, size=32):
    photos = sets.read(folder)
    return trials.Exercise("cards", photos, size, False, seed, inner, split(photos, seed, inner))


def grey_of(file):
    return Image.open(file).getpixel((0, 0))


def knows_greys(task):
    """A competitor that tells the classes of the fixture by their greys, and is surer than it should be."""
    rows = {file.name: [0.1, 0.9] if grey_of(file) % 4 == 0 else [0.9, 0.1] for file in task.ask.iterdir()}
    return Answer(["ace", "king"], rows, 1.5, {"seen": len(list(task.learn.glob("*/*")))})


def guesses(task):
    return Answer(["king", "ace"], {file.name: [0.5, 0.5] for file in task.ask.iterdir()}, 0.5)


def competitor(answer, **settings):
    return Competitor(answer.__name__, "For a test.", answer, settings)


class TestSplits:
    def test_hold_back_a_quarter_of_each_class_that_nothing_is_learnt_from(self, folder):
        parts = split(sets.read(folder), seed=3)
        assert Counter(one.label for one in parts.held_back) in ({"ace": 8, "king": 2}, {"ace": 7, "king": 3})
        names = [one.name for one in parts.learn + parts.held_back]
        assert len(names) == len(set(names)) == 40

    def test_are_the_same_for_the_same_seed_only(self, folder):
        photos = sets.read(folder)
        assert split(photos, 1) == split(photos, 1)
        assert split(photos, 1) != split(photos, 2)

    def test_inside_the_images_to_learn_from_never_touch_the_held_back_ones(self, folder):
        photos = sets.read(folder)
        for seed in range(5):
            outer, inner = split(photos, seed), split(photos, seed, inner=True)
            assert {*inner.learn, *inner.held_back} == set(outer.learn)
            assert not {*inner.learn} & {*inner.held_back}
            assert len(inner.held_back) == 8  # a quarter of 30, rounded up

    def test_keep_groups_together_and_classes_alike(self, tmp_path):
        # 20 decks of two aces and one king
        photos = [
            Photo(tmp_path / f"{deck}-{card}.png", CLASSES[card == 2], f"deck{deck}", f"{deck}{card}")
            for deck in range(20)
            for card in range(3)
        ]
        seen = set()
        for seed in range(5):
            parts = split(photos, seed)
            learn, held_back = ({one.group for one in part} for part in (parts.learn, parts.held_back))
            assert len(held_back) == 5
            assert not learn & held_back
            assert Counter(one.label for one in parts.held_back) == {"ace": 10, "king": 5}
            seen.add(frozenset(held_back))
        assert len(seen) > 1

    def test_of_too_few_images_are_refused(self, folder):
        with pytest.raises(BenchmarkError, match="3 images are too few to hold back a quarter by class"):
            split(sets.read(folder)[:2] + sets.read(folder)[-1:], 0)


class TestSets:
    def test_show_each_picture_once_and_none_with_two_labels(self, tmp_path):
        grey = [Image.new("L", (4, 4), value) for value in range(4)]
        some = [("a", 0), ("a", 0), ("a", 1), ("b", 1), ("b", 2), ("b", 3)]
        write((Picture(label, f"{n}", grey[value]) for n, (label, value) in enumerate(some)), tmp_path / "out")
        assert [one.name for one in sets.read(tmp_path / "out")] == ["a/0.png", "b/4.png", "b/5.png"]

    def test_that_are_too_large_are_cut_by_what_the_images_hold(self, folder):
        photos = sets.read(folder)
        few = sets.drawn(photos, 10)
        assert few == sets.drawn(photos[::-1], 10)
        assert max(one.sha256 for one in few) < min(one.sha256 for one in photos if one not in few)
        assert sets.drawn(photos, 40) == photos

    def test_change_their_digest_with_an_image_and_with_a_name(self, folder):
        before = sets.digest(sets.read(folder))
        assert before == sets.digest(sets.read(folder))
        file = next(folder.glob("*/*"))
        file.rename(file.with_name("other.png"))
        renamed = sets.digest(sets.read(folder))
        Image.new("L", (8, 8), 200).save(file.with_name("other.png"))
        assert len({before, renamed, sets.digest(sets.read(folder))}) == 3

    def test_of_cards_have_a_group_a_deck(self):
        assert sets.SETS["cards"].group_of("guyenne-classic-hearts-10") == "guyenne-classic"
        assert len(builders.DECKS) == len(set(builders.DECKS)) == 20

    def test_have_no_kind_of_emoji_in_two_classes(self):
        kinds = [kind for several in builders.EMOJI_KINDS.values() for kind in several]
        assert len(kinds) == len(set(kinds))
        assert len(builders.EMOJI_KINDS) == 15


class TestATrial:
    def test_gives_the_competitor_no_held_back_image_to_learn_from_and_no_label_to_ask(self, folder):
        seen = {}

        def curious(task):
            seen["learn"] = {(file.parent.name, grey_of(file)) for file in task.learn.glob("*/*")}
            seen["ask"] = {file.name: grey_of(file) for file in sorted(task.ask.rglob("*"))}
            return guesses(task)

        one = exercise(folder)
        trial = trials.run(one, "curious", competitor(curious), None)
        held_back = {int(photo.file.stem) for photo in one.parts.held_back}
        assert {grey for _, grey in seen["learn"]} == set(range(40)) - held_back
        assert all(label == CLASSES[grey % 4 == 0] for label, grey in seen["learn"])
        assert set(seen["ask"].values()) == held_back
        assert sorted(seen["ask"]) == [f"{n:05}.png" for n in range(10)]
        assert list(seen["ask"].values()) != sorted(held_back)  # their order tells nothing either
        assert (trial.learnt, len(trial.images)) == (30, 10)

    def test_brings_each_answer_to_its_image_and_the_classes_into_one_order(self, folder):
        trial = trials.run(exercise(folder), "knows", competitor(knows_greys), None)
        assert trial.scores.accuracy == 1.0
        assert trial.scores.log_loss == pytest.approx(-log(0.9))
        assert trial.scores.calibration_error == pytest.approx(0.1)
        other = trials.rows(Answer(["king", "ace"], {"0": [0.2, 0.8]}, 1.0), ["0"], ["ace", "king"])
        assert other == [[0.8, 0.2]]

    @pytest.mark.parametrize(
        ("answer", "problem"),
        [
            (Answer(["ace", "queen"], {"0": [1, 0]}, 1.0), "in the classes ace, queen, not ace, king"),
            (Answer(["ace", "king"], {}, 1.0), "for 0 files, and not for the 1"),
            (Answer(["ace", "king"], {"0": [float("nan"), 1]}, 1.0), "not numbers"),
        ],
    )
    def test_that_answers_something_else_fails(self, answer, problem):
        with pytest.raises(BenchmarkError, match=problem):
            trials.rows(answer, ["0"], ["ace", "king"])


class TestKeptTrials:
    def test_come_back_as_they_were(self, folder, tmp_path):
        keep, one = trials.Keep(tmp_path / "keep"), exercise(folder)
        trial = trials.run(one, "knows", competitor(knows_greys), None)
        keep.save(trial)
        found = keep.find(trials.decided_by(one, "knows", competitor(knows_greys), None), "")
        assert found == trial
        assert found.scores == trial.scores

    def test_count_only_while_what_decides_them_is_the_same(self, folder, tmp_path):
        keep, one = trials.Keep(tmp_path / "keep"), exercise(folder)
        usual = competitor(knows_greys, rate=1)
        keep.save(trials.run(one, "knows", usual, None))
        weights = tmp_path / "weights"
        weights.write_bytes(b"other")
        others = [
            trials.decided_by(one, "other", usual, None),
            trials.decided_by(one, "knows", competitor(knows_greys, rate=2), None),
            trials.decided_by(one, "knows", usual, weights),
            trials.decided_by(exercise(folder, seed=1), "knows", usual, None),
            trials.decided_by(exercise(folder, inner=True), "knows", usual, None),
            trials.decided_by(exercise(folder, size=64), "knows", usual, None),
        ]
        assert keep.find(trials.decided_by(one, "knows", usual, None), "")
        assert not any(keep.find(other, "") for other in others)
        next(folder.glob("*/*")).unlink()
        assert not keep.find(trials.decided_by(exercise(folder), "knows", usual, None), "")

    def test_of_older_code_of_thaw_count_when_that_is_said(self, folder, tmp_path):
        one = exercise(folder)
        old = replace(competitor(knows_greys), code="old")
        trials.Keep(tmp_path / "keep").save(trials.run(one, "thaw", old, None))
        decided = trials.decided_by(one, "thaw", old, None)
        assert not trials.Keep(tmp_path / "keep").find(decided, "new")
        assert trials.Keep(tmp_path / "keep", any_code=True).find(decided, "new")

    def test_let_a_benchmark_go_on_and_a_competitor_join(self, folder, monkeypatch, tmp_path, capsys):
        asked = []

        def counting(task):
            asked.append("knows")
            return knows_greys(task)

        people = {"knows": competitor(counting), "guesses": competitor(guesses)}
        monkeypatch.setattr(quality, "roster", lambda *_: people)
        monkeypatch.setattr(sets, "photos", lambda name, most: sets.read(folder))
        monkeypatch.setattr(quality, "vgg16_weights", lambda given, folder: (None, "random"))
        words = ["quality.py", "--sets", "cards", "--splits", "2", "--keep", str(tmp_path / "keep")]
        monkeypatch.setattr(sys, "argv", [*words, "--competitors", "knows"])
        quality.main()
        monkeypatch.setattr(sys, "argv", words)
        quality.main()
        assert len(asked) == 2
        assert re.search(r"\| guesses \| 7\d\.\d % \| 0\.693 \|", capsys.readouterr().out)
        assert len(list((tmp_path / "keep").iterdir())) == 4


class TestTheReport:
    @pytest.fixture
    def text(self, folder):
        people = {"thaw": competitor(knows_greys), "guesses": competitor(guesses)}
        done = [
            trials.run(exercise(folder, seed=seed), name, one, None) for seed in (0, 1) for name, one in people.items()
        ]
        return "\n".join(quality_report.paragraphs(done, people, "How.", "thaw"))

    def test_has_the_mean_of_each_figure_over_splits(self, text):
        assert "| knows_greys | 100.0 % | 0.105 | 0.100 | 1.5 |" in text  # -log 0.9; sure by 0.9 and always right
        assert "30 images to learn from and 10 held back at 32 px, 2 splits" in text

    def test_ranks_the_better_one_first(self, text):
        assert "| knows_greys | 1.00 | 1.00 |" in text
        assert "| guesses | 2.00 | 2.00 |" in text

    def test_tells_thaws_difference_to_each_other_one(self, text):
        # log loss: 0.105 where a guess has 0.693, on every image, so there is no spread
        assert "| -0.588 | -0.588 to -0.588 |" in text

    def test_of_one_competitor_compares_nothing(self, folder):
        people = {"thaw": competitor(knows_greys)}
        done = [trials.run(exercise(folder), "thaw", people["thaw"], None)]
        text = "\n".join(quality_report.paragraphs(done, people, "How.", "thaw"))
        assert "Ranks" not in text
        assert "less each other" not in text


class TestCompetitors:
    def test_of_thaw_are_decided_by_what_the_recipe_says(self, tmp_path):
        mine = tmp_path / "mine.yaml"
        mine.write_text("phases: [{name: Head, trainable: head, epochs: 1}]", "utf-8")
        first = competitors.roster(str(mine))["thaw"].settings
        assert first == competitors.roster(str(mine))["thaw"].settings
        mine.write_text("phases: [{name: Head, trainable: head, epochs: 2}]", "utf-8")
        assert first != competitors.roster(str(mine))["thaw"].settings

    def test_with_an_unknown_recipe_are_refused(self):
        with pytest.raises(BenchmarkError, match="There is no recipe nowhere"):
            competitors.roster("nowhere")

    def test_include_a_recipe_that_thaw_reads(self):
        from learner.recipe.files import read_recipe

        recipe = read_recipe(str(competitors.BEFORE), "cards")
        assert [(phase.trainable, phase.epochs) for phase in recipe.phases] == [("head", 2), ("all", 3)]
        assert recipe.head.kind == "fastai"

    def test_whose_environment_cannot_be_made_are_left_out_with_a_sentence(self, monkeypatch, capsys):
        def missing(name):
            raise BenchmarkError("TensorFlow could not be installed.")

        monkeypatch.setattr(environments, "python_of", missing)
        people = {"keras": replace(competitor(guesses), environment="keras"), "knows": competitor(knows_greys)}
        able, sentences = quality.available(people)
        assert list(able) == ["knows"]
        assert sentences == ["guesses was left out. TensorFlow could not be installed."]

    def test_answer_from_a_script_of_its_own(self, folder, monkeypatch, tmp_path):
        script = tmp_path / "halves.py"
        script.write_text(
            f"import sys; sys.path.insert(0, {str(competitors.PEERS)!r})\n"
            "from task import answer, arguments\n"
            "asked = arguments('Halves.')\n"
            "files = sorted(asked.ask.iterdir())\n"
            "answer(asked.out, ['ace', 'king'], files, [[0.5, 0.5]] * len(files))\n"
            'print(\'{"size": %d, "mirror": %s}\' % (asked.size, str(asked.mirror).lower()))\n'
        )
        halves = competitor(lambda task: competitors._peer_answer(task, Path(sys.executable), script))
        trial = trials.run(exercise(folder), "halves", halves, None)
        assert trial.facts == {"size": 32, "mirror": False}
        assert trial.scores.log_loss == pytest.approx(log(2))
        assert trial.seconds > 0


def test_decisions_are_never_written(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["quality.py", "--inner", "--write"])
    with pytest.raises(SystemExit):
        quality.arguments()
    assert "judged by the held-back quarter" in capsys.readouterr().err
