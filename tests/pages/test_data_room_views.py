"""A data set on the Data page: its checks, its split, its card, and every version of it."""

import random
import shutil

import pytest
from PIL import Image
from sqlalchemy import delete, update

from learner.datasets import add_dataset
from learner.datasets.checks import LabelIssues
from learner.datasets.editing import Edit, add_edit, edits_of, save
from learner.datasets.jobs.checks import check_of
from learner.store import Content
from learner.store import Image as StoredImage
from tests.pages.data_room import action, now
from tests.pages.reading import button, choose, look_at, press, tiles, unfold, words
from tests.patience import until
from tests.samples import make_photos, write_probabilities


class TestChecks:
    def test_they_say_what_is_wrong_and_a_remedy_becomes_an_edit(self, open_page, store, cats):
        app = look_at(open_page("data"), "checks")
        unfold(app, "2 near duplicates in 1 group")
        assert "The split keeps each group on one side" in words(app)
        assert {tile["group"] for tile in tiles(app)} == {"Group 1 of 1"}
        assert len(tiles(app)) == 3
        press(app, "Set these 2 images aside")
        assert "**Not saved yet.** 1 edit: 2 images set aside." in words(app)
        assert "near duplicates" not in " ".join(expander.label for expander in app.expander)
        press(app, "Undo")
        assert "2 near duplicates in 1 group" in " ".join(expander.label for expander in app.expander)

    def test_a_finding_stays_open_while_its_images_are_dealt_with_one_by_one(self, open_page, cats):
        app = unfold(look_at(open_page("data"), "checks"), "2 near duplicates in 1 group")
        choose(app, [tiles(app)[0]["path"]])
        press(app, "Set aside")
        assert "1 near duplicate in 1 group" in " ".join(expander.label for expander in app.expander)
        assert len(tiles(app)) == 2

    def test_one_image_of_a_finding_can_be_chosen_by_itself(self, open_page, store, cats):
        app = look_at(open_page("data"), "checks")
        unfold(app, "1 image is in several classes at once")
        assert [tile["caption"].split("\n")[0] for tile in tiles(app)] == ["cat", "dog"]
        choose(app, ["cat/cat_007.jpg"])
        press(app, "Take back in")
        assert "1 image taken back in" in words(app)
        save(store, "cats")
        assert now(store)["cat/cat_007.jpg"] == ("cat", "", False)

    def test_files_that_could_not_be_read_are_listed_with_the_reason(self, open_page, pets):
        app = unfold(look_at(open_page("data"), "checks"), "1 file could not be taken in")
        table = app.dataframe[0].value
        assert table["File"].tolist() == ["cat/broken.jpg"]
        assert table["Why"][0]

    def test_a_clean_set_says_so(self, open_page, store, tmp_path):
        add_dataset(store, make_photos(tmp_path / "clean", {"cat": 12, "dog": 12}, size=(96, 72)), "clean")
        app = look_at(open_page("data"), "checks")
        assert "**Nothing doubtful was found.**" in words(app)
        assert app.segmented_control(key="data-view").options[1] == "Checks"

    def test_serious_findings_are_counted_where_the_view_is_chosen(self, open_page, store, cats, tmp_path):
        add_edit(store, "cats", Edit("include", ("cat/cat_007.jpg", "dog/a cat.jpg")))
        assert open_page("data").segmented_control(key="data-view").options[1].endswith(", 1 serious)")

    def test_a_network_doubts_wrong_labels_once_it_is_asked_to(self, open_page, store, tmp_path):
        photos = make_photos(tmp_path / "shapes", dict.fromkeys("abc", 30), size=(120, 90))
        shutil.move(photos / "a" / "a_003.jpg", photos / "b" / "really a.jpg")
        Image.frombytes("RGB", (120, 90), random.Random(1).randbytes(120 * 90 * 3)).save(photos / "b" / "noise.png")
        add_dataset(store, photos, "shapes")
        app = look_at(open_page("data"), "checks")
        press(app, "Look for wrong labels")
        assert "Stop the check" in words(app)
        until(lambda: check_of(store.workspace, "shapes").status == "done")
        app.run()
        assert "Version 1 was checked, 91 images" in words(app)
        unfold(app, "may be wrong")
        notes = {tile["path"]: tile["caption"].split("\n")[0] for tile in tiles(app)}
        assert notes["b/really a.jpg"].startswith("b → a ")
        press(app, "Relabel")
        press(app, "Save as version 2")
        assert now(store, "shapes")["b/really a.jpg"] == ("a", "", False)

    def test_pictures_from_before_are_measured_by_it_and_near_duplicates_come_to_light(self, open_page, store, cats):
        with store.datasets.session() as session, session.begin():
            session.execute(delete(Content))
            session.execute(update(StoredImage).values(cluster=""))
        app = look_at(open_page("data"), "checks")
        title = "2 near duplicates in 1 group"
        assert title not in " ".join(expander.label for expander in app.expander)
        press(app, "Look for wrong labels")
        until(lambda: check_of(store.workspace, "cats").status == "done")
        assert title in " ".join(expander.label for expander in app.run().expander)

    def test_a_check_can_be_stopped_and_says_so(self, open_page, store, cats):
        app = look_at(open_page("data"), "checks")
        press(app, "Look for wrong labels")
        press(app, "Stop the check")
        until(lambda: check_of(store.workspace, "cats").status == "cancelled")
        assert "The check was stopped" in app.run().info[0].value
        assert "Look for wrong labels" in words(app)

    def test_a_check_that_cannot_be_done_says_why(self, open_page, store, tmp_path):
        add_dataset(store, make_photos(tmp_path / "few", {"cat": 6, "dog": 3}), "few")
        app = press(look_at(open_page("data"), "checks"), "Look for wrong labels")
        until(lambda: check_of(store.workspace, "few").status == "failed")
        assert "two classes with at least 5 images each are needed" in app.run().error[0].value

    def test_doubts_about_an_older_version_say_so(self, open_page, store, cats):
        LabelIssues(1, "a network", 62, 0.9).save(store.workspace, "cats")
        add_edit(store, "cats", Edit("exclude", ("cat/cat_000.jpg",)))
        save(store, "cats")
        app = look_at(open_page("data"), "checks")
        assert "Version 1 was checked, 62 images: 0 labels doubted" in words(app)
        assert "Check version 2" in words(app)


