"""The report: what it tells, that it needs nothing but itself, and that no name in it becomes a part of the page."""

import html as markup
import json
import re
import shutil
from pathlib import Path

import pytest

from learner.advice.learning_curve import measure_curve
from learner.datasets import add_dataset, dataset_folder
from learner.errors import RunError
from learner.evaluation.inspect import look_at_test
from learner.evaluation.intervals import wilson
from learner.evaluation.results import load_predictions, load_result
from learner.questions.learning_curve import recipe_of
from learner.recipe import Phase, Recipe
from learner.report import figures, limits, make_report
from learner.report.collecting import collect, weights_text
from learner.store import Store
from learner.training.process import execute
from learner.wording import percent_with_interval
from learner.workspace import Workspace
from tests.samples import make_photos, small_recipe

HOSTILE = "<img src=x onerror=alert(1)>"
MATHS = "$5^{ & co}$"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> tuple[Store, int]:
    """A run on classes whose names are HTML and mathematics, with test images that were looked at; the run was
    corrected after another. For reading only."""
    home = tmp_path_factory.mktemp("hostile")
    for split, images in (("train", 8), ("valid", 6), ("test", 4)):
        make_photos(home / "photos" / split, {HOSTILE: images, MATHS: images}, seed=images)
    store = Store(Workspace(home / "thaw"))
    add_dataset(store, home / "photos", "pets")
    recipe = small_recipe(phases=[Phase("Warm-up <b>", epochs=1, lr=0.01), Phase("All", "all", 1, [1e-4, 1e-3])])
    ids = []
    for baseline in (None, 1):
        version = store.datasets.version("pets")
        ids.append(store.runs.submit(recipe.to_dict() | {"version": 1}, version.id, running=True, baseline=baseline))
        assert execute(store, ids[-1]) == "finished", store.runs.get(ids[-1]).reason
    look_at_test(store, ids[-1])
    measure_curve(store, recipe_of(store.runs.get(ids[-1])))
    return store, ids[-1]


@pytest.fixture(scope="module")
def report(hostile) -> str:
    return make_report(*hostile)


def text_of(html: str) -> str:
    """What a person reads: without tags, spaces as one."""
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).replace("\xa0", " ").split())


def test_its_headline_is_counted_from_the_predictions(hostile, report):
    store, run_id = hostile
    table = load_predictions(store.workspace.run_folder(run_id))
    right = int((table["label"] == table["predicted"]).sum())
    told = percent_with_interval(right / len(table), wilson(right, len(table)))
    assert f"{told} Accuracy on 12 validation images, with its 95 % interval." in text_of(report)
    assert "Validation (12)" in text_of(report) and "Training (16)" in text_of(report)


def test_test_images_are_told_with_how_often_they_were_looked_at(report):
    told = text_of(report)
    assert "Test (8)" in told and "have been looked at 1 time" in told


def test_without_a_look_at_test_images_it_says_that_none_were_looked_at(trained):
    told = text_of(make_report(*trained))
    assert "No test images were looked at" in told and "Test (" not in told


def test_it_has_every_section_of_a_run_that_has_all(report):
    sections = re.findall(r"<h2>(.*?)</h2>", report)
    assert sections == [
        "Figures",
        "What it gets wrong",
        "How far its certainty can be trusted",
        "Class by class",
        "Compared with run 1",
        "What more photos would bring",
        "Training",
        "Data",
        "Environment",
        "What these figures do not say",
    ]


def test_the_same_recipe_and_seed_are_not_said_to_be_better(report):
    assert "These photos do not show that either is better" in text_of(report)
    assert "0 fixed, 0 broken" in text_of(report)


def test_the_recipe_in_it_trains_the_same_again(hostile, report):

    written = markup.unescape(re.search(r"<pre[^>]*>(.*?)</pre>", report, flags=re.DOTALL)[1])
    store, run_id = hostile
    assert Recipe.from_yaml(written) == recipe_of(store.runs.get(run_id))


def test_names_stay_names(report):
    assert "<img src=x" not in report and "&lt;img src=x onerror=alert(1)&gt;" in report
    assert "Warm-up <b>" not in report
    assert "$5^{ &amp; co}$" in report  # matplotlib does not set it as a formula


def test_it_names_no_other_place_and_no_folder_of_this_machine(hostile, report):
    assert re.findall(r"(?:https?:)?//[\w.]+", re.sub(r"base64,[^\"]*", "", report)) == []
    assert all(address.startswith(("data:", "#")) for address in re.findall(r'(?:src|href)="([^"]*)"', report))
    assert str(hostile[0].workspace.root) not in report and str(Path.home()) not in report


def test_weights_from_a_file_are_told_by_its_name_alone():
    facts = {"weights": {"kind": "file", "location": "/home/somebody/secret/vgg16.pth", "reason": "…"}}
    assert weights_text(facts) == "weights from a file, vgg16.pth"


