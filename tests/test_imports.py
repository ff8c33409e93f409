"""Pages and `--help` open at once: what they import brings in neither torch nor fastai, and imports point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import GIVE_UP_S

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "timm", "fastai"}
LIGHT = [
    "learner",
    "learner.errors",
    "learner.recipe",
    "learner.workspace",
    "learner.store",
    "learner.training.process",
    "learner.advice.coach",
    "learner.housekeeping",
    "learner.evaluation.compare",
    "learner.questions.layers",
    "learner.evaluation.history",
    "learner.questions.answers",
    "learner.inference.batches",
    "learner.inference.joining",
    "learner.questions.rates",
    "learner.questions.strategy",
    "learner.questions.learning_curve",
    "learner.evaluation.overlay",
    "learner.models.weights",
    "learner.evaluation.results",
    "learner.wording",
    "learner.exports",
    "learner.exports.formats",
    "learner.exports.proofs",
    "learner.exports.web_runtime",
    "learner.datasets.images",
    "learner.datasets",
    "learner.datasets.jobs",
    "learner.datasets.jobs.checks",
    "learner.datasets.checks",
    "learner.datasets.card",
    "learner.datasets.editing",
    "learner.datasets.gallery",
    "learner.datasets.roots",
    "learner.datasets.sources",
    "learner.cli",
    "learner.jobs.worker",
    "learner.training.progress",
    "learner.features.arrays",
    "learner.planning.cost",
    "learner.planning.estimate",
    *sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "ui").rglob("*.py")
        if path.stem != "__init__"
    ),
]


def test_what_pages_and_help_need_imports_no_heavy_module():
    code = f"""
import importlib, sys
for name in {LIGHT!r}:
    importlib.import_module(name)
    heavy = {HEAVY!r} & set(sys.modules)
    assert not heavy, f"{{name}} imports {{heavy}}"
    if name.startswith("learner"):
        assert "streamlit" not in sys.modules, f"{{name}} imports streamlit"
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=GIVE_UP_S)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("folder", "never"),
    [("learner", {"streamlit", "ui", "pages", "streamlit_app"}), ("ui", {"pages", "streamlit_app", *HEAVY})],
)
def test_imports_point_from_pages_to_ui_to_learner_and_never_back(folder, never):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported_names(path)
        if name.split(".")[0] in never
    ]
    assert wrong == []


def imported_names(path: Path) -> list[str]:
    """Every module that the file names in an import, at the top or inside a function."""
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return names
