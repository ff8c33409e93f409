"""Every check finds what it is for, says so plainly, and its remedy mends it."""

from dataclasses import replace

import numpy as np
import pytest

from learner.datasets import add_dataset
from learner.datasets.checks import Facts, Finding, facts_of, find
from learner.datasets.checks.quick import Measured, class_weights
from learner.datasets.editing import edited
from learner.datasets.exclusions import ImageRow
from learner.datasets.names import alike_names
from learner.datasets.rows import rows_of
from tests.samples import make_photos

USUAL = Measured(num_bytes=100_000, brightness=120, contrast=50, sharpness=20, camera="")


def row(path: str, **changes) -> ImageRow:
    label = changes.pop("label", path.split("/")[0])
    return replace(ImageRow(path, f"images/{path}", label, "", path, 640, 480), **changes)


def rows(cat: int = 20, dog: int = 20) -> list[ImageRow]:
    return [row(f"{label}/{n:02}.jpg") for label, number in (("cat", cat), ("dog", dog)) for n in range(number)]


def found(images: list[ImageRow], measured: dict[str, Measured] | None = None) -> dict[str, Finding]:
    every = dict.fromkeys((image.sha256 for image in images), USUAL) | (measured or {})
    return {finding.key: finding for finding in find(images, Facts(every))}


def mended(images: list[ImageRow], finding: Finding) -> dict[str, Finding]:
    return found(edited(images, finding.remedy.edits))


def changed(images: list[ImageRow], number: int, **changes) -> list[ImageRow]:
    return [replace(image, **changes) if place < number else image for place, image in enumerate(images)]


def test_a_clean_data_set_has_no_findings():
    assert found(rows()) == {}
    assert find([], Facts()) == []


def test_copies_of_one_file_are_set_aside_but_for_one():
    images = changed(rows(), 3, sha256="same")
    finding = found(images)["exact"]
    assert (finding.title, finding.serious) == ("2 exact copies", True)
    assert finding.groups == (("cat/00.jpg", "cat/01.jpg", "cat/02.jpg"),)
    assert finding.remedy.label == "Set 2 copies aside"
    after = mended(images, finding)
    assert set(after) == {"exact_done"}
    assert after["exact_done"].remedy is None


def test_one_file_in_two_classes_is_serious_until_one_of_them_is_chosen():
    images = [row("cat/1.jpg", sha256="same"), row("dog/1.jpg", sha256="same"), *rows()]
    finding = found(images)["contradiction"]
    assert finding.serious
    assert dict(finding.notes) == {"cat/1.jpg": "cat", "dog/1.jpg": "dog"}
    aside = edited(images, finding.remedy.edits)
    assert not found(aside)["contradiction"].serious
    chosen = [replace(image, excluded=False) if image.path == "dog/1.jpg" else image for image in aside]
    assert "contradiction" not in found(chosen)


def test_near_duplicates_are_a_note_within_a_class_and_serious_across_classes_and_splits():
    same_class = changed(rows(), 2, cluster="x")
    assert not found(same_class)["near"].serious
    assert mended(same_class, found(same_class)["near"]) == {}

    other_class = [row("dog/x.jpg", cluster="x"), *changed(rows(), 1, cluster="x")]
    assert found(other_class)["near_labels"].serious
    assert mended(other_class, found(other_class)["near_labels"]) == {}

    across = [row("cat/x.jpg", cluster="x", split="valid"), *changed(rows(), 2, cluster="x")]
    finding = found(across)["near_splits"]
    assert finding.serious
    assert finding.remedy.edits[0].paths == ("cat/00.jpg", "cat/01.jpg")
    assert mended(across, finding) == {}


def test_of_near_duplicates_the_largest_is_kept():
    images = [row("cat/a.jpg", cluster="x"), row("cat/b.jpg", cluster="x", width=1280, height=960), *rows()]
    assert found(images)["near"].remedy.edits[0].paths == ("cat/a.jpg",)


def test_of_near_duplicates_of_one_size_the_sharpest_is_kept():
    images = [row("cat/a.jpg", cluster="x"), row("cat/b.jpg", cluster="x"), *rows()]
    blurred = {"cat/a.jpg": replace(USUAL, sharpness=9)}
    assert found(images, blurred)["near"].remedy.edits[0].paths == ("cat/a.jpg",)
    blurred = {"cat/b.jpg": replace(USUAL, sharpness=9)}
    assert found(images, blurred)["near"].remedy.edits[0].paths == ("cat/b.jpg",)


