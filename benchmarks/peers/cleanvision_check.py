"""CleanVision's own checks on a folder of photos; prints what it takes for copies, as JSON. Has an environment of its
own: see data_room.py."""

import contextlib
import json
import sys
from pathlib import Path

from cleanvision import Imagelab


def main() -> None:
    folder = Path(sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):
        lab = Imagelab(data_path=str(folder))
        lab.find_issues(n_jobs=2)
    sets = {
        name: [["/".join(Path(path).parts[-2:]) for path in group] for group in lab.info[issue]["sets"]]
        for name, issue in (("exact", "exact_duplicates"), ("near", "near_duplicates"))
    }
    print(json.dumps(sets))


if __name__ == "__main__":
    main()
