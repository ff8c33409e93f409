"""Answers that a test decides, and reading what the Results page shows of them."""

from tests.pages.reading import tiles
from ui import state


def photos_of(label: str, *numbers: int, side: str = "valid") -> list[str]:
    return [f"{side}/{label}/{label}_{number:03}.jpg" for number in numbers]


def said(what: str, *paths: str) -> dict[str, str]:
    return dict.fromkeys(paths, what)


CATS = photos_of("cat", 0, 1)
[DOG] = photos_of("dog", 0)
WRONG = said("dog", *CATS) | said("cat", DOG)
"""Of ten validation photos of each class, two cats taken for dogs and a dog taken for a cat."""


def look_at(app, view: str):
    """Turn to a view of the Results page."""
    return app.segmented_control(key=state.RESULTS_VIEW).set_value(view).run()


def paths(app) -> list[str]:
    return [tile["path"] for tile in tiles(app)]


def table(app, column: str):
    """The table on the page that has that column, by its first column."""
    found = next(table.value for table in app.table if column in table.value)
    return found.set_index(found.columns[0])


def choose_in(app, label: str, option: str):
    return next(box for box in app.selectbox if box.label == label).select(option).run()


def class_key(app) -> str:
    return next(box.key for box in app.selectbox if box.label == "Class")


def is_whole(app) -> bool:
    return not app.exception and not app.error