@pytest.mark.parametrize(
    ("key", "value", "title"),
    [
        ("dark", {"brightness": 12}, "1 image is very dark"),
        ("bright", {"brightness": 245}, "1 image is very bright"),
        ("blurred", {"sharpness": 1.5}, "1 image is blurred"),
        ("flat", {"contrast": 1, "brightness": 5}, "1 image is nearly one colour"),
    ],
)
def test_images_in_which_little_can_be_seen_are_found(key, value, title):
    images = rows()
    finding = found(images, {"cat/00.jpg": replace(USUAL, **value)})
    assert set(finding) == {key}
    assert (finding[key].title, finding[key].paths) == (title, ("cat/00.jpg",))
    assert mended(images, finding[key]) == {}


def test_what_is_usual_in_a_data_set_is_not_doubted():
    dark_and_soft = replace(USUAL, brightness=20, sharpness=3)
    images = rows()
    assert found(images, dict.fromkeys((image.sha256 for image in images), dark_and_soft)) == {}


def test_tiny_and_odd_images_are_found_by_comparison():
    images = [row("cat/tiny.jpg", width=40, height=30), row("dog/long.jpg", width=4000, height=300), *rows()]
    findings = found(images)
    assert findings["tiny"].paths == ("cat/tiny.jpg",)
    assert findings["aspect"].paths == ("dog/long.jpg",)
    assert dict(findings["tiny"].notes) == {"cat/tiny.jpg": "40 × 30 px"}
    assert found([replace(image, width=32, height=32) for image in rows()]) == {}


def test_small_classes_and_imbalance_are_told_with_the_weights_that_would_balance_them():
    images = rows(cat=40, dog=8)
    findings = found(images)
    assert findings["few"].paths == tuple(f"dog/{n:02}.jpg" for n in range(8))
    assert findings["imbalance"].title == "cat has 5.0 times as many images as dog"
    assert "cat 0.60, dog 3.00" in findings["imbalance"].why


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    labels = ["a"] * 10 + ["b"] * 5 + ["c"] * 85
    theirs = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=labels)
    assert list(class_weights({"a": 10, "b": 5, "c": 85}).values()) == pytest.approx(list(theirs))


def test_a_class_from_one_camera_or_of_one_size_only_is_a_shortcut():
    images = rows()
    one_camera = {image.sha256: replace(USUAL, camera="Nikon D70") for image in images if image.label == "cat"}
    finding = found(images, one_camera)["shortcut"]
    assert finding.title == "Nearly every cat has the same camera: Nikon D70"
    assert "20 of 20, but only 0 of 20" in finding.why
    assert finding.serious
    everyone = {image.sha256: replace(USUAL, camera="Nikon D70") for image in images}
    assert found(images, everyone) == {}
    one_size = [replace(image, width=800) if image.label == "cat" else image for image in images]
    assert {finding.title for finding in find(one_size, Facts())} == {
        "Nearly every cat has the same size: 800 × 480 px",
        "Nearly every dog has the same size: 640 × 480 px",
    }


def test_class_names_that_differ_in_case_and_spaces_only_can_be_merged():
    assert alike_names(["Cat", "cat ", "CAT", "dog", "polar_bear", "Polar Bear"]) == [
        ["Cat", "cat ", "CAT"],
        ["polar_bear", "Polar Bear"],
    ]
    images = [*rows(), *(row(f"Dog/{n}.jpg") for n in range(12))]
    finding = found(images)["names"]
    assert finding.remedy.label == "Merge into dog"
    assert mended(images, finding) == {}


def test_images_without_a_class_can_be_set_aside_for_good():
    images = [row("x.jpg", label="", excluded=True, reason="It has no class yet."), *rows()]
    copy = row("copy.jpg", label="", excluded=True, reason="The same image as cat/00.jpg.", sha256="cat/00.jpg")
    finding = found([*images, copy])["no_class"]
    assert finding.title == "1 image belongs to no class"
    assert mended(images, finding) == {}


def test_what_the_store_measured_is_what_the_checks_read(store, tmp_path):
    photos = make_photos(tmp_path / "pets", {"cat": 12, "dog": 12}, size=(160, 120))
    (photos / "cat" / "broken.jpg").write_bytes(b"no image")
    version = add_dataset(store, photos, "pets")
    facts = facts_of(store, version)
    assert set(facts.measured) == {row.sha256 for row in rows_of(store, version)}
    assert all(measured.num_bytes > 500 and measured.contrast > 4 for measured in facts.measured.values())
    findings = find(rows_of(store, version), facts)
    assert [finding.title for finding in findings] == ["1 file could not be taken in"]
