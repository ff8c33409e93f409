"""`data look`, `data add`, `data gallery`: what a source holds, and bringing it in."""

import shlex
import time
from typing import Annotated

import typer

from learner.cli.data.layout_options import LayoutOptions, options_for, with_layout_options
from learner.cli.data.printing import print_counts, print_dataset, summary_dict
from learner.cli.data.source_argument import GALLERY, arrived
from learner.cli.printing import AsJson, out, print_json
from learner.datasets import check_name, summarize
from learner.datasets.gallery import KNOWN
from learner.datasets.importing import import_from
from learner.datasets.layouts import Proposal
from learner.datasets.names import joined, sentence
from learner.store import Store
from learner.terminal import err, showing_progress
from learner.wording import count, file_size
from learner.workspace import Workspace

commands = typer.Typer()

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A folder, an archive (zip, tar, tar.gz …), a Parquet file, an image, an http(s) address, `digits`, the "
        "sample, `gallery:KEY`, or `hf:OWNER/NAME` on the Hugging Face hub.",
    ),
]


@commands.command("look")
@with_layout_options
def look(
    source: SourceArgument,
    wanted: LayoutOptions,
    as_json: AsJson = False,
) -> None:
    """Say what would be recognised and why, and import nothing. With options, what they would bring in."""
    with showing_progress("Opening", as_json) as report, arrived(Workspace.current(), source, report) as arrival:
        proposals = arrival.proposals if wanted == LayoutOptions() else [wanted.proposal(arrival)]
    if as_json:
        tables = {path: table.columns for path, table in arrival.listing.tables.items()}
        found = [proposal.to_dict() for proposal in proposals]
        print_json({"name": arrival.listing.name, "proposals": found, "tables": tables})
        return
    if len(proposals) == 1:
        _print_proposal(proposals[0])
    else:
        for number, proposal in enumerate(proposals, start=1):
            _print_proposal(proposal, f"{number}. ")
            out.print(f"To take it: {shlex.join(options_for(proposal.choice))}\n", markup=False)
    for path, columns in arrival.listing.tables.items():
        out.print(f"The table {path} has the columns {', '.join(columns.columns)}.", markup=False)


@commands.command("add")
@with_layout_options
def add(
    source: SourceArgument,
    name: Annotated[str, typer.Option(help="What to call the data set.")],
    wanted: LayoutOptions,
    keep: Annotated[
        bool,
        typer.Option(
            "--add/--replace", help="Where the data set exists: add to what its newest version holds, or replace that."
        ),
    ] = False,
    note: Annotated[str, typer.Option(help="What to say about this version.")] = "",
    as_json: AsJson = False,
) -> None:
    """Add a data set, or the next version of one; older versions stay."""
    name, store, started = check_name(name), Store(), time.time()
    try:
        with showing_progress("Opening", as_json) as report, arrived(store.workspace, source, report) as arrival:
            proposal = wanted.proposal(arrival)
            if not as_json:
                _announce(proposal)
            version = import_from(
                store,
                lambda: arrival.source,
                name,
                report,
                note=" ".join(filter(None, [sentence(note), arrival.origin])),
                choice=proposal.choice,
                mode="add" if keep else "replace",
            )
    except KeyboardInterrupt:
        done = name in store.datasets.names() and store.datasets.version(name).created_at >= started
        err.print("Interrupted, but all of it was in already." if done else "Interrupted. Nothing of it was kept.")
        raise
    known = version.created_at < started
    if as_json:
        layout_said = {"layout": proposal.choice.to_dict(), "unchanged": known}
        print_json(summary_dict(summarize(store, version)) | layout_said)
        return
    if known:
        err.print("These images are here already, so no version was made.")
    print_dataset(store, version)


@commands.command("gallery")
def gallery(as_json: AsJson = False) -> None:
    """List known sets with size, licence and address."""
    if as_json:
        print_json({"sets": [vars(known) for known in KNOWN.values()]})
        return
    for known in KNOWN.values():
        size = f", {file_size(known.num_bytes)}" if known.num_bytes else ""
        pictures = f"{count(known.images, 'image')} in {count(known.classes, 'class', 'classes')}"
        out.print(f"{known.key}: {known.title}", markup=False)
        out.print(f"  {known.description}", markup=False)
        out.print(f"  {pictures}{size}. Licence: {known.license}. {known.address}", markup=False)
    out.print(f"Add one: python -m learner data add {GALLERY}KEY --name NAME")


def _announce(proposal: Proposal) -> None:
    """What is about to come in, and what a person may want to do otherwise; the version's note says why."""
    classes = [label for label in proposal.counts if label]
    told = f"{count(proposal.images, 'image')} in {count(len(classes), 'class', 'classes')}"
    err.print(f"Recognised: {proposal.title}, {told}.", markup=False)
    for names in proposal.merges:
        err.print(f"{joined(names)} look like one class; --merge-alike makes them one.", markup=False)


def _print_proposal(proposal: Proposal, start: str = "") -> None:
    out.print(f"{start}{proposal.title}. {proposal.reason}", markup=False)
    print_counts(proposal.counts)
    for note in proposal.notes:
        out.print(note, markup=False)
    for names in proposal.merges:
        out.print(f"{joined(names)} look like one class; --merge-alike makes them one.", markup=False)
    for reason, number in proposal.set_aside.items():
        out.print(f"Left out, {count(number, 'file')}: {reason}", markup=False)
