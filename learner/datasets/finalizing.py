"""What follows from all images of a version together: which resemble each other, and what the test set keeps."""

from collections.abc import Mapping
from dataclasses import replace

from learner.datasets.exclusions import ImageRow
from learner.datasets.grouping import components
from learner.store import Content

MIN_SIDE = 32
"""Pixels. Smaller pictures hold too little to tell a copy from a look-alike: only exact copies of them are found."""


def finalize_rows(images: list[ImageRow], earlier_test: set[str], contents: Mapping[str, Content]) -> list[ImageRow]:
    """`images` with their clusters of near duplicates, and with the test set that the data set has had already.

    `contents` holds what was measured, by sha256; pictures without are in no cluster. Pictures of `earlier_test`
    (sha256) are test images again. A picture that belongs together with one of those and is not one itself is
    excluded: it can neither be learnt from nor join a test set that stays as it is.
    """
    from learner.datasets.duplicates import clusters  # brings numpy and scipy

    large = {image.sha256 for image in images if min(image.width, image.height) >= MIN_SIDE}
    cluster = clusters([contents[sha256] for sha256 in large if sha256 in contents])
    settled = [
        replace(
            image,
            cluster=cluster.get(image.sha256, ""),
            split="test" if image.sha256 in earlier_test else image.split,
        )
        for image in images
    ]
    if not earlier_test:
        return settled
    kept = {}
    for group in components(settled):
        test = next((image for image in group if image.sha256 in earlier_test and not image.excluded), None)
        for image in group:
            if test and image.sha256 not in earlier_test and not image.excluded:
                reason = f"It belongs together with {test.path} of the test set: what is tested is not learnt."
                image = replace(image, excluded=True, reason=reason)
            kept[image.path] = image
    return [kept[image.path] for image in settled]
