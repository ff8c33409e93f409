"""Parts of pages that Streamlit has none of: each is a little HTML, CSS and JavaScript beside this file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from ui import state

_HERE = Path(__file__).parent


def _element(name: str):
    html, css, js = ((_HERE / f"{name}.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    return st.components.v2.component(f"thaw_{name}", html=html, css=css, js=js)


def drop_zone(key: str, predict: bool = False, pool: str = "") -> tuple[str | None, bool]:
    """Where files are dropped or chosen, and with `predict` also pasted.

    With `pool`, a data set's name, they come into that without a class at once.

    Returns the id of the import job, or with `predict` of the batch (`learner.inference.batches`), once all have
    arrived, in that run only; and whether files are on their way, as long as which it must stay on the page.
    """
    zone = _element("dropzone")(
        key=key,
        data={"predict": predict, "pool": pool, "space": state.entered().space},
        default={"busy": False},
        on_arrived_change=lambda: None,
        on_busy_change=lambda: None,
    )
    return zone.arrived, bool(zone.busy)


def live_camera(run_id: int, side: int, coverage: float) -> None:
    """What a camera sees and the run's model says of it; frames are sent with `side` pixels a side (`ui.web.live`)."""
    _element("live")(
        key="live-camera",
        data={"run": run_id, "side": side, "coverage": str(coverage), "space": state.entered().space},
    )


def photo_map(
    url: str, thumbnail: str, pending: Mapping[str, str], cell: tuple[str, str] | None, key: str
) -> list[str]:
    """Photos as marks in the plane (`ui.web.maps`); returns the paths of those that are chosen, none under a new `key`.

    `thumbnail` is an address with SHA256 in it, `pending` says by path what is to become of a photo, and `cell` are the
    true and the predicted class of the validation photos that stand out.
    """
    result = _element("map")(
        key=key,
        data={"url": url, "thumbnail": thumbnail, "pending": dict(pending), "cell": cell},
        default={"chosen": []},
        on_chosen_change=lambda: None,
    )
    return list(result.chosen or [])


@dataclass(frozen=True)
class Unlabelled:
    """A photo that waits for a class."""

    path: str
    preview: str
    """Its address, as `ui.web.pictures` makes it."""
    proposals: list[list]
    """A few of [class, probability], the most probable first; none where no model was asked."""


def labeller(photos: Sequence[Unlabelled], classes: Sequence[str], left: int, key: str) -> dict[str, str | None]:
    """Shows one photo after the other to be labelled by a key; `left` wait beside these.

    Returns all that was said under this `key`, by path: a class, empty for none of them, None where it was taken back.
    """
    result = _element("label")(
        key=key,
        data={"photos": [asdict(photo) for photo in photos], "classes": list(classes), "left": left},
        default={"said": {}},
        on_said_change=lambda: None,
    )
    return dict(result.said or {})


@dataclass(frozen=True)
class Tile:
    """One picture of a `picture_picker`."""

    path: str
    """What names it; returned when it is chosen."""
    thumbnail: str
    """Addresses, as `ui.web.pictures` makes them."""
    preview: str
    caption: str
    alt: str
    aside: bool = False
    """Shown faded: it is used for nothing."""
    group: str | None = None
    """Tiles of one group stand in a row of their own beneath this heading."""


def picture_picker(tiles: Sequence[Tile], key: str) -> list[str]:
    """A grid from which several pictures can be chosen; returns the paths of those that are.

    It begins with none: give another `key` to begin anew.
    """
    items = [{name: value for name, value in asdict(tile).items() if value is not None} for tile in tiles]
    result = _element("picker")(
        key=key,
        data={"items": items, "chosen": []},
        default={"chosen": []},
        on_chosen_change=lambda: None,
    )
    return list(result.chosen or [])
