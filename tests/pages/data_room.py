"""What edits on the Data page made of a data set, and the boxes beside the buttons that make them."""

from learner.datasets.rows import rows_of


def now(store, name: str = "cats") -> dict[str, tuple[str, str, bool]]:
    """(class, split, set aside) by path, in the newest version."""
    return {row.path: (row.label, row.split, row.excluded) for row in rows_of(store, store.datasets.version(name))}


def action(app, name: str):
    """The box beside a button for chosen images: `label` or `move`."""
    return next(box for box in app.selectbox if str(box.key).startswith(f"{name}-"))
