"""The job that Thaw is for, done by Thaw, by plain fastai, by the classic Keras script, and by arithmetic alone.

VGG16 at 224 px in batches of 16 on the ELPV photos, 80 % of them for training: 10 epochs of a new head on the frozen
network, then 5 epochs of block5 and the head. Prints a table.

python benchmarks/two_phase.py [--images 160] [--rows keras,fastai,thaw,thaw-fp32,limit] [--weights FILE] [--write]
"""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import elpv_data, environments, limit
from benchmarks.home import Home, vgg16_weights
from benchmarks.processes import measured
from benchmarks.report import BenchmarkError, figure, megabytes, parser, publish, share, table

SEED, VALID = 42, 0.2
SIDE, BATCH = 224, 16
EPOCHS = (10, 5)
"""Of the head alone, then of block5 and the head."""
PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Job:
    """What every row is given: photos in train and valid folders, and weights to begin with, if any."""

    photos: Path
    train: int
    valid: int
    weights: Path | None
    peer_epochs: tuple[int, int]
    """Epochs of each phase that a peer runs."""

    def limit_s(self, rate: float) -> float:
        """The least time for the job's arithmetic, at `rate` multiply-adds a second."""
        return limit.job_macs(self.train, self.valid, EPOCHS[1], SIDE) / rate


@dataclass(frozen=True)
class Row:
    """One way of doing the job."""

    what: str
    measured: str
    """What of the job was run; the rest is scaled from that."""
    seconds: float
    """For the whole job, from photos in folders to a trained network."""
    epoch_s: Sequence[float | None] = (None, None)
    """Seconds of each phase by the number of its epochs; validation counts, and what it computes beforehand."""
    peak_rss: int | None = None
    accuracy: float | None = None
    """Of the validation photos after the last epoch."""
    phases_s: float | None = None
    """The phases alone, to be compared with the least time for their arithmetic in `precision`."""
    precision: str = "fp32"
    note: str = ""


def main() -> None:
    options = arguments()
    with Home() as scratch:
        weights, origin = vgg16_weights(options.weights, scratch.folder)
        parts = elpv_data.split(elpv_data.cells(options.images, SEED), SEED, VALID)
        photos = elpv_data.write_split(parts, scratch.folder / "photos")
        peer_epochs = tuple(min(options.peer_epochs, epochs) for epochs in EPOCHS)
        job = Job(photos, len(parts["train"]), len(parts["valid"]), weights, peer_epochs)
        rows, failed, rates = {}, [], measured_rates()
        for name in (name for name in ROWS if name in options.rows):
            print(f"Now: {name}", file=sys.stderr, flush=True)
            try:
                rows |= ROWS[name](job)
            except BenchmarkError as error:  # the other rows took long, and are worth seeing
                print(error, file=sys.stderr)
                failed.append(name)
    rates = {name: max(rate, rates[name]) for name, rate in measured_rates().items()}
    if "limit" in options.rows:
        rows |= {f"limit-{name}": Row(f"the limit, {name}", "calculated", job.limit_s(rates[name])) for name in rates}
    title = "Two phases, and other ways to do them"
    publish("two_phase", title, paragraphs(job, rows, rates, origin), options.write and not failed)
    if failed:
        raise BenchmarkError(f"These rows failed, and say why above: {', '.join(failed)}. Nothing was written.")


def thaw_rows(precision: str, job: Job) -> dict[str, Row]:
    recipe = {
        "backbone": "vgg16",
        "weights": "auto" if job.weights else "random",
        "image_size": SIDE,
        "batch_size": BATCH,
        "seed": SEED,
        "precision": precision,
        "phases": [
            {"name": "Warm-up", "trainable": "head", "epochs": EPOCHS[0]},
            {"name": "Fine-tuning", "trainable": "block5", "epochs": EPOCHS[1]},
        ],
    }
    with Home(job.weights) as home:
        added = home.add(job.photos, "elpv")
        run, trained = home.train("elpv", recipe)
    plan, run_s = run["facts"]["plan"], run["finished_at"] - run["started_at"]
    phase_s = [phase["true_s"] for phase in plan["phases"]]
    in_epochs_s = sum(epoch["seconds"] for epoch in run["epochs"])
    used = plan["precision"]
    row = Row(
        f"Thaw, {used}{' (auto)' if precision == 'auto' else ''}",
        "whole",
        added.seconds + trained.seconds,
        [seconds / epochs for seconds, epochs in zip(phase_s, EPOCHS, strict=True)],
        max(added.peak_rss, trained.peak_rss),
        run["epochs"][-1]["accuracy"],
        sum(phase_s),
        used,
        f"Thaw in {used}: the import took {added.seconds:.1f} s and the run {run_s:.1f} s, of these its phases "
        f"{sum(phase_s):.1f} s, and of these their epochs {in_epochs_s:.1f} s.",
    )
    return {"thaw" if precision == "auto" else f"thaw-{precision}": row}


def keras_rows(job: Job) -> dict[str, Row]:
    return {"keras": peer_row("Keras, fp32", keras_python(), "keras_two_phase.py", job)}


def fastai_rows(job: Job) -> dict[str, Row]:
    return {"fastai": peer_row("plain fastai, fp32", Path(sys.executable), "fastai_two_phase.py", job)}


