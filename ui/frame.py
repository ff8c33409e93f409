"""What stands around every page: the steps at the top, one heading, what comes next."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from learner.errors import AccessError, ThawError
from ui import people, state
from ui.names import plain

log = logging.getLogger(__name__)

STEPS = {"data": "Data", "train": "Train", "runs": "Runs", "results": "Results", "predict": "Predict"}
"""Page file and title, in the order of the way through."""

MARK = Path(__file__).parent / "assets" / "mark.svg"
"""Three blocks of a network, the last one thawed. A named icon of Streamlit's would be fetched from a font host."""

STYLE = """<style>
.stMainBlockContainer {max-width: 72rem; padding-top: 1.25rem; padding-bottom: 4rem}
[data-testid="stMetricValue"], table, .thaw-figures {font-variant-numeric: tabular-nums}
.st-key-steps {border-bottom: 1px solid rgba(128, 144, 152, .35); padding-bottom: .5rem; margin-bottom: .5rem}
.st-key-steps [data-testid="stPageLink"] a {padding: .35rem .6rem}
.st-key-steps svg:first-child {width: 1.15rem; height: 1.15rem; vertical-align: -.2em}
.thaw-grid {display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .75rem}
.thaw-grid figure {margin: 0}
.thaw-grid img {width: 100%; aspect-ratio: 1; object-fit: contain; background: rgba(128, 144, 152, .12);
  border-radius: .3rem; display: block}
.thaw-grid figcaption {font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; margin-top: .25rem}
.stMainBlockContainer h1 {padding-top: .25rem}
[data-testid="stButtonGroup"] button:is([aria-checked="true"], [aria-pressed="true"]) {color: inherit !important;
  font-weight: 600}
.st-key-times :is(th, td):is(:nth-child(2), :nth-child(3)) {text-align: right !important}
.st-key-times :is(th, td):is(:nth-child(2), :nth-child(3)) p {white-space: nowrap}
.st-key-figures td:not(:first-child) p {white-space: nowrap}
.thaw-strip {overflow-x: auto; margin-bottom: .75rem}
.thaw-bars {display: grid; grid-template-columns: minmax(4rem, max-content) 1fr max-content; gap: .35rem .75rem;
  align-items: center}
.thaw-bars .track {background: rgba(128, 144, 152, .18); border-radius: .25rem; height: .9rem}
.thaw-bars .bar {background: currentColor; opacity: .75; border-radius: .25rem; height: 100%}
.thaw-bars .figure {text-align: right; font-variant-numeric: tabular-nums}
.thaw-samples {margin-bottom: 1rem}
.thaw-samples figcaption {line-height: 1.3}
.thaw-samples svg {vertical-align: -.15em}
.thaw-trail {display: block; width: 100%; max-width: 9rem; margin-top: .15rem; color: inherit; opacity: .8}
.thaw-right {color: light-dark(#2c6e49, #8fd3ab)}
.thaw-wrong {color: light-dark(#a3341f, #f5a58f)}
.thaw-gains {display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: 0 0 .75rem; font-size: .9rem}
.thaw-gains b {font-weight: 600}
@media (max-width: 640px) {
  .thaw-grid {grid-template-columns: repeat(auto-fill, minmax(5.5rem, 1fr)); gap: .5rem}
  .st-key-steps {gap: .25rem}
  .st-key-steps [data-testid="stPageLink"] a {padding: .3rem .3rem}
}
</style>"""


def route() -> None:
    """Run the page that the address names; the bare address leads to Data."""
    page = _navigation()
    st.session_state[state.ROUTED] = True
    page.run()


@contextmanager
def page(name: str, intro: str) -> Iterator[None]:
    """The frame of a page; an error inside it becomes a sentence, and its details go to the log.

    The first request to a page's own address on a fresh server runs that file without the router: then the router
    runs it once more from here, so that its widgets have the same identity as ever after and no click is lost.
    """
    if not st.session_state.pop(state.ROUTED, False):
        route()
        st.stop()
    title = STEPS[name]
    st.set_page_config(page_title=f"{title} · Thaw", page_icon=str(MARK), layout="wide")
    st.html(STYLE)
    with st.container(horizontal=True, key="steps", gap="small", vertical_alignment="center"):
        st.markdown(f"{MARK.read_text('utf-8').strip()} **Thaw**", unsafe_allow_html=True, width="content")
        for step, label in STEPS.items():
            st.page_link(f"pages/{step}.py", label=label)
    try:
        state.enter(people.entered())
    except AccessError as error:
        show_sign_in(error)
        st.stop()
    show_person()
    st.title(title)
    st.caption(intro)
    with telling_errors():
        yield


@contextmanager
def telling_errors() -> Iterator[None]:
    """Show a ThawError as it is; anything else is a defect, for which a person gets a sentence and the log the rest."""
    try:
        yield
    except ThawError as error:
        st.error(plain(str(error)))
    except Exception:  # Streamlit's own control flow is not an Exception
        log.exception("A page failed")
        st.error(
            "Something went wrong inside Thaw while this page was made. Your data and runs are safe. Reload the page; "
            "if it stays, the server's log has the details."
        )


def show_sign_in(error: AccessError) -> None:
    """What stands in the place of a page for somebody who may not enter."""
    st.title("Thaw")
    if st.user.get("is_logged_in"):
        st.error(plain(str(error)))
        st.button("Sign out", on_click=st.logout)
        return
    st.markdown("Fine-tune an image classifier on your own photos. Sign in to see your data sets and runs.")
    st.button("Sign in", type="primary", on_click=st.login)


def show_person() -> None:
    """Who has signed in, and the spaces that they may enter; without sign-in, whether others can reach this server."""
    place = state.entered()
    if place.person is None:
        if people.is_open_to_others():
            st.warning(
                "Everybody who can reach this server can see and change all that is here: nobody is asked to sign in."
            )
        return
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right", key="person"):
        if len(place.spaces) > 1:
            own = place.person.name
            chosen = st.selectbox(
                "Space",
                list(place.spaces),
                index=place.spaces.index(place.space),
                format_func=lambda name: "My own" if name == own else name,
                label_visibility="collapsed",
                width=150,
                key="space-box",
                help="Data sets and runs of a space are seen by its members alone.",
            )
            if chosen != place.space:
                st.query_params.clear()
                st.query_params[people.SPACE] = chosen
                st.rerun()
        with st.popover(plain(place.person.name)):
            st.markdown(f"Role: **{place.person.role}**")
            st.button("Sign out", on_click=st.logout)
    if not place.may_change:
        st.info(place.for_reading)


def next_step(step: str, button: str, primary: bool = True) -> None:
    """The way on to the next page; `primary` where the page has no more important button."""
    if st.button(
        button, type="primary" if primary else "secondary", icon=":material/arrow_forward:", icon_position="right"
    ):
        st.switch_page(f"pages/{step}.py")


def empty(what: str, step: str, button: str) -> None:
    """The state of a page that has nothing to show yet: what it is for and the one way on."""
    st.markdown(what)
    next_step(step, button)


def _navigation():
    pages = [st.Page(f"pages/{name}.py", title=title) for name, title in STEPS.items()]
    home = st.Page(lambda: st.switch_page(pages[0]), title="Thaw", default=True, url_path="home")
    return st.navigation([home, *pages], position="hidden")
