"""The data card adds up what is in use, from what was measured on the way in."""

import io

import numpy as np
import pytest
from PIL import Image

from learner.datasets import add_dataset
from learner.datasets.card import card_of
from learner.datasets.editing import Edit, edited
from learner.datasets.rows import rows_of


@pytest.fixture
def greys(store, tmp_path):
    """Two classes of plain grey images with a corner of their own: 40 and 80 in one, 200 in the other."""
    for name, level, size in (("dark/1", 40, (64, 48)), ("dark/2", 80, (64, 48)), ("light/1", 200, (96, 96))):
        file = tmp_path / "greys" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, level).save(file)
    Image.new("L", (64, 48), 202).save(tmp_path / "greys/light/2.png")
    return store, add_dataset(store, tmp_path / "greys", "greys")


def test_sizes_light_and_the_mean_of_each_class(greys):
    store, version = greys
    card = card_of(store, version, rows_of(store, version))
    assert card.sizes == {(64, 48): 3, (96, 96): 1}
    assert (card.median_width, card.median_height) == (64, 48)
    assert sum(number for _, _, number in card.brightness) == 4
    assert [number for low, high, number in card.brightness if low <= 40 < high] == [1]
    mean = {label: np.asarray(Image.open(io.BytesIO(png))) for label, png in card.means.items()}
    assert set(np.unique(mean["dark"])) == {60}
    assert set(np.unique(mean["light"])) == {201}
    assert card.treated == 0


def test_what_is_set_aside_does_not_count_and_edits_do(greys):
    store, version = greys
    rows = edited(
        rows_of(store, version), [Edit("exclude", ("dark/1.png",)), Edit("relabel", ("light/1.png",), to="mid")]
    )
    card = card_of(store, version, rows)
    assert set(card.means) == {"dark", "light", "mid"}
    assert set(np.unique(np.asarray(Image.open(io.BytesIO(card.means["dark"]))))) == {80}
    nothing = card_of(store, version, [])
    assert (nothing.sizes, nothing.means, nothing.median_width) == ({}, {}, 0)


def test_how_deep_greys_were_shown_is_told(store, tmp_path):
    for label in ("a", "b"):
        (tmp_path / "scans" / label).mkdir(parents=True)
        for number in range(2):
            ramp = np.linspace(1000 + number, 3000, 64 * 64).reshape(64, 64).astype(np.uint16)
            Image.fromarray(ramp + (label == "b")).save(tmp_path / "scans" / label / f"{number}.png")
    version = add_dataset(store, tmp_path / "scans", "scans")
    card = card_of(store, version, rows_of(store, version))
    assert card.treated == 4
    assert card.treatment.startswith("Grey levels 10")