def test_a_browser_opens_it_offline_without_asking_for_anything(report, chromium, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(report, "utf-8")
    asked, said, dialogs = [], [], []
    for width, theme in ((1440, "light"), (390, "dark")):
        context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=theme, offline=True)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("svg").count() == 4
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (theme == "dark")
        assert HOSTILE in page.locator("body").inner_text()
        if width == 390:
            assert page.pdf()[:4] == b"%PDF"
        context.close()
    assert said == [] and dialogs == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()] * 2


def test_two_hundred_classes_are_one_small_picture():
    classes = [f"species {number}" for number in range(200)]
    matrix = [[9 if row == column else int((row + 1) % 200 == column) for column in range(200)] for row in range(200)]
    with figures.style():
        drawn = figures.confusion(matrix, classes)
    assert len(drawn) < 100_000 and "species" not in drawn and "200 classes" in drawn


def test_two_classes_are_named_and_counted():
    with figures.style():
        drawn = figures.confusion([[7, 2], [0, 31]], ["cat", "dog"])
    written = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert {"cat", "dog", "7", "2", "31"} <= set(written) and "0" not in written


def test_how_a_head_was_solved_and_how_much_the_choice_flatters_are_told(hostile, tmp_path):
    shutil.copytree(hostile[0].workspace.root, tmp_path / "thaw")
    store, run_id = Store(Workspace(tmp_path / "thaw")), hostile[1]
    row = {"strength": 0.1, "log_loss": 0.5, "accuracy": 0.8, "images": 100, "log_loss_error": 0.1}
    store.runs.add_facts(run_id, solved={"0": {"strength": 0.1, "checked": [row]}})
    told = collect(store, run_id)
    assert "Warm-up <b>: Strength of regularisation: 0.1, the best of 1 tried" in markup.unescape(
        text_of(make_report(store, run_id))
    )
    assert not any("That flatters" in sentence or "hardly flatters" in sentence for sentence in limits(told))
    for epoch, loss in zip(told.epochs, (0.6, 0.5), strict=True):
        epoch.parts = [[2, 2 * loss, 1]] * 10
    assert any("That hardly flatters" in sentence for sentence in limits(told))


def test_small_classes_are_said_to_tell_little(trained):
    told = collect(*trained)
    assert any("2 classes have fewer than 10 validation images" in sentence for sentence in limits(told))


def test_wrong_photos_are_shown_and_one_that_is_gone_leaves_its_words(hostile, tmp_path):
    store, run_id = hostile
    shutil.copytree(store.workspace.root, tmp_path / "thaw")
    copy = Store(Workspace(tmp_path / "thaw"))
    file = copy.workspace.run_folder(run_id) / "predictions.csv"
    table = load_predictions(file.parent)
    table["predicted"] = [MATHS if label == HOSTILE else HOSTILE for label in table["label"]]
    table.to_csv(file, index=False)
    made = make_report(copy, run_id)
    assert made.count("data:image/jpeg") == 12 and "<img src=x" not in made
    for name in table["file"]:
        (dataset_folder(copy.workspace, "pets") / name).unlink()
    made = make_report(copy, run_id)
    assert "data:image/jpeg" not in made and text_of(made).count(", taken for ") == 12


def test_it_says_whether_the_calibration_was_judged_by_other_images(trained, tmp_path):
    store, run_id = trained
    now = " ".join(make_report(store, run_id).split())
    assert "fitted on the other parts" in now and "The best checkpoint was chosen on the validation images" in now
    shutil.copytree(store.workspace.root, tmp_path / "thaw")
    folder = tmp_path / "thaw" / "runs" / str(run_id)
    (folder / "result.json").write_text(json.dumps(load_result(folder) | {"cross_fitted": False}))
    before = " ".join(make_report(Store(Workspace(tmp_path / "thaw")), run_id).split())
    assert "fitted on these same images" in before and "checkpoint and the temperature were chosen" in before


def test_a_run_without_a_result_has_no_report(pets):
    queued = pets.submit(small_recipe())
    with pytest.raises(RunError, match=f"Run {queued} is queued and has no result"):
        make_report(pets, queued)


def test_an_older_run_is_to_be_completed_first(trained, tmp_path):
    store, run_id = trained
    shutil.copytree(store.workspace.root, tmp_path / "thaw")
    folder = tmp_path / "thaw" / "runs" / str(run_id)
    older = {key: value for key, value in load_result(folder).items() if key != "figures"}
    (folder / "result.json").write_text(json.dumps(older))
    with pytest.raises(RunError, match=f"python -m learner results complete {run_id}"):
        make_report(Store(Workspace(tmp_path / "thaw")), run_id)