def peer_row(what: str, python: Path, script: str, job: Job) -> Row:
    command = [str(python), str(PEERS / script), str(job.photos), "--epochs", *map(str, job.peer_epochs)]
    command += ["--weights", str(job.weights)] if job.weights else []
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "PYTHONWARNINGS": "ignore"}
    done = measured(command, environment)
    told = json.loads(done.stdout.splitlines()[-1])
    whole = job.peer_epochs == EPOCHS
    return Row(
        what,
        "whole" if whole else f"{' + '.join(map(str, job.peer_epochs))} epochs",
        job_s(done.seconds, told["warm_up_s"], told["epoch_s"], EPOCHS),
        [mean(seconds) for seconds in told["epoch_s"]],
        done.peak_rss,
        told["accuracy"] if whole else None,
        note=told.get("note", ""),
    )


def job_s(wall_s: float, warm_up_s: float, epoch_s: Sequence[Sequence[float]], epochs: Sequence[int]) -> float:
    """Seconds of a job of `epochs` epochs a phase, of which a process of `wall_s` seconds ran some.

    What lay outside the measured epochs (`epoch_s`, a list a phase) counts once, but for the warm-up, which does not.
    """
    outside_s = wall_s - warm_up_s - sum(map(sum, epoch_s))
    return outside_s + sum(count * mean(seconds) for count, seconds in zip(epochs, epoch_s, strict=True))


ROWS: dict[str, Callable[[Job], dict[str, Row]]] = {
    "keras": keras_rows,
    "fastai": fastai_rows,
    "thaw-fp32": lambda job: thaw_rows("fp32", job),
    "thaw": lambda job: thaw_rows("auto", job),
}


def paragraphs(job: Job, rows: dict[str, Row], rates: dict[str, float], origin: str) -> list[str]:
    images = job.train + job.valid
    thaw_s = rows["thaw"].seconds if "thaw" in rows else None
    stages = limit.stage_macs(SIDE)
    headings = ("", "run", "job (s)", "warm-up (ms)", "block5 (ms)", "memory", "accuracy", "to Thaw", "to the limit")
    lines = [
        [
            row.what,
            row.measured,
            figure(row.seconds),
            *(figure(seconds and 1000 * seconds / images) for seconds in row.epoch_s),
            megabytes(row.peak_rss),
            share(row.accuracy),
            thaw_s and f"{row.seconds / thaw_s:.2f} ×",
            row.phases_s and f"{row.phases_s / job.limit_s(rates[row.precision]):.2f} ×",
        ]
        for row in rows.values()
    ]
    told = ", ".join(f"{2 * rate / 1e12:.2f} TFLOP/s in {name}" for name, rate in rates.items())
    return [
        f"VGG16 at {SIDE} px, batches of {BATCH}, {images:,} ELPV photos, {job.train:,} for training and {job.valid:,} "
        f"for validation: {EPOCHS[0]} epochs of the head, then {EPOCHS[1]} of block5 and the head. Weights: {origin}. "
        "Every row reads the same files and is a process of its own.",
        table(headings, lines),
        f"*run*: peers are slow, so of {EPOCHS[0]} + {EPOCHS[1]} epochs they ran what the column says, and their job "
        "is scaled from it; start-up counts once, Keras's compilations not at all. *warm-up*, *block5*: a phase's "
        "time by its epochs and by the number of all photos; validation counts, and what Thaw computes once for the "
        "phase. *memory*: the highest sum of resident memory over the job's processes; pages they share count in each. "
        "*accuracy*: of the validation photos after the last epoch, where the whole job was run. *to the limit*: the "
        "phases' time by the limit in their precision.",
        f"*The limit* is the arithmetic of the convolutions ({sum(stages) / 1e9:.3f} billion multiply-adds an image, "
        f"{stages[-1] / 1e9:.3f} of them in block5), when blocks 1 to 4 see every photo once in all, and block5 once "
        "for the whole warm-up and then once an epoch, with its gradients in training; at the rate of torch's own "
        f"product of {limit.MATRIX:,} × {limit.MATRIX:,} matrices here, the fastest of all before and after "
        f"the rows: {told}. The head, reading photos and starting would come on top.",
        "Before its first epoch a phase of Thaw computes what its frozen stages give. A run also reads the photos, "
        "finds out how fast the machine is, looks at the validation photos once more, and writes `learner.pkl`.",
        *(row.note for row in rows.values() if row.note),
    ]


def measured_rates() -> dict[str, float]:
    """In a process of its own, so that what torch keeps is not held here."""
    return json.loads(measured([sys.executable, "benchmarks/limit.py"], {}).stdout)


def keras_python() -> Path:
    """The interpreter of an environment for Keras, which is made once."""
    try:
        return environments.python_of("keras")
    except BenchmarkError as error:
        rows = ",".join(name for name in ROWS if name != "keras")
        raise BenchmarkError(f"{error} Or leave Keras out: --rows {rows},limit.") from None


def arguments() -> Namespace:
    made = parser(__doc__)
    made.add_argument("--images", type=int, help="take so many photos, the same share of each class; default: all")
    made.add_argument("--peer-epochs", type=int, default=1, help="epochs of each phase that peers run at most")
    names = [*ROWS, "limit"]
    made.add_argument("--rows", default=",".join(names), help="some of %(default)s")
    made.add_argument("--weights", type=Path, help="VGG16 as safetensors with timm's names; default: what Thaw finds")
    options = made.parse_args()
    options.rows = options.rows.split(",")
    if not set(options.rows) <= set(names) or options.peer_epochs < 1:
        made.error(f"--rows takes {', '.join(names)}; --peer-epochs is 1 or more")
    return options


if __name__ == "__main__":
    main()
