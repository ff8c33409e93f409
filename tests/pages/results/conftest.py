"""The data set of which tests of the Results page decide the answers."""

import pytest

from learner.datasets import add_dataset
from tests.samples import make_photos


@pytest.fixture
def pets(store, tmp_path):
    """A data set with a split of its own: ten validation photos of each of two classes."""
    make_photos(tmp_path / "pets" / "train", {"cat": 6, "dog": 6}, size=(48, 40), seed=1)
    make_photos(tmp_path / "pets" / "valid", {"cat": 10, "dog": 10}, size=(48, 40), seed=2)
    return add_dataset(store, tmp_path / "pets", "pets")
