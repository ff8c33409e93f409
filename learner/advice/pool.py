"""The pool: a data set's photos without a class. A model says which to label first; labels are edits of the draft.

Needs no torch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from learner.advice.corrections import is_pin_alone, pinned
from learner.datasets.editing import Edit, edit_of, edited, tidy
from learner.datasets.exclusions import NO_CLASS, ImageRow
from learner.datasets.names import natural_key
from learner.datasets.rows import rows_of
from learner.datasets.splits import has_own_split
from learner.errors import DatasetError
from learner.evaluation.results import has_result, load_result
from learner.inference.batches import model_key
from learner.questions.answers import answer_file, read_answer
from learner.store import Run, Store

FORMAT = 1
NONE_OF_THESE = "It shows none of the classes."
"""Why a photo of the pool was set aside."""
TRAIN_AFTER = 20
"""Labels after which training again is worth its time."""


@dataclass
class PoolOrder:
    """What a model says of a pool."""

    run: int
    dataset: str
    paths: list[str]
    """The most useful photo first."""
    proposals: list[list[list]]
    """For each of `paths` a few of [class, probability], the most probable first."""
    pool: int
    """Photos that there were."""


@dataclass(frozen=True)
class Grown:
    """A run of a data set that grew: how many photos it learnt from, and how good it became."""

    run: int
    version: int
    train_images: int
    accuracy: float
    interval: list[float]
    valid_images: int


def pool_of(rows: Iterable[ImageRow]) -> list[ImageRow]:
    """Those that wait for a class; near duplicates of photos that check or test a model are none, nor are copies."""
    rows = list(rows)
    judging = {row.cluster for row in rows if row.cluster and row.split in ("valid", "test") and not row.excluded}
    return [
        row for row in rows if not row.label and row.reason == NO_CLASS and not (row.cluster and row.cluster in judging)
    ]


def classes_of(rows: Iterable[ImageRow]) -> list[str]:
    """Of the labelled photos, in natural order."""
    return sorted({row.label for row in rows if row.label and not row.excluded}, key=natural_key)


# What the model says


def order_file(store: Store, run: Run, dataset: str) -> Path:
    """Where the order of the pool of the newest version stands, by the run's model as it is now."""
    version = store.datasets.version(dataset)
    return answer_file(store.workspace, "pools", [FORMAT, model_key(run.id, store.checkpoint(run.id)), version.id])


def read_order(file: Path) -> PoolOrder | None:
    """None where the model was not asked yet."""
    return read_answer(file, PoolOrder)


def runs_for(store: Store, dataset: str) -> list[Run]:
    """Runs whose model can order the pool, the newest first: those that ended, on any version of the data set."""
    return [run for run in _ended(store, dataset) if store.files.has(store.workspace.checkpoint(run.id))]


def _ended(store: Store, dataset: str) -> list[Run]:
    """Runs on the data set with a result, the newest first, but those of studies."""
    return [
        run
        for run in store.runs.all()
        if run.status in ("finished", "stopped")
        and run.study is None
        and store.runs.dataset_of(run)[0] == dataset
        and has_result(store.run_folder(run.id))
    ]


# What a person says


def said_of(edits: Iterable[Edit]) -> tuple[list[Edit], dict[str, str]]:
    """The edits of a draft before the labels of the pool at its end; and those, by path, empty for "none of these"."""
    before, said = list(edits), {}
    if before and before[-1].action == "exclude" and before[-1].to == NONE_OF_THESE:
        said = dict.fromkeys(before.pop().paths, "")
    if len(before) > 1 and _are_labels(*before[-2:]):
        before.pop()
        labels = before.pop()
        said = dict(zip(labels.paths, labels.each, strict=True)) | said
    return before, said


def _are_labels(first: Edit, second: Edit) -> bool:
    """Whether these two are what `label` writes."""
    moves = second.action == "move" and second.to == "train" and not second.each
    return moves and first.action == "relabel" and bool(first.each) and first.paths == second.paths


def label(store: Store, dataset: str, labels: Mapping[str, str | None], run_id: int | None) -> int:
    """Put labels of photos of the pool, by path, into the draft; returns how many labels of the pool it holds then.

    An empty label sets the photo aside as none of the classes, None takes back what was said of it. All labels given in
    a row are one edit. Labelled photos are learnt from, never checked on: they were chosen for being hard, so the
    accuracy on them would mean little, and it could not be compared with the one before. Where the data set has no
    split of its own, that of the run is written into it for that.

    Raises DatasetError for a photo that is not in the pool, or a label that cannot be one.
    """
    labels = {path: text if text is None else " ".join(text.split()) for path, text in labels.items()}
    rows = rows_of(store, store.datasets.version(dataset))
    total = 0

    def change(kept: list[dict], undone: list[dict]) -> tuple[list[dict], list[dict]]:
        nonlocal total
        before, said = said_of(map(edit_of, kept))
        waiting = {row.path for row in pool_of(edited(rows, before))}
        unknown = [path for path, text in labels.items() if text is not None and path not in waiting]
        if unknown:
            raise DatasetError(
                f"{dataset} has no photo {unknown[0]!r} that waits for a class. `python -m learner data pool list "
                f"{dataset}` names them."
            )
        said = {path: text for path, text in (said | labels).items() if text is not None}
        edits = [*before, *_edits(store, run_id, [row for row in edited(rows, before) if not row.excluded], said)]
        edits = [] if is_pin_alone(edits) else edits
        edited(rows, edits)  # raises what saving would
        total = len(said)
        return list(map(asdict, edits)), [] if total else undone

    store.datasets.change_draft(dataset, change)
    return total


def _edits(store: Store, run_id: int | None, used: list[ImageRow], said: Mapping[str, str]) -> list[Edit]:
    """What `said_of` reads back, after the run's split where there is none yet."""
    given = {path: text for path, text in said.items() if text}
    aside = tuple(path for path, text in said.items() if not text)
    edits: list[Edit] = []
    if given:
        if run_id is not None and not has_own_split(used):
            edits += pinned(store, run_id)
        paths = tuple(given)
        edits += [tidy(Edit("relabel", paths, each=tuple(given.values()))), Edit("move", paths, to="train")]
    return [*edits, Edit("exclude", aside, to=NONE_OF_THESE)] if aside else edits


# What the labels brought


def growth(store: Store, dataset: str) -> list[Grown]:
    """Runs of a data set, by how many photos they learnt from: the best run of each version.

    Runs that were checked on more or fewer photos than those of the newest version are left out, as their accuracies
    would not compare.
    """
    rows: dict[int, Grown] = {}
    for run in _ended(store, dataset):
        version = store.runs.dataset_of(run)[1]
        result = load_result(store.run_folder(run.id))
        facts = run.facts
        if result is None or "train_images" not in facts:
            continue
        grown = Grown(
            run.id, version, facts["train_images"], result["accuracy"], result["accuracy_interval"], result["images"]
        )
        if version not in rows or grown.accuracy > rows[version].accuracy:
            rows[version] = grown
    newest = rows[max(rows)].valid_images if rows else 0
    return sorted((one for one in rows.values() if one.valid_images == newest), key=lambda one: one.train_images)
