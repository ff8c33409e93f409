"""What is on its way in: progress, and what was found, to be agreed to or corrected."""

from dataclasses import replace

import streamlit as st

from learner.datasets.importing import Mode
from learner.datasets.jobs import ImportJob, cancel, dismiss, import_found, jobs, listing
from learner.datasets.layouts import KINDS, Choice, Listing, Proposal, preview
from learner.datasets.names import plural
from learner.errors import DatasetError
from learner.store import Store
from learner.wording import count, duration, file_size
from ui import state
from ui.frame import telling_errors
from ui.names import plain

CLASSES_SHOWN = 12


def show_arrivals(store: Store) -> list[ImportJob]:
    """Everything that is not in yet, or ended badly; polls what is at work. Returns what waits for a person."""
    every = jobs(store.workspace)
    if any(job.working for job in every):
        st.fragment(watch, run_every=0.7)(store, [job.id for job in every if job.working])
    for job in every:
        if job.status == "found":
            show_found(store, job)
        elif job.ended:
            show_ended(store, job)
    return [job for job in every if job.status == "found"]


def watch(store: Store, watched: list[str]) -> None:
    """Progress of those at work; the whole page is shown again when one of them has come further."""
    at_work = [job for job in jobs(store.workspace) if job.working]
    if [job.id for job in at_work] != watched:
        st.rerun()
    for job in at_work:
        show_progress(store, job)


def show_progress(store: Store, job: ImportJob) -> None:
    progress = job.progress
    share = progress.done / progress.total if progress and progress.total else 0.0
    left = f" {duration(progress.seconds_left)} left." if progress and progress.seconds_left is not None else ""
    done = ""
    if progress and progress.total:
        as_text = file_size if progress.unit == "bytes" else "{:,}".format
        done = f" {as_text(progress.done)} of {as_text(progress.total)}."
    title = job.name if job.stage == "import" else job.source
    st.progress(min(share, 1.0), text=plain(f"{title}: {progress.what if progress else 'Starting.'}{done}{left}"))
    if st.button("Cancel this import" if job.stage == "import" else "Cancel", key=f"cancel-{job.id}"):
        cancel(store.workspace, job.id)
    st.caption("You may leave this page; it goes on.")


def show_ended(store: Store, job: ImportJob) -> None:
    if job.status == "done":
        st.session_state[state.DATASET] = job.name
        dismiss(store.workspace, job.id)
        st.toast(f"{plain(job.name)} is ready.")
        return
    tell = st.info if job.status == "cancelled" else st.error
    tell(f"**{plain(job.source)}** was not imported. {plain(job.message)}")
    with st.container(horizontal=True):
        if job.can_import and st.button("Try again", key=f"again-{job.id}"):
            st.session_state[f"again-{job.id}-open"] = True
        if job.can_import:
            offer_to_throw_away(store, job)
        elif st.button("Dismiss", key=f"dismiss-{job.id}"):
            dismiss(store.workspace, job.id)
            st.rerun()
    if job.can_import and st.session_state.get(f"again-{job.id}-open"):
        show_found(store, job)


@state.cached(st.cache_resource, max_entries=4, show_spinner=False)
def _listing(job_id: str, _store: Store) -> Listing:
    return listing(_store.workspace, job_id)


def show_found(store: Store, job: ImportJob) -> None:
    """What was recognised and why; another layout, its settings, names to merge; then the import."""
    with st.container(border=True, key=f"found-{job.id}"), telling_errors():
        found = _listing(job.id, store)
        st.subheader(f"Found in {plain(job.source)}")
        choice = choose_layout(job, found)
        try:
            proposal = preview(found, choice)
        except DatasetError as error:
            st.error(plain(str(error)))
            proposal = None
        if proposal:
            st.markdown(f"**{plain(proposal.title)}.** {plain(proposal.reason)}")
            choice = merge_names(job, choice, proposal)
            show_classes(proposal)
            show_left_out(proposal)
            choice = declare_groups(job, choice, found)
        import_form(store, job, choice, proposal)


def offer_to_throw_away(store: Store, job: ImportJob) -> None:
    """Files that were uploaded are deleted only when a person says so twice."""
    with st.popover("Throw away"):
        st.markdown("Nothing of these files was imported. What was uploaded or downloaded is deleted.")
        if st.button("Throw the files away", key=f"throw-{job.id}"):
            dismiss(store.workspace, job.id)
            st.rerun()


def choose_layout(job: ImportJob, found: Listing) -> Choice:
    """The best proposal, unless a person knows better."""
    proposals = job.findings
    fitting = [proposal.choice for proposal in proposals]
    others = [Choice(kind) for kind in KINDS if kind != "auto" and kind not in {choice.kind for choice in fitting}]
    choices = [*fitting, *others]
    titles = [
        *(
            f"{proposal.title} ({plural(len([c for c in proposal.counts if c]), 'class', 'classes')})"
            for proposal in proposals
        ),
        *(KINDS[choice.kind] for choice in others),
    ]
    with st.expander("Not right? Say how the classes are told"):
        index = st.selectbox(
            "Classes are told by", range(len(choices)), format_func=titles.__getitem__, key=f"layout-{job.id}"
        )
        choice = choices[index]
        if choice.kind == "names":
            pattern = st.text_input(
                "Pattern in the path (a regular expression; its first group is the class)",
                value=choice.pattern or r"(?P<label>[^/]+)_\d+\.\w+$",
                key=f"pattern-{job.id}-{index}",
                help="Groups named label, split and group are taken as those.",
            )
            choice = replace(choice, pattern=pattern)
        elif choice.kind == "numbered":
            per_class = st.number_input(
                "Files in a row for each class", 1, 1_000_000, choice.per_class or 80, key=f"per-{job.id}-{index}"
            )
            choice = replace(choice, per_class=int(per_class))
        elif choice.kind == "table":
            choice = choose_columns(job, choice, found, index)
    return choice