class TestSplit:
    def test_it_says_how_many_leaks_grouping_prevents(self, open_page, store, tmp_path):
        folder = make_photos(tmp_path / "bursts", {"cat": 10, "dog": 10}, size=(96, 72))
        for photo in sorted(folder.rglob("*.jpg")):  # every photo twice over: by itself, nearly each has a twin
            with Image.open(photo) as picture:
                picture.resize((88, 66)).save(photo.with_name(f"{photo.stem} small.jpg"))
        add_dataset(store, folder, "bursts")
        app = look_at(open_page("data"), "split")
        assert "40 images in 20 groups stay together" in words(app)
        prevented = int(app.success[0].value.split()[2])
        assert 1 <= prevented <= 8  # of 8 validation images
        table = app.dataframe[0].value
        assert table[["Side", "Images"]].values.tolist() == [["Train", 32], ["Valid", 8]]

    def test_share_seed_and_folds_change_it(self, open_page, cats):
        app = look_at(open_page("data"), "split")
        assert app.dataframe[0].value["Images"].tolist() == [49, 12]
        app.selectbox[1].set_value(0.3).run()
        assert sum(app.dataframe[0].value["Images"]) == 61
        assert app.dataframe[0].value["Images"][1] in (18, 19)
        assert "In a recipe: `valid_fraction: 0.3`, `seed: 42`." in words(app)
        next(box for box in app.number_input if box.label == "Folds").set_value(3).run()
        table = app.dataframe[0].value
        assert table["Side"].tolist()[:3] == ["Fold 1: Train", "Fold 1: Valid", "Fold 2: Train"]
        assert sum(table["Images"][1::2]) == 61  # every image checks exactly once

    def test_groups_are_declared_by_a_pattern_and_forgotten_again(self, open_page, store, cats):
        app = look_at(open_page("data"), "split")
        pattern = f"group-pattern-{cats.id}-0"
        app.text_input(key=pattern).set_value("(cat").run()
        press(app, "Declare these groups")
        assert "(cat" in app.error[0].value
        app.text_input(key=pattern).set_value(r"zebra(\d+)").run()
        press(app, "Declare these groups")
        assert app.error[0].value.startswith("That puts no image into a group.")
        app.text_input(key=pattern).set_value(r"_0(\d)").run()  # ten cats and ten dogs in each
        press(app, "Declare these groups")
        assert not app.error
        assert "61 images in 3 groups stay together" in words(app)
        press(app, "Forget the groups of")
        assert "3 images in 1 group stay together" in words(app)

    def test_a_test_set_is_drawn_once_and_stays(self, open_page, store, cats):
        app = look_at(open_page("data"), "split")
        press(app, "Draw a test set")
        tested = sum(edit.to == "test" and len(edit.paths) for edit in edits_of(store, "cats"))
        assert 11 <= tested <= 13
        assert f"**{tested} images** are kept for the last word" in words(app)
        assert "Draw a test set" not in words(app)
        press(app, "Save as version 2")
        assert f"**{tested} images** are kept for the last word" in words(app)
        look_at(app, "pictures")
        app.selectbox(key="split-cats").set_value("test").run()
        choose(app, [tiles(app)[0]["path"]])
        action(app, "move").set_value("train").run()
        press(app, "Move")
        assert "is in the test set, which stays the same" in app.error[0].value
        look_at(app, "split")
        press(app, "Give it up")
        assert "the test set given up" in words(app)
        assert "Draw a test set" in words(app)

    def test_it_can_be_kept_for_every_recipe(self, open_page, store, cats):
        app = look_at(open_page("data"), "split")
        press(app, "Keep 49 for training and 12 for validation")
        assert "The data set has validation images of its own" in words(app)
        press(app, "Save as version 2")
        splits = [split for _, split, excluded in now(store).values() if not excluded]
        assert (splits.count("train"), splits.count("valid")) == (49, 12)

    def test_a_set_with_folders_of_its_own_says_so(self, open_page, store, tmp_path):
        for seed, split in enumerate(("train", "valid")):
            make_photos(tmp_path / "set" / split, {"a": 3, "b": 3}, seed=seed)
        add_dataset(store, tmp_path / "set", "split set")
        app = look_at(open_page("data"), "split")
        assert "The data set has validation images of its own" in words(app)
        assert app.dataframe[0].value["Images"].tolist() == [6, 6]

    def test_with_nothing_in_use_there_is_nothing_to_split(self, open_page, store, cats):
        add_edit(store, "cats", Edit("exclude", tuple(now(store))))
        for view in ("pictures", "checks", "split", "card", "versions"):
            app = look_at(open_page("data"), view)
            assert not app.exception and not app.error, (view, app.error)
        assert open_page("data").selectbox(key="class-cats").value == "All classes"
        assert "**0 images** in **0 classes**, 63 set aside" in words(app)


