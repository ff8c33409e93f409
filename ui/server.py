"""The web process: `python -m ui.server`, on `$PORT`. The same as `streamlit run streamlit_app.py`."""

import os
import sys
from pathlib import Path

from streamlit.web import cli


def main() -> None:
    app = Path(__file__).parent.parent / "streamlit_app.py"
    sys.argv = ["streamlit", "run", str(app), "--server.port", os.environ.get("PORT", "8501"), *sys.argv[1:]]
    cli.main()


if __name__ == "__main__":
    main()
