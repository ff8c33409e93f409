"""Every key of the browser session, and what a page opens on. Nothing is kept only here: all of it can be lost."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import streamlit as st

from learner.store import Run, Store
from learner.wording import percent
from learner.workspace import Workspace
from ui import people
from ui.people import Entered

ROUTED = "routed"
"""Set while the router runs a page; see `ui.frame`."""
DATASET = "dataset"
"""Name of the data set last worked on."""
DATASET_BOX, RUN_BOX = "dataset-box", "run-box"
"""What the select boxes of both show."""
RUN = "run"
"""Id of the run last worked on; also the `run` in the page's address, so that a reload keeps it."""
DRAFT = "draft"
"""The recipe as it was left on the Train page, or put there."""
DRAFT_NUMBER = "draft_number"
"""How often a recipe was put on the Train page; see `ui.drafts.key`."""
PARENT = "parent"
"""The run, and the index of its phase, from whose end the recipe on the Train page goes on; or nothing."""
DRAFT_TABLES = "draft_tables"
"""By widget key: what a table of this visit started from; edits are kept apart from it by the widget itself."""
ADDING = "adding"
"""Whether the Data page shows the ways in although there are data sets."""
VIEW = "view"
"""In the address: the view of the Data, the Runs or the Results page, so that a reload keeps it."""
DATA_VIEW, RESULTS_VIEW, RUNS_VIEW = "data-view", "results-view", "runs-view"
"""What the row of views of each shows."""
STUDY = "study"
"""Id of the study last looked at; also in the page's address, so that a reload keeps it."""
STUDY_BOX = "study-box"
CAMERA = "camera"
"""The pile of photos that the camera has taken so far; also in the page's address, so that a reload keeps it."""
BATCH = "batch"
"""The pictures that are open on Predict: in the page's address only, so that a reload keeps them."""
PICTURE = "picture"
"""The number of the one among them that is looked at; in the page's address too."""
PREPARED = "prepared"
"""Ids of the runs whose learner.pkl was prepared by itself in this visit, as the view to take files away opened."""
SERVER_FOLDER = "server_folder"
"""The folder of the server that is open among the ways in."""


ENTERED = "entered"
"""The `ui.people.Entered` that this page was last drawn for."""


def entered() -> Entered:
    """Where this page works, asked anew each time: who is no longer named is out at once. Raises AccessError."""
    return people.entered()


def enter(place: Entered) -> None:
    """Work there from now on. Nothing of another space's pages is taken along."""
    before = st.session_state.get(ENTERED)
    if before is not None and before != place:
        for key in [key for key in st.session_state if key != ROUTED]:
            del st.session_state[key]
    st.session_state[ENTERED] = place


def get_store() -> Store:
    """The store of the workspace that this page may work in, opened once a server."""
    return store_of(entered())


def store_of(place: Entered) -> Store:
    """As `get_store`, for a request that is no page's."""
    who = place.person.name if place.person else ""
    return _store(place.workspace, place.for_reading, who, place.quotas.queued)


@st.cache_resource(show_spinner=False)
def _store(workspace: Workspace, for_reading: str, who: str, most_queued: int) -> Store:
    return Store(workspace, for_reading, who, most_queued)


def cached(cache: Callable[..., Callable], **options: Any) -> Callable[[Callable], Callable]:
    """`st.cache_data` or `st.cache_resource` for a function whose answers are of the present space only.

    Ids of versions and runs begin at 1 in every space.
    """

    def decorate(function: Callable) -> Callable:
        @wraps(function)
        def of_a_space(space, *arguments, **keywords):
            return function(*arguments, **keywords)

        signature = inspect.signature(function)
        space = inspect.Parameter("space", inspect.Parameter.POSITIONAL_ONLY)
        own = [one.replace(kind=one.POSITIONAL_OR_KEYWORD) for one in signature.parameters.values()]
        of_a_space.__signature__ = signature.replace(parameters=[space, *own])  # type: ignore[attr-defined]
        kept = cache(**options)(of_a_space)

        @wraps(function)
        def call(*arguments, **keywords):
            return kept(str(entered().workspace.root), *arguments, **keywords)

        return call

    return decorate


