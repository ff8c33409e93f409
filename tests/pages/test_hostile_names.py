"""Names that would be pictures, links or formulas in Markdown: no view lets them become that."""

import time

import pytest
from google.protobuf.json_format import MessageToDict
from streamlit.testing.v1.element_tree import Block

from learner.advice.pool import label
from learner.advice.pool_order import order_pool
from learner.datasets import add_dataset, dataset_folder
from learner.datasets.editing import Edit, add_edit
from learner.datasets.jobs import start_look
from learner.datasets.layouts import Choice
from learner.evaluation.map_layout import make_map
from learner.inference.batches import begin_with, model_key
from learner.recipe import Phase, Recipe
from learner.training.process import execute
from tests.finished import finish
from tests.learner.datasets.waiting import rested
from tests.samples import make_photos, small_recipe
from ui import state

PICTURE = "![x](http&#58;&#47;&#47;host&#47;x.png)"
"""A name that any file system takes, and that Markdown reads as a picture at another server."""
OTHER = ":red[y] $z$ <img src=z>"
READ_AS_MARKDOWN = {"body", "label", "caption", "text", "help", "content", "options"}
NOT_READ_SO = {"Html", "Code", "Text", "Selectbox", "MultiSelect", "TextInput", "TextArea", "BidiComponent"}


@pytest.fixture
def hostile(store, tmp_path):
    """A data set, a draft and two runs, all named by an enemy; returns the store and the newest run's id."""
    photos = make_photos(tmp_path / "photos", {PICTURE: 8, OTHER: 8}, size=(48, 40))
    (photos / PICTURE / f"{PICTURE}.jpg").write_text("no picture")
    first = photos / PICTURE
    next(first.glob("*_000.jpg")).rename(first / f"{PICTURE} 0.jpg")
    add_dataset(store, photos, "pets")
    phases = [Phase(PICTURE, epochs=1, lr=0.01)]
    version = store.datasets.version("pets")
    paths = [image.path for image in store.datasets.images(version.id)]
    wrong = {path: OTHER if PICTURE in path.split("/")[0] else PICTURE for path in paths[::2]}
    finish(store, wrong, phases=phases)
    run_id = finish(store, {}, phases=phases, seed=42, label_smoothing=0.1)
    store.runs.add_facts(run_id, device="cpu", train_images=12, valid_images=4, notes=[f"A note about {PICTURE}."])
    add_edit(store, "pets", Edit("relabel", (paths[0],), to=PICTURE + "2"))
    return store, run_id


def markdown_of(app) -> list[str]:
    """Every text on the page that the browser reads as Markdown."""
    found: list[str] = []

    def walk(node) -> None:
        proto = getattr(node, "proto", None)
        if proto is not None and type(proto).__name__ not in NOT_READ_SO:
            collect(MessageToDict(proto))
        if isinstance(node, Block):
            for child in node.children.values():
                walk(child)

    def collect(value, key: str = "") -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                collect(inner, name)
        elif isinstance(value, list):
            for inner in value:
                collect(inner, key)
        elif isinstance(value, str) and key in READ_AS_MARKDOWN:
            found.append(value)

    walk(app._tree)
    return found


def check(app) -> None:
    assert not app.exception
    assert not any("inside Thaw" in error.value for error in app.error)
    texts = markdown_of(app)
    assert texts
    for text in texts:
        assert PICTURE not in text, text
        assert OTHER not in text, text


@pytest.mark.parametrize("view", ["pictures", "checks", "pool", "split", "card", "versions"])
def test_data(hostile, open_page, view):
    check(open_page("data", **{state.VIEW: view}))


@pytest.mark.parametrize("view", ["overview", "mistakes", "compare", "help", "takeaway"])
def test_results(hostile, open_page, view):
    _, run_id = hostile
    for run in (run_id, run_id - 1):
        check(open_page("results", **{state.VIEW: view, state.RUN: str(run)}))


def test_runs_ended_failed_and_waiting(hostile, open_page):
    store, run_id = hostile
    check(open_page("runs", **{state.RUN: str(run_id)}))
    for status in ("failed", "interrupted", "stopped"):
        store.runs.end(run_id, status, f"It failed at {PICTURE}.")
        check(open_page("runs", **{state.RUN: str(run_id)}))
    waiting = store.submit(Recipe.from_dict(store.runs.get(run_id).recipe))
    check(open_page("runs", **{state.RUN: str(waiting)}))


def test_train(hostile, open_page):
    check(open_page("train"))


def test_predict_with_and_without_pictures(hostile, open_page):
    store, _ = hostile
    run_id = store.submit(small_recipe(), running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    check(open_page("predict", **{state.RUN: str(run_id)}))
    [first, *_] = store.datasets.images(store.datasets.version("pets").id)
    file = dataset_folder(store.workspace, "pets") / first.file
    batch = begin_with(store.workspace, f"{PICTURE}.zip", [(f"{PICTURE}.jpg", file, PICTURE)])
    check(open_page("predict", **{state.RUN: str(run_id)}))  # the list of what was asked about
    app = open_page("predict", **{state.RUN: str(run_id), state.BATCH: batch.id})
    end = time.monotonic() + 120
    while batch.answers(model_key(run_id, store.checkpoint(run_id))) == {} and time.monotonic() < end:
        time.sleep(0.2)
    check(app.run())
    assert any("x.png" in text for text in markdown_of(app))


def test_the_map_and_the_pool_of_a_model(hostile, open_page, tmp_path):
    store, _ = hostile
    run_id = store.submit(small_recipe(), running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    make_map(store, run_id)
    check(open_page("results", **{state.VIEW: "map", state.RUN: str(run_id)}))
    found = make_photos(tmp_path / "found", {PICTURE: 2, OTHER: 2}, size=(48, 40), seed=5)
    add_dataset(store, found, "pets", choice=Choice("unlabelled"), mode="add")
    label(store, "pets", {order_pool(store, run_id, "pets").paths[0]: PICTURE}, run_id)
    app = open_page("data", **{state.VIEW: "pool"})
    check(app)
    assert any(button.label.startswith("Save and train again with 1 label") for button in app.button)


def test_what_was_found_in_an_arriving_file(workspace, tmp_path, open_page):
    job_id = start_look(workspace, make_photos(tmp_path / PICTURE, {PICTURE: 3, OTHER: 3}, size=(48, 40)))
    assert rested(workspace, job_id).status == "found"
    check(open_page("data"))
