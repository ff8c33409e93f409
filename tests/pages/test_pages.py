"""Every page in its four states: empty, busy, failed, full."""

import re
import shutil
import subprocess
import sys
import time

import pytest
import yaml

from learner.datasets import add_dataset
from learner.datasets.editing import Edit, add_edit, save
from learner.recipe import Recipe
from learner.store import Run
from tests.pages.reading import button, press, run_until, words
from tests.samples import ROOT, TWO_PHASES, make_photos
from ui import state


@pytest.mark.parametrize(
    ("page", "says", "button"),
    [
        ("data", "No data sets yet", "Use the sample: handwritten digits"),
        ("train", "nothing to train on yet", "Add a data set"),
        ("runs", "No runs yet", "Plan a run"),
        ("results", "No results yet", "Plan a run"),
        ("predict", "No model yet", "Plan a run"),
    ],
)
def test_an_empty_page_says_what_it_is_for_and_offers_one_way_on(open_page, page, says, button):
    app = open_page(page)
    assert says in words(app)
    assert button in [b.label for b in app.button]
    assert not app.exception


@pytest.mark.parametrize("page", ["data", "train", "runs", "results", "predict"])
def test_while_a_backup_is_being_restored_every_page_says_so(open_page, workspace, page):
    workspace.unfinished_restore.mkdir(parents=True)
    app = open_page(page)
    assert "A backup is being restored into" in app.error[0].value and not app.exception


def test_every_page_links_to_all_five_steps(open_page):
    app = open_page("runs")
    assert [link.proto.label for link in app.get("page_link")] == ["Data", "Train", "Runs", "Results", "Predict"]


