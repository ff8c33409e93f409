"""What Thaw's processes load sooner or later; `ready` forks them from one that has loaded it all."""

import gc
import importlib
import logging
import pkgutil
import warnings

import learner
import ui

LIBRARIES = ["alembic.command", "altair", "imagehash", "pyarrow.pandas_compat", "streamlit.web.cli"]

logging.disable(logging.WARNING)  # of Streamlit, that nothing serves pages here
with warnings.catch_warnings(action="ignore"):
    for name in LIBRARIES:
        importlib.import_module(name)
    for package in (learner, ui):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
logging.disable(logging.NOTSET)

gc.collect()
gc.freeze()  # collecting what is here would copy all its memory into every process
