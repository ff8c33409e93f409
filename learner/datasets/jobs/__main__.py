"""`python -m learner.datasets.jobs FOLDER`: the process of one job."""

import os
import sys
from pathlib import Path

from learner.datasets.jobs.processes import run

_NICENESS = 5
"""Pages stay quick while a job fills both cores."""

if __name__ == "__main__":
    os.nice(_NICENESS)
    run(Path(sys.argv[1]))
