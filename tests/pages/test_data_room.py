"""A data set on the Data page: looking at its images, cleaning it, undoing and saving."""

from learner.datasets import add_dataset
from learner.datasets.editing import Edit, add_edit, edits_of
from tests.pages.data_room import action, now
from tests.pages.reading import button, choose, press, tiles, words
from tests.samples import make_photos


class TestImages:
    def test_they_are_shown_page_by_page_with_class_and_file(self, open_page, cats):
        app = open_page("data")
        assert "**61 images** in **2 classes**, 2 set aside. Version 1." in words(app)
        assert "1 to 48 of 61" in words(app)
        assert (len(tiles(app)), tiles(app)[0]["caption"]) == (48, "cat\ncat_000.jpg")
        press(app, "Next")
        assert "49 to 61 of 61" in words(app)
        assert len(tiles(app)) == 13
        assert button(app, "Next").disabled

    def test_they_can_be_narrowed_to_a_class_or_to_what_is_set_aside(self, open_page, cats):
        app = open_page("data")
        app.selectbox(key="class-cats").set_value("dog").run()
        assert {tile["path"].split("/")[0] for tile in tiles(app)} == {"dog"}
        app.segmented_control(key="show-cats").set_value("Set aside").run()
        assert [tile["path"] for tile in tiles(app)] == ["dog/a cat.jpg"]
        assert "The same image is also in class cat" in tiles(app)[0]["caption"]
        app.selectbox(key="class-cats").set_value("All classes")
        app.segmented_control(key="show-cats").set_value("All").run()
        assert "1 to 48 of 63" in words(app)

    def test_nothing_can_be_done_before_something_is_chosen(self, open_page, cats):
        app = open_page("data")
        assert all(button(app, label).disabled for label in ("Set aside", "Take back in", "Relabel", "Move"))
        choose(app, ["cat/cat_000.jpg"])
        assert "**1 image** chosen" in words(app)
        assert not button(app, "Set aside").disabled
        assert button(app, "Take back in").disabled  # it is in use
        assert button(app, "Relabel").disabled  # nobody has said as what

    def test_several_at_once_are_set_aside_and_taken_back(self, open_page, store, cats):
        app = open_page("data")
        choose(app, ["cat/cat_000.jpg", "cat/cat_001.jpg"])
        press(app, "Set aside")
        assert "**Not saved yet.** 1 edit: 2 images set aside." in words(app)
        assert "**59 images** in **2 classes**, 4 set aside. Version 1 with unsaved edits." in words(app)
        assert now(store)["cat/cat_000.jpg"] == ("cat", "", False)  # an edit waits until it is saved
        app.segmented_control(key="show-cats").set_value("Set aside").run()
        choose(app, ["cat/cat_000.jpg"])
        press(app, "Take back in")
        assert "2 edits: 2 images set aside; 1 image taken back in." in words(app)

    def test_they_get_another_class(self, open_page, cats):
        app = open_page("data")
        choose(app, ["cat/cat_000.jpg", "cat/cat_002.jpg"])
        action(app, "label").set_value("dog").run()
        press(app, "Relabel")
        assert "2 images relabelled as dog" in words(app)
        assert tiles(app)[0]["caption"] == "dog\ncat_000.jpg"

    def test_a_class_that_cannot_be_is_told_and_nothing_changes(self, open_page, store, cats):
        app = open_page("data")
        next(box for box in app.multiselect if box.label == "Classes").set_value(["cat"]).run()
        next(box for box in app.text_input if box.label == "New name").set_value("x" * 101).run()
        press(app, "Rename")
        assert "A class needs a name of 1 to 100 printable characters" in app.error[0].value
        assert edits_of(store, "cats") == []

    def test_they_are_moved_to_a_split(self, open_page, cats):
        app = open_page("data")
        choose(app, ["cat/cat_000.jpg"])
        action(app, "move").set_value("valid").run()
        press(app, "Move")
        assert "1 image moved to valid" in words(app)
        app.selectbox(key="split-cats").set_value("valid").run()
        assert [tile["path"] for tile in tiles(app)] == ["cat/cat_000.jpg"]

    def test_classes_are_merged_and_renamed(self, open_page, store, cats):
        app = open_page("data")
        assert button(app, "Rename").disabled
        next(box for box in app.multiselect if box.label == "Classes").set_value(["cat", "dog"]).run()
        assert next(box for box in app.text_input if box.label == "New name").value == "cat"
        next(box for box in app.text_input if box.label == "New name").set_value("pet").run()
        press(app, "Merge")
        assert "cat and dog merged into pet" in words(app)
        assert "**61 images** in **1 class**" in words(app)


class TestEdits:
    def test_they_are_undone_and_done_again(self, open_page, store, cats):
        for path in ("cat/cat_000.jpg", "cat/cat_001.jpg"):
            add_edit(store, "cats", Edit("exclude", (path,)))
        app = open_page("data")
        assert "**59 images**" in words(app)
        press(app, "Undo")
        assert "**60 images**" in words(app)
        press(app, "Redo")
        assert button(app, "Redo").disabled
        press(app, "Undo all")
        assert "Every edit was undone." in words(app)
        assert "Save as version 2" not in words(app)
        press(app, "Redo")
        assert "1 edit: 1 image set aside." in words(app)

    def test_saving_makes_a_version_with_the_note_and_the_way_on_is_back(self, open_page, store, cats):
        add_edit(store, "cats", Edit("exclude", ("cat/cat_000.jpg",)))
        app = open_page("data")
        assert "Plan the training on cats" not in words(app)
        app.text_input(key=f"note-{cats.id}").set_value("blurred")
        press(app, "Save as version 2")
        assert "**60 images** in **2 classes**, 3 set aside. Version 2." in words(app)
        assert "Plan the training on cats" in words(app)
        assert store.datasets.version("cats").note == "blurred. Images: 1 set aside."
        assert now(store)["cat/cat_000.jpg"] == ("cat", "", True)
        assert app.toast[0].value == "cats has a version 2. Version 1 stays."

    def test_another_tab_and_another_data_set_are_told_apart(self, open_page, store, pets, cats):
        add_edit(store, "cats", Edit("exclude", ("cat/cat_000.jpg",)))
        app = open_page("data")
        app.selectbox[0].set_value("pets").run()
        assert "**16 images**" in words(app) and "Not saved yet" not in words(app)
        app.selectbox[0].set_value("cats").run()
        assert "Not saved yet" in words(app)

    def test_edits_that_a_newer_import_made_impossible_can_be_undone(self, open_page, store, pets, tmp_path):
        add_edit(store, "pets", Edit("move", ("cat/cat_000.jpg",), to="test"))
        for seed, split in enumerate(("train", "test"), start=10):
            make_photos(tmp_path / "more" / split, {"cat": 4, "dog": 4}, seed=seed)
        add_dataset(store, tmp_path / "more", "pets", mode="add")
        app = open_page("data")
        assert "They cannot be done to version 2, which came in after them. There is a test set" in app.error[0].value
        assert "**32 images** in **2 classes**" in words(app)
        assert "Save as" not in words(app)
        press(app, "Undo")
        assert not app.error and "Every edit was undone." in words(app)

    def test_an_edit_of_another_tab_is_not_lost(self, open_page, store, cats):
        app = open_page("data")
        choose(app, ["cat/cat_000.jpg"])
        add_edit(store, "cats", Edit("exclude", ("cat/cat_001.jpg",)))
        press(app, "Set aside")
        assert {edit.paths for edit in edits_of(store, "cats")} >= {("cat/cat_001.jpg",)}
