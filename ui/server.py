"""The web process: `python -m ui.server`, on `$PORT`. The same as `streamlit run streamlit_app.py`."""

import os
import sys
from pathlib import Path

from streamlit.web import cli

TOP = Path(__file__).parents[1]
INSTALLED = TOP / "thaw_app"
APP = (INSTALLED if INSTALLED.is_dir() else TOP) / "streamlit_app.py"
"""A wheel has it in a folder of its own, with `pages/` and `.streamlit/`, which Streamlit looks for beside it."""


def main() -> None:
    sys.argv = ["streamlit", "run", str(APP), "--server.port", os.environ.get("PORT", "8501"), *sys.argv[1:]]
    cli.main()


if __name__ == "__main__":
    main()