def test_the_data_card_shows_balance_sizes_light_and_mean_images(open_page, cats):
    app = look_at(open_page("data"), "card")
    headings = [heading.value for heading in app.subheader]
    assert headings == ["Images in each class", "Sizes", "Light", "Mean image of each class"]
    assert "Typically 96 × 72 px; 3 sizes in all." in words(app)
    assert len(app.get("arrow_vega_lite_chart")) + len(app.get("vega_lite_chart")) == 3
    assert not app.error


class TestVersions:
    @pytest.fixture
    def cleaned(self, store, cats):
        add_edit(store, "cats", Edit("exclude", ("cat/cat_000.jpg",)))
        add_edit(store, "cats", Edit("relabel", ("cat/cat_001.jpg",), to="dog"))
        return save(store, "cats", "Looked through")

    def test_each_shows_what_it_changed(self, open_page, cleaned):
        app = look_at(open_page("data"), "versions")
        table = app.dataframe[0].value
        assert table[["Version", "From"]].values.tolist() == [[2, "version 1"], [1, "import"]]
        assert table["Note"][0] == "Looked through. Images: 1 set aside, 1 relabelled."
        assert "**Images: 1 set aside, 1 relabelled.**" in words(app)
        assert app.dataframe[1].value["Image"].tolist() == ["cat/cat_000.jpg"]
        assert app.dataframe[2].value.values.tolist() == [["cat/cat_001.jpg", "cat → dog"]]
        assert button(app, "Restore version 2").disabled

    def test_an_old_one_is_restored_as_a_new_one(self, open_page, store, cleaned):
        app = look_at(open_page("data"), "versions")
        app.selectbox(key="version").set_value(1).run()
        press(app, "Restore version 1")
        assert "**61 images** in **2 classes**, 2 set aside. Version 3." in words(app)
        assert store.datasets.version("cats").note == "Version 1 restored."
        assert now(store)["cat/cat_001.jpg"] == ("cat", "", False)

    def test_with_unsaved_edits_none_is_restored(self, open_page, store, cleaned):
        add_edit(store, "cats", Edit("exclude", ("cat/cat_009.jpg",)))
        app = look_at(open_page("data"), "versions")
        app.selectbox(key="version").set_value(1).run()
        press(app, "Restore version 1")
        assert "cats has edits that are not saved." in app.error[0].value
        assert store.datasets.version("cats").number == 2


def test_a_photo_whose_label_is_not_certain_says_how_likely_each_class_is(open_page, store, tmp_path):
    photos = make_photos(tmp_path / "photos", {"cat": 3, "dog": 3})
    write_probabilities(photos)
    add_dataset(store, photos, "pets")
    captions = [tile["caption"].split("\n")[0] for tile in tiles(open_page("data"))]
    assert captions == [
        "cat 67 %, dog 33 %",
        "cat",
        "cat 67 %, dog 33 %",
        "dog 67 %, cat 33 %",
        "dog",
        "dog 67 %, cat 33 %",
    ]
