"""What is brought to the Data page: looked at, agreed to or corrected, imported; or failed, with the way on."""

import pytest
from PIL import Image

from learner.datasets import add_dataset, summarize
from learner.datasets.jobs import import_found, jobs, start_look
from learner.datasets.layouts import Choice
from learner.datasets.roots import SETTING
from tests.learner.datasets.waiting import rested
from tests.pages.reading import as_read, button, press, words
from tests.patience import until
from tests.samples import make_photos, make_zip


@pytest.fixture
def bring(store, tmp_path):
    """Bring photos of these classes, as a .zip file; returns the id of what was found."""

    def bring_(name: str = "pile.zip", **classes: int) -> str:
        folder = make_photos(tmp_path / "photos" / name, classes or {"cat": 6, "dog": 4}, size=(24, 24))
        job_id = start_look(store.workspace, make_zip(folder, tmp_path / name))
        assert rested(store.workspace, job_id).status == "found"
        return job_id

    return bring_


def wait_for_all(store) -> None:
    until(lambda: not any(job.working for job in jobs(store.workspace)))


def counts(store, name: str) -> dict[str, dict[str, int]]:
    return summarize(store, store.datasets.version(name)).counts


class TestFound:
    def test_it_says_what_was_recognised_why_and_how_many_and_imports_them(self, open_page, store, bring):
        job_id = bring()
        app = open_page("data")
        said = words(app)
        assert "Found in pile.zip" in said
        assert "**One folder for each class.** The images lie in one folder for each of 2 classes (cat, dog)." in said
        table = app.dataframe[0].value
        assert table[["Class", "Images"]].values.tolist() == [["cat", 6], ["dog", 4]]
        assert table["For example"][0] == "cat_000.jpg, cat_001.jpg"
        assert "No data sets yet" not in said  # one thing at a time
        assert app.text_input(key=f"name-{job_id}").value == "pile"
        press(app, "Import 10 images")
        assert "Cancel this import" in words(app)
        wait_for_all(store)
        assert "**10 images** in **2 classes**. Version 1." in words(app.run())
        assert jobs(store.workspace) == []

    def test_classes_that_differ_only_in_case_are_merged_unless_a_person_says_no(self, open_page, store, bring):
        job_id = bring(Cat=2, cat=6, dog=4)
        app = open_page("data")
        offer = next(box for box in app.checkbox if box.label.startswith("Merge"))
        assert (offer.label, offer.value) == ("Merge “Cat”, “cat” into one class, cat", True)
        app.text_input(key=f"name-{job_id}").set_value("merged")
        press(app, "Import 12 images")
        wait_for_all(store)
        assert counts(store, "merged") == {"cat": {"": 8}, "dog": {"": 4}}

    def test_a_merge_that_is_declined_leaves_both_classes(self, open_page, store, bring):
        bring(Cat=2, cat=6, dog=4)
        app = open_page("data")
        next(box for box in app.checkbox if box.label.startswith("Merge")).uncheck().run()
        press(app, "Import 12 images")
        wait_for_all(store)
        assert sorted(counts(store, "pile")) == ["Cat", "cat", "dog"]

    def test_another_layout_can_be_chosen_and_a_bad_pattern_is_told_at_once(self, open_page, store, bring):
        job_id = bring()
        app = open_page("data")
        layout = app.selectbox(key=f"layout-{job_id}")
        layout.set_value(layout.options.index("The class is part of the file names")).run()
        pattern = next(box for box in app.text_input if box.label.startswith("Pattern in the path"))
        pattern.set_value("(cat").run()
        assert "missing )" in app.error[0].value and "(cat" in app.error[0].value
        assert button(app, "Import").disabled
        pattern = next(box for box in app.text_input if box.label.startswith("Pattern in the path"))
        pattern.set_value(r"_00(\d)").run()
        assert not app.error
        assert app.dataframe[0].value["Class"].tolist() == ["0", "1", "2", "3", "4", "5"]
        press(app, "Import 10 images")
        wait_for_all(store)
        assert counts(store, "pile")["0"] == {"": 2}

    def test_columns_with_probabilities_are_shown_and_can_be_left_out(self, open_page, store, tmp_path):
        folder = make_photos(tmp_path / "pile", {"cat": 3, "dog": 3}, size=(24, 24))
        rows = [f"{photo.name},{photo.name[:3]},0.75,0.25" for photo in sorted(folder.rglob("*.jpg"))]
        (folder / "list.csv").write_text("\n".join(["file,class,p:cat,p:dog", *rows]))
        job_id = rested(store.workspace, start_look(store.workspace, folder)).id
        app = open_page("data")
        chosen = next(box for box in app.multiselect if box.label.startswith("Columns with the probability"))
        assert chosen.value == ["p:cat", "p:dog"]
        label = next(box for box in app.selectbox if box.label == "Column with the class")
        assert label.value == "class"
        label.set_value("").run()
        assert app.dataframe[0].value["Class"].tolist() == ["cat"]
        chosen = next(box for box in app.multiselect if box.label.startswith("Columns with the probability"))
        chosen.set_value([]).run()
        assert next(box for box in app.selectbox if box.label == "Column with the class").value != ""
        assert app.dataframe[0].value["Class"].tolist() == ["cat", "dog"]
        app.text_input(key=f"name-{job_id}").set_value("plain")
        press(app, "Import 6 images")
        wait_for_all(store)
        rows = store.datasets.images(store.datasets.version("plain").id)
        assert [row.probabilities for row in rows] == [None] * 6

    def test_a_pattern_can_say_what_belongs_together(self, open_page, store, bring):
        job_id = bring()
        app = open_page("data")
        app.text_input(key=f"groups-{job_id}").set_value(r"_00([01])").run()
        press(app, "Import 10 images")
        wait_for_all(store)
        rows = store.datasets.images(store.datasets.version("pile").id)
        assert {row.path: row.group for row in rows}["cat/cat_001.jpg"] == "1"

    def test_what_will_be_left_out_is_told_before(self, open_page, store, tmp_path):
        folder = make_photos(tmp_path / "pile", {"cat": 3, "dog": 3}, size=(24, 24))
        (folder / "notes.txt").write_text("hello")
        rested(store.workspace, start_look(store.workspace, folder))
        app = open_page("data")
        assert "1 file will be left out" in [expander.label for expander in app.expander]
        assert app.dataframe[1].value["Files"].tolist() == [1]

    def test_they_are_added_to_a_data_set_or_replace_what_it_holds(self, open_page, store, bring, tmp_path):
        add_dataset(store, make_photos(tmp_path / "first", {"cat": 3, "dog": 3}, seed=9, size=(24, 24)), "pile")
        for wanted, held in (("Add these images to pile", 16), ("Replace what pile holds", 10)):
            job_id = bring()
            app = open_page("data")
            mode = app.radio(key=f"mode-{job_id}")
            mode.set_value(next(option for option in mode.options if option.startswith(wanted))).run()
            press(app, "Import 10 images")
            wait_for_all(store)
            assert f"**{held} images** in **2 classes**" in words(app.run())
        assert [version.number for version in store.datasets.versions("pile")] == [3, 2, 1]

    def test_a_name_that_cannot_be_used_is_told_and_nothing_is_lost(self, open_page, store, bring):
        job_id = bring()
        app = open_page("data")
        app.text_input(key=f"name-{job_id}").set_value("  ").run()
        assert button(app, "Import").disabled
        app.text_input(key=f"name-{job_id}").set_value("a\nb").run()
        press(app, "Import 10 images")
        assert "The data set name 'a\\nb' holds '\\n'." in as_read(app.error[0].value)
        assert jobs(store.workspace)[0].status == "found"

    def test_it_can_be_thrown_away(self, open_page, store, bring):
        bring()
        app = press(open_page("data"), "Throw the files away")
        assert "No data sets yet" in words(app)
        assert jobs(store.workspace) == []

    def test_it_waits_for_a_person_beside_the_data_sets_there_are_and_in_every_tab(self, open_page, store, pets, bring):
        bring()
        for app in (open_page("data"), open_page("data")):
            said = words(app)
            assert "Found in pile.zip" in said and "**16 images** in **2 classes**" in said
            assert "Plan the training on pets" not in said  # the import is the next step


