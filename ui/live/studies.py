"""Studies: how far each is, what its runs say so far, and its buttons."""

from functools import partial

import streamlit as st

from learner.errors import ThawError
from learner.store import ACTIVE, Store, Study
from learner.store.runs import UNDO_S
from learner.studies.design import resume_study, stop_study
from learner.studies.results import StudyResult, result_of
from learner.studies.trials import SearchResult, is_search, result_of_search
from learner.wording import count, duration
from ui import state
from ui.drawing import show_chart
from ui.frame import telling_errors
from ui.live.differences import differences
from ui.live.searching import show_search, show_ways_on
from ui.names import plain

REFRESH_S = 3.0
HELP = (
    "Each run was judged once by a fold that it neither learnt from nor was chosen by. The interval is that of the "
    "corrected resampled t-test, as runs share training photos; p is raised for there being several variants (Holm)."
)


def show_studies(store: Store) -> None:
    """The chosen study; there is at least one."""
    studies = {study.id: study for study in store.studies.all()}
    asked = str(st.query_params.get(state.STUDY, st.session_state.get(state.STUDY, "")))
    chosen = int(asked) if asked.isdecimal() and int(asked) in studies else next(iter(studies))
    st.session_state[state.STUDY_BOX] = chosen
    chosen = st.selectbox(
        "Study", list(studies), format_func=lambda one: _label(studies[one]), key=state.STUDY_BOX, on_change=_keep_study
    )
    st.session_state[state.STUDY] = chosen
    st.query_params[state.STUDY] = str(chosen)
    active = studies[chosen].design.get("searching", False) or any(
        run.status in ACTIVE for run in store.studies.runs_of(chosen)
    )
    st.fragment(_show_study, run_every=REFRESH_S if active else None)(store, chosen, active)
    _show_deleted(store)


def show_study(study_id: int) -> None:
    """Make the Runs page show that study."""
    st.session_state[state.STUDY] = study_id
    st.session_state[state.RUNS_VIEW] = "studies"


@telling_errors()
def _show_study(store: Store, study_id: int, drawn_active: bool) -> None:
    store.runs.requeue_silent()
    searches = is_search(store.studies.get(study_id))
    result = result_of_search(store, study_id) if searches else result_of(store, study_id)
    active = result.status == "under way"
    if active != drawn_active:
        st.rerun()
    st.subheader(f"Study {study_id}: {result.status}")
    st.caption(plain(f"{result.dataset}, version {result.version} · {result.what_varies}{_how_often(result)}"))
    st.progress(result.done / result.number_of_runs, text=f"{result.progress}{_left(store, result)}")
    if active and not store.workers.alive():
        st.warning(
            "No worker is running, so its runs wait. `make app` starts one with the page; by hand it is "
            "`python -m learner worker`."
        )
    for run in result.failed:
        st.error(f"Run {run.id} failed. {plain(run.reason)}")
    if isinstance(result, SearchResult):
        show_search(store, result)
    else:
        _show_answer(result)
    _show_buttons(store, result)


def _how_often(result: StudyResult | SearchResult) -> str:
    if isinstance(result, SearchResult):
        return f" · up to {count(result.search.trials, 'trial')}"
    folds = result.design.folds
    judged = f"{folds} folds" if folds > 1 else "judged by the data set's own validation photos"
    return f" · {count(result.design.seeds, 'seed')}, {judged}"


def _show_answer(result: StudyResult) -> None:
    proven = sum(one.is_proven for one in result.compared)
    for index, sentence in enumerate(result.answer):
        st.markdown(f"**{plain(sentence)}**" if index < proven else plain(sentence), help=None if index else HELP)
    if not result.answer:
        st.markdown("**No answer yet.** It takes two variants that have finished on the same fold.")
    if result.compared:
        rows = tuple(
            (
                one.name,
                tuple(100 * each for each in one.accuracy.each),
                None if one.accuracy.interval is None else tuple(100 * bound for bound in one.accuracy.interval),
            )
            for one in result.compared
        )
        show_chart(
            differences,
            rows,
            result.compared[0].against,
            state.is_dark(),
            alt="Differences in accuracy, a dot for each seed and fold, with mean and interval. "
            + " ".join(result.answer),
        )
        st.caption(
            "A dot is a pair of runs with the same seed and fold; the diamond is the mean, the line its interval."
        )
    with st.container(key="figures"):
        st.table(
            [
                {
                    "Variant": plain(one.name),
                    "Runs": f"{one.runs} of {one.of}",
                    "Accuracy": one.accuracy_text,
                    "Log loss": one.log_loss_text,
                    "A run took": one.time_text,
                }
                for one in result.variants
            ],
            border="horizontal",
            width="content",
            alt="Each variant with its finished runs, accuracy, log loss and time.",
        )
    st.caption("Mean and standard deviation over runs.")


