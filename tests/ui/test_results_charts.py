"""The charts of Results stay readable from two classes to hundreds."""

import altair as alt
import pytest

from learner.evaluation.findings import checked_rows
from ui.data.pooling import growth_chart
from ui.results import charts


def confusion_of(classes: int) -> dict:
    """Of as many classes with five images each, one of which is taken for the next class."""
    matrix = [[4 if i == j else int(j == (i + 1) % classes) for j in range(classes)] for i in range(classes)]
    return charts.confusion(matrix, [f"kind {number:03}" for number in range(classes)], as_percent=False).to_dict()


def rows_of(spec: dict) -> list[dict]:
    [rows] = spec["datasets"].values()
    return rows


def test_every_cell_of_the_matrix_tells_its_images_and_its_share_of_the_true_class():
    spec = charts.confusion([[8, 2], [0, 5]], ["cat", "dog"], as_percent=True).to_dict()
    assert rows_of(spec) == [
        {"true": "cat", "predicted": "cat", "images": 8, "share": 0.8},
        {"true": "cat", "predicted": "dog", "images": 2, "share": 0.2},
        {"true": "dog", "predicted": "cat", "images": 0, "share": 0.0},
        {"true": "dog", "predicted": "dog", "images": 5, "share": 1.0},
    ]


def test_a_class_without_images_shares_nothing():
    rows = rows_of(charts.confusion([[0, 0], [1, 3]], ["a", "b"], as_percent=True).to_dict())
    assert [row["share"] for row in rows] == [0, 0, 0.25, 0.75]


@pytest.mark.parametrize(
    ("classes", "figures", "names", "cells"),
    [(2, True, True, 4), (20, True, True, 400), (30, False, True, 900), (200, False, False, 400)],
)
def test_with_more_classes_figures_go_first_then_names_then_empty_cells(classes, figures, names, cells):
    spec = confusion_of(classes)
    assert any(layer["mark"]["type"] == "text" for layer in spec["layer"]) == figures
    assert spec["layer"][0]["encoding"]["x"]["axis"]["labels"] == names
    assert len(rows_of(spec)) == cells
    assert spec["height"] <= 640
    scale = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert len(scale) == classes  # those without a cell keep their row


@pytest.mark.parametrize("classes", [2, 5, 7])
def test_with_few_classes_every_name_stands_under_its_column_and_a_phone_shows_all(classes):
    spec = confusion_of(classes)
    assert spec["layer"][0]["encoding"]["x"]["axis"]["labelOverlap"] is False
    assert spec["width"] == spec["height"] <= 340


@pytest.mark.parametrize("figure", ["accuracy", "log_loss"])
def test_strengths_stand_on_a_logarithmic_axis_with_intervals_and_the_taken_one_is_named(figure):
    found = {"strength": 0.1, "checked": []}
    for strength, loss, accuracy in ((1.0, 0.6, 0.7), (0.316, 0.52, 0.78), (0.1, 0.5, 0.8)):
        row = {"strength": strength, "log_loss": loss, "accuracy": accuracy, "images": 50, "log_loss_error": 0.05}
        found["checked"].append(row)
    spec = charts.strengths(checked_rows(found), figure, dark=True).to_dict()
    x = spec["layer"][0]["encoding"]["x"]
    assert x["scale"]["type"] == "log" and x["axis"]["values"] == [0.1, 1]
    interval = spec["layer"][0]["encoding"]
    assert (interval["y"]["field"], interval["y2"]["field"]) == (f"{figure}_low", f"{figure}_high")
    assert [row["strength"] for row in rows_of(spec) if row["taken"]] == [0.1]
    names = [layer for layer in spec["layer"] if layer["mark"]["type"] == "text"]
    assert [layer["encoding"]["text"]["value"] for layer in names] == ["taken"]


def test_a_clicked_cell_is_selected_on_the_topmost_layer():
    spec = confusion_of(3)
    assert [one["name"] for one in spec["params"]] == [charts.CELL]
    assert spec["params"][0]["views"] == [spec["layer"][-1]["name"]]


def test_every_curve_has_a_colour_a_dash_and_its_area_in_the_legend():
    lines = {f"kind {number}": ([[0, 0], [0.2, 0.9], [1, 1]], 0.9 - number / 100) for number in range(6)}
    for dark in (False, True):
        for is_roc in (True, False):
            spec = charts.one_against_rest(lines, is_roc, dark).to_dict()
            encoding = spec["layer"][-1]["encoding"]
            domain = encoding["color"]["scale"]["domain"]
            assert domain[:2] == ["kind 0: 0.900", "kind 1: 0.890"]
            looks = zip(encoding["color"]["scale"]["range"], encoding["strokeDash"]["scale"]["range"], strict=True)
            assert len({(ink, tuple(dash)) for ink, dash in looks}) == 6
            assert len(spec["layer"]) == (2 if is_roc else 1)  # chance is a diagonal only for ROC


def test_calibration_shows_every_bin_beside_the_diagonal():
    bins = [{"confidence": 0.55, "accuracy": 0.5, "images": 4}, {"confidence": 0.95, "accuracy": 1.0, "images": 16}]
    spec = charts.calibration(bins, dark=False).to_dict()
    assert bins in spec["datasets"].values()
    alt.LayerChart.from_dict(spec)


def test_what_labels_brought_is_drawn_with_its_intervals():
    run = {"run": 1, "version": 1, "train_images": 100, "accuracy": 0.8, "interval": [0.75, 0.85], "valid_images": 500}
    spec = growth_chart([run, run | {"run": 2, "train_images": 120, "accuracy": 0.85}], dark=False).to_dict()
    assert [row["low"] for row in spec["data"]["values"]] == [0.75, 0.75]
