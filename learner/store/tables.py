"""The tables. Times are Unix seconds (UTC), of runs and workers by the database's clock (`learner.store.clock`).

JSON columns hold plain dictionaries and lists.
"""

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables, and how a column keeps what SQL has no type for."""

    type_annotation_map: ClassVar = {
        dict[str, Any]: JSON,
        dict[str, float]: JSON(none_as_null=True),
        list[str]: JSON,
        list[float]: JSON,
        list[list[float]]: JSON,
        list[list[float | None]]: JSON,
        list[dict[str, Any]]: JSON,
        bytes: LargeBinary,
    }


class Dataset(Base):
    """A named set of labelled images."""

    __tablename__ = "datasets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float]


class DatasetVersion(Base):
    """One immutable state of a data set; runs name the version they used."""

    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("dataset_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    number: Mapped[int]
    created_at: Mapped[float]
    note: Mapped[str]
    fingerprint: Mapped[str]
    """SHA-256 over every image's path, label, split and content, so that a second import is recognised."""
    parent: Mapped[int | None]
    """Number of the version it was made from; none where it came in whole."""


class Image(Base):
    """One image of one version."""

    __tablename__ = "images"
    __table_args__ = (Index("ix_images_version_label", "version_id", "label"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id", ondelete="CASCADE"))
    path: Mapped[str]
    """As the source named it, relative to the source's top folder."""
    file: Mapped[str]
    """Where the copy lies, relative to the data set's folder."""
    label: Mapped[str]
    """Its class; empty as long as nobody has said it, and then `excluded` is set."""
    split: Mapped[str]
    """`train`, `valid`, `test`, or empty where the recipe's seed decides."""
    group: Mapped[str]
    """What a person declared to belong together (one patient, one burst); empty for none."""
    cluster: Mapped[str]
    """Near duplicates share it; empty for an image that resembles no other."""
    weight: Mapped[float | None]
    """How much it counts, from a table's column; none means 1."""
    probabilities: Mapped[dict[str, float] | None]
    """Class → its probability, those above 0, where a table gives some; none means that `label` is certain."""
    sha256: Mapped[str]
    width: Mapped[int]
    """Pixels, after EXIF rotation, like `height`."""
    height: Mapped[int]
    excluded: Mapped[bool]
    """Kept, but used for nothing."""
    reason: Mapped[str]
    """Why it is excluded, a sentence; empty otherwise."""


class Content(Base):
    """What was measured of one picture, whatever data sets and versions it is in."""

    __tablename__ = "contents"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    num_bytes: Mapped[int]
    phash: Mapped[str]
    """Perceptual hash, 64 bits as 16 hexadecimal digits."""
    tiny: Mapped[bytes]
    """32 × 32 grey levels, row by row: what near duplicates are told apart by."""
    brightness: Mapped[float]
    """Mean grey level, 0 to 255."""
    contrast: Mapped[float]
    """Standard deviation of the grey levels."""
    sharpness: Mapped[float]
    """Standard deviation of the Laplacian; see `learner.datasets.facts`."""
    camera: Mapped[str]
    """Maker and model by EXIF; empty where unknown."""
    taken_at: Mapped[float | None]
    """Seconds by the camera's own clock (EXIF knows no time zone)."""
    treatment: Mapped[str]
    """What was done to show it in 8 bits, a sentence; empty for most."""


class Draft(Base):
    """Edits of a data set that are not yet a version; one a data set, shared by every tab."""

    __tablename__ = "drafts"

    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True)
    edits: Mapped[list[dict[str, Any]]]
    """`learner.datasets.editing.Edit`s, oldest first; they change the newest version, whichever that is."""
    undone: Mapped[list[dict[str, Any]]]
    """Taken back, to be done again from the end."""
    revision: Mapped[int]
    """Counts changes, so that two tabs do not overwrite each other."""


class SetAside(Base):
    """A file that was not imported, with the reason a person is told."""

    __tablename__ = "set_aside"

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id", ondelete="CASCADE"), index=True)
    path: Mapped[str]
    reason: Mapped[str]


class Run(Base):
    """One execution of one recipe."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(index=True)
    """`queued`, `running`, `paused`, `finished`, `stopped`, `interrupted` or `failed`."""
    reason: Mapped[str]
    """Why it ended, for a person; empty after a plain finish."""
    recipe: Mapped[dict[str, Any]]
    dataset_version_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id"))
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    heartbeat_at: Mapped[float | None]
    asked: Mapped[str]
    """What a person asked it to do: `stop`, `stop_after_epoch`, `pause` (after this epoch), or empty."""
    position: Mapped[float | None]
    """Its place in the queue: lower ones are taken first; its id where it was never moved."""
    deleted_at: Mapped[float | None]
    """When a person deleted it; until it is purged that can be undone."""
    series: Mapped[int | None]
    """The first run of those that repeat one recipe with other seeds; empty for a run of its own."""
    parent: Mapped[int | None]
    """The run from the end of whose phase `parent_phase` (from 0) this one began."""
    parent_phase: Mapped[int | None]
    study: Mapped[int | None] = mapped_column(ForeignKey("studies.id"), index=True)
    """The study that it is a part of; empty for a run of its own."""
    variant: Mapped[int | None]
    """Which of the study's variants it trains, from 0."""
    baseline: Mapped[int | None]
    """The run it is to be compared with: the same recipe before photos were corrected."""
    deaths: Mapped[int]
    """How often its process died since the last epoch was done."""
    claim: Mapped[str | None]
    """Names the process that may write of the run (`learner.store.claims`); none while no process works on it."""
    host: Mapped[str]
    """Where its process is or was, for a person to read, like `pid`: containers may share both."""
    pid: Mapped[int | None]
    progress: Mapped[dict[str, Any]]
    """Where training stands now; see `learner.training.progress.Progress`."""
    facts: Mapped[dict[str, Any]]
    """What was decided at the start: backbone, weights and why, device, stages, classes, counts."""
    best_accuracy: Mapped[float | None]
    best_epoch: Mapped[int | None]
    files: Mapped[str] = mapped_column(default="", server_default="")
    """Another text after each change of what the object store holds of it; empty where that is nothing."""

    @property
    def notes(self) -> list[str]:
        """What a person should know of it, each a sentence."""
        files = self.facts.get("files")
        return [*self.facts.get("notes", []), *([files] if files else [])]

    @property
    def recipe_with_epochs(self) -> dict[str, Any]:
        """`recipe` with the epochs that were decided when it began in place of `auto`."""
        decided = self.facts.get("recipe", {}).get("phases", [])
        phases = [
            phase | {"epochs": decided[index]["epochs"]}
            if phase["epochs"] == "auto" and index < len(decided)
            else phase
            for index, phase in enumerate(self.recipe["phases"])
        ]
        return self.recipe | {"phases": phases}


class Study(Base):
    """Variants of a recipe × seeds × folds, on one version of a data set, to answer one question."""

    __tablename__ = "studies"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_version_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id"))
    created_at: Mapped[float]
    design: Mapped[dict[str, Any]]
    """See `learner.studies.design.Design`."""
    deleted_at: Mapped[float | None]
    """When a person deleted it, with its runs; until these are purged that can be undone."""


class Epoch(Base):
    """The figures of one finished epoch; `epoch` counts from 1 over all phases."""

    __tablename__ = "epochs"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    phase: Mapped[int]
    train_loss: Mapped[float | None]
    valid_loss: Mapped[float | None]
    accuracy: Mapped[float]
    error_rate: Mapped[float]
    lrs: Mapped[list[float]]
    """Learning rate at the epoch's end, one a parameter group: the stages in order, then the head."""
    seconds: Mapped[float]
    """Of training and validation, in the process that finished it."""
    grad_norm: Mapped[float | None]
    """Mean over the steps of the gradient's length (2-norm over all that learns), before clipping."""
    images_per_s: Mapped[float | None]
    """In training."""
    samples: Mapped[list[list[float]]]
    """For each of the run's `facts["sample_images"]`: index of the predicted class, its probability, and that of the
    image's own class."""
    parts: Mapped[list[list[float | None]] | None]
    """What the validation images gave in parts (`learner.evaluation.optimism.Parts`); None of an older Thaw."""


class Step(Base):
    """A sample inside an epoch: what the curves draw while an epoch is under way."""

    __tablename__ = "steps"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    at: Mapped[float]
    """Position in epochs over all phases: 2.5 is the middle of the third epoch."""
    train_loss: Mapped[float | None]
    """Exponentially smoothed, as fastai's Recorder shows it; empty where it was not a finite number."""
    lrs: Mapped[list[float]]
    grad_norm: Mapped[float | None]
    """As in `Epoch`, since the sample before."""
    images_per_s: Mapped[float | None]


class SearchEntry(Base):
    """An entry of the journal that Optuna keeps of a run's search; their order is that of `id`."""

    __tablename__ = "search_log"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    entry: Mapped[dict[str, Any]]


class TestLook(Base):
    """One look at a data set's test images; kept when the run is deleted, since what was seen stays seen."""

    __tablename__ = "test_looks"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset: Mapped[str] = mapped_column(index=True)
    """The data set's name: its test images are the same in every version."""
    run_id: Mapped[int]
    at: Mapped[float]
    accuracy: Mapped[float]
    images: Mapped[int]


class Worker(Base):
    """A worker process; it is alive while its heartbeat is fresh."""

    __tablename__ = "workers"

    id: Mapped[int] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    started_at: Mapped[float]
    heartbeat_at: Mapped[float]
    declined: Mapped[dict[str, Any]]
    """What it lacks for those of the waiting runs that it cannot take, a few words, by the run's id as text."""


class WorkspaceId(Base):
    """The workspace whose images and models this database speaks of: one row, none where the file lies inside it."""

    __tablename__ = "workspace"

    one: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Always 1, so that of two workspaces that come at once only one is written."""
    id: Mapped[str]
    files: Mapped[str] = mapped_column(default="", server_default="")
    """The object store that holds the files (`THAW_FILES`), without secrets; empty where the workspace holds them."""


class RunFile(Base):
    """One file of a run that the object store holds."""

    __tablename__ = "run_files"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    """In the run's folder, with `/`."""
    bytes: Mapped[int] = mapped_column(BigInteger)
    pieces: Mapped[list[str]]
    """What it consists of, one after the other: each the SHA-256 of a `Piece`."""


class Piece(Base):
    """Something that the object store holds under its SHA-256: a part of a run's file, or an image."""

    __tablename__ = "pieces"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    whole: Mapped[bool]
    """Whether it is there; else it is on its way there, or out."""
    at: Mapped[float]
    """When somebody sent it last, or said that it was about to name it."""
