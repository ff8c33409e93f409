"""What follows from all images of a version together: which resemble each other, and which stay test images."""

from dataclasses import replace

from learner.datasets.problems import Taken


def settle(images: list[Taken], earlier_test: set[str]) -> list[Taken]:
    """`images` with their clusters of near duplicates, and with those of `earlier_test` (sha256) in `test` again."""
    return [replace(image, split="test") if image.sha256 in earlier_test else image for image in images]
