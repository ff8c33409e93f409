"""A split follows from seed and content alone, and the figures of a data set are counted by the database."""

import hashlib
import random
from dataclasses import replace

import pytest

from learner.datasets import describe_split, draw_test_set, natural_key, summarize, train_valid_split
from learner.datasets.exclusions import ImageRow
from learner.errors import DatasetError
from learner.store import Image


def rows(classes: dict[str, int], split: str = "", excluded: bool = False) -> list[dict]:
    return [
        {
            "path": f"{split}/{label}/{number}.jpg",
            "file": "",
            "label": label,
            "split": split,
            "sha256": hashlib.sha256(f"{split} {label} {number}".encode()).hexdigest(),
            "width": 100 + number,
            "height": 50,
            "excluded": excluded,
        }
        for label, count in classes.items()
        for number in range(count)
    ]


def images(*groups: list[dict]) -> list[Image]:
    return [Image(**row) for group in groups for row in group]


def paths(found: list[Image]) -> list[str]:
    return [image.path for image in found]


def labels(found: list[Image]) -> dict[str, int]:
    return {label: [image.label for image in found].count(label) for label in sorted({image.label for image in found})}


def test_each_class_gives_its_share_and_never_all_or_nothing():
    train, valid = train_valid_split(images(rows({"a": 100, "b": 10, "c": 2, "d": 1})), seed=0, valid_fraction=0.2)
    assert labels(valid) == {"a": 20, "b": 2, "c": 1}
    assert labels(train) == {"a": 80, "b": 8, "c": 1, "d": 1}
    _, almost_all = train_valid_split(images(rows({"a": 3})), seed=0, valid_fraction=0.99)
    assert len(almost_all) == 2


def test_the_same_seed_gives_the_same_split_in_whatever_order_the_images_come():
    all_images = images(rows({"a": 50, "b": 50}))
    first = train_valid_split(all_images, seed=3, valid_fraction=0.3)
    random.Random(1).shuffle(all_images)
    again = train_valid_split(all_images, seed=3, valid_fraction=0.3)
    assert [paths(side) for side in first] == [paths(side) for side in again]
    other = train_valid_split(all_images, seed=4, valid_fraction=0.3)
    assert paths(first[1]) != paths(other[1])
    assert not set(paths(first[0])) & set(paths(first[1]))


def test_the_split_of_a_seed_stays_as_it_is_from_release_to_release():
    _, valid = train_valid_split(images(rows({"a": 8, "b": 8})), seed=42, valid_fraction=0.25)
    assert paths(valid) == ["/a/1.jpg", "/a/7.jpg", "/b/2.jpg", "/b/3.jpg"]


def test_most_images_stay_where_they_are_when_one_goes():
    before = images(rows({"a": 100}))
    _, valid = train_valid_split(before, seed=0, valid_fraction=0.2)
    _, fewer = train_valid_split(before[1:], seed=0, valid_fraction=0.2)
    assert len(set(paths(valid)) & set(paths(fewer))) >= 19


def grouped(every: list[Image], members: int, column: str = "cluster", label: str = "a") -> list[Image]:
    """`every` with its images of `label` in groups of so many, by their order."""
    mine = [image for image in every if image.label == label]
    for number, image in enumerate(mine):
        setattr(image, column, f"{label}{number // members}")
    return every


def sides(found: tuple[list[Image], list[Image]], column: str = "cluster") -> list[set[str]]:
    return [{getattr(image, column) for image in side if getattr(image, column)} for side in found]


@pytest.mark.parametrize("column", ["cluster", "group"])
def test_what_belongs_together_stays_on_one_side(column):
    every = grouped(images(rows({"a": 60, "b": 60})), 3, column)
    found = train_valid_split(every, seed=0, valid_fraction=0.2)
    train, valid = sides(found, column)
    assert train & valid == set()
    assert labels(found[1]) == {"a": 12, "b": 12}
    apart = sides(train_valid_split(every, seed=0, valid_fraction=0.2, grouped=False), column)
    assert apart[0] & apart[1]


def test_images_joined_by_a_third_stay_together_too():
    every = images(rows({"a": 30, "b": 30}))
    every[0].cluster = every[1].cluster = "near"
    every[1].group = every[2].group = "one patient"
    for seed in range(20):
        train, _ = train_valid_split(every, seed, valid_fraction=0.3)
        assert len({image in train for image in every[:3]}) == 1


def test_the_leaks_that_grouping_prevents_are_counted():
    pairs = grouped(images(rows({"a": 100})), 2)
    split = describe_split(pairs, seed=0, valid_fraction=0.2)
    _, alone = train_valid_split(pairs, seed=0, valid_fraction=0.2, grouped=False)
    clusters = [image.cluster for image in alone]
    assert split.prevented == sum(clusters.count(cluster) == 1 for cluster in clusters) > 0
    assert split.torn == 0
    assert describe_split(images(rows({"a": 100})), seed=0, valid_fraction=0.2).prevented == 0
    assert describe_split(pairs, seed=0, valid_fraction=0.2, grouped=False).torn == split.prevented


