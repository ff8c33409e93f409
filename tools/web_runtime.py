"""Set-up: fetch what the web demo runs on. Without it everything else works, so that a failure only warns."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learner.errors import ModelError
from learner.exports.web_runtime import require_runtime

if __name__ == "__main__":
    try:
        require_runtime()
    except ModelError as error:
        print(f"The web demo cannot be exported yet. {error}", file=sys.stderr)
