"""The data set that a person works on: its newest version with the edits that are not saved yet."""

from dataclasses import dataclass

import streamlit as st

from learner.datasets.checks import Facts, Finding, LabelIssues, facts_of, find, issue_findings
from learner.datasets.editing import Edit, add_edit, edited, edits_of, undone_of
from learner.datasets.exclusions import ImageRow
from learner.datasets.jobs.checks import check_of
from learner.datasets.rows import counts_of, rows_of
from learner.errors import DatasetError
from learner.store import Store, VersionInfo
from ui import state
from ui.frame import telling_errors


@dataclass(frozen=True)
class Working:
    """What the views show. What a person decides of an old version never changes, so it is read once a server."""

    store: Store
    version: VersionInfo
    edits: list[Edit]
    undone: list[Edit]
    rows: list[ImageRow]
    """After the edits."""
    revision: int
    """Changes with every edit; part of the keys of widgets that begin anew then."""
    check: str
    """The newest check by a network and how far it is: it also measures pictures that came in before Thaw did so."""
    trouble: str = ""
    """Why the edits cannot be done to this version, which came in after them; `rows` are without them then."""

    @property
    def name(self) -> str:
        return self.version.name

    @property
    def key(self) -> str:
        return f"{self.version.id}-{self.revision}"

    @property
    def state(self) -> str:
        """What is computed from the rows and measurements holds as long as this is the same."""
        return f"{self.key}-{self.check}"

    def counts(self) -> dict[str, dict[str, int]]:
        """Images in use by class, in natural order, then by split."""
        return counts_of(self.rows)

    def findings(self) -> list[Finding]:
        """Of the checks, the serious ones first."""
        issues = LabelIssues.load(self.store.workspace, self.name)
        more = issue_findings(self.rows, issues) if issues else []
        every = [*more, *_found(self.state, self)]
        return sorted(every, key=lambda finding: not finding.serious)

    def edit(self, *edits: Edit) -> bool:
        """Add edits to the draft; tells why one cannot be done. Returns whether they were added."""
        with telling_errors():
            add_edit(self.store, self.name, *edits)
            return True
        return False


def working_on(store: Store, name: str) -> Working:
    revision = store.datasets.draft(name).revision  # first: another tab may change what is read next
    version = store.datasets.version(name)
    job = check_of(store.workspace, name)
    check = f"{job.id}-{job.status}" if job else ""
    edits, undone = edits_of(store, name), undone_of(store, name)
    rows, trouble = _rows(version.id, check, store, version), ""
    try:
        rows = edited(rows, edits) if edits else rows
    except DatasetError as error:
        trouble = str(error)
    return Working(store, version, edits, undone, rows, revision, check, trouble)


@state.cached(st.cache_resource, max_entries=4, show_spinner=False)
def _rows(version_id: int, check: str, _store: Store, _version: VersionInfo) -> list[ImageRow]:
    return rows_of(_store, _version)


@state.cached(st.cache_resource, max_entries=4, show_spinner=False)
def _facts(version_id: int, check: str, _store: Store, _version: VersionInfo) -> Facts:
    return facts_of(_store, _version)


@state.cached(st.cache_resource, max_entries=8, show_spinner=False)
def _found(state: str, _working: Working) -> list[Finding]:
    return find(_working.rows, facts(_working))


def facts(working: Working) -> Facts:
    """What was measured of the version's pictures."""
    return _facts(working.version.id, working.check, working.store, working.version)
