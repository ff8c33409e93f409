"""The pool: which photos without a class come first, and how labels become edits of the data set."""

from dataclasses import replace

import numpy as np
import pytest

from learner.advice.corrections import retrain
from learner.advice.most_useful import most_useful
from learner.advice.pool import growth, label, order_file, pool_of, read_order, said_of
from learner.advice.pool_order import order_pool
from learner.datasets import add_dataset, dataset_folder, split_by
from learner.datasets.editing import Edit, add_edit, edited, edits_of, save
from learner.datasets.exclusions import NO_CLASS, ImageRow
from learner.datasets.layouts import Choice
from learner.datasets.rows import rows_of
from learner.errors import DatasetError, RunError
from learner.inference.predictor import Predictor
from learner.recipe import Recipe
from learner.store import Store
from tests.finished import finish
from tests.samples import copy_workspace, make_photos


def with_pool(store: Store, folder, name: str = "pets") -> list[str]:
    """Four more photos of each class, without their classes; returns their paths."""
    make_photos(folder / "found", {"cat": 4, "dog": 4}, seed=7)
    version = add_dataset(store, folder / "found", name, choice=Choice("unlabelled"), mode="add")
    return [row.path for row in pool_of(rows_of(store, version))]


@pytest.fixture
def pool(pets, tmp_path) -> tuple[Store, int, list[str]]:
    """A run on a data set with a split of its own, and then eight photos more."""
    run_id = finish(pets)
    return pets, run_id, with_pool(pets, tmp_path)


def labels_now(store: Store, name: str = "pets") -> dict[str, str]:
    """What the draft says of the pool."""
    return said_of(edits_of(store, name))[1]


class TestMostUseful:
    def test_it_draws_as_k_means_plus_plus_does_from_gradients_that_are_written_out(self):
        chance = np.random.default_rng(3)
        logits, features = chance.normal(0, 2, (40, 3)), chance.normal(0, 1, (40, 5))
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        errors = probs - np.eye(3)[probs.argmax(axis=1)]
        gradients = np.einsum("pc,pf->pcf", errors, features).reshape(40, -1)
        draw = np.random.default_rng(5)
        expected = [int(np.linalg.norm(gradients, axis=1).argmax())]
        while len(expected) < 10:
            squared = ((gradients[:, None] - gradients[expected]) ** 2).sum(axis=2).min(axis=1)
            squared[expected] = 0
            expected.append(int(draw.choice(40, p=squared / squared.sum())))
        assert most_useful(probs, features, 10, seed=5) == expected

    def test_copies_and_photos_that_the_model_is_sure_of_come_last(self):
        probs = np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0], [0.55, 0.45]])
        features = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        chosen = most_useful(probs, features, 4)
        assert set(chosen[:2]) == {0, 3} and sorted(chosen) == [0, 1, 2, 3]

    def test_an_empty_pool_has_none(self):
        assert most_useful(np.empty((0, 2)), np.empty((0, 3)), 5) == []


