"""What images are learnt as: classes, or probabilities of classes, against arithmetic by hand."""

from pathlib import Path

import numpy as np
import torch

from learner.features.loaders import LabelledFile
from learner.features.targets import goals_in, labels_in, shares_of, targets_of

CLASSES = ["cat", "dog", "owl"]


def file(label: str, **probabilities: float) -> LabelledFile:
    return LabelledFile(Path(label), label, label, probabilities=probabilities or None)


def test_without_probabilities_targets_are_class_indices():
    targets = targets_of([file("owl"), file("cat")], CLASSES)
    assert targets.dtype == np.int64 and targets.tolist() == [2, 0]
    batch = torch.from_numpy(targets)
    assert labels_in(batch) is batch and goals_in(batch) is batch


def test_with_probabilities_a_batch_has_the_classes_and_these():
    targets = targets_of([file("owl"), file("cat", dog=0.5, cat=0.5), file("dog", cat=0.75, dog=0.25)], CLASSES)
    batch = torch.from_numpy(targets)
    assert labels_in(batch).tolist() == [2, 0, 1]  # the last against all odds
    assert goals_in(batch).tolist() == [[0, 0, 1], [0.5, 0.5, 0], [0.75, 0.25, 0]]


def test_what_went_to_a_class_that_is_gone_goes_to_the_others():
    gone = [file("cat", cat=0.5, dog=0.25, fox=0.25), file("dog", fox=1.0)]
    np.testing.assert_allclose(shares_of(gone, CLASSES), [[2 / 3, 1 / 3, 0], [0, 1, 0]])
    assert shares_of([file("cat"), file("dog")], CLASSES) is None


def test_probabilities_do_not_change_which_file_it_is():
    """The feature cache tells files apart by this."""
    assert file("cat", cat=0.5, dog=0.5) == file("cat") and hash(file("cat", cat=0.5)) == hash(file("cat"))
