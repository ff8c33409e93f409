"""Pieces that several pages show: the frost strip, picture grids, probability bars. Plain values in, HTML out."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import streamlit as st

from learner.recipe import Phase
from learner.wording import percent, rate_text

ICE, ICE_EDGE, ICE_TEXT = "#cfe9f7", "#7fb6d3", "#0d3a52"
AMBER, AMBER_EDGE, AMBER_TEXT = "#f2a93b", "#b8730a", "#3d2500"
NEUTRAL, NEUTRAL_EDGE, NEUTRAL_TEXT = "#dfe4e7", "#aab5bb", "#2b363c"

_BLOCK, _HEIGHT, _GAP = 100, 58, 6
"""Size of a block in the drawing's own units; it shrinks to fit a phone."""


def frost_strip(stages: Sequence[str], rates: Sequence[float], finished: bool = False, solved: bool = False) -> str:
    """The network as a row of blocks, one a stage and the head: frozen ones ice, learning ones amber with their rate.

    `rates` has one value a block, 0 where frozen. With `finished`, blocks that learnt are neutral; with `solved`
    what learns has no rate. Returns an SVG.
    """
    names = [*stages, "head"]
    learning = [name for name, rate in zip(names, rates, strict=True) if rate]
    frozen = [name for name in names if name not in learning]
    verb = "learnt" if finished else "learns"
    told = f"{', '.join(learning) or 'nothing'} {verb}; " + (f"{', '.join(frozen)} frozen" if frozen else "none frozen")
    blocks = "".join(
        _block(index, name, rate, finished, solved) for index, (name, rate) in enumerate(zip(names, rates, strict=True))
    )
    width = len(names) * _BLOCK
    return (
        f'<div class="thaw-strip"><svg role="img" aria-label="{escape(told)}" viewBox="0 0 {width} 90" '
        f'style="width:100%;min-width:{len(names) * 58}px;max-width:{len(names) * 80}px;display:block" '
        f'font-family="inherit" font-size="17" text-anchor="middle"><title>{escape(told)}</title>{blocks}</svg></div>'
    )


def _block(index: int, name: str, rate: float, finished: bool, solved: bool) -> str:
    x, middle = index * _BLOCK + _GAP / 2, index * _BLOCK + _BLOCK / 2
    fill, edge, ink = (ICE, ICE_EDGE, ICE_TEXT) if not rate else (AMBER, AMBER_EDGE, AMBER_TEXT)
    if rate and finished:
        fill, edge, ink = NEUTRAL, NEUTRAL_EDGE, NEUTRAL_TEXT
    frost = (
        ""
        if rate
        else f'<path d="M{x + 8} 9h{_BLOCK - _GAP - 16}" stroke="#fff" stroke-width="4" stroke-linecap="round" '
        'stroke-dasharray="10 7 3 7"/>'
    )
    dash = "" if rate else ' stroke-dasharray="4 2"'
    below = "frozen" if not rate else "solved" if solved else rate_text(rate)
    faint = "" if rate else ' opacity=".7"'
    return (
        f'<rect x="{x}" y="2" width="{_BLOCK - _GAP}" height="{_HEIGHT}" rx="7" fill="{fill}" stroke="{edge}" '
        f'stroke-width="2"{dash}/>{frost}'
        f'<text x="{middle}" y="38" fill="{ink}">{escape(name)}</text>'
        f'<text x="{middle}" y="82" fill="currentColor"{faint}>{below}</text>'
    )


def show_strip(stages: Sequence[str], rates: Sequence[float], phase: Phase, finished: bool = False) -> None:
    """Draw the frost strip of one phase."""
    strip = frost_strip(stages, rates, finished, phase.solve)
    st.markdown(strip, unsafe_allow_html=True)  # st.html takes drawings out; every name in the strip is escaped


@dataclass(frozen=True)
class Picture:
    """One thumbnail of a grid."""

    file: Path | bytes
    """A JPEG or PNG, or the bytes of a PNG."""
    caption: str
    """May hold several lines."""
    alt: str


