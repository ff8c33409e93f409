"""The Predict page: how pictures come in, what is said of them, what a person says of that, and what becomes of it."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest

from learner.datasets import add_dataset
from learner.datasets.rows import rows_of
from learner.datasets.uploads import save_uploads
from learner.inference import batch_work, batches
from learner.inference.batches import Batch, Mark
from learner.inference.joining import joining
from learner.models.checkpoint import load_model, save_model
from learner.recipe import Head
from learner.store import Store
from learner.training.process import execute
from tests.learner.datasets.waiting import rested
from tests.pages.reading import run_until, words
from tests.samples import make_photos, small_recipe
from ui.predict.answering import get_asker

PORTRAIT = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


def sent(store: Store, *files: Path) -> Batch:
    """What a drop of these files leaves."""
    streams = [(file.name, io.BytesIO(file.read_bytes())) for file in files]
    return batches.begin_upload(store.workspace, save_uploads(store.workspace, streams))


def until_answered(app):
    run_until(app, lambda app: all(button.label != "Stop" for button in app.button))
    assert not app.exception
    return app


@pytest.fixture
def ask(open_page, trained) -> Callable:
    """Open Predict on a batch of these files, once they are answered."""

    def ask_(*files: Path):
        batch = sent(trained, *files)
        return until_answered(open_page("predict", batch=batch.id)), batch

    return ask_


@pytest.fixture
def many(tmp_path) -> list[Path]:
    (tmp_path / "letter.jpg").write_text("no picture")
    photos = sorted(make_photos(tmp_path / "new", {"cat": 3, "dog": 3}, size=(48, 40), seed=9).rglob("*.jpg"))
    return [*photos, tmp_path / "letter.jpg"]


def button(app, label: str):
    [found] = [one for one in app.button if one.label == label]
    return found


def in_address(app, key: str) -> str:
    value = app.query_params[key]  # a list where the test set it
    return value[0] if isinstance(value, list) else value


def test_without_a_model_the_page_leads_to_train(open_page, store):
    app = open_page("predict")
    assert "No model yet." in words(app) and [one.label for one in app.button] == ["Plan a run"]


def test_it_opens_with_the_ways_in_and_what_the_model_knows(open_page, trained):
    app = open_page("predict")
    assert "This model knows cat, dog." in words(app)
    [ways] = [one for one in app.get("button_group") if "Where are the pictures?" in str(one.proto)]
    assert [option.content for option in ways.proto.options] == [
        "From this computer",
        "Camera",
        "Live camera",
        "Web address",
        "From a data set",
    ]


def test_one_picture_gets_bars_a_heat_map_and_what_is_most_like_it(ask):
    app, _ = ask(PORTRAIT)
    said = words(app)
    assert "grace_hopper.jpg" in said and "Most similar training photos" in said
    told = "\n".join(str(picture.proto) for picture in app.image)
    assert "The picture grace_hopper.jpg" in told
    assert "with amber where it spoke for" in told or "spoke for" in said
    app.selectbox(key=next(box.key for box in app.selectbox if (box.key or "").startswith("heat-stage"))).set_value(
        "layer1"
    ).run()
    assert not app.exception


def test_none_of_these_follows_the_coverage_that_is_chosen(ask, trained):
    app, batch = ask(PORTRAIT)
    asked = batch.asked(batches.model_key(1, trained.checkpoint(1)))
    answer = batch.answers(batches.model_key(1, trained.checkpoint(1)))[0]
    for coverage in batches.COVERAGES:
        app.selectbox(key="coverage").set_value(coverage).run()
        assert ("**None of these**" in words(app)) == (answer.distance > asked.thresholds[str(coverage)])
    assert "At 95 % coverage 1 of 20 known pictures is turned away" in str(app.selectbox(key="coverage").options)
    assert "of those answers are right" in words(app)


def test_a_model_without_references_says_that_it_cannot_tell(open_page, own):
    model, spec = load_model(own.checkpoint(1))
    spec.neighbours, spec.distances = 0, []
    save_model(model, spec, own.checkpoint(1))
    app = until_answered(open_page("predict", batch=sent(own, PORTRAIT).id))
    assert "This model cannot tell that a picture shows none of its classes" in words(app)
    assert "None of these**" not in words(app) and "Most similar" not in words(app)


def test_many_are_shown_with_those_that_cannot_be_read_by_name_and_reason(ask, many):
    app, batch = ask(*many)
    number = next(one.number for one in batch.pictures() if one.name == "letter.jpg")
    app.query_params["picture"] = str(number)
    app.run()
    assert any("letter.jpg cannot be used. It is not an image" in error.value for error in app.error)
    show = next(group for group in app.get("button_group") if "Not read (1)" in str(group.proto))
    assert "All (7)" in str(show.proto)


def test_the_table_can_be_taken_away_whole(ask, many, monkeypatch):
    from ui.predict.answered import Answered

    app, batch = ask(*many)
    app.session_state["predict-view"] = "Table"
    app.run()
    assert not app.exception
    [table] = app.dataframe
    assert list(table.value["File"]) == [picture.name for picture in batch.pictures()]
    key = next((batch.folder / "answers").glob("*.jsonl")).stem
    said, asked = batch.answers(key), batch.asked(key)
    text = Answered(None, None, key, batch, asked, batch.pictures(), said, 0.95).as_csv()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["Answer"] for row in rows] == [(*said[n].classes, "")[0] for n in range(7)]
    assert [bool(row["Not read because"]) for row in rows] == [
        picture.name == "letter.jpg" for picture in batch.pictures()
    ]


def test_pictures_are_leafed_through_and_the_place_stays_in_the_address(ask, many):
    app, _ = ask(*many)
    assert in_address(app, "picture") == "0"
    button(app, "Next picture").click().run()
    assert in_address(app, "picture") == "1"
    app.run()
    assert in_address(app, "picture") == "1"


def test_right_and_wrong_are_marked_and_taken_back(ask, many):
    app, batch = ask(*many)
    key = next((batch.folder / "answers").glob("*.jsonl")).stem
    first = batch.answers(key)[0].classes[0]
    app.button(key="right-one-0").click().run()
    assert batch.marks() == {0: Mark(first)}
    assert "1 of 1 judged answer right, 100.0 %" in words(app)
    other = {"cat": "dog", "dog": "cat"}[first]
    app.selectbox(key="label-one-0").set_value(other).run()
    app.button(key="as-one-0").click().run()
    assert batch.marks() == {0: Mark(other)} and "you said" in words(app)
    app.button(key="back-one-0").click().run()
    assert batch.marks() == {}


def test_marked_photos_join_the_data_set_and_what_came_of_it_is_told(open_page, own, trained_home, many):
    known = trained_home / "photos" / "cat" / "cat_005.jpg"
    batch = sent(own, *many, known)
    app = until_answered(open_page("predict", batch=batch.id))
    by_name = {picture.name: picture.number for picture in batch.pictures()}
    batch.mark(
        {by_name[name]: Mark(name[:3]) for name in ("cat_001.jpg", "dog_001.jpg")} | {by_name[known.name]: Mark("dog")}
    )
    app.run()
    assert f"pets holds 1 of them already, {known.name} as cat: change its class on Data." in words(app)
    app.button(key="join").click().run()
    rested(own.workspace, joining(batch).job)
    app.run()
    assert any("photos joined pets**, which is at version 2 now" in one.value for one in app.success), words(app)
    assert len(rows_of(own, own.datasets.version("pets"))) == 20 + len(joining(batch).sha256s)
    assert button(app, "Train again with them").proto.type == "primary"


def test_another_model_is_asked_anew(open_page, own):
    assert execute(own, own.submit(small_recipe(), running=True)) == "finished"
    batch = sent(own, PORTRAIT)
    app = until_answered(open_page("predict", batch=batch.id, run="1"))
    assert len(list((batch.folder / "answers").glob("*.jsonl"))) == 1
    app.selectbox[0].set_value(2).run()
    until_answered(app)
    assert sorted(file.stem.split("-")[0] for file in (batch.folder / "answers").glob("*.jsonl")) == ["1", "2"]


def test_work_that_was_stopped_says_so_and_goes_on(open_page, trained, many):
    batch = sent(trained, *many)
    batch.stop(True)
    app = open_page("predict", batch=batch.id)
    assert "Stopped: 0 answered." in [info.value for info in app.info]
    button(app, "Go on").click().run()
    until_answered(app)
    assert len(batch.answers(batches.model_key(1, trained.checkpoint(1)))) == 7


def test_work_goes_on_after_the_server_was_restarted(open_page, trained, many):
    batch = sent(trained, *many)
    model = batches.model_key(1, trained.checkpoint(1))
    batch_work.ingest(batch, lambda *_: None, lambda: False)
    get_asker.clear()
    predictor = get_asker().predictor(trained, 1, model)
    seen = []
    batch_work.predict_batch(batch, predictor, 1, model, lambda done, *_: seen.append(done), lambda: len(seen) == 2)
    assert len(batch.answers(model)) == 2
    get_asker.clear()
    until_answered(open_page("predict", batch=batch.id))
    assert len(batch.answers(model)) == 7


def test_an_archive_that_cannot_be_opened_is_told_and_can_be_tried_again(open_page, trained, tmp_path):
    (tmp_path / "photos.rar").write_bytes(b"Rar!\x1a\x07" + bytes(600))
    batch = sent(trained, tmp_path / "photos.rar")
    app = until_answered(open_page("predict", batch=batch.id))
    assert any("photos.rar is a .rar archive" in error.value for error in app.error)
    button(app, "Try again").click().run()
    until_answered(app)
    assert any("photos.rar is a .rar archive" in error.value for error in app.error)


def test_an_address_on_this_machine_is_refused(open_page, trained):
    batch = batches.begin(trained.workspace, "secret.jpg", "address", "http://127.0.0.1:9/secret.jpg")
    app = until_answered(open_page("predict", batch=batch.id))
    assert any("is on this machine or in a private network" in error.value for error in app.error)


def test_pictures_that_are_gone_are_told_with_a_way_on(open_page, trained):
    app = open_page("predict", batch="20200101-000000-00000000")
    assert [one.value for one in app.warning] == [
        "These pictures are gone: they were deleted, or cleared away. Ask about them again."
    ]
    button(app, "Ask about other pictures").click().run()
    assert "This model knows cat, dog." in words(app) and "batch" not in app.query_params


def test_earlier_pictures_can_be_opened_and_deleted(ask, open_page, trained):
    _, batch = ask(PORTRAIT)
    app = open_page("predict")
    app.button(key=f"open-{batch.id}").click().run()
    assert in_address(app, "batch") == batch.id
    app = open_page("predict")
    app.button(key=f"delete-{batch.id}").click().run()
    assert batch.id not in [one.id for one in batches.recent(trained.workspace)]
    assert json.dumps(batch.title) not in words(app)


def test_a_class_of_a_data_set_can_be_asked_about_and_is_judged_by_its_labels(open_page, trained):
    app = open_page("predict")
    app.session_state["predict-way"] = "From a data set"
    app.run()
    app.selectbox(key="predict-class-pets").set_value("cat").run()
    button(app, "Ask about all 10").click().run()
    until_answered(app)
    assert "10 judged answers right" in words(app)


@pytest.fixture
def attentive(store, tmp_path):
    """A finished run whose model has an attention head."""
    add_dataset(store, make_photos(tmp_path / "pets", {"cat": 8, "dog": 8}, size=(48, 40)), "pets")
    run_id = store.submit(small_recipe(head=Head("attention", [8]), image_size=64), running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    return store


def test_a_model_with_an_attention_head_shows_where_it_looked(open_page, attentive):
    app = until_answered(open_page("predict", batch=sent(attentive, PORTRAIT).id))
    told = "\n".join(str(picture.proto) for picture in app.image)
    if "amber" not in told:  # what it has learnt in one epoch may be next to nothing
        assert "The model looked at all of the picture alike." in words(app)
    else:
        assert "The more amber, the more a place counted." in told


def test_the_untouched_network_is_asked_about_the_same_picture(ask):
    app, _ = ask(PORTRAIT)
    assert "military uniform" not in words(app)
    app.toggle(key="imagenet").set_value(True).run()
    assert "The untouched ImageNet model: **military uniform**" in words(app)
    assert "Untouched: tf_efficientnet_lite0." in words(app)
    assert not app.exception
