"""Every version of a data set: its note, what changed, and the way back."""

from datetime import datetime

import streamlit as st

from learner.datasets.editing import Difference, difference, restore
from learner.datasets.rows import rows_of
from learner.store import VersionInfo
from learner.wording import count
from ui import state
from ui.data.working import Working
from ui.frame import telling_errors
from ui.names import plain


def show_versions(working: Working) -> None:
    """The newest first; one can be opened to see what it changed, and restored."""
    store = working.store
    versions = store.datasets.versions(working.name)
    st.caption(
        "A version never changes, and a run names the one it used. Restoring makes a new version; nothing is lost."
    )
    st.dataframe(
        [
            {
                "Version": version.number,
                "Made": datetime.fromtimestamp(version.created_at),
                "From": f"version {version.parent}" if version.parent else "import",
                "Note": version.note,
            }
            for version in versions
        ],
        hide_index=True,
        column_config={"Made": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm")},
    )
    if len(versions) == 1:
        return
    by_number = {version.number: version for version in versions}
    numbers = list(by_number)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number = st.selectbox("Version", numbers, format_func=lambda number: f"Version {number}", key="version")
        others = [other for other in numbers if other != number]
        parent = by_number[number].parent
        other = st.selectbox(
            "compared to",
            others,
            index=others.index(parent) if parent in others else 0,
            format_func=lambda number: f"Version {number}",
            key=f"compared-{number}",
        )
        newest = number == numbers[0]
        if st.button(f"Restore version {number}", disabled=newest, help="The newest already." if newest else None):
            with telling_errors():
                made = restore(store, working.name, number)
                st.toast(f"Version {number} is back, as version {made.number}.")
                st.rerun()
    show_difference(
        _difference(by_number[other].id, by_number[number].id, working, by_number[other], by_number[number])
    )


@state.cached(st.cache_data, max_entries=8, show_spinner=False)
def _difference(
    before_id: int, after_id: int, _working: Working, _before: VersionInfo, _after: VersionInfo
) -> Difference:
    return difference(rows_of(_working.store, _before), rows_of(_working.store, _after))


def show_difference(changed: Difference) -> None:
    st.markdown(f"**{plain(changed.in_words())}.**")
    named = [
        ("added", [(path, "") for path in changed.added]),
        ("removed", [(path, "") for path in changed.removed]),
        ("set aside", [(path, "") for path in changed.excluded]),
        ("taken back in", [(path, "") for path in changed.included]),
        ("relabelled", [(path, f"{old or 'no class'} → {new}") for path, (old, new) in changed.relabelled.items()]),
        (
            "moved",
            [(path, f"{old or 'undecided'} → {new or 'undecided'}") for path, (old, new) in changed.moved.items()],
        ),
        ("given another group", [(path, "") for path in changed.regrouped]),
        ("given other probabilities", [(path, "") for path in changed.reweighed]),
    ]
    for what, rows in named:
        if rows:
            with st.expander(f"{count(len(rows), 'image')} {what}"):
                st.dataframe(
                    [{"Image": path} | ({"Change": change} if change else {}) for path, change in rows],
                    hide_index=True,
                )
