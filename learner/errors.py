"""Every error a person can meet. The message names the thing, the reason and the way out.

Pages and commands only show these messages; any other exception is a defect in Thaw and goes to the log.
"""

from collections.abc import Iterator


class ThawError(Exception):
    """Base of all of them: something a person can put right."""


class RecipeError(ThawError):
    """A recipe cannot be used; `problems` holds every mistake, each with the path of its key."""

    def __init__(self, problems: list[str], source: str = "The recipe"):
        self.problems = problems
        super().__init__(f"{source} has {len(problems)} mistake{'s' * (len(problems) > 1)}: " + "; ".join(problems))


class AccessError(ThawError):
    """A person may not enter, or may not do that."""


class DatasetError(ThawError):
    """A data set cannot be found, read or imported."""


class ImportCancelled(DatasetError):
    """A person stopped an import; nothing of it was kept."""


class BackboneError(ThawError):
    """An architecture is unknown or cannot be cut into stages."""


class WeightsError(ThawError):
    """Pretrained weights cannot be found or do not fit the architecture."""


class StoreError(ThawError):
    """The database, or the object store that holds the files, cannot be used."""


class DatabaseAway(StoreError):
    """The database is locked, or its server does not answer: what was asked of it may succeed later."""


class FilesAway(StoreError):
    """The object store does not answer: what was asked of it may succeed later."""


class BackupError(ThawError):
    """A backup cannot be made, read or restored."""


class RunError(ThawError):
    """A run does not exist, or is not in a state for what was asked."""


class StudyError(ThawError):
    """A study does not exist, or what it asks cannot be answered."""


class RunStopped(RunError):
    """A run was stopped before it had learnt anything that could be kept."""


class RunTakenOver(RunError):
    """Another process executes the run by now: this one was silent for too long. It writes nothing more."""


class ProcessLost(RunError):
    """One of several processes that train a run is gone: the run goes on from its last resume point in new ones."""


class ModelError(ThawError):
    """A trained model cannot be found, opened or exported."""


class ImageError(ThawError):
    """A file is not an image that can be read."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory ran out, in whatever words Python, torch, oneDNN (the last) or CUDA say it."""
    texts = ("out of memory", "can't allocate memory", "cannot allocate memory", "could not create a primitive")
    return any(
        isinstance(cause, MemoryError) or any(text in str(cause).lower() for text in texts) for cause in _causes(error)
    )


def is_disk_full(error: BaseException) -> bool:
    """Whether it says that the disk is full, or comes from an error that says so."""
    texts = ("no space left on device", "database or disk is full")
    return any(any(text in str(cause).lower() for text in texts) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
