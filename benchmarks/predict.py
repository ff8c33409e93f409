"""One photo with the model in memory, Thaw's predictor beside plain fastai's; then a folder of them. Prints a table.

The model is VGG16 with random weights, trained for an epoch: its time does not depend on what it has learnt.

python benchmarks/predict.py [--calls 40] [--images 500] [--write]
"""

import statistics
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import elpv_data
from benchmarks.home import Home
from benchmarks.report import figure, parser, publish, table

SIDE = 224
TRAINED_ON = 24
RECIPE = {
    "backbone": "vgg16",
    "weights": "random",
    "image_size": SIDE,
    "phases": [{"name": "Warm-up", "trainable": "head", "epochs": 1}],
}


def main() -> None:
    options = arguments()
    with Home() as home:
        cells = elpv_data.cells()
        home.add(elpv_data.write_classes(elpv_data.cells(TRAINED_ON), home.folder / "few"), "few")
        run, _ = home.train("few", RECIPE)
        folder = home.workspace / "runs" / str(run["run"])
        thaw, fastai = predictors(folder, home)
        photos = [cell.file for cell in cells]
        ours_ms, theirs_ms = alternating([lambda photo: list(thaw([photo])), fastai], photos, options.calls)
        began = time.perf_counter()
        seen = len(list(thaw(photos[: options.images])))
        rate = seen / (time.perf_counter() - began)
    rows = [
        ["Thaw's `Predictor`", *percentiles(ours_ms), figure(rate, 1)],
        ["fastai's `load_learner(…).predict`", *percentiles(theirs_ms), None],
    ]
    text = [
        f"VGG16 at {SIDE} px, the model in memory, one process, {options.calls} calls of each in turn, every call on "
        f"another ELPV photo, from the file to the probabilities; then {seen:,} photos in one call.",
        table(("", "median (ms)", "95th percentile (ms)", "photos a second, many at once"), rows),
    ]
    publish("predict", "Predictions", text, options.write)


def predictors(folder: Path, home: Home) -> tuple[Callable, Callable]:
    """Thaw's, from `model.safetensors`, takes a list of photos; fastai's, from `learner.pkl`, takes one."""
    from fastai.learner import load_learner

    from learner.inference.predictor import Predictor
    from learner.store import Store
    from learner.workspace import Workspace

    thaw = Predictor.open(str(folder / "model.safetensors"), Store(Workspace(home.workspace)))
    with warnings.catch_warnings(action="ignore"):  # that a pickle could be harmful: this one was just made here
        learn = load_learner(folder / "learner.pkl")

    def fastai(photo: Path) -> object:
        with learn.no_bar():
            return learn.predict(photo)

    return thaw.predict, fastai


def alternating(ways: list[Callable], photos: list[Path], calls: int) -> list[list[float]]:
    """Milliseconds of `calls` calls of each way, in turn, so that what else the machine does meets all of them."""
    taken: list[list[float]] = [[] for _ in ways]
    for call in range(calls + 1):
        for way, times in zip(ways, taken, strict=True):
            began = time.perf_counter()
            way(photos[call % len(photos)])
            times.append(1000 * (time.perf_counter() - began))
    return [times[1:] for times in taken]  # the first call prepares kernels


def percentiles(times: list[float]) -> list[str | None]:
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return [figure(statistics.median(times), 1), figure(cuts[-1], 1)]


def arguments() -> Namespace:
    made = parser(__doc__)
    made.add_argument("--calls", type=int, default=40, help="predictions of one photo, each way; default: %(default)s")
    made.add_argument("--images", type=int, default=500, help="photos of the folder; default: %(default)s")
    options = made.parse_args()
    if options.calls < 2:
        made.error("--calls is 2 or more")
    return options


if __name__ == "__main__":
    main()
