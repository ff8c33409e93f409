"""What is doubtful about a data set, with the pictures and a remedy for each."""

from collections import Counter

import streamlit as st

from learner.datasets.checks import Finding, LabelIssues, confirm
from learner.datasets.jobs.checks import check_of, dismiss_check, start_check, stop_check
from learner.datasets.jobs.processes import AT_WORK
from learner.datasets.names import natural_key
from learner.store import Store
from learner.wording import count, duration
from ui.components import pager
from ui.data.pictures import caption, choose, done, show_actions
from ui.data.working import Working, facts
from ui.names import plain

GROUPS_A_PAGE = 12
PICTURES_A_PAGE = 24


def show_checks(working: Working) -> None:
    """Every finding folded, the serious ones first; then the check by a network."""
    findings = working.findings()
    if not findings:
        st.markdown("**Nothing doubtful was found.**")
        st.caption(
            "Checked: copies and near duplicates, dark, bright, blurred, tiny and odd images, small classes, classes "
            "that one camera or size gives away."
        )
    same: Counter = Counter()
    for finding in findings:
        same[finding.key] += 1
        show_finding(working, finding, f"{working.name}-{finding.key}-{same[finding.key]}")
    issues = LabelIssues.load(working.store.workspace, working.name)
    show_network_check(working, issues)


def show_finding(working: Working, finding: Finding, place: str) -> None:
    """`place` names it whatever its title counts, so that it stays open while a person works through it."""
    title = f"{plain(finding.title)}{' :red-badge[serious]' if finding.serious else ''}"
    before, expanded, is_open = st.session_state.get(f"open-{place}", (title, False, False))
    if before != title:  # for Streamlit that is another box
        expanded = is_open
    opened = st.expander(title, expanded=expanded, key=f"finding-{place}", on_change="rerun")
    st.session_state[f"open-{place}"] = (title, expanded, opened.open)
    if not opened.open:
        return
    with opened:
        st.markdown(plain(finding.why))
        if finding.remedy and st.button(plain(finding.remedy.label), key=f"remedy-{place}"):
            done(working, *finding.remedy.edits)
        if finding.key == "unreadable":
            show_not_taken(working)
        elif finding.groups:
            show_found_pictures(working, finding, f"found-{place}")


def show_found_pictures(working: Working, finding: Finding, key: str) -> None:
    """The pictures of a finding, group by group where copies belong together."""
    rows = {row.path: row for row in working.rows}
    grouped = any(len(group) > 1 for group in finding.groups)
    size = GROUPS_A_PAGE if grouped else PICTURES_A_PAGE
    actions = st.container()
    first = pager(len(finding.groups), size, key=key)
    groups = finding.groups[first : first + size]
    shown = [rows[path] for group in groups for path in group if path in rows]
    notes = dict(finding.notes)
    headings = {
        path: f"Group {first + number} of {len(finding.groups)}"
        for number, group in enumerate(groups, start=1)
        for path in group
    }
    captions = {row.path: "\n".join(filter(None, [notes.get(row.path), caption(row, "")])) for row in shown}
    chosen = set(choose(working, shown, f"{key}-{first}", captions, headings if grouped else None))
    labels = sorted({row.label for row in working.rows if row.label}, key=natural_key)
    with actions:
        picked = [row for row in shown if row.path in chosen]
        show_actions(working, picked, labels, where=key)
        if finding.key in ("wrong_label", "outlier") and st.button(
            "Right as they are", disabled=not picked, key=f"right-{key}", help="Doubt the chosen images no more."
        ):
            confirm(working.store.workspace, working.name, picked)
            st.rerun()


def show_not_taken(working: Working) -> None:
    st.dataframe(
        [{"File": path, "Why": reason} for path, reason in facts(working).set_aside],
        hide_index=True,
        column_config={"File": st.column_config.TextColumn(width="medium")},
    )


def show_network_check(working: Working, issues: LabelIssues | None) -> None:
    """Start the check by a pretrained network, watch it, or say what it found and when it is out of date."""
    st.subheader("Wrong labels and strangers")
    st.caption(
        "A small pretrained network looks at every image, learns the classes from four fifths of them and says what "
        "it expects of the rest. Where it is sure of another class, the label may be wrong."
    )
    job = check_of(working.store.workspace, working.name)
    if job and job.status in AT_WORK:
        st.fragment(watch_check, run_every=1.0)(working.store, working.name)
        return
    if job and job.status in ("failed", "cancelled"):
        (st.error if job.status == "failed" else st.info)(plain(job.message))
        if st.button("Dismiss", key="dismiss-check"):
            dismiss_check(job)
            st.rerun()
    if issues:
        found = f"{count(len(issues.labels), 'label')} doubted, {count(len(issues.outliers), 'image')} unlike the"
        st.markdown(f"Version {issues.version} was checked, {count(issues.images, 'image')}: {found} others.")
    label = "Look for wrong labels"
    if issues:
        label = "Look again" if issues.version == working.version.number else f"Check version {working.version.number}"
    if st.button(label, icon=":material/search:", key="look-for-wrong-labels"):
        start_check(working.store.workspace, working.version)
        st.rerun()
    if working.edits:
        st.caption("It looks at the saved version; save your edits first to have them counted.")


def watch_check(store: Store, name: str) -> None:
    job = check_of(store.workspace, name)
    if job is None or job.status not in AT_WORK:
        st.rerun()
    progress = job.progress
    share = progress.done / progress.total if progress and progress.total else 0.0
    left = f" About {duration(progress.seconds_left)} left." if progress and progress.seconds_left else ""
    numbers = f" {progress.done:,} of {progress.total:,}." if progress and progress.total else ""
    st.progress(share, text=plain(f"{progress.what if progress else 'Starting the check.'}{numbers}{left}"))
    if st.button("Stop the check", key="stop-check"):
        stop_check(job)
    st.caption("You may leave this page; the check goes on.")