def picture_grid(pictures: Sequence[Picture]) -> None:
    """Thumbnails in as many columns as fit, each with its caption."""
    st.html(
        '<div class="thaw-grid">'
        + "".join(
            f'<figure><img src="{_as_data(picture.file)}" alt="{escape(picture.alt)}">'
            f"<figcaption>{escape(picture.caption).replace(chr(10), '<br>')}</figcaption></figure>"
            for picture in pictures
        )
        + "</div>"
    )


_MARKS = {
    True: '<circle cx="8" cy="8" r="7" fill="none" stroke="currentColor" stroke-width="1.6"/>'
    '<path d="M4.6 8.2l2.4 2.4 4.4-5" fill="none" stroke="currentColor" stroke-width="1.6"/>',
    False: '<path d="M8 1 15 14.4H1z" fill="none" stroke="currentColor" stroke-width="1.6"/>'
    '<path d="M8 5.6v4M8 11.2v1.4" stroke="currentColor" stroke-width="1.8"/>',
}


def verdict(right: bool) -> str:
    """A mark that differs in shape as well as colour: a tick in a circle, or a triangle. Returns an SVG."""
    word, kind = ("right", "thaw-right") if right else ("wrong", "thaw-wrong")
    return (
        f'<svg class="{kind}" role="img" aria-label="{word}" viewBox="0 0 16 16" width="15" height="15">'
        f"<title>{word}</title>{_MARKS[right]}</svg>"
    )


def trail(probs: Sequence[float], shown: int) -> str:
    """How a probability moved, one value an epoch, each 0 to 1; a dot at index `shown`. Returns an SVG.

    The dashed line is at one half.
    """
    width, height = 96, 24
    step = width / max(len(probs) - 1, 1)
    points = [(round(index * step, 1), round(1 + (height - 2) * (1 - prob), 1)) for index, prob in enumerate(probs)]
    drawn = " ".join(f"{x},{y}" for x, y in points) if len(points) > 1 else f"0,{points[0][1]} {width},{points[0][1]}"
    x, y = points[shown]
    told = f"Probability of its own class: {percent(probs[0])} at first, {percent(probs[shown])} as shown"
    return (
        f'<svg class="thaw-trail" role="img" aria-label="{told}" viewBox="-3 -2 {width + 6} {height + 4}"><title>{told}'
        f'</title><path d="M0 {height / 2}h{width}" stroke="currentColor" stroke-width=".6" stroke-dasharray="2 3" '
        f'opacity=".6"/><polyline points="{drawn}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        f'<circle cx="{x}" cy="{y}" r="2.6" fill="currentColor"/></svg>'
    )


def probability_bars(classes: Sequence[str], probs: Sequence[float]) -> None:
    """One bar a class, from 0 to 100 %."""
    st.html(
        '<div class="thaw-bars">'
        + "".join(
            f'<span>{escape(name)}</span><span class="track"><span class="bar" style="display:block;'
            f'width:{100 * prob:.1f}%"></span></span><span class="figure">{percent(prob)}</span>'
            for name, prob in zip(classes, probs, strict=True)
        )
        + "</div>"
    )


def class_box(classes: Sequence[str], *, key: str, disabled: bool, label: str = "", width: int) -> str | None:
    """One of `classes`, or a new one that is typed in; `label` is read out, and shown where it is given."""
    return st.selectbox(
        label or "Class",
        classes,
        index=None,
        placeholder="Class, or type a new one",
        accept_new_options=True,
        disabled=disabled,
        key=key,
        label_visibility="visible" if label else "collapsed",
        width=width,
    )


def pager(total: int, page_size: int, key: str) -> int:
    """Previous and next for a long grid; returns the index of the first item to show. Keeps its place under `key`."""
    pages = max(1, -(-total // page_size))
    page = min(st.session_state.get(key, 0), pages - 1)
    if pages > 1:
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Previous", key=f"{key}-previous", disabled=page == 0):
                st.session_state[key] = page - 1
                st.rerun()
            if st.button("Next", key=f"{key}-next", disabled=page == pages - 1):
                st.session_state[key] = page + 1
                st.rerun()
            st.caption(f"{page * page_size + 1:,} to {min(total, (page + 1) * page_size):,} of {total:,}")
    return page * page_size


def _as_data(file: Path | bytes) -> str:
    data = file if isinstance(file, bytes) else file.read_bytes()
    kind = "png" if isinstance(file, bytes) or file.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
