"""`python -m learner.serving RUN COVERAGE`: make and prove a run's ONNX export; prints why it cannot, as JSON."""

import json
import sys

from learner.errors import ThawError
from learner.exports import prepare
from learner.store import Store


def main(run_id: int, coverage: float) -> int:
    """Returns the exit code."""
    try:
        prepare(Store(), run_id, "onnx", coverage)
    except ThawError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    return 0


sys.exit(main(int(sys.argv[1]), float(sys.argv[2])))