class TestEnded:
    def test_what_cannot_be_used_says_why_until_it_is_dismissed(self, open_page, store, tmp_path):
        (tmp_path / "no pictures").mkdir()
        rested(store.workspace, start_look(store.workspace, tmp_path / "no pictures"))
        app = open_page("data")
        assert app.error[0].value.startswith("**no pictures** was not imported. no pictures holds no images")
        assert "Try again" not in words(app)  # there is nothing that could be imported
        press(app, "Dismiss")
        assert not app.error and "No data sets yet" in words(app)

    def test_a_failed_import_can_be_corrected_and_tried_again(self, open_page, store, bring):
        job_id = bring()
        import_found(store.workspace, job_id, "pile", Choice("names", pattern="("))
        wait_for_all(store)
        app = open_page("data")
        assert "**pile.zip** was not imported." in as_read(app.error[0].value)
        assert "Found in pile.zip" not in words(app)
        press(app, "Try again")
        press(app, "Import 10 images")
        wait_for_all(store)
        assert "**10 images** in **2 classes**" in words(app.run())
        assert not app.error

    def test_an_import_can_be_cancelled_tells_so_and_can_be_tried_again(self, open_page, store, tmp_path):
        folder = make_photos(tmp_path / "pile", {"cat": 60, "dog": 60}, size=(1200, 900))
        rested(store.workspace, start_look(store.workspace, folder))
        app = open_page("data")
        press(app, "Import 120 images")
        until(lambda: (progress := jobs(store.workspace)[0].progress) and progress.done)
        app.run()
        assert "120" in app.get("progress")[0].proto.text
        press(app, "Cancel this import")
        wait_for_all(store)
        app.run()
        assert app.info[0].value.startswith("**pile** was not imported.")
        assert store.datasets.names() == []
        press(app, "Try again")
        assert "Found in pile" in words(app)


