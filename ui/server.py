"""The web process: `python -m ui.server`, on `$PORT`. `streamlit run streamlit_app.py` does the same, but is slower.

What the first page needs is loaded while the browser still fetches its scripts; Streamlit alone would begin only then.
"""

import os
import sys
import threading
from pathlib import Path

from streamlit.web import cli


def main() -> None:
    threading.Thread(target=_prepare, daemon=True).start()
    app = Path(__file__).parent.parent / "streamlit_app.py"
    sys.argv = ["streamlit", "run", str(app), "--server.port", os.environ.get("PORT", "8501"), *sys.argv[1:]]
    cli.main()


def _prepare() -> None:
    """Bring the tables up to date and load modules. An error is left to the page, which meets it again and tells it."""
    from learner import Store, ThawError

    try:
        Store()
    except ThawError:
        return
    import learner.datasets.jobs  # noqa: F401
    import ui.frame  # noqa: F401


if __name__ == "__main__":
    main()
