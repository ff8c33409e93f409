"""Reading what a page shows, and doing what a person does on it."""

import json
import re
import time
from collections.abc import Callable, Sequence
from itertools import chain, repeat

from streamlit.testing.v1 import AppTest

from tests.patience import until
from ui.questions import LOOK_AGAIN_S, get_questions


def words(app: AppTest) -> str:
    """Everything a page says, as one text."""
    kinds = (
        "title",
        "subheader",
        "markdown",
        "caption",
        "error",
        "warning",
        "info",
        "success",
        "metric",
        "text",
        "code",
    )
    parts = [str(element.value) for kind in kinds for element in app.get(kind)]
    return as_read("\n".join(parts + [button.label for button in app.button]))


def as_read(text: str) -> str:
    """What a person reads of a Markdown text: without the backslashes that keep names from being marks."""
    return re.sub(r"\\([^\w\s])", r"\1", text)


def press(app: AppTest, label: str) -> AppTest:
    """Press the button whose label begins so."""
    return button(app, label).click().run()


def button(app: AppTest, label: str):
    """The button whose label begins so."""
    return next(button for button in app.button if as_read(button.label).startswith(label))


def look_at(app: AppTest, view: str) -> AppTest:
    """Turn to a view of the Data page: `pictures`, `checks`, `split`, `card` or `versions`."""
    return app.segmented_control(key="data-view").set_value(view).run()


def unfold(app: AppTest, title: str, fold: bool = False) -> AppTest:
    """Open, or fold, the expander whose label holds `title`; only those that tell the server need it."""
    expander = next(expander for expander in app.expander if title in expander.label)
    app.session_state[expander.key] = not fold
    return app.run()


def tiles(app: AppTest) -> list[dict]:
    """The pictures of all grids on the page, in order: path, caption, aside …"""
    grids = [element.proto for element in app.get("bidi_component") if element.proto.component_name == "thaw_picker"]
    return [item for grid in grids for item in json.loads(grid.json)["items"]]


def choose(app: AppTest, paths: Sequence[str]) -> AppTest:
    """Choose pictures of the first grid, as a click on each does."""
    app.session_state[app.get("bidi_component")[0].key] = {"chosen": list(paths)}
    return app.run()


def wait_for(app: AppTest) -> AppTest:
    """Until nothing works beside the pages any more."""
    until(lambda: not get_questions().is_busy, every_s=0.2)
    return app.run()


def run_until(app: AppTest, condition: Callable[[AppTest], object]) -> AppTest:
    """Look again, as a page does by itself, until it shows what is waited for."""
    pauses = chain((0.1, 0.2, 0.4), repeat(LOOK_AGAIN_S))

    def later() -> AppTest:
        time.sleep(next(pauses))
        return app.run()

    until(lambda: condition(app) or not later(), every_s=0)
    return app
