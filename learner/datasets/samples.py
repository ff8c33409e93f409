"""A data set that needs no files: scikit-learn's handwritten digits, a small real one."""

import io
from collections.abc import Callable

from PIL import Image

from learner.datasets.importing import Report, import_from
from learner.datasets.layouts import Choice
from learner.datasets.sources import Entry
from learner.store import Store, VersionInfo

SAMPLE_NAME = "digits"
SAMPLE_NOTE = (
    "Sample: 1,797 handwritten digits, 8 × 8 pixels, from the test set of Optical Recognition of Handwritten Digits "
    "(Alpaydin and Kaynak, UCI Machine Learning Repository, 1998), as scikit-learn ships it."
)


def add_sample(
    store: Store,
    name: str = SAMPLE_NAME,
    progress: Report | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> VersionInfo:
    """Import the digits as `name`, one class a digit; raises what `add_dataset` raises. Needs no network."""
    return import_from(store, DigitsSource, name, progress, cancelled, SAMPLE_NOTE, Choice("folders"))


class DigitsSource:
    """The digits as if they were a folder of PNG files, one folder a class."""

    def __init__(self):
        from sklearn.datasets import load_digits

        digits = load_digits()
        self.name = "The digits sample"
        self.set_aside: list[tuple[str, str]] = []
        self.entries = [Entry(f"{label}/{number:04}.png", number) for number, label in enumerate(digits.target)]
        self._images = (digits.images * (255 / 16)).round().astype("uint8")  # from grey levels 0–16

    def read(self, entry: Entry) -> bytes:
        png = io.BytesIO()
        Image.fromarray(self._images[entry.key]).save(png, "PNG")
        return png.getvalue()

    def close(self) -> None:
        pass