def _show_buttons(store: Store, result: StudyResult | SearchResult) -> None:
    study_id = result.study_id
    with st.container(horizontal=True, key="study-control"):
        if result.status == "under way":
            st.button("Stop the study", on_click=_act, args=(stop_study, store, study_id), help="Finished runs stay.")
        elif result.status == "stopped":
            st.button("Go on", type="primary", on_click=_act, args=(resume_study, store, study_id))
        if isinstance(result, SearchResult):
            show_ways_on(store, result)
        if result.done:
            st.download_button(
                "Download the report",
                data=partial(_report, store, study_id),
                file_name=f"thaw-study-{study_id}.html",
                mime="text/html",
                on_click="ignore",
                help="One page with the answer, its method, the recipes and every run.",
            )
        runs = store.studies.runs_of(study_id)
        if all(run.status != "running" for run in runs):
            with st.popover("Delete"):
                st.markdown(f"Delete study {study_id} and its {count(len(runs), 'run')}?")
                st.button("Delete them", type="primary", on_click=_act, args=(store.studies.delete, study_id))
    if result.done:
        st.caption(f"Its runs can be looked at one by one under Results: each is named with study {study_id}.")


def _show_deleted(store: Store) -> None:
    deleted = store.studies.deleted()
    if not deleted:
        return
    with st.expander(count(len(deleted), "deleted study", "deleted studies")):
        st.caption(f"For {UNDO_S // 3600} hours after it was deleted, a study can be had back with its runs.")
        for study in deleted:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(plain(_label(study)), width="stretch")
                st.button(
                    "Bring back",
                    key=f"undelete-study-{study.id}",
                    help=f"Bring study {study.id} back",
                    on_click=_act,
                    args=(store.studies.undelete, study.id),
                )


def _left(store: Store, result: StudyResult | SearchResult) -> str:
    """How long the rest is expected to take, once a run of each variant that still has some to do has finished.

    Of a search nobody knows, as trials that fall behind are paused.
    """
    if isinstance(result, SearchResult):
        return ""
    workers = len(store.workers.alive())
    rest = [(one.of - one.runs, one.seconds) for one in result.variants if one.runs < one.of]
    if result.status != "under way" or not workers or any(seconds is None for _, seconds in rest):
        return ""
    return f" · about {duration(sum(number * (seconds or 0) for number, seconds in rest) / workers)} left"


def _label(study: Study) -> str:
    if is_search(study):
        return (
            f"Study {study.id}: {study.design['recipe']['dataset']}, search with up to {study.design['trials']} trials"
        )
    variants = study.design["variants"]
    dataset = variants[0]["recipe"]["dataset"]
    return f"Study {study.id}: {dataset}, {', '.join(one['name'] for one in variants)}"


def _keep_study() -> None:
    st.session_state[state.STUDY] = st.session_state[state.STUDY_BOX]
    st.query_params[state.STUDY] = str(st.session_state[state.STUDY_BOX])


def _act(change, *arguments) -> None:
    """Change a study; where it has moved on since the page was drawn, the page shows that instead."""
    try:
        change(*arguments)
    except ThawError as error:
        st.toast(plain(str(error)))


def _report(store: Store, study_id: int) -> bytes:
    from learner.report.study import make_search_report, make_study_report

    make = make_search_report if is_search(store.studies.get(study_id)) else make_study_report
    return make(store, study_id).encode()
