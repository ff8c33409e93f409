"""The data set that a command works on: its newest version with the edits that are not saved yet."""

import shlex
from dataclasses import dataclass

from learner.cli.printing import out
from learner.datasets.editing import Edit, edited, edits_of
from learner.datasets.exclusions import ImageRow
from learner.datasets.names import plural
from learner.datasets.rows import counts_of, rows_of
from learner.store import Store, VersionInfo


@dataclass(frozen=True)
class Working:
    """A data set's newest version with the edits that are not saved yet."""

    store: Store
    version: VersionInfo
    edits: list[Edit]
    rows: list[ImageRow]
    """After the edits."""

    @property
    def title(self) -> str:
        """`pets, version 2 with 3 edits not saved`."""
        edits = f" with {plural(len(self.edits), 'edit')} not saved" if self.edits else ""
        return f"{self.version.name}, version {self.version.number}{edits}"

    def counts(self) -> dict[str, dict[str, int]]:
        """Images in use by class, in natural order, then by split."""
        return counts_of(self.rows)


def working_on(store: Store, name: str) -> Working:
    """Raises DatasetError when there is no such data set."""
    version = store.datasets.version(name)
    edits = edits_of(store, version.name)
    return Working(store, version, edits, edited(rows_of(store, version), edits))


def tell_how_to_save(name: str) -> None:
    """Say that the edits are not a version yet, and which command makes them one."""
    out.print(f"Not saved yet. Make it a version: python -m learner data save {shlex.quote(name)}", markup=False)
