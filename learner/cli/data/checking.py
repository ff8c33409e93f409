"""`data check`: what is doubtful about a data set, and its remedies."""

from typing import Annotated, Any

import typer

from learner.cli.data.printing import print_list
from learner.cli.data.showing import Name
from learner.cli.data.working import Working, tell_how_to_save, working_on
from learner.cli.printing import AsJson, out, print_json
from learner.datasets.checks import Finding, LabelIssues, facts_of, find, issue_findings
from learner.datasets.editing import add_edit, edits_of
from learner.datasets.editing import save as save_edits
from learner.datasets.fact_backfill import measure_missing
from learner.errors import DatasetError
from learner.jobs.process import use_patient_threads
from learner.store import Store, VersionInfo
from learner.terminal import err, showing_progress
from learner.wording import count, percent

commands = typer.Typer()


@commands.command("check")
def check(
    name: Name,
    labels: Annotated[
        bool, typer.Option("--labels", help="Look for wrong labels and strangers too, with a pretrained network.")
    ] = False,
    fix: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Add the remedy of this finding to the edits; repeatable.")
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Make the edits a new version at once.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is doubtful, and mend it.

    Copies, near duplicates, odd pictures, small classes, shortcuts, names that look alike; with --labels, wrong labels.
    """
    store = Store()
    version = store.datasets.version(name)
    try:
        with showing_progress("Checking", as_json) as report:
            measure_missing(store, version, report)
            if labels:
                _look_with_a_network(store, version, report)
    except KeyboardInterrupt:
        err.print("Interrupted. What was seen is kept for the next check.")
        raise
    work = working_on(store, name)
    findings = findings_of(work)
    _refuse_unknown(fix or [], findings)
    if not as_json:
        _print_findings(work, findings)
    words = _fix(store, name, fix or [])
    saved = save_edits(store, name) if save and edits_of(store, name) else None
    if as_json:
        found = [_finding_dict(finding) for finding in findings]
        numbers = {"version": version.number, "edits": len(work.edits), "saved": saved.number if saved else None}
        print_json({"name": name, **numbers, "findings": found, "fixed": words})
        return
    lines = [f"{one}." for one in words] + ([f"{name}, version {saved.number}. {saved.note}"] if saved else [])
    if lines:
        out.print("", *lines, sep="\n", markup=False)
    if words and not saved:
        tell_how_to_save(name)


def findings_of(work: Working) -> list[Finding]:
    """Of the quick checks, and of the network's last look where there was one; the serious ones first."""
    issues = LabelIssues.load(work.store.workspace, work.version.name)
    more = issue_findings(work.rows, issues) if issues else []
    every = [*more, *find(work.rows, facts_of(work.store, work.version))]
    return sorted(every, key=lambda finding: not finding.serious)


def _look_with_a_network(store: Store, version: VersionInfo, report) -> None:
    if edits_of(store, version.name):
        err.print(f"The network looks at version {version.number} as it was saved; edits that are not are left out.")
    use_patient_threads()
    from learner.advice.label_issues import find_label_issues

    found = find_label_issues(store, version, report)
    err.print(
        f"A quick model ({found.backbone}) looked at {count(found.images, 'image')} and foretold the class of "
        f"{percent(found.accuracy)}."
    )


def _refuse_unknown(keys: list[str], findings: list[Finding]) -> None:
    remedies = list(dict.fromkeys(finding.key for finding in findings if finding.remedy))
    for key in keys:
        if key not in remedies:
            there = f"There are remedies for: {', '.join(remedies)}" if remedies else "Nothing here has a remedy"
            raise DatasetError(f"No finding {key!r} that has a remedy was made. {there}.")


def _fix(store: Store, name: str, keys: list[str]) -> list[str]:
    """Add the remedies to the draft, one finding after another since each changes what is left to do."""
    words = []
    for key in keys:
        for finding in findings_of(working_on(store, name)):
            if finding.key == key and finding.remedy:
                add_edit(store, name, *finding.remedy.edits)
                words += [edit.in_words() for edit in finding.remedy.edits]
    return words


def _print_findings(work: Working, findings: list[Finding]) -> None:
    number = count(len(findings), "finding") if findings else "nothing doubtful was found"
    out.print(f"{work.title}: {number}", markup=False)
    for finding in findings:
        serious = " (serious)" if finding.serious else ""
        out.print(f"\n{finding.key}: {finding.title}{serious}", markup=False)
        out.print(f"  {finding.why}", markup=False)
        if finding.remedy:
            out.print(f"  {finding.remedy.label}: --fix {finding.key}", markup=False)
        notes = dict(finding.notes)
        rows = [(path, notes.get(path, "")) for path in finding.paths]
        if finding.key == "unreadable":
            rows = [(row.path, row.reason) for row in work.store.datasets.set_aside(work.version.id)]
        if rows:
            print_list("Found in:", rows, indent="  ")


def _finding_dict(finding: Finding) -> dict[str, Any]:
    values = {key: getattr(finding, key) for key in ("key", "title", "why", "serious", "groups")}
    return values | {"remedy": finding.remedy.label if finding.remedy else None, "notes": dict(finding.notes)}
