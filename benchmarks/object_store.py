"""What keeping files in an object store costs beside a plain folder: a data set, and the files of a run.

A server that speaks S3 runs on this machine, so the network costs nothing. "Another machine" is another folder.

python benchmarks/object_store.py [--images 500] [--megabytes 60] [--rounds 3] [--write]
"""

import os
import random
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import boto3

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.data_room import write_photos
from benchmarks.report import megabytes, parser, publish, table
from learner.datasets import add_dataset, bring_images
from learner.recipe import Recipe
from learner.store import Store
from learner.store.files import is_any
from learner.workspace import Workspace
from tests.s3 import KEYS, s3_server

BUCKET = "thaw"
STEPS = ("add the data set", "keep the run's files", "have the images on another machine", "have the run's files there")


def main() -> None:
    options = arguments()
    with TemporaryDirectory() as folder, s3_server() as server:
        home = Path(folder)
        write_photos(options.images, 10, home / "photos")
        os.environ |= {**KEYS, "AWS_ENDPOINT_URL": server}
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        found: dict[str, list[list[float]]] = {"A plain folder": [], "An object store": []}
        for number in range(options.rounds):
            for name, address in zip(found, ("", f"s3://{BUCKET}/round-{number}"), strict=True):
                with files_at(address):
                    found[name].append(list(steps(home, f"{number}-{bool(address)}", options.megabytes)))
        size = sum(file.stat().st_size for file in (home / "photos").rglob("*.jpg"))
    rows = [
        [step.capitalize(), *(f"{statistics.median(one[index] for one in rounds):.2f} s" for rounds in found.values())]
        for index, step in enumerate(STEPS)
    ]
    told = (
        f"{options.images} photos of together {megabytes(size)}, and a run with one file of {options.megabytes} MB. "
        f"Medians of {options.rounds} rounds, the two by turns in each. The server, moto, is a test server in the same "
        "process on the same two cores, so a real one is faster, and its network slower."
    )
    publish("object_store", "An object store beside a plain folder", [told, table(["", *found], rows)], options.write)


def arguments() -> Namespace:
    made = parser(__doc__)
    made.add_argument("--images", type=int, default=500, help="photos; default: %(default)s")
    made.add_argument("--megabytes", type=int, default=60, help="of the run's largest file; default: %(default)s")
    made.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    return made.parse_args()


@contextmanager
def files_at(address: str) -> Iterator[None]:
    """With an empty address files lie in the workspace alone."""
    os.environ["THAW_FILES"] = address
    yield
    del os.environ["THAW_FILES"]


def steps(home: Path, name: str, size: int) -> Iterator[float]:
    """Seconds of each of `STEPS`; without an object store the last two are nothing, as the folder is shared."""
    os.environ["DATABASE_URL"] = f"sqlite:///{home / f'{name}.db'}"
    one = Store(Workspace(home / f"{name}-one"))
    yield seconds(lambda: add_dataset(one, home / "photos", "photos"))
    run_id = one.submit(Recipe("photos"), running=True)
    one.files.begin(run_id, lambda told: None)
    data = random.Random(0).randbytes(size * 1_000_000)
    file = one.workspace.checkpoint(run_id)
    file.parent.mkdir(parents=True, exist_ok=True)

    def keep() -> None:
        file.write_bytes(data)
        one.files.keep(run_id, lambda told: None)

    yield seconds(keep)
    one.files.let_go(run_id)
    one.runs.end(run_id, "stopped")
    two = Store(Workspace(home / f"{name}-two")) if one.files.is_on else one
    images = two.datasets.images(two.datasets.version("photos", None).id)
    yield seconds(lambda: bring_images(two, "photos", images))
    yield seconds(lambda: two.files.bring(run_id, is_any))
    assert two.workspace.checkpoint(run_id).read_bytes() == data


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
