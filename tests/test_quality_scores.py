"""The benchmark of how well Thaw learns: what it reads of archives, and its scores."""

import gzip
import io
import pickle
import tarfile
import zipfile
from dataclasses import replace
from math import log

import numpy as np
import pytest
from sklearn.metrics import log_loss

from benchmarks.report import BenchmarkError
from benchmarks.scores import calibration_error, hits, losses, mean_ranks, over_all, paired_difference, scores
from benchmarks.sets import builders, fetch

CLASSES = ("ace", "king")


class TestAnArchive:
    ARCHIVE = fetch.Archive("pip", "thing", "1.0", 1, "0" * 64)

    @pytest.fixture(autouse=True)
    def cache(self, monkeypatch, tmp_path):
        monkeypatch.setattr(fetch, "ARCHIVES", tmp_path)

    def test_that_is_kept_is_only_read(self, tmp_path):
        with zipfile.ZipFile(self.ARCHIVE.file, "w") as wheel:
            for name in ("thing/data/b.csv", "thing/data/a.csv", "thing/database.csv", "thing/__init__.py"):
                wheel.writestr(name, name)
        found = list(fetch.files(self.ARCHIVE, "thing/data"))
        assert found == [("thing/data/a.csv", b"thing/data/a.csv"), ("thing/data/b.csv", b"thing/data/b.csv")]
        assert [file.name for file in tmp_path.iterdir()] == [self.ARCHIVE.file.name]

    def test_of_npm_is_read_like_one_of_pip(self):
        archive = replace(self.ARCHIVE, client="npm")
        with tarfile.open(archive.file, "w:gz") as packed:
            entry = tarfile.TarInfo("package/emoji.json")
            entry.size = 2
            packed.addfile(entry, io.BytesIO(b"[]"))
        assert list(fetch.files(archive, "package/emoji.json")) == [("package/emoji.json", b"[]")]

    def test_that_is_another_than_it_was_is_not_kept(self, monkeypatch, tmp_path):
        def other(archive, folder):
            (folder / "thing.whl").write_bytes(b"other")
            return folder / "thing.whl"

        monkeypatch.setattr(fetch, "_download", other)
        with pytest.raises(BenchmarkError, match=r"What pip brought as thing 1\.0 is another file"):
            fetch.fetched(self.ARCHIVE)
        assert not list(tmp_path.iterdir())

    def test_that_cannot_be_had_ends_in_a_sentence(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        with pytest.raises(
            BenchmarkError, match=r"thing 1\.0 could not be downloaded: ERROR: No matching distribution"
        ):
            fetch.fetched(self.ARCHIVE)
        assert not list(tmp_path.iterdir())


class TestPickledArrays:
    def test_are_read(self):
        array = np.arange(6, dtype=np.uint8).reshape(2, 3)
        assert (builders._Arrays(io.BytesIO(pickle.dumps(array))).load() == array).all()

    def test_that_would_run_something_are_refused(self):
        class Bad:
            def __reduce__(self):
                return (gzip.open, ("never",))

        with pytest.raises(pickle.UnpicklingError, match=r"gzip\.open is no part of an array"):
            builders._Arrays(io.BytesIO(pickle.dumps(Bad()))).load()


class TestScores:
    PROBS = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.4, 0.3], [0.05, 0.05, 0.9]])
    TRUTH = np.array([0, 1, 2, 2])

    def test_are_scikit_learns_for_accuracy_and_log_loss(self):
        found = scores(self.PROBS, self.TRUTH)
        assert found.accuracy == 0.75
        assert found.log_loss == pytest.approx(log_loss(self.TRUTH, self.PROBS))
        assert losses(self.PROBS, self.TRUTH) == pytest.approx([-log(p) for p in (0.7, 0.6, 0.3, 0.9)])
        assert hits(self.PROBS, self.TRUTH).tolist() == [1, 1, 0, 1]

    def test_stay_finite_where_the_right_class_has_none(self):
        assert losses(np.array([[1.0, 0.0]]), np.array([1]))[0] == pytest.approx(-log(1e-7), rel=1e-6)

    def test_of_calibration_compare_how_sure_with_how_often_right(self):
        # sure by 0.8 ten times and right eight times: nothing amiss; right five times: 0.3 off
        probs = np.tile([0.8, 0.2], (10, 1))
        assert calibration_error(probs, np.array([0] * 8 + [1] * 2)) == pytest.approx(0)
        assert calibration_error(probs, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3)
        # two bins, one too sure by 0.2 and one too unsure by 0.4, do not cancel: (10 * 0.2 + 10 * 0.4) / 20
        both = np.concatenate([probs, np.tile([0.6, 0.4], (10, 1))])
        truth = np.array([0] * 6 + [1] * 4 + [0] * 10)
        assert calibration_error(both, truth) == pytest.approx(0.3)

    def test_of_calibration_have_a_bin_for_certainty(self):
        assert calibration_error(np.array([[1.0, 0.0]]), np.array([1])) == 1.0

    def test_rank_over_sets_with_equals_sharing(self):
        assert mean_ranks([[0.1, 0.2, 0.3], [0.5, 0.4, 0.5]]) == pytest.approx(
            [(1 + 2.5) / 2, (2 + 1) / 2, (3 + 2.5) / 2]
        )


class TestPairedDifferences:
    def test_of_independent_images_spread_as_their_standard_error(self):
        each = np.random.default_rng(1).normal(0.1, 1, 400)
        found = paired_difference(each, [str(n) for n in range(400)])
        low, high = found.interval()
        assert found.mean == pytest.approx(each.mean())
        assert (high - low) / 2 == pytest.approx(1.96 * each.std() / 20, rel=0.1)

    def test_take_one_image_in_five_splits_for_one(self):
        each = np.random.default_rng(1).normal(0, 1, 100)
        groups = [str(n) for n in range(100)]
        once, often = paired_difference(each, groups), paired_difference(np.tile(each, 5), groups * 5)
        assert often.mean == pytest.approx(once.mean)
        assert often.interval() == pytest.approx(once.interval())

    def test_over_all_sets_count_each_set_the_same(self):
        large = paired_difference(np.full(100, 0.2), [str(n) for n in range(100)])
        small = paired_difference(np.full(4, 0.4), list("abcd"))
        assert over_all([large, small]).mean == pytest.approx(0.3)
        assert over_all([large, small]).interval() == pytest.approx((0.3, 0.3))
