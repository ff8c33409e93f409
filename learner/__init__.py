"""Thaw's library: fine-tune image classifiers phase by phase. Knows nothing of Streamlit.

Importing it loads neither torch nor fastai; the modules that train, predict and export do.
"""

from learner.errors import ThawError
from learner.recipe import Phase, Recipe
from learner.store import Store
from learner.version import __version__
from learner.workspace import Workspace

__all__ = ["Phase", "Recipe", "Store", "ThawError", "Workspace", "__version__"]
