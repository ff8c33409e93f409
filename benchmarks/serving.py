"""A served VGG16 under load, beside onnxruntime alone and a server written by hand. Prints a table.

The model has random weights: its time does not depend on what it has learnt. The load comes from locust, on the same
cores.

python benchmarks/serving.py [--backbone vgg16] [--rounds 3] [--seconds 15] [--write]
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.environments import python_of
from benchmarks.home import Home
from benchmarks.report import ROOT, BenchmarkError, figure, parser, publish, share, table

SIDE, PHOTO, PHOTOS, BATCH = 224, (640, 480), 32, 8
USERS, CALM_USERS = 16, 64
MOMENTS = ("even", "random")
PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Load:
    """What a server did under a load."""

    rate: float
    """Answers a second."""
    seconds: list[float]
    """From the question to the answer."""


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--backbone", default="vgg16", help="default: %(default)s")
    made.add_argument("--rounds", type=int, default=3, help="of each; default: %(default)s")
    made.add_argument("--seconds", type=int, default=15, help="of load in a round; default: %(default)s")
    options = made.parse_args()
    with Home() as home:
        photos = write_photos(home.folder / "photos")
        models = export(home, options.backbone)
        rates: dict[str, list[float]] = {
            "alone, one by one": [],
            f"alone, {BATCH} at a time": [],
            "served": [],
            "hand": [],
        }
        latencies: dict[str, list[float]] = {"served": [], "hand": []}
        calm = {name: {moments: [] for moments in MOMENTS} for name in latencies}
        for number in range(options.rounds):
            for size, name in ((1, "alone, one by one"), (BATCH, f"alone, {BATCH} at a time")):
                rates[name].append(alone(models["onnx"], size, options.seconds))
            for name, command in (
                ("served", ["-m", "learner", "serve", str(models["onnx"])]),
                ("hand", [str(PEERS / "plain_server.py"), str(models["pkl"])]),
            ):
                with server(name, command, home) as address:
                    load(address, photos, USERS, 0, 3)  # warms up
                    full = load(address, photos, USERS, 0, options.seconds)
                    rates[name].append(full.rate)
                    latencies[name] += full.seconds
                    for moments, seconds in calm[name].items():
                        half = load(address, photos, CALM_USERS, full.rate / 2, 2 * options.seconds, moments)
                        seconds += half.seconds
            print(f"Round {number + 1} of {options.rounds} is done.", file=sys.stderr, flush=True)
    publish("serving", "A served model", report(options, rates, latencies, calm), options.write)


def report(options, rates, latencies, calm) -> list[str]:
    best = max(statistics.median(values) for name, values in rates.items() if name.startswith("alone"))
    rows = []
    for name, title in (
        ("alone, one by one", "onnxruntime alone, one photo at a time"),
        (f"alone, {BATCH} at a time", f"onnxruntime alone, {BATCH} at a time"),
        ("served", "`python -m learner serve`"),
        ("hand", "FastAPI around fastai's `predict`"),
    ):
        rate = statistics.median(rates[name])
        spread = f"{figure(min(rates[name]))} to {figure(max(rates[name]))}"
        loads = [latencies[name], *calm[name].values()] if name in latencies else [None] * 3
        times = [seconds and milliseconds(seconds, at) for seconds in loads for at in (50, 99)]
        rows.append([title, figure(rate), spread, share(rate / best), *times])
    return [
        f"{options.backbone} at {SIDE} px with random weights, photos of {PHOTO[0]} × {PHOTO[1]} px as JPEG, each sent "
        f"in a request of its own; locust and server on the same cores, {options.rounds} rounds in turn. Full load: "
        f"{USERS} callers for {options.seconds} s that ask again at once. Half load: half as many questions a second "
        f"as the server answered at full load, for {2 * options.seconds} s: one as long after the other, or at random "
        "moments (a Poisson process).",
        table(
            (
                "",
                "photos a second",
                "lowest to highest",
                "of the best",
                "full: p50 (ms)",
                "p99",
                "half, even: p50 (ms)",
                "p99",
                "half, random: p50 (ms)",
                "p99",
            ),
            rows,
        ),
    ]


def milliseconds(seconds: list[float], percentile: float) -> str:
    return figure(1000 * float(np.percentile(seconds, percentile)), 0)


def write_photos(folder: Path) -> Path:
    """JPEGs as detailed as photos are: smooth random fields."""
    from PIL import Image, ImageFilter

    folder.mkdir()
    noise = np.random.default_rng(0)
    for number in range(PHOTOS):
        coarse = Image.fromarray(noise.integers(0, 256, (48, 64, 3)).astype(np.uint8)).resize(PHOTO)
        coarse.filter(ImageFilter.GaussianBlur(2)).save(folder / f"{number:02}.jpg", quality=90)
    return folder


def export(home: Home, backbone: str) -> dict[str, Path]:
    """A model that has learnt nothing, as ONNX and as learner.pkl."""
    program = f"""
