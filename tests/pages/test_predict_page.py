"""The Predict page: what a model says, where it looked, and what the untouched ImageNet network says beside it."""

from pathlib import Path

import matplotlib
import pytest

from learner.datasets import add_dataset
from learner.executors import execute
from learner.recipe import Head
from tests.pages.reading import words
from tests.samples import make_photos, small_recipe

PORTRAIT = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture
def attentive(store, tmp_path):
    """A finished run whose model has an attention head."""
    add_dataset(store, make_photos(tmp_path / "pets", {"cat": 8, "dog": 8}, size=(48, 40)), "pets")
    run_id = store.submit(small_recipe(head=Head("attention", [8]), image_size=64), running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    return store


def drop(app, *files: Path):
    uploads = [(file.name, file.read_bytes(), "image/jpeg") for file in files]
    return app.file_uploader[0].set_value(uploads).run()


def test_a_model_with_an_attention_head_shows_where_it_looked(open_page, attentive):
    app = drop(open_page("predict"), PORTRAIT)
    assert not app.exception
    told = "\n".join(str(picture.proto) for picture in app.image)
    assert "The picture grace_hopper.jpg" in told
    if len(app.image) == 1:  # what it has learnt in one epoch may be next to nothing
        assert "The model looked at all of the picture alike." in words(app)
    else:
        assert "Where it looked: the more amber, the more a place counted." in told
        assert "grace_hopper.jpg with amber where the model looked" in told


def test_other_models_show_the_picture_alone(open_page, trained):
    app = drop(open_page("predict"), PORTRAIT)
    assert len(app.image) == 1 and not app.exception


def test_the_untouched_network_is_asked_about_the_same_picture(open_page, trained):
    app = drop(open_page("predict"), PORTRAIT)
    assert "military uniform" not in words(app)
    app.toggle(key="imagenet").set_value(True).run()
    assert "The untouched ImageNet model: **military uniform**" in words(app)
    assert "Untouched: tf_efficientnet_lite0." in words(app)
    assert not app.exception


def test_a_file_that_is_no_picture_is_told_by_its_name(open_page, trained, tmp_path):
    (tmp_path / "letter.jpg").write_text("no picture")
    app = drop(open_page("predict"), tmp_path / "letter.jpg", PORTRAIT)
    assert any("letter.jpg" in error.value for error in app.error) and len(app.image) == 1