class TestPool:
    def test_photos_without_a_class_wait_but_for_copies_and_twins_of_photos_that_judge(self):
        row = ImageRow("a.jpg", "images/a.jpg", "", "", "a", 8, 8, excluded=True, reason=NO_CLASS)
        rows = [
            row,
            replace(row, path="b.jpg", cluster="twins"),
            replace(row, path="c.jpg", cluster="others"),
            replace(row, path="copy.jpg", reason="The same image as a.jpg, which is used."),
            replace(row, path="v.jpg", label="cat", split="valid", excluded=False, reason="", cluster="twins"),
            replace(row, path="t.jpg", label="cat", split="train", excluded=False, reason="", cluster="others"),
        ]
        assert [one.path for one in pool_of(rows)] == ["a.jpg", "c.jpg"]

    def test_labels_in_a_row_are_one_edit_and_can_be_taken_back(self, pool):
        store, run_id, paths = pool
        first, second, third = paths[:3]
        assert label(store, "pets", {first: "cat"}, run_id) == 1
        assert label(store, "pets", {second: "dog", third: ""}, run_id) == 3
        assert label(store, "pets", {first: "bird"}, run_id) == 3
        assert labels_now(store) == {first: "bird", second: "dog", third: ""}
        assert [edit.action for edit in edits_of(store, "pets")] == ["relabel", "move", "exclude"]
        assert label(store, "pets", {second: None, third: None}, run_id) == 1
        assert [edit.paths for edit in edits_of(store, "pets")] == [(first,), (first,)]
        assert label(store, "pets", {first: None}, run_id) == 0
        assert edits_of(store, "pets") == []

    def test_labelled_photos_are_learnt_from_and_nothing_else_changes(self, pool):
        store, run_id, paths = pool
        before = {row.path: row for row in rows_of(store, store.datasets.version("pets"))}
        label(store, "pets", {paths[0]: "cat", paths[1]: ""}, run_id)
        save(store, "pets")
        after = {row.path: row for row in rows_of(store, store.datasets.version("pets"))}
        changed = {path for path in after if after[path] != before[path]}
        assert changed == set(paths[:2])
        assert (after[paths[0]].label, after[paths[0]].split, after[paths[0]].excluded) == ("cat", "train", False)
        assert after[paths[1]].excluded and len(pool_of(after.values())) == len(paths) - 2

    def test_other_edits_stay_and_what_was_said_before_them_is_theirs_to_undo(self, pool):
        store, run_id, paths = pool
        label(store, "pets", {paths[0]: "cat"}, run_id)
        add_edit(store, "pets", Edit("exclude", ("train/cat/cat_000.jpg",)))
        label(store, "pets", {paths[1]: "dog"}, run_id)
        assert labels_now(store) == {paths[1]: "dog"}
        label(store, "pets", {paths[1]: None}, run_id)
        assert [edit.action for edit in edits_of(store, "pets")] == ["relabel", "move", "exclude"]
        with pytest.raises(DatasetError, match=r"has no photo .* that waits for a class"):
            label(store, "pets", {paths[0]: "dog"}, run_id)

    @pytest.mark.parametrize("said", ["x" * 101, "\x07"])
    def test_what_cannot_be_a_class_is_refused_and_the_draft_stays(self, pool, said):
        store, run_id, paths = pool
        label(store, "pets", {paths[0]: "cat"}, run_id)
        with pytest.raises(DatasetError, match="A class needs a name"):
            label(store, "pets", {paths[1]: said}, run_id)
        assert labels_now(store) == {paths[0]: "cat"}

    def test_a_data_set_without_a_split_of_its_own_keeps_the_one_of_the_run(self, store, tmp_path):
        add_dataset(store, make_photos(tmp_path / "all", {"cat": 8, "dog": 8}), "pets")
        run_id = finish(store)
        run = store.runs.get(run_id)
        _, valid = split_by(Recipe.from_dict(run.recipe), store.datasets.images(run.dataset_version_id))
        paths = with_pool(store, tmp_path)
        label(store, "pets", dict.fromkeys(paths, "cat"), run_id)
        again = store.runs.get(retrain(store, run_id))
        train, still = split_by(Recipe.from_dict(again.recipe), store.datasets.images(again.dataset_version_id))
        assert {image.path for image in still} == {image.path for image in valid}
        assert set(paths) <= {image.path for image in train}
        assert again.baseline == run_id

    def test_taking_the_only_label_back_takes_the_written_split_back_too(self, store, tmp_path):
        add_dataset(store, make_photos(tmp_path / "all", {"cat": 8, "dog": 8}), "pets")
        run_id = finish(store)
        [path, *_] = with_pool(store, tmp_path)
        label(store, "pets", {path: "cat"}, run_id)
        label(store, "pets", {path: None}, run_id)
        assert edits_of(store, "pets") == []

    def test_the_accuracy_is_told_by_the_photos_that_were_learnt_from(self, pool):
        store, run_id, paths = pool
        store.runs.add_facts(run_id, train_images=24)
        label(store, "pets", dict.fromkeys(paths[:4], "cat"), run_id)
        save(store, "pets")
        later = finish(store, {"valid/cat/cat_000.jpg": "dog"})
        store.runs.add_facts(later, train_images=28)
        rows = growth(store, "pets")
        assert [(row.run, row.train_images, row.accuracy) for row in rows] == [(run_id, 24, 1.0), (later, 28, 15 / 16)]


class TestOrder:
    @pytest.fixture
    def asked(self, trained, workspace, tmp_path) -> tuple[Store, int, list[str]]:
        """A real model, and eight photos more in its data set."""
        home, run_id = trained
        copy_workspace(home.workspace.root, workspace.root)
        store = Store(workspace)
        return store, run_id, with_pool(store, tmp_path)

    def test_every_photo_has_its_place_and_the_models_proposals(self, asked):
        store, run_id, paths = asked
        told: list[str] = []
        order = order_pool(store, run_id, "pets", told.append)
        assert sorted(order.paths) == sorted(paths) and order.pool == len(paths)
        assert read_order(order_file(store, store.runs.get(run_id), "pets")) == order
        file_of = {row.path: row.file for row in rows_of(store, store.datasets.version("pets"))}
        files = [dataset_folder(store.workspace, "pets") / file_of[path] for path in order.paths]
        for said, proposals in zip(Predictor.open(str(run_id), store).predict(files), order.proposals, strict=True):
            assert [name for name, _ in proposals] == said.classes
            assert [prob for _, prob in proposals] == pytest.approx(said.probs, abs=1e-3)
        assert any("8 of 8" in text for text in told)

    def test_what_cannot_be_ordered_is_told(self, asked, tmp_path):
        store, run_id, paths = asked
        label(store, "pets", dict.fromkeys(paths, "cat"), run_id)
        save(store, "pets")
        with pytest.raises(RunError, match=r"pets has no photos without a class\. Add some: .*data pool add pets"):
            order_pool(store, run_id, "pets")
        add_dataset(store, make_photos(tmp_path / "other", seed=3), "other")
        with pytest.raises(RunError, match="Run 1 has no model for other"):
            order_pool(store, run_id, "other")
        assert not pool_of(edited(rows_of(store, store.datasets.version("pets")), edits_of(store, "pets")))