import torch
from pathlib import Path
from dataclasses import asdict
from torch import nn
from learner.exports import write
from learner.exports.contents import Contents
from learner.models.backbones import build
from learner.models.checkpoint import ModelSpec
from learner.models.heads import build_head
from learner.recipe import Head
from learner.models.network import map_size

head, classes = Head(kind="solved"), [f"class {{n}}" for n in range(5)]
backbone = build({backbone!r}, "random")
maps = map_size(backbone.body, {SIDE})
spec = ModelSpec(
    {backbone!r}, backbone.stages, classes, {SIDE}, list(backbone.mean), list(backbone.std), backbone.num_features,
    head=asdict(head), map_size=list(maps), neighbours=5, distances=[n / 100 for n in range(101)],
)
model = nn.Sequential(backbone.body, build_head(head, backbone.num_features, 5, maps)).eval()
reference = nn.functional.normalize(torch.rand(1000, backbone.num_features))
contents = Contents(model, spec, reference, [])
write(contents, "onnx", Path({str(home.folder)!r}), "model.onnx")
write(contents, "learner", Path({str(home.folder)!r}), "learner.pkl")
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    return {"onnx": home.folder / "model.onnx", "pkl": home.folder / "learner.pkl"}


def alone(model: Path, batch: int, seconds: float) -> float:
    """Photos a second of onnxruntime on pixels that are there already."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (batch, SIDE, SIDE, 3)).astype(np.uint8)
    outputs = ["probabilities", "distance"]
    session.run(outputs, {"pixels": pixels})
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        session.run(outputs, {"pixels": pixels})
        done += batch
    return done / (time.perf_counter() - began)


@contextmanager
def server(name: str, command: list[str], home: Home) -> Iterator[str]:
    """Its address, from when it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [*command, "--port", str(port)] if name == "served" else [*command, str(port)]
    environment = {**os.environ, "THAW_HOME": str(home.workspace)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environment, **quiet)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            if process.poll() is not None:
                raise BenchmarkError(f"{' '.join(command)} ended before it answered.")
            try:
                urllib.request.urlopen(f"{address}/ready", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def load(address: str, photos: Path, users: int, rate: float, seconds: int, moments: str = "random") -> Load:
    """Answers that came after the first second, when all users have begun."""
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times"
        words = ["-m", "locust", "-f", str(PEERS / "ask_server.py"), "--headless", "--only-summary"]
        words += ["-u", str(users), "-r", str(users), "-t", f"{seconds + 1}s", "--host", address]
        done = subprocess.run(
            [str(python_of("locust")), *words],
            env={**os.environ, "PICTURES": str(photos), "RATE": str(rate), "MOMENTS": moments, "TIMES": str(times)},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line.split() for line in times.read_text().splitlines()] if times.exists() else []
    if done.returncode or not lines or any(status != "200" for *_, status in lines):
        raise BenchmarkError(f"The load did not end well: {done.stderr[-500:]}")
    first = min(float(at) for at, *_ in lines)
    counted = [(float(at), float(took)) for at, took, _ in lines if float(at) >= first + 1]
    return Load(len(counted) / (max(at for at, _ in counted) - first - 1), [took for _, took in counted])


if __name__ == "__main__":
    main()
