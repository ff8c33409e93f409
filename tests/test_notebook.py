"""docs/notebook.ipynb runs from its first cell to its last in a real kernel, and shows what it says that it shows."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.patience import GIVE_UP_S
from tests.samples import ROOT


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> dict[str, list]:
    """The outputs of each cell of code, by the beginning of its source; with few photos and epochs."""
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    notebook.cells[1].source = "photos, epochs = 120, 1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("notebook")))
        NotebookClient(notebook, timeout=GIVE_UP_S, kernel_name="python3").execute(cwd=os.fspath(Path(ROOT)))
    return {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def outputs(ran: dict[str, list], beginning: str) -> list:
    [found] = [outputs for source, outputs in ran.items() if source.startswith(beginning)]
    return found


def test_the_first_cell_of_code_says_how_much_is_done():
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    assert notebook.cells[1].source == "photos, epochs = 900, 3"
    assert all(cell.cell_type == "markdown" or cell.outputs == [] for cell in notebook.cells)


def test_training_shows_a_bar_and_a_row_for_each_epoch(ran):
    [cell] = [one for one in outputs(ran, "from learner import train") if one.output_type == "display_data"]
    html = cell.data["text/html"]
    assert '<progress value="1.0000"' in html and html.count("<tr>") == 1 + 2  # headings, and two phases of an epoch
    assert "<td>Warm-up</td>" in html and "<td>Thaw</td>" in html


def test_a_result_shows_accuracy_curves_matrix_and_its_most_wrong_photos(ran):
    [cell] = [one for one in outputs(ran, "result") if one.output_type == "execute_result"]
    html = cell.data["text/html"]
    assert "% (" in html and "validation photos right" in html and html.count('<svg role="img"') == 2
    assert "taken for" in html and "data:image/jpeg;base64," in html
    assert "<script" not in html


def test_fastais_own_way_goes_on_with_the_learner(ran):
    said = "".join(one.text for one in outputs(ran, "from fastai.vision.all") if one.get("name") == "stdout")
    assert said.startswith("accuracy before ") and ", after " in said


def test_the_file_that_it_leaves_is_proven_and_answers(ran):
    answers = outputs(ran, "from learner import load")
    assert "Proven: opened in a fresh process" in answers[0].text
    label, probability = eval(answers[-1].data["text/plain"])
    assert label in "0123" and 0 < probability <= 1