def is_dark() -> bool:
    """Whether the browser shows the dark theme."""
    return st.context.theme.type == "dark"


def current_dataset(names: list[str]) -> str | None:
    """The data set last worked on, else the newest of `names`."""
    chosen = st.session_state.get(DATASET)
    if chosen in names:
        return chosen
    return names[0] if names else None


def choose_dataset(names: list[str], place=st, disabled: bool = False) -> str:
    """A select box over `names` in `place` that opens on the data set last worked on."""
    # With `index`, which changes with every choice, Streamlit would take it for a new box and lose the next choice.
    st.session_state[DATASET_BOX] = current_dataset(names)
    st.session_state[DATASET] = place.selectbox(
        "Data set", names, key=DATASET_BOX, on_change=_keep_dataset, disabled=disabled
    )
    return st.session_state[DATASET]


def _keep_dataset() -> None:
    st.session_state[DATASET] = st.session_state[DATASET_BOX]


def current_run(runs: list[Run]) -> Run | None:
    """The run in the page's address, else the one last worked on, else the newest of `runs`."""
    by_id = {run.id: run for run in runs}
    for wanted in (st.query_params.get(RUN), st.session_state.get(RUN)):
        number = str(wanted)
        if number.isdecimal() and int(number) in by_id:
            return by_id[int(number)]
    return runs[0] if runs else None


def remember_run(run_id: int) -> None:
    """Make this the run that every page opens on."""
    st.session_state[RUN] = run_id
    if st.query_params.get(RUN) != str(run_id):
        st.query_params[RUN] = str(run_id)


def own_first(runs: list[Run]) -> list[Run]:
    """Runs of their own, then those of studies, of which there may be very many; each in the order given."""
    return sorted(runs, key=lambda run: run.study is not None)


def run_label(run: Run) -> str:
    """A run in one line, for a select box."""
    name, version = get_store().runs.dataset_of(run)
    accuracy = f", {percent(run.best_accuracy)}" if run.best_accuracy is not None else ""
    study = f", of study {run.study}" if run.study is not None else ""
    return f"Run {run.id}: {name} (version {version}){accuracy}{study}"


def choose_run(runs: list[Run], label: str) -> Run:
    """A select box over `runs` that opens on the one last worked on."""
    runs = own_first(runs)
    by_id = {run.id: run for run in runs}
    newest = current_run(runs)
    assert newest is not None  # of some runs there is always one
    st.session_state[RUN_BOX] = newest.id  # as in `choose_dataset`
    run_id = st.selectbox(
        label, list(by_id), format_func=lambda run_id: run_label(by_id[run_id]), key=RUN_BOX, on_change=_keep_run
    )
    remember_run(run_id)
    return by_id[run_id]


def choose_view(titles: dict[str, str], usual: str, key: str) -> str:
    """A row of views that opens on the one in the page's address, else on the `usual` one."""
    asked = st.query_params.get(VIEW)
    st.session_state.setdefault(key, asked if asked in titles else usual)
    view = st.segmented_control(
        "View", list(titles), format_func=titles.__getitem__, label_visibility="collapsed", required=True, key=key
    )
    st.query_params[VIEW] = view = view or usual
    return view


def done_adding() -> None:
    """Show the data sets again instead of the ways in."""
    st.session_state[ADDING] = False
    st.rerun()


def _keep_run() -> None:
    remember_run(st.session_state[RUN_BOX])


def show_run(run_id: int, view: str) -> None:
    """Make the Results page show that run, in that view."""
    st.session_state[RUN] = run_id
    st.session_state[RESULTS_VIEW] = view
    st.query_params[RUN] = str(run_id)
    st.query_params[VIEW] = view
