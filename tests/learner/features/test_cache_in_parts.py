"""The feature cache of a run of several processes: each makes a part, and the whole is as one process makes it."""

import json
import os
import socket
from pathlib import Path

import numpy as np
import torch

from learner.features.cache import FeatureCache, Item, all_views
from learner.features.loaders import LabelledFile, Views
from learner.features.preprocess import Preprocess
from learner.jobs.process import MEETING_VARIABLE, PROCESSES_VARIABLE, RANK_VARIABLE
from learner.models.backbones import build
from learner.models.heads import build_head
from learner.models.network import Network
from learner.models.precision import Precision
from learner.recipe import Augment, Head
from learner.training.data_parallel import help_leader, leading
from learner.workspace import Workspace
from tests.ready import SERVER
from tests.samples import SMALL, make_photos

CUT, BATCH, PROCESSES = 2, 4, 3
VIEWS = Views(Augment(flip_horizontal=True, rotate=20), 2, 7)


def a_cache(home: Path) -> FeatureCache:
    torch.manual_seed(0)
    backbone = build(SMALL, "random", Workspace(home))
    network = Network(
        backbone.body, build_head(Head("linear"), backbone.num_features, 2, (1, 1)), Precision("fp32", "")
    )
    network = network.to(memory_format=torch.channels_last)
    return FeatureCache(Workspace(home), network, SMALL, Preprocess(32, backbone.mean, backbone.std), VIEWS, BATCH)


def items_of(photos: Path) -> list[Item]:
    files = [LabelledFile(path, path.parent.name, f"{n:064x}") for n, path in enumerate(sorted(photos.rglob("*.jpg")))]
    return [*all_views(files, VIEWS), *map(Item, files)]


def make(rank: int, meeting: str, home: Path, photos: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {RANK_VARIABLE: str(rank), PROCESSES_VARIABLE: str(PROCESSES), MEETING_VARIABLE: meeting}
    if rank:
        help_leader()
        return
    cache, items, done = a_cache(home), items_of(photos), []
    with leading(cache._network):
        cache.pixels([item.file for item in items])
        assert cache.compute([CUT], items, done.append)
        assert cache.has(CUT, items) and not cache.missing_pixels([item.file for item in items])
    (home / "done.json").write_text(json.dumps(done))


def test_each_process_makes_whole_batches_and_the_rows_are_those_of_one_process(tmp_path):
    photos = make_photos(tmp_path / "photos", {"cat": 9, "dog": 10})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    together = tmp_path / "together"
    processes = [SERVER.Process(target=make, args=(rank, meeting, together, photos)) for rank in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert processes[0].exitcode == 0

    items, cache, one = items_of(photos), a_cache(together), a_cache(tmp_path / "one")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert one.compute([CUT], items)
    torch.set_num_threads(threads)
    for kind in (True, False):
        mine = [item for item in items if (item.view is not None) is kind]
        every = np.arange(len(mine))
        assert np.array_equal(cache.features(CUT, mine)[every], one.features(CUT, mine)[every])
    assert sum(json.loads((together / "done.json").read_text())) == len(items)
    parts = [json.loads(file.read_text())["names"] for file in together.rglob("part.json")]
    assert len(parts) == 3 * PROCESSES  # of decoded images, of views, and of images as they are
    assert sum(len(names) % BATCH > 0 for names in parts) <= 3  # the rest of each
