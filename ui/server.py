"""The web process: `python -m ui.server`, on `$PORT`. The same as `streamlit run streamlit_app.py`."""

import os
import sys
from pathlib import Path

from streamlit.web import cli

from learner.logs import JsonLines, use_json, wants_json

TOP = Path(__file__).parents[1]
INSTALLED = TOP / "thaw_app"
APP = (INSTALLED if INSTALLED.is_dir() else TOP) / "streamlit_app.py"
"""A wheel has it in a folder of its own, with `pages/` and `.streamlit/`, which Streamlit looks for beside it."""


def main() -> None:
    sys.argv = ["streamlit", "run", str(APP), "--server.port", os.environ.get("PORT", "8501"), *sys.argv[1:]]
    if wants_json():
        _log_json()
    cli.main()


class _WithoutColours(JsonLines):
    """uvicorn tells every format whether to use colours."""

    def __init__(self, use_colors: bool | None = None):
        super().__init__()


def _log_json() -> None:
    """Before the server begins, too; `ui.web.making_ready` sees to what Streamlit sets up meanwhile."""
    from uvicorn.config import LOGGING_CONFIG

    os.environ["STREAMLIT_LOGGER_HIDE_WELCOME_MESSAGE"] = "true"
    LOGGING_CONFIG["formatters"] = {name: {"()": _WithoutColours} for name in LOGGING_CONFIG["formatters"]}
    use_json()


if __name__ == "__main__":
    main()