class TestWaysIn:
    def test_the_sample_is_one_click_away_and_ends_up_on_the_page(self, open_page, store):
        app = press(open_page("data"), "Use the sample")
        assert "Cancel this import" in words(app)
        wait_for_all(store)
        assert "**1,797 images** in **10 classes**" in words(app.run())
        assert jobs(store.workspace) == []

    def test_an_address_on_this_machine_is_refused_with_the_reason(self, open_page, store):
        app = open_page("data")
        app.segmented_control(key="way").set_value("Web address").run()
        app.text_input[0].set_value("http://127.0.0.1:9/photos.zip")
        press(app, "Fetch it")
        wait_for_all(store)
        app.run()
        assert "**http://127.0.0.1:9/photos.zip** was not imported." in as_read(app.error[0].value)
        assert "127.0.0.1 is on this machine or in a private network" in app.error[0].value

    def test_no_address_is_told_at_once(self, open_page, store):
        app = open_page("data")
        app.segmented_control(key="way").set_value("Web address").run()
        press(app, "Fetch it")
        assert app.error[0].value.startswith("Nothing was chosen.")
        assert jobs(store.workspace) == []

    def test_known_sets_say_their_size_and_licence(self, open_page):
        app = open_page("data")
        app.segmented_control(key="way").set_value("Known sets").run()
        said = words(app)
        assert "**Solar cells (ELPV)**" in said and "2,624 images in 2 classes, 91 MB" in said
        assert "Licence: CC BY-NC-SA 4.0" in said

    def test_folders_of_the_server_are_offered_only_where_a_setting_allows_them(
        self, open_page, store, tmp_path, monkeypatch
    ):
        app = open_page("data")
        assert "Server folder" not in app.segmented_control(key="way").options
        make_photos(tmp_path / "shared" / "pets", {"cat": 3, "dog": 3}, size=(24, 24))
        (tmp_path / "private").mkdir()
        monkeypatch.setenv(SETTING, str(tmp_path / "shared"))
        app.run()
        app.segmented_control(key="way").set_value("Server folder").run()
        assert "private" not in words(app) and "One folder up" not in words(app)
        press(app, "pets")
        assert f"**{tmp_path / 'shared' / 'pets'}**" in words(app)
        press(app, "Look at it")
        wait_for_all(store)
        assert "Found in pets" in words(app.run())

    def test_more_can_be_added_to_what_is_there(self, open_page, pets):
        app = open_page("data")
        assert "Where are the photos?" not in [way.label for way in app.segmented_control if way.key == "way"]
        press(app, "Add photos")
        assert "From this computer" in app.segmented_control(key="way").options
        assert "Rename or merge classes" not in [expander.label for expander in app.expander]
        press(app, "Done adding")
        assert "**16 images** in **2 classes**" in words(app)

    def test_photos_of_no_class_come_in_to_be_labelled_here(self, open_page, store, tmp_path):
        folder = tmp_path / "loose"
        folder.mkdir()
        for number in range(4):
            Image.new("RGB", (24, 24), (40 * number, 90, 20)).save(folder / f"photo {chr(97 + number)}.png")
        rested(store.workspace, start_look(store.workspace, folder))
        app = open_page("data")
        press(app, "Import 4 images")
        wait_for_all(store)
        assert "**0 images** in **0 classes**, 4 without a class. Version 1." in words(app.run())
        assert "Plan the training" not in words(app)  # there is nothing to learn yet
