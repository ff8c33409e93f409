"""Look at the pictures of a data set and clean it: set aside, give another class, move to another split."""

from collections.abc import Sequence

import streamlit as st

from learner.datasets.editing import SPLIT_NAMES, Edit
from learner.datasets.exclusions import ImageRow
from learner.datasets.names import natural_key
from learner.wording import count
from ui.components import class_box, pager
from ui.data.working import Working
from ui.web.elements import Tile, picture_picker
from ui.web.pictures import preview_url, thumbnail_url

PICTURES_A_PAGE = 48
ANY, NO_CLASS = "All classes", "No class yet"
IN_USE, ASIDE, BOTH = "In use", "Set aside", "All"


def show_pictures(working: Working) -> None:
    """The filters, what can be done with the chosen pictures, and the grid."""
    labels = sorted({row.label for row in working.rows if row.label}, key=natural_key)
    options = [ANY, *labels] + ([NO_CLASS] if any(not row.label for row in working.rows) else [])
    splits = sorted({row.split for row in working.rows})
    split = ANY
    with st.container(horizontal=True):
        waiting = NO_CLASS in options and all(row.excluded for row in working.rows)
        first = options.index(NO_CLASS) if waiting else 0
        label = st.selectbox("Class", options, index=first, key=f"class-{working.name}", width=280)
        if len(splits) > 1:
            split = st.selectbox(
                "Split",
                [ANY, *splits],
                format_func=lambda split: "All splits" if split == ANY else SPLIT_NAMES[split],
                key=f"split-{working.name}",
                width=180,
            )
        show = st.segmented_control("Show", [IN_USE, ASIDE, BOTH], default=IN_USE, key=f"show-{working.name}") or IN_USE
    if label == NO_CLASS:
        show = BOTH
    rows = [
        row
        for row in working.rows
        if (label == ANY or row.label == ("" if label == NO_CLASS else label))
        and (split == ANY or row.split == split)
        and (show == BOTH or row.excluded == (show == ASIDE))
    ]
    if not rows:
        st.caption("There are no such images." if show != ASIDE else "Nothing is set aside here.")
    else:
        place = f"page-{working.name}-{label}-{split}-{show}"
        actions = st.container()
        first = pager(len(rows), PICTURES_A_PAGE, key=place)
        page = rows[first : first + PICTURES_A_PAGE]
        chosen = choose(working, page, key=f"{place}-{first}", captions={row.path: caption(row, label) for row in page})
        with actions:
            show_actions(working, [row for row in page if row.path in set(chosen)], labels)
    show_classes(working, labels)


def choose(
    working: Working,
    rows: Sequence[ImageRow],
    key: str,
    captions: dict[str, str],
    groups: dict[str, str] | None = None,
) -> list[str]:
    """A grid of `rows` to choose from; returns the chosen paths. `groups` are headings by path."""
    return picture_picker(
        [
            Tile(
                path=row.path,
                thumbnail=thumbnail_url(working.name, row.sha256),
                preview=preview_url(working.name, row.sha256),
                caption=captions[row.path],
                alt=f"{row.label or 'no class'}: {row.path}",
                aside=row.excluded,
                group=(groups or {}).get(row.path),
            )
            for row in rows
        ],
        key=f"picker-{key}-{working.key}",
    )


MOST_PROBABLE = 3
"""Classes of an image whose label is not certain that have room beneath it."""


def caption(row: ImageRow, label: str) -> str:
    """What stands beneath a picture: its class unless all have the same, its file, why it is set aside.

    Of one whose label is not certain, its classes and their probabilities, the most likely first.
    """
    name = row.path.rsplit("/", 1)[-1]
    lines = [row.label or "no class yet"] if label == ANY else []
    if row.probabilities:
        ranked = sorted(row.probabilities.items(), key=lambda one: -one[1])
        lines = [", ".join(f"{name} {100 * share:.0f} %" for name, share in ranked[:MOST_PROBABLE])]
    lines.append(name if len(name) <= 28 else f"{name[:12]}…{name[-14:]}")
    if row.excluded:
        lines.append(row.reason)
    return "\n".join(lines)


def show_actions(working: Working, chosen: list[ImageRow], labels: list[str], where: str = "pictures") -> None:
    """Buttons for the chosen pictures; none is live while nothing is chosen."""
    paths = tuple(row.path for row in chosen)
    none = not paths
    key = f"{where}-{working.key}"
    with st.container(horizontal=True, vertical_alignment="bottom", key=f"actions-{where}"):
        st.markdown(f"**{count(len(paths), 'image')}** chosen" if paths else "Choose images below:", width=185)
        if st.button("Set aside", disabled=none or all(row.excluded for row in chosen), key=f"aside-{key}"):
            done(working, Edit("exclude", paths))
        if st.button(
            "Take back in",
            disabled=none or not any(row.excluded and row.label for row in chosen),
            key=f"back-{key}",
        ):
            done(working, Edit("include", tuple(row.path for row in chosen if row.excluded and row.label)))
        label = class_box(labels, key=f"label-{key}", disabled=none, width=220)
        if st.button("Relabel", disabled=none or not label, key=f"relabel-{key}") and label:
            done(working, Edit("relabel", paths, to=label))
        split = st.selectbox(
            "Split",
            ["train", "valid", "test", ""],
            index=None,
            format_func=SPLIT_NAMES.__getitem__,
            placeholder="Split",
            disabled=none,
            key=f"move-{key}",
            label_visibility="collapsed",
            width=140,
        )
        if st.button("Move", disabled=none or split is None, key=f"moving-{key}") and split is not None:
            done(working, Edit("move", paths, to=split))


def done(working: Working, *edits: Edit) -> None:
    """Add edits to the draft and show what has become of it."""
    if working.edit(*edits):
        st.rerun()


def show_classes(working: Working, labels: list[str]) -> None:
    with st.expander("Rename or merge classes"):
        st.caption("Give one class another name, or several the same: then they are one class.")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            classes = st.multiselect("Classes", labels, key=f"classes-{working.key}")
            usual = classes[0] if len(classes) > 1 else ""
            to = st.text_input("New name", value=usual, key=f"to-{working.key}-{usual}")
            verb = "Merge" if len(classes) > 1 else "Rename"
            changes = bool(classes and to.strip() and classes != [to.strip()])
            if st.button(verb, disabled=not changes, key=f"rename-{working.key}"):
                done(working, Edit("rename", classes=tuple(classes), to=to))
