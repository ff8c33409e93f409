"""Whether the time left that a run tells is right: every report after the first tenth against the end. Prints a table.

python benchmarks/time_left.py [--backbones tf_efficientnet_lite0 vgg16] [--weights FILE] [--write]
"""

import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import elpv_data
from benchmarks.home import Home, vgg16_weights
from benchmarks.report import ROOT, BenchmarkError, figure, parser, publish, share, table
from learner.recipe import Phase, Recipe
from learner.store import Store
from learner.store.runs import ENDED
from learner.workspace import Workspace

PHOTOS = 150
POLL_S = 1.0
WITHIN = 0.2
"""Share of the true time left by which a report may be wrong."""
SHORTLY_S = 2.0
"""Near the end a fifth of what is left is less than a person notices."""
FIRST_TENTH = 0.1


def main() -> None:
    options = arguments()
    with Home() as scratch:
        weights, origin = vgg16_weights(options.weights, scratch.folder) if "vgg16" in options.backbones else (None, "")
        with Home(weights) as home:
            home.add(elpv_data.write_classes(elpv_data.cells(PHOTOS), home.folder / "cells"), "cells")
            rows = [row(home, backbone, "auto" if weights else "random") for backbone in options.backbones]
    headings = ("backbone", "took (s)", "reports", "within 20 %", "or 2 s", "said ÷ true, median", "least", "most")
    text = [
        f"Two phases on {PHOTOS} ELPV photos, the first on cached features. What the run says of the time left is read "
        f"every {POLL_S:g} s, from a tenth of its time on, and compared with the time that was left."
        + (f" VGG16's weights are {origin}." if origin else ""),
        table(headings, rows),
    ]
    publish("time_left", "Time left", text, options.write)


def row(home: Home, backbone: str, vgg16: str) -> list[str | None]:
    phases = [Phase("Warm-up", epochs=3), Phase("Fine-tuning", trainable="all", epochs=3)]
    weights = vgg16 if backbone == "vgg16" else "auto"
    reports, seconds = followed(home, Recipe("cells", backbone=backbone, weights=weights, phases=phases))
    return [backbone, figure(seconds, 0), *judged(reports, seconds)]


def followed(home: Home, chosen: Recipe) -> tuple[list[tuple[float, float]], float]:
    """What a run said, as (seconds since its start, seconds left), and how long it took."""
    store = Store(Workspace(home.workspace))
    run_id = store.submit(chosen)
    environment = os.environ | {"THAW_HOME": str(home.workspace), "HF_HUB_OFFLINE": "1"}
    worker = subprocess.Popen(
        [sys.executable, "-m", "learner", "worker"], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    )
    said = []
    try:
        while (run := store.runs.get(run_id)).status not in ENDED:
            if run.status == "running" and (left := run.progress.get("seconds_left")) is not None:
                said.append((time.time(), left))
            time.sleep(POLL_S)
    finally:
        worker.terminate()
        worker.wait()
    if run.status != "finished":
        raise BenchmarkError(f"The run with {chosen.backbone} ended as {run.status}. {run.reason}")
    return [(at - run.started_at, left) for at, left in said], run.finished_at - run.started_at


def judged(reports: list[tuple[float, float]], seconds: float) -> list[str | None]:
    """How many reports came after the first tenth, what share was right, and what they said by what was true."""
    pairs = [(left, seconds - at) for at, left in reports if at >= FIRST_TENTH * seconds]
    if not pairs:
        return ["0", None, None, None, None, None]
    ratios = sorted(left / true for left, true in pairs)
    shares = [
        sum(abs(left - true) <= max(WITHIN * true, seconds_off) for left, true in pairs) / len(pairs)
        for seconds_off in (0.0, SHORTLY_S)
    ]
    figures = [figure(ratios[place], 2) for place in (len(ratios) // 2, 0, -1)]
    return [str(len(pairs)), *map(share, shares), *figures]


def arguments() -> Namespace:
    made = parser(__doc__)
    made.add_argument("--backbones", nargs="+", default=["tf_efficientnet_lite0", "vgg16"], help="default: %(default)s")
    made.add_argument("--weights", type=Path, help="VGG16 as safetensors with timm's names; default: what Thaw finds")
    return made.parse_args()


if __name__ == "__main__":
    main()
