"""One finding of a check."""

from dataclasses import dataclass

from learner.datasets.editing import Edit


@dataclass(frozen=True)
class Remedy:
    """What one click does about a finding."""

    label: str
    """What the button says: a verb and a number."""
    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class Finding:
    """Something doubtful, with the images it was found in."""

    key: str
    """What was checked: `exact`, `near`, `near_labels`, `near_splits`, `wrong_label`, `outlier`, `dark` … """
    title: str
    """A few words with the number: `3 images are very dark`."""
    why: str
    """Why it matters and what to do, a sentence or two."""
    serious: bool
    """Whether the accuracy shown later would be wrong, or nothing could be learnt."""
    groups: tuple[tuple[str, ...], ...] = ()
    """Paths of the images; those of one group belong together (copies of one photo)."""
    remedy: Remedy | None = None
    notes: tuple[tuple[str, str], ...] = ()
    """(path, what to say beneath that image)."""

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path for group in self.groups for path in group)
