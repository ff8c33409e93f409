"""What THAW_FILES costs: images and a model in a plain folder, and in an S3 server on loopback. Prints a table.

python benchmarks/object_store.py [--images N] [--megabytes N] [--write]
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import boto3

from benchmarks.report import parser, publish, table
from learner.datasets import add_dataset, bring_images
from learner.store import Store
from learner.store.files import is_any
from learner.workspace import Workspace
from tests.s3 import KEYS, s3_server
from tests.samples import make_photos, small_recipe


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--images", type=int, default=500, help="default: %(default)s")
    made.add_argument("--megabytes", type=int, default=60, help="of the model; default: %(default)s")
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as folder, s3_server() as server:
        photos = make_photos(Path(folder) / "photos", {"cat": options.images // 2, "dog": options.images // 2})
        os.environ["DATABASE_URL"] = f"sqlite:///{folder}/plain.db"
        plain = _times(Path(folder) / "plain", photos, options.megabytes)
        os.environ |= {**KEYS, "AWS_ENDPOINT_URL": server, "DATABASE_URL": f"sqlite:///{folder}/shared.db"}
        boto3.client("s3").create_bucket(Bucket="thaw")
        os.environ["THAW_FILES"] = "s3://thaw/files"
        shared = _times(Path(folder) / "shared", photos, options.megabytes)
    rows = [
        (what, f"{plain[what]:.2f}" if what in plain else None, f"{seconds:.2f}") for what, seconds in shared.items()
    ]
    note = (
        "One run each; database SQLite. The server is moto, in the same process on the same cores: its share is in the "
        "figures, and a real store has other ones."
    )
    publish(
        "object_store", "An object store", [note, table(["what", "folder (s)", "THAW_FILES (s)"], rows)], options.write
    )


def _times(folder: Path, photos: Path, megabytes: int) -> dict[str, float]:
    """Seconds of each part; those of fetching only where there is a store."""
    found: dict[str, float] = {}

    def timed(what: str, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        work()
        found[what] = time.perf_counter() - began

    one = Store(Workspace(folder / "one"))
    if one.files.is_on:
        one.files.pieces.objects.check()  # the packages are loaded
    timed("import the images", lambda: add_dataset(one, photos, "pets"))
    run_id = one.submit(small_recipe(), running=True)
    one.files.begin(run_id, lambda text: None)
    model = one.workspace.checkpoint(run_id)
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(os.urandom(megabytes * 1_000_000))
    timed("keep the model at a run's end", lambda: one.files.keep(run_id, lambda text: None))
    timed("keep it again, unchanged", lambda: one.files.keep(run_id, lambda text: None))
    if one.files.is_on:
        two = Store(Workspace(folder / "two"))
        version = two.datasets.version("pets")
        timed("fetch the images", lambda: bring_images(two, "pets", two.datasets.images(version.id)))
        timed("fetch the model", lambda: two.files.bring(run_id, is_any))
        timed("look whether it has changed", lambda: two.files.bring(run_id, is_any))
    one.files.let_go(run_id)
    return found


if __name__ == "__main__":
    main()
