"""Charts that Altair makes, on a page."""

from collections.abc import Callable
from typing import Any

import altair as alt
import streamlit as st


def show_chart(make: Callable[..., alt.TopLevelMixin], *arguments: Any, place=st, **options: Any) -> None:
    """Show what `make` draws of `arguments` in `place`; `options` are those of `st.vega_lite_chart`."""
    place.vega_lite_chart(_spec(f"{make.__module__}.{make.__qualname__}", arguments, make), **options)


@st.cache_data(max_entries=100, show_spinner=False)
def _spec(name: str, arguments: tuple, _make: Callable[..., alt.TopLevelMixin]) -> dict[str, Any]:
    """The chart in Vega-Lite, kept by what is drawn, as making one takes long.

    Half of that is Altair's check of what it made against a schema. The tests of the charts make that check. Charts
    name channels as objects (`alt.X("epoch:Q")`), as Altair takes 13 ms to make one of a text.
    """
    return _make(*arguments).to_dict(validate=False)