def test_opening_every_page_imports_no_torch(trained):
    code = (
        "import sys\n"
        "from streamlit.components.v2 import manifest_scanner\n"
        "from streamlit.testing.v1 import AppTest\n"
        "found = manifest_scanner.scan_component_manifests()\n"
        "manifest_scanner.scan_component_manifests = lambda: found\n"
        "app = AppTest.from_file('streamlit_app.py', default_timeout=300).run()\n"
        "for page in ('data', 'train', 'runs', 'results', 'predict'):\n"
        "    app.switch_page(f'pages/{page}.py').run()\n"
        "    assert not app.exception and not app.error, (page, app.exception, app.error)\n"
        "    assert app.title[0].value.lower() == page\n"
        "heavy = {'torch', 'fastai', 'timm', 'torchvision'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class TestTrain:
    def test_start_queues_exactly_the_recipe_that_the_page_shows(self, open_page, store, pets):
        app = open_page("train")
        app.number_input(key="batch_size").set_value(4).run()
        app.session_state["phases"] = {
            "edited_rows": {0: {"name": "First"}, 1: {"epochs": 2, "trainable": "head", "lr": 0.01}},
            "added_rows": [],
            "deleted_rows": [],
        }
        app.run()
        shown = Recipe.from_yaml(app.code[0].value)
        assert (shown.batch_size, shown.phases[0].name) == (4, "First")
        assert (shown.phases[1].epochs, shown.phases[1].trainable) == (2, "head")
        next(b for b in app.button if b.label == "Start training").click().run()
        run = store.runs.all()[0]
        assert run.status == "queued"
        assert run.recipe == shown.to_dict() | {"version": 1}
        assert app.title[0].value == "Runs"
        assert "waits for a worker" in words(app)

    def test_the_command_it_shows_makes_the_same_recipe(self, open_page, pets):
        import shlex

        from learner.recipe import read_recipe

        app = open_page("train")
        app.number_input(key="batch_size").set_value(4).run()
        words_ = shlex.split(app.code[1].value)
        changes = [words_[i + 1] for i, word in enumerate(words_) if word == "--set"]
        assert words_[:6] == ["python", "-m", "learner", "train", "--dataset", "pets"]
        assert read_recipe("default", "pets", changes) == Recipe.from_yaml(app.code[0].value)

    def test_a_mistake_is_told_in_the_pages_words_and_start_is_off(self, open_page, pets):
        app = open_page("train")
        app.session_state["phases"] = {
            "edited_rows": {1: {"lr of lowest stage": 0.5, "lr": 0.1}},
            "added_rows": [],
            "deleted_rows": [],
        }
        app.run()
        told = "Phase 2 (Fine-tuning), lr, lowest stage: 0.5 is more than the head's 0.1; the lowest stage is to learn"
        assert told in app.error[0].value
        assert next(b for b in app.button if b.label == "Start training").disabled

    def test_no_phase_at_all_is_a_mistake_too(self, open_page, pets):
        app = open_page("train")
        app.session_state["phases"] = {"edited_rows": {}, "added_rows": [], "deleted_rows": [0, 1]}
        app.run()
        assert "There is no phase. Add a row" in app.error[0].value

    def test_what_was_chosen_is_still_there_after_a_look_at_another_page(self, open_page, pets):
        app = open_page("train")
        app.number_input(key="batch_size").set_value(6).run()
        app.session_state["phases"] = {"edited_rows": {1: {"epochs": 9}}, "added_rows": [], "deleted_rows": []}
        app.run()
        app.switch_page("pages/data.py").run()
        app.switch_page("pages/train.py").run()
        recipe = yaml.safe_load(app.code[0].value)
        assert (recipe["batch_size"], recipe["phases"][1]["epochs"]) == (6, 9)

    def test_a_data_set_that_cannot_be_trained_on_says_why_and_leads_back(self, open_page, store, pets):
        add_edit(store, "pets", Edit("relabel", tuple(f"dog/dog_{number:03}.jpg" for number in range(8)), to="cat"))
        save(store, "pets")
        app = open_page("train")
        assert "pets (version 2) has only the class cat to learn from; it takes at least 2." in app.error[0].value
        assert "Start training" not in words(app)
        press(app, "Clean pets")
        assert app.title[0].value == "Data"

    def test_the_preview_shows_each_photo_as_it_is_and_as_changes_leave_it(self, open_page, store, pets):
        app = open_page("train")
        assert "preview" not in [toggle.key for toggle in app.toggle]  # nothing is changed, so there is nothing to see
        app.checkbox(key="flip_horizontal").check()
        app.number_input(key="rotate").set_value(20.0).run()
        app.number_input(key="views").set_value(2).run()
        app.toggle(key="preview").set_value(True).run()
        assert "Changing some photos" in words(app)
        run_until(app, lambda app: "Changing some photos" not in words(app))
        [grid_of_one, *others] = [html.proto.body for html in app.get("html") if "thaw-grid" in html.proto.body][-4:]
        assert len(others) == 3  # four photos
        assert [grid_of_one.count(told) for told in ("as it is<", "view 1<", "view 2<", "view 3<")] == [1, 1, 1, 0]
        assert len(set(re.findall('base64,([^"]+)', grid_of_one))) == 3
        assert "96 × 96 pixels, as the network gets them" in words(app)

    def test_a_preview_that_cannot_be_made_says_why_and_training_can_start(self, open_page, workspace, pets):
        shutil.rmtree(workspace.datasets)
        app = open_page("train")
        app.checkbox(key="flip_horizontal").check().run()
        app.toggle(key="preview").set_value(True).run()
        run_until(app, lambda app: "Changing some photos" not in words(app))
        [failure] = [one.value for one in app.warning if one.value.startswith("The preview could not be made. ")]
        assert "cannot be opened: No such file" in failure
        assert button(app, "Try again")
        assert not next(b for b in app.button if b.label == "Start training").disabled

    def test_without_a_worker_it_says_how_to_start_one(self, open_page, store, pets):
        assert "No worker is running" in open_page("train").warning[0].value
        store.workers.start()
        assert not open_page("train").warning


class TestRuns:
    def test_a_queued_run_can_be_taken_out_of_the_queue(self, open_page, store, pets):
        run_id = store.submit(TWO_PHASES)
        app = open_page("runs")
        assert "none is running" in app.warning[0].value
        next(b for b in app.button if b.label == "Take it out of the queue").click().run()
        assert store.runs.get(run_id).status == "stopped"

    def test_a_running_run_shows_where_it_stands_and_can_be_stopped(self, open_page, store, pets):
        run_id = store.submit(TWO_PHASES, running=True)
        store.runs.report(run_id, {"message": "Warm-up: learning", "done": 0.25, "seconds_left": 70, "phase": None})
        app = open_page("runs")
        assert "Run 1: training" in words(app)
        assert "Warm-up: learning · 25 % of the whole run, 1 min 10 s left" in app.get("progress")[0].proto.text
        store.runs.report(run_id, {"message": "Warm-up: learning", "epoch": 1, "epochs": 2, "batch": 1, "batches": 9})
        next(b for b in app.run().button if b.label == "Stop and keep what it has learnt").click().run()
        assert store.runs.get(run_id).asked == "stop"
        assert "what it has learnt so far is checked" in app.info[0].value

    @pytest.mark.parametrize("status", ["failed", "interrupted"])
    def test_a_run_that_ended_badly_says_why(self, open_page, store, pets, status):
        run_id = store.submit(TWO_PHASES, running=True)
        store.runs.end(run_id, status, "The disk is full.")
        app = open_page("runs")
        assert "The disk is full." in words(app)
        assert not app.exception

    def test_a_run_whose_process_fell_silent_is_shown_waiting_again_with_the_reason(self, open_page, store, pets):
        run_id = store.submit(TWO_PHASES, running=True)
        with store.runs.session() as session, session.begin():
            session.get(Run, run_id).heartbeat_at = time.time() - 60
        app = open_page("runs")
        assert "Run 1: waiting" in words(app)
        assert "ended without a word" in words(app)

    def test_the_address_names_the_run_so_a_reload_keeps_it(self, open_page, store, pets):
        first, second = store.submit(TWO_PHASES), store.submit(TWO_PHASES)
        assert f"Run {second}:" in words(open_page("runs"))
        assert f"Run {first}:" in words(open_page("runs", run=str(first)))
        assert f"Run {second}:" in words(open_page("runs", run="nonsense"))

    def test_a_finished_run_shows_its_accuracy_and_the_way_to_its_results(self, open_page, trained):
        app = open_page("runs")
        assert "of the validation images right" in words(app)
        assert "See what it gets right and wrong" in [b.label for b in app.button]
        assert not app.exception


@pytest.mark.parametrize("page", ["data", "train"])
def test_each_choice_of_a_data_set_counts(open_page, store, pets, tmp_path, page):
    add_dataset(store, make_photos(tmp_path / "birds", {"gull": 4, "owl": 4}), "birds")
    app = open_page(page)
    for name in ("pets", "birds", "pets"):
        app.selectbox(key=state.DATASET_BOX).select(name).run()
        assert app.selectbox(key=state.DATASET_BOX).value == app.session_state[state.DATASET] == name


def test_predict_says_which_classes_the_model_knows(open_page, trained):
    app = open_page("predict")
    assert "This model knows cat, dog" in words(app)
    assert not app.exception
