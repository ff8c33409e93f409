"""Every error a person can meet. The message names the thing, the reason and the way out.

Pages and commands only show these messages; any other exception is a defect in Thaw and goes to the log.
"""


class ThawError(Exception):
    """Base of all of them: something a person can put right."""


class RecipeError(ThawError):
    """A recipe cannot be used; `problems` holds every mistake, each with the path of its key."""

    def __init__(self, problems: list[str], source: str = "The recipe"):
        self.problems = problems
        super().__init__(f"{source} has {len(problems)} mistake{'s' * (len(problems) > 1)}: " + "; ".join(problems))


class DatasetError(ThawError):
    """A data set cannot be found, read or imported."""


class ImportCancelled(DatasetError):
    """A person stopped an import; nothing of it was kept."""


class BackboneError(ThawError):
    """An architecture is unknown or cannot be cut into stages."""


class WeightsError(ThawError):
    """Pretrained weights cannot be found or do not fit the architecture."""


class RunError(ThawError):
    """A run does not exist, or is not in a state for what was asked."""


class RunStopped(RunError):
    """A run was stopped before it had learnt anything that could be kept."""


class ModelError(ThawError):
    """A trained model cannot be found, opened or exported."""


class ImageError(ThawError):
    """A file is not an image that can be read."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether it says that memory ran out, in whatever class Python, torch or CUDA say that."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text
