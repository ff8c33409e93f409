"""What a layout is made of: the choice that names it, the proposal a person sees, the places it gives."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from learner.errors import DatasetError

KINDS = {
    "auto": "Whatever fits best",
    "folders": "One folder for each class",
    "splits": "Folders for training, validation and test",
    "names": "The class is part of the file names",
    "numbered": "Numbered files, a fixed count for each class",
    "setid": "imagelabels.mat and setid.mat",
    "table": "A table lists the files and their classes",
    "unlabelled": "No classes yet",
}
"""Every kind of layout, with its name for people."""


@dataclass(frozen=True)
class Choice:
    """Which layout to read a pile of files by. Only the fields of its kind count, and the last three always."""

    kind: str = "auto"
    """One of `KINDS`."""
    pattern: str = ""
    """For `names`: a regular expression, searched for in the whole path (folders parted by `/`). The class is its group
    `label`, or else its first; groups named `split` and `group` may say those too."""
    per_class: int = 0
    """For `numbered`: how many files in a row make a class, at least 1."""
    table: str = ""
    """For `table`: path of the table, like all paths as the source lists it."""
    file_column: str = ""
    label_column: str = ""
    split_column: str = ""
    """May stay empty, like the two below."""
    group_column: str = ""
    weight_column: str = ""
    probability_columns: list[str] = field(default_factory=list)
    """Each gives the probability of the class that it is headed by, as `probability:cat` or just `cat`. Where no column
    names the class, it is the most likely one."""
    group_pattern: str = ""
    """A regular expression, searched for in the path; images for which its group `group`, or else its first, gives the
    same text belong together and stay in one split."""
    group_seconds: float = 0.0
    """Photos of one camera taken within so many seconds of each other (EXIF) belong together too; 0: they need not."""
    classes: dict[str, str] = field(default_factory=dict)
    """Renames and merges: a class as it was found → the class to keep. Others stay."""

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON; only what differs from the defaults."""
        plain = Choice()
        return {key: value for key, value in asdict(self).items() if key == "kind" or value != getattr(plain, key)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Choice":
        """Raises DatasetError for a key or a kind that there is not."""
        known = {one.name for one in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise DatasetError(f"A layout has no {unknown[0]!r}. Its keys are {', '.join(sorted(known))}.")
        choice = cls(**values)
        if choice.kind not in KINDS:
            raise DatasetError(f"There is no layout {choice.kind!r}. Choose one of {', '.join(KINDS)}.")
        return choice


@dataclass(frozen=True)
class Placed:
    """An image that is brought in."""

    source_path: str
    """As the source lists it."""
    path: str
    """The same without the folders that lie around everything."""
    label: str
    """Its class; empty where nothing says it."""
    split: str
    """`train`, `valid`, `test`, or empty."""
    group: str = ""
    weight: float | None = None
    reason: str = ""
    """Why it has no class, where there is more to say than that."""
    probabilities: dict[str, float] | None = None
    """Of classes, where a table gives some and is not certain."""


@dataclass
class Layout:
    """Where everything goes: each path of a listing is in `placed`, in `set_aside`, or is a file that told classes."""

    placed: list[Placed] = field(default_factory=list)
    """In natural order of their paths."""
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason)."""
    notes: list[str] = field(default_factory=list)
    """Sentences about what a person should know, such as rows of a table without a file."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a layout says about one image; see `Placed`."""

    label: str
    split: str = ""
    group: str = ""
    weight: float | None = None
    reason: str = ""
    probabilities: dict[str, float] | None = None


@dataclass
class Reading:
    """What one kind of layout says about all images, before names and paths are settled."""

    found: dict[str, Found] = field(default_factory=dict)
    """By path, for every image."""
    notes: list[str] = field(default_factory=list)
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    """(path of a table, what in it cannot be used)."""
    used: set[str] = field(default_factory=set)
    """Paths of the files that told classes."""
    around: int | None = None
    """How many folders lie around what matters; None for all that every image shares."""
    seen: str = ""
    """What was seen that tells splits, as the beginning of a sentence."""


@dataclass(frozen=True)
class Proposal:
    """A layout that fits, as a person sees it before anything is imported."""

    choice: Choice
    title: str
    """What it is, in a few words."""
    reason: str
    """Why it is thought to be that: a sentence with what was seen."""
    images: int
    counts: dict[str, dict[str, int]]
    """Images by class (empty for none), then by split (empty where a recipe's seed draws it); in natural order."""
    examples: dict[str, list[str]]
    """Up to three paths of each class, as the source lists them."""
    set_aside: dict[str, int]
    """Files that will not come in, by reason."""
    notes: list[str]
    merges: list[list[str]]
    """Names of classes that differ only in case, spaces, signs between words or the form of their letters."""

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return {**vars(self), "choice": self.choice.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Proposal":
        return cls(**{**values, "choice": Choice.from_dict(values["choice"])})
