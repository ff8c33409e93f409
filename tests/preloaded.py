"""What Thaw's processes load sooner or later; `ready` forks them from one that has loaded it all."""

import gc
import importlib
import pkgutil
import warnings

import alembic.command
import altair
import imagehash
import pyarrow.pandas_compat
import streamlit.web.cli

import learner

LIBRARIES = [alembic.command, altair, imagehash, pyarrow.pandas_compat, streamlit.web.cli]

with warnings.catch_warnings(action="ignore"):
    for module in pkgutil.walk_packages(learner.__path__, "learner."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

gc.collect()
gc.freeze()  # collecting what is here would copy all its memory into every process
