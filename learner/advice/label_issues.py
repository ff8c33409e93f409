"""Which labels are probably wrong and which images are unlike all others, by the eyes of a pretrained network.

What leaves each frozen stage of a small backbone, averaged over its area, describes an image: the last stages tell
things apart, the first ones colours and textures (docs/benchmarks.md compares). A linear model learns the classes from
four fifths of the images and says what it expects of the last fifth, five times. Where it is sure of another class than
the given one, the label is doubted (confident learning: Northcutt, Jiang, Chuang, "Confident Learning: Estimating
Uncertainty in Dataset Labels", JAIR 2021, as cleanlab implements it). What describes an image is cached, so a second
check looks at new images only.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from fastcore.basics import chunked
from torch import nn

from learner.datasets import assign_folds, bring_files
from learner.datasets.checks.label_issues import LabelIssues
from learner.datasets.exclusions import ImageRow
from learner.datasets.importing import ImportProgress
from learner.datasets.rows import rows_of
from learner.errors import DatasetError, ImageError, ImportCancelled
from learner.features.arrays import Budget, DiskError, RowStore
from learner.features.loaders import Decoder, LabelledFile, ahead
from learner.features.preprocess import Preprocess
from learner.models.backbones import Backbone, build
from learner.models.network import Network, lowered
from learner.models.precision import precisions
from learner.recipe.backbones import FALLBACK_ARCH
from learner.store import Store, VersionInfo

IMAGE_SIZE = 128
"""Pixels; enough to tell classes apart, and a third of the work of 224."""
FOLDS = 5
MIN_IMAGES = 5
"""Images a class needs to be foretold at all: one a fold."""
COMPONENTS = 128
"""What a network keeps of an image is reduced to so many numbers (principal components) for the linear model."""
SURE, UNLIKELY = 0.8, 0.05
"""A label is also doubted where another class is at least so probable and its own at most so."""
WORKING_MEMORY_MB = 128
"""Of the search for neighbours, whose distances would take 1 GB otherwise."""
NEIGHBOURS = 10
OUTLIER = 0.37037
"""An image is unlike the others where its likeness is below this share of the median: cleanlab Datalab's threshold."""
BATCH = 32

Report = Callable[[ImportProgress], None]


def find_label_issues(
    store: Store,
    version: VersionInfo,
    progress: Report = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    arch: str = FALLBACK_ARCH,
    weights: str = "auto",
) -> LabelIssues:
    """Look at every image in use of `version` and keep what is found in the workspace; progress counts images.

    Raises DatasetError when there are fewer than two classes of `MIN_IMAGES`, WeightsError when the backbone has no
    weights here, ImportCancelled when `cancelled` said so.
    """
    rows = [row for row in rows_of(store, version) if not row.excluded]
    rows = list({row.sha256: row for row in rows}.values())
    counts = Counter(row.label for row in rows)
    classes = sorted(label for label, number in counts.items() if number >= MIN_IMAGES)
    if len(classes) < 2:
        raise DatasetError(
            f"To doubt a label, two classes with at least {MIN_IMAGES} images each are needed; {version.name} has "
            f"{len(classes)}. Add images first."
        )
    described, features = _describe(store, version, rows, progress, cancelled, arch, weights)
    known = {row.sha256 for row in described}
    rows = [row for row in rows if row.sha256 in known]
    progress(ImportProgress(len(rows), len(rows), "Comparing what the classes have in common."))
    reduced = _reduce(features)
    foretold = [index for index, row in enumerate(rows) if row.label in classes]
    labels = np.array([classes.index(rows[index].label) for index in foretold])
    probs = _out_of_fold([rows[index] for index in foretold], reduced[foretold], labels, len(classes), cancelled)
    doubtful = _doubtful(labels, probs)
    earlier = LabelIssues.load(store.workspace, version.name)
    issues = LabelIssues(
        version=version.number,
        backbone=arch,
        images=len(rows),
        accuracy=float((probs.argmax(1) == labels).mean()),
        labels={
            rows[foretold[index]].sha256: (
                classes[labels[index]],
                classes[probs[index].argmax()],
                float(probs[index].max()),
            )
            for index in doubtful
        },
        outliers=_outliers([row.sha256 for row in rows], reduced),
        confirmed=earlier.confirmed if earlier else {},
    )
    issues.save(store.workspace, version.name)
    return issues


