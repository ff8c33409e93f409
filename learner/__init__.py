"""Thaw's library: fine-tune image classifiers phase by phase. Knows nothing of Streamlit.

Importing it loads neither torch nor fastai; what trains, predicts or exports does, at its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from learner.version import __version__

if TYPE_CHECKING:
    from learner.advice.label_issues import find_label_issues as find_label_issues
    from learner.advice.learning_curve import measure_curve as measure_curve
    from learner.advice.strategy import recommend as recommend
    from learner.api import Model as Model
    from learner.api import Rate as Rate
    from learner.api import Result as Result
    from learner.api import load as load
    from learner.api import open_run as open_run
    from learner.api import train as train
    from learner.datasets import add_dataset as add_dataset
    from learner.errors import ThawError as ThawError
    from learner.evaluation.inspect import look_at_test as look_at_test
    from learner.evaluation.paired import pair_predictions as pair_predictions
    from learner.recipe import Augment as Augment
    from learner.recipe import Head as Head
    from learner.recipe import Phase as Phase
    from learner.recipe import Recipe as Recipe
    from learner.recipe import read_recipe as read_recipe
    from learner.report import make_report as make_report
    from learner.report.model_card import make_card as make_card
    from learner.store import Store as Store
    from learner.training.lr_finder import find_rates as find_rates
    from learner.workspace import Workspace as Workspace

_PLACES = {
    "train": "api",
    "load": "api",
    "open_run": "api",
    "Result": "api",
    "Rate": "api",
    "Model": "api",
    "Recipe": "recipe",
    "Phase": "recipe",
    "Head": "recipe",
    "Augment": "recipe",
    "read_recipe": "recipe",
    "add_dataset": "datasets",
    "find_label_issues": "advice.label_issues",
    "recommend": "advice.strategy",
    "find_rates": "training.lr_finder",
    "measure_curve": "advice.learning_curve",
    "look_at_test": "evaluation.inspect",
    "pair_predictions": "evaluation.paired",
    "make_report": "report",
    "make_card": "report.model_card",
    "Store": "store",
    "Workspace": "workspace",
    "ThawError": "errors",
}
"""Where each public name is defined, from which it is loaded at its first use."""

__all__ = [*_PLACES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'learner' has no attribute {name!r}")
    value = getattr(import_module(f"learner.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
