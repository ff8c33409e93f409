"""Piles of files for tests of layouts, and what becomes of them."""

from learner.datasets.layouts import Choice, Listing, Proposal, place, recognise

CLASSES = ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/2.jpg"]


def listing(paths: list[str], **more) -> Listing:
    return Listing("pets", paths, **more)


def best(paths: list[str], **more) -> Proposal:
    return recognise(listing(paths, **more))[0]


def placed(paths: list[str], choice: Choice | None = None, **more) -> list[tuple[str, str, str]]:
    return [(item.path, item.label, item.split) for item in place(listing(paths, **more), choice or Choice()).placed]


def labels(paths: list[str], choice: Choice | None = None, **more) -> dict[str, tuple[str, str]]:
    items = place(listing(paths, **more), choice or Choice()).placed
    return {item.source_path: (item.label, item.split) for item in items}