def choose_columns(job: ImportJob, choice: Choice, found: Listing, index: int) -> Choice:
    if not found.tables:
        st.caption("There is no table among the files.")
        return choice
    names = list(found.tables)
    table = st.selectbox(
        "Table", names, index=names.index(choice.table) if choice.table in names else 0, key=f"t-{job.id}-{index}"
    )
    columns = found.tables[table].columns

    probable = st.multiselect(
        "Columns with the probability of a class each",
        columns,
        default=[name for name in choice.probability_columns if name in columns],
        key=f"probability_columns-{job.id}-{index}-{table}",
        help="Headed by the class, or by probability: and the class. The loss then uses the probabilities; without a "
        "column with the class, an image counts as its most likely one.",
    )

    def column(place, field: str, label: str) -> str:
        needed = field == "file_column" or (field == "label_column" and not probable)
        options = columns if needed else ["", *columns]
        usual = getattr(choice, field)
        return place.selectbox(
            label,
            options,
            index=options.index(usual) if usual in options else 0,
            format_func=lambda name: name or "none",
            key=f"{field}-{job.id}-{index}-{table}",
        )

    left, right = st.columns(2)
    return replace(
        choice,
        table=table,
        file_column=column(left, "file_column", "Column with the file"),
        label_column=column(left, "label_column", "Column with the class"),
        split_column=column(right, "split_column", "Column with the split"),
        group_column=column(right, "group_column", "Column that says what belongs together"),
        weight_column=column(right, "weight_column", "Column with the weight"),
        probability_columns=probable,
    )


def merge_names(job: ImportJob, choice: Choice, proposal: Proposal) -> Choice:
    """Offer to merge classes whose names differ only in case, spaces or signs."""
    classes = dict(choice.classes)
    for names in proposal.merges:
        most = max(names, key=lambda name: sum(proposal.counts.get(name, {}).values()))
        told = ", ".join(f"“{name}”" for name in names)
        if st.checkbox(plain(f"Merge {told} into one class, {most}"), value=True, key=f"merge-{job.id}-{names}"):
            classes |= {name: most for name in names if name != most}
    return replace(choice, classes=classes)


def show_classes(proposal: Proposal) -> None:
    splits = sorted({split for counts in proposal.counts.values() for split in counts})
    names = {"": "Images" if len(splits) == 1 else "Undecided", "train": "Train", "valid": "Valid", "test": "Test"}
    rows = [
        {"Class": label or "no class yet"}
        | {names[split]: counts.get(split, 0) for split in splits}
        | {"For example": ", ".join(path.rsplit("/", 1)[-1] for path in proposal.examples.get(label, [])[:2])}
        for label, counts in proposal.counts.items()
    ]
    st.dataframe(rows, hide_index=True, height=min(len(rows), CLASSES_SHOWN) * 35 + 38)
    for note in proposal.notes:
        st.caption(plain(note))


def show_left_out(proposal: Proposal) -> None:
    if proposal.set_aside:
        number = sum(proposal.set_aside.values())
        with st.expander(f"{count(number, 'file')} will be left out"):
            st.dataframe(
                [{"Files": number, "Why": reason} for reason, number in proposal.set_aside.items()], hide_index=True
            )


def declare_groups(job: ImportJob, choice: Choice, found: Listing) -> Choice:
    with st.expander("Do some images belong together?"):
        st.caption(
            "Several images of one patient, plant or part should not stand on both sides of a split. Near duplicates "
            "are found by themselves; what else belongs together, a pattern in the path can tell."
        )
        pattern = st.text_input(
            "Pattern (a regular expression; its first group names what belongs together)",
            value=choice.group_pattern,
            placeholder=r"patient(\d+)",
            key=f"groups-{job.id}",
        )
        seconds = st.number_input(
            "Photos of one camera taken within so many seconds of each other belong together (0: they need not)",
            0,
            86_400,
            int(choice.group_seconds),
            key=f"seconds-{job.id}",
        )
    return replace(choice, group_pattern=pattern, group_seconds=float(seconds))


def import_form(store: Store, job: ImportJob, choice: Choice, proposal: Proposal | None) -> None:
    name = st.text_input("Name of the data set", value=job.name, max_chars=80, key=f"name-{job.id}")
    mode: Mode = "replace"
    if name in store.datasets.names():
        add = f"Add these images to {plain(name)}"
        instead = f"Replace what {plain(name)} holds (its old versions stay)"
        mode = (
            "add" if st.radio("There is a data set of that name", [add, instead], key=f"mode-{job.id}") == add else mode
        )
    with st.container(horizontal=True):
        label = f"Import {count(proposal.images, 'image')}" if proposal else "Import"
        if st.button(label, type="primary", disabled=not (proposal and name.strip()), key=f"import-{job.id}"):
            with telling_errors():
                import_found(store.workspace, job.id, name, choice, mode)
                state.done_adding()
        if job.status == "found":
            offer_to_throw_away(store, job)
