"""What would help, and what to keep, on the Results page: empty, busy, failed, full."""

import subprocess
import sys

import pytest
from streamlit.testing.v1 import AppTest

from learner.jobs.device import exclusive_device
from learner.questions.answers import keep_answer
from learner.questions.learning_curve import LearningCurve, curve_file, read_curve, recipe_of
from learner.store import Store
from tests.machine import measuring_lock
from tests.pages.reading import button, press, run_until, words
from tests.samples import ROOT
from ui.results.help_charts import growth
from ui.results.learning_curve import class_row

HELPED = {"class": "cat", "train_images": 16, "checked": 40, "recalls": [0.5, 0.6, 0.725], "p": 0.001}
UNKNOWN = {"class": "dog", "train_images": 4, "checked": 3, "recalls": [0.0, 0.3, 0.3], "p": 1.0}


def curve(**changes) -> LearningCurve:
    found = {
        "dataset": "pets",
        "version": 1,
        "backbone": "vgg16",
        "image_size": 32,
        "train_images": 20,
        "valid_images": 43,
        "learnt": 20,
        "checked": 43,
        "sizes": [5, 10, 20],
        "accuracies": [[0.4, 0.6], [0.6, 0.65], [0.7]],
        "line": [[5, 0.5, 0.4, 0.6], [10, 0.62, 0.55, 0.7], [20, 0.7, 0.62, 0.78], [40, 0.75, 0.6, 0.85]],
        "half_more": [0.03, 0.005, 0.06],
        "twice": [0.05, 0.01, 0.1],
        "per_class": [
            UNKNOWN | {"half_more": None, "twice": None},
            HELPED | {"half_more": [0.03, 0.01, 0.06], "twice": [0.06, 0.01, 0.11]},
        ],
        "seconds": 75.0,
    }
    return LearningCurve(**found | changes)


def keep(store: Store, found: LearningCurve) -> None:
    keep_answer(curve_file(store.workspace, recipe_of(store.runs.all()[0])), found)


def forget(store: Store) -> None:
    curve_file(store.workspace, recipe_of(store.runs.all()[0])).unlink(missing_ok=True)


@pytest.fixture
def asked(trained, open_page) -> AppTest:
    """The view of a run of which nothing was measured yet."""
    forget(trained)
    return open_page("results", view="help")


def until_over(app: AppTest) -> AppTest:
    return run_until(app, lambda app: "Stop" not in [button.label for button in app.button])


def test_nothing_is_measured_before_a_person_asks(asked, trained):
    told = words(asked)
    assert "Would more photos help" in told and "from some seconds to some minutes" in told
    assert not button(asked, "Find out what would help").disabled
    assert read_curve(trained.workspace, recipe_of(trained.runs.all()[0])) is None and not asked.exception


def test_it_is_measured_while_the_page_waits_and_then_told(asked, trained):
    app = until_over(press(asked, "Find out what would help"))
    assert "This is the curve of a linear head" in words(app) and "Class by class" in words(app)
    assert read_curve(trained.workspace, recipe_of(trained.runs.all()[0])) is not None and not app.exception


def test_it_can_be_stopped_and_asked_again(asked, trained):
    with measuring_lock(trained.workspace):  # so that it is not done before it is stopped
        app = press(asked, "Find out what would help")
        press(app, "Stop")
        app.run()
    assert not button(app, "Find out what would help").disabled
    assert read_curve(trained.workspace, recipe_of(trained.runs.all()[0])) is None


def test_while_a_run_trains_the_page_says_why_nothing_is_measured(asked, trained):
    with exclusive_device(trained.workspace):
        app = until_over(press(asked, "Find out what would help"))
    assert "This machine is training." in words(app) and not button(app, "Try again").disabled


def test_what_was_measured_is_told_first_in_words_then_by_class(trained, open_page):
    keep(trained, curve())
    app = open_page("results", view="help")
    told = words(app)
    assert "**Twice as many photos would bring about +5.0 points (1.0 to 10.0). Half as many more: about +3.0" in told
    assert "cat would gain most: with twice as many photos of every class, about +6.0 points (1.0 to 11.0)" in told
    assert "not of the run: with 20 photos the head gets 70.0 % of 43 photos right, the run " in told
    table = app.dataframe[0].value
    assert table["Class"].tolist() == ["cat", "dog"]
    assert table["More photos"].tolist() == ["Would help", "Cannot be told yet"]
    assert table["Twice as many"].tolist() == ["+6.0 points (1.0 to 11.0)", "–"]
    assert not app.exception


def test_where_photos_may_bring_nothing_the_page_promises_nothing(trained, open_page):
    rows = [HELPED | {"half_more": None, "twice": [0.01, -0.05, 0.08], "p": 0.8}]
    keep(trained, curve(twice=[0.01, -0.02, 0.04], per_class=rows))
    told = words(open_page("results", view="help"))
    assert "Twice as many photos may bring nothing: about +1.0 points (−2.0 to 4.0)." in told
    assert "No class stands out" in told and "would bring" not in told.replace("more would bring", "")


def test_of_a_part_of_many_photos_it_says_so(trained, open_page):
    keep(trained, curve(train_images=9000, valid_images=3000, learnt=3000, checked=1000))
    assert "4,000 of 12,000 photos were used." in words(open_page("results", view="help"))


def test_a_name_is_shown_as_it_is(trained, open_page):
    rows = [HELPED | {"class": "**$x$** <b>", "half_more": None, "twice": [0.06, 0.01, 0.11]}]
    keep(trained, curve(per_class=rows))
    assert "**$x$** <b> would gain most" in words(open_page("results", view="help"))


def test_a_class_without_validation_photos_has_a_dash():
    row = class_row(UNKNOWN | {"recalls": None, "twice": None})
    assert row["Found now"] == "–" and row["More photos"] == "Cannot be told yet"


@pytest.mark.parametrize("dark", [False, True])
def test_the_line_is_whole_until_the_photos_end_and_dashed_beyond(dark):
    band, measured, beyond, dots, _, _ = growth(curve(), dark).layer
    assert measured.data["photos"].tolist() == [5, 10, 20] and beyond.data["photos"].tolist() == [20, 40]
    assert "strokeDash" in beyond.to_dict()["mark"] and len(dots.data) == 5 and len(band.data) == 4


def test_the_page_opens_without_what_draws_the_report():
    loaded = "{'matplotlib', 'jinja2'} & set(sys.modules)"
    code = f"import sys, ui.results.documents, ui.results.learning_curve; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "matplotlib" not in done.stdout, done.stderr
    assert done.returncode == 0


def test_a_report_and_a_card_are_offered_where_files_are_taken_away(trained, open_page):
    app = open_page("results", view="takeaway")
    labels = [one.proto.label for one in app.get("download_button")]
    assert "Download the report" in labels and "Download the model card" in labels and not app.exception