def _describe(
    store: Store,
    version: VersionInfo,
    rows: list[ImageRow],
    progress: Report,
    cancelled: Callable[[], bool],
    arch: str,
    weights: str,
) -> tuple[list[ImageRow], np.ndarray]:
    """The rows whose images can be read, and (rows, features) of floats: each stage's output, averaged over area."""
    progress(ImportProgress(0, len(rows), "Loading a pretrained network."))
    backbone = build(arch, weights, store.workspace)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = Network(backbone.body, nn.Flatten(), precisions("fp32", device)[0])
    network = lowered(network).to(device).to(memory_format=torch.channels_last)
    width = sum(channels for _, _, channels in network.shapes(IMAGE_SIZE)[1:])
    folder = store.workspace.features / f"described-{_key(backbone)}"
    kept = RowStore(folder, (width,), np.dtype(np.float16))
    new = set(kept.missing(row.sha256 for row in rows))
    budget = Budget(store.workspace.features)
    if not budget.make_room(len(new) * kept.row_bytes, keep=[folder]):
        raise DatasetError("There is no disk space to check labels. Free some, or raise THAW_CACHE_GB.")
    base = bring_files(store, version.name, (row.file for row in rows if row.sha256 in new))
    files = [LabelledFile(base / row.file, row.label, row.sha256) for row in rows if row.sha256 in new]
    preprocess = Preprocess(IMAGE_SIZE, tuple(backbone.mean), tuple(backbone.std))
    unreadable: set[str] = set()
    started = time.monotonic()
    try:
        with kept.writer() as writer:
            for done, (chunk, features) in _features(network, preprocess, files, unreadable):
                writer.add([file.sha256 for file in chunk], features)
                if cancelled():
                    raise ImportCancelled("The check was stopped. What it had seen is kept for the next one.")
                left = (time.monotonic() - started) / done * (len(files) - done)
                at = len(rows) - len(files) + done
                progress(ImportProgress(at, len(rows), "Looking at each image with a pretrained network.", left))
    except DiskError as error:
        raise DatasetError(f"The disk is full, so labels cannot be checked: {error}. Free some space.") from error
    rows = [row for row in rows if row.sha256 not in unreadable]
    reader = kept.reader([row.sha256 for row in rows])
    return rows, np.asarray(reader[np.arange(len(rows))], np.float32)


@torch.inference_mode()
def _features(network: Network, preprocess: Preprocess, files: list[LabelledFile], unreadable: set[str]):
    """(images done, (files, (files, features))) for a batch at a time; files that cannot be read are left out."""
    device = next(network.parameters()).device
    decoder = Decoder(IMAGE_SIZE)

    def read(chunk: list[LabelledFile]):
        try:
            return chunk, decoder(chunk)
        except ImageError:
            good, pixels = [], []
            for file in chunk:
                try:
                    pixels.append(decoder([file])[0])
                    good.append(file)
                except ImageError:
                    unreadable.add(file.sha256)
            return good, np.stack(pixels) if pixels else np.empty((0, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)

    done = 0
    for chunk, pixels in ahead(partial(read, chunk) for chunk in chunked(files, BATCH)):
        done += BATCH
        if not len(pixels):
            continue
        x = preprocess(torch.from_numpy(pixels).to(device))
        described = []
        for index in range(len(network.body)):
            x = network.stage(index, x)
            described.append(x.float().mean((2, 3)))
        yield min(done, len(files)), (chunk, torch.cat(described, 1).cpu().numpy().astype(np.float16))


def _key(backbone: Backbone) -> str:
    digest = hashlib.sha256(f"{backbone.arch} {IMAGE_SIZE} {backbone.mean} {backbone.std}".encode())
    for tensor in backbone.body.state_dict().values():
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:24]


def _reduce(features: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(features)
    reduced = PCA(min(COMPONENTS, *scaled.shape), random_state=0, svd_solver="randomized").fit_transform(scaled)
    return reduced / (reduced[:, 0].std() + 1e-6)  # the later components stay as small as they are: most are noise


def _out_of_fold(
    rows: list[ImageRow], features: np.ndarray, labels: np.ndarray, classes: int, cancelled: Callable[[], bool]
) -> np.ndarray:
    """(rows, classes) probabilities, each row's from a model that saw neither it nor anything that belongs to it."""
    from sklearn.linear_model import LogisticRegression

    fold_of = np.array(assign_folds(rows, 0, FOLDS))
    probs = np.zeros((len(rows), classes))
    for fold in range(FOLDS):
        if cancelled():
            raise ImportCancelled("The check was stopped. What it had seen is kept for the next one.")
        learnt, asked = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        if not len(asked) or len(set(labels[learnt])) < 2:
            continue
        model = LogisticRegression(C=1.0, max_iter=300).fit(features[learnt], labels[learnt])
        probs[np.ix_(asked, model.classes_)] = model.predict_proba(features[asked])
    return probs


def _doubtful(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Indices of labels that are doubted, the most doubtful first."""
    from cleanlab.filter import find_label_issues

    own = probs[np.arange(len(labels)), labels]
    confident = find_label_issues(labels, probs, filter_by="both", n_jobs=1)
    sure = (probs.max(1) >= SURE) & (own <= UNLIKELY)
    indices = np.flatnonzero(confident | sure)
    return indices[np.argsort(own[indices], kind="stable")]


def _outliers(names: list[str], features: np.ndarray) -> dict[str, float]:
    if len(names) <= 2 * NEIGHBOURS:
        return {}
    from cleanlab.outlier import OutOfDistribution
    from sklearn import config_context

    with config_context(working_memory=WORKING_MEMORY_MB):
        scores = OutOfDistribution({"k": NEIGHBOURS}).fit_score(features=features, verbose=False)
    strange = np.flatnonzero(scores < OUTLIER * np.median(scores))
    return {names[index]: float(scores[index]) for index in strange[np.argsort(scores[strange])]}
