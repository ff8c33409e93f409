"""The bar that stands above every view while there are edits: what was done, undo, redo, save."""

import streamlit as st

from learner.datasets.editing import discard, redo, save, summary_of, undo
from ui.data.working import Working
from ui.frame import telling_errors
from ui.names import plain


def show_bar(working: Working, primary: bool = True) -> None:
    """Nothing while there is nothing to save or to do again. Not `primary`: something else comes first on the page."""
    if not working.edits and not working.undone:
        return
    store, name = working.store, working.name
    with st.container(border=True, key="edits"):
        if working.edits:
            st.markdown(f"**Not saved yet.** {plain(summary_of(working.edits))}.")
        else:
            st.markdown("Every edit was undone.")
        if working.trouble:
            st.error(
                f"They cannot be done to version {working.version.number}, which came in after them. "
                f"{plain(working.trouble)} Undo what stands in the way; the images below are shown without the edits."
            )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            if st.button("Undo", icon=":material/undo:", disabled=not working.edits, shortcut="Ctrl+Z"):
                undo(store, name)
                st.rerun()
            if st.button("Redo", icon=":material/redo:", disabled=not working.undone, shortcut="Ctrl+Shift+Z"):
                redo(store, name)
                st.rerun()
            if len(working.edits) > 1 and st.button("Undo all"):
                discard(store, name)
                st.rerun()
            if working.edits and not working.trouble:
                note = st.text_input(
                    "Note for the new version",
                    placeholder="What you changed and why (optional)",
                    max_chars=300,
                    key=f"note-{working.version.id}",
                    label_visibility="collapsed",
                )
                if st.button(
                    f"Save as version {working.version.number + 1}", type="primary" if primary else "secondary"
                ):
                    with telling_errors():
                        version = save(store, name, note)
                        st.toast(
                            f"{plain(name)} has a version {version.number}. Version {working.version.number} stays."
                        )
                        st.rerun()