def test_a_class_that_is_one_burst_gives_its_end_for_validation_and_that_is_told():
    burst = grouped(images(rows({"a": 10, "b": 20})), 10)
    split = describe_split(burst, seed=0, valid_fraction=0.2)
    assert labels(split.valid) == {"a": 2, "b": 4}
    assert [image.path for image in split.valid if image.label == "a"] == ["/a/8.jpg", "/a/9.jpg"]
    assert split.torn == 2


def test_a_declared_group_is_never_torn():
    one_patient = grouped(images(rows({"a": 10, "b": 20})), 10, "group")
    split = describe_split(one_patient, seed=0, valid_fraction=0.2)
    assert labels(split.valid) == {"b": 4}
    assert split.torn == 0


def test_every_image_is_checked_in_exactly_one_fold_and_groups_stay_whole():
    every = grouped(images(rows({"a": 50, "b": 23})), 3)
    folds = [train_valid_split(every, 1, 0.2, folds=5, fold=fold) for fold in range(1, 6)]
    checked = [path for _, valid in folds for path in paths(valid)]
    assert sorted(checked) == sorted(paths(every))
    for found in folds:
        assert sides(found)[0] & sides(found)[1] == set()
        assert 7 <= labels(found[1])["a"] <= 13
        assert 3 <= labels(found[1])["b"] <= 6
    with pytest.raises(DatasetError, match="Fold 6 of 5 does not exist"):
        train_valid_split(every, 1, 0.2, folds=5, fold=6)


def test_a_test_set_takes_whole_groups_of_every_class_and_is_drawn_only_once():
    every = [ImageRow(**row, cluster=f"{row['label']}{n // 4}") for n, row in enumerate(rows({"a": 40, "b": 40}))]
    drawn = draw_test_set(every, seed=0, fraction=0.25)
    assert labels(drawn) == {"a": 8, "b": 8}
    chosen = {row.path for row in drawn}
    assert {row.cluster for row in drawn}.isdisjoint(row.cluster for row in every if row.path not in chosen)
    tested = [replace(row, split="test" if row.path in chosen else "") for row in every]
    train, valid = train_valid_split(tested, seed=0, valid_fraction=0.2)
    assert chosen.isdisjoint(paths(train + valid))
    with pytest.raises(DatasetError, match="There is a test set already"):
        draw_test_set(tested, seed=0, fraction=0.25)


def test_a_split_of_its_own_is_kept_whatever_the_seed():
    own = images(rows({"a": 3, "b": 3}, "train"), rows({"a": 2}, "valid"), rows({"a": 4}, "test"))
    for seed in (0, 1):
        train, valid = train_valid_split(own, seed, 0.5)
        assert (labels(train), labels(valid)) == ({"a": 3, "b": 3}, {"a": 2})


def test_test_and_excluded_images_are_in_neither_side():
    mixed = images(rows({"a": 10, "b": 10}, "train"), rows({"a": 5}, "test"), rows({"b": 5}, "valid", excluded=True))
    train, valid = train_valid_split(mixed, 0, 0.2)
    assert labels(train) == {"a": 8, "b": 8}
    assert {image.split for image in train + valid} == {"train"}


@pytest.mark.parametrize("fraction", [0, 1, -0.2, 20])
def test_a_share_out_of_range_is_refused(fraction):
    with pytest.raises(DatasetError, match=f"share of validation images is {fraction}; it must lie between 0 and 1"):
        train_valid_split(images(rows({"a": 10})), 0, fraction)


def test_figures_of_a_version(store):
    every = rows({"class 10": 3, "class 9": 4}, "train") + rows({"class 9": 2}, "valid")
    hidden = rows({"class 9": 3}, "test", excluded=True)
    version = store.datasets.add_version("pets", every + hidden, [("x.txt", "no image")], "", "f")
    summary = summarize(store, version)
    assert summary.classes == ["class 9", "class 10"]
    assert summary.counts == {"class 9": {"train": 4, "valid": 2}, "class 10": {"train": 3}}
    assert summary.totals == {"train": 7, "valid": 2}
    assert (summary.images, summary.excluded, summary.has_own_split) == (9, 3, True)
    assert (summary.median_width, summary.median_height) == (101, 50)
    assert [row.path for row in summary.set_aside] == ["x.txt"]


def test_figures_of_an_empty_version_are_zero(store):
    summary = summarize(store, store.datasets.add_version("none", [], [], "", "f"))
    assert (summary.images, summary.classes, summary.median_width, summary.has_own_split) == (0, [], 0, False)


def test_figures_of_25_000_images_are_whole(store):
    version = store.datasets.add_version("large", rows({f"class {n}": 250 for n in range(100)}), [], "", "f")
    assert summarize(store, version).images == 25_000


def test_natural_order_minds_numbers_and_not_case():
    assert sorted(["b", "a10", "A9", "10", "9", ""], key=natural_key) == ["", "9", "10", "A9", "a10", "b"]
