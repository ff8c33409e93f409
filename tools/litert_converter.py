"""Set-up for tests: fetch what converts to LiteRT. Without it everything else works, so that a failure only warns."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learner.errors import ModelError
from learner.exports.litert_converter import require_converter

if __name__ == "__main__":
    try:
        require_converter()
    except ModelError as error:
        print(f"LiteRT cannot be exported yet. {error}", file=sys.stderr)
