"""The options by which a person says how classes are told, and what they make of what was recognised."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import wraps
from typing import Annotated

import typer

from learner.cli.data.source_argument import Arrival
from learner.datasets.layouts import KINDS, Choice, Proposal, preview
from learner.errors import DatasetError

Kind = StrEnum("Kind", {kind.upper(): kind for kind in KINDS})  # type: ignore[misc]  # its members are not written out
AUTOMATIC = Kind("auto")
_COLUMNS = ("file_column", "label_column", "split_column", "group_column", "weight_column")


@dataclass(frozen=True)
class LayoutOptions:
    """What a person said about the layout; what is left out is left to Thaw."""

    layout: Annotated[Kind, typer.Option(help="How classes are told, where what was recognised is not right.")] = (
        AUTOMATIC
    )
    pattern: Annotated[
        str, typer.Option(help="A regular expression for paths; its first group, or the one named label, is the class.")
    ] = ""
    per_class: Annotated[int, typer.Option(help="How many numbered files in a row make a class.")] = 0
    table: Annotated[str, typer.Option(help="The table with files and classes, by its path in SOURCE.")] = ""
    file_column: Annotated[str, typer.Option(help="Its column with the file.")] = ""
    label_column: Annotated[str, typer.Option(help="Its column with the class.")] = ""
    split_column: Annotated[str, typer.Option(help="Its column with train, valid or test.")] = ""
    group_column: Annotated[str, typer.Option(help="Its column that says what belongs together.")] = ""
    weight_column: Annotated[str, typer.Option(help="Its column with weights.")] = ""
    probability_column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="One of its columns with the probability of a class each, headed by the class; repeat it for each.",
        ),
    ] = None
    group_pattern: Annotated[
        str, typer.Option(help="A regular expression for paths; images with the same first group belong together.")
    ] = ""
    group_seconds: Annotated[
        float, typer.Option(min=0, help="Photos of one camera within so many seconds of each other belong together.")
    ] = 0.0
    classes: Annotated[
        list[str] | None, typer.Option("--class", metavar="OLD=NEW", help="Rename a class; two of one name are merged.")
    ] = None
    merge_alike: Annotated[
        bool, typer.Option("--merge-alike", help="Merge classes whose names differ only in case, spaces or signs.")
    ] = False

    def proposal(self, arrival: Arrival) -> Proposal:
        """What they bring in. Raises DatasetError when they contradict each other or do not fit the source."""
        choice = replace(self._choice(arrival), group_pattern=self.group_pattern, group_seconds=self.group_seconds)
        proposal = preview(arrival.listing, choice)
        proposal = self._renamed(arrival, proposal, self._classes(proposal))
        if self.merge_alike:
            proposal = self._renamed(arrival, proposal, _merged(proposal))
        return proposal

    def _choice(self, arrival: Arrival) -> Choice:
        columns = {name: getattr(self, name) for name in _COLUMNS}
        columns["probability_columns"] = self.probability_column or []
        given = {"names": self.pattern, "numbered": self.per_class, "table": self.table or any(columns.values())}
        kinds = {kind for kind, value in given.items() if value} | {str(self.layout)} - {"auto"}
        if len(kinds) > 1:
            raise DatasetError(
                "Options of several layouts were given. --pattern belongs to --layout names, --per-class to numbered, "
                "--table and the columns to table; give those of one."
            )
        if not kinds:
            return arrival.proposals[0].choice
        [kind] = kinds
        fitting = (one.choice for one in arrival.proposals if one.choice.kind == kind)
        choice = next((one for one in fitting if self.table in ("", one.table)), Choice(kind))
        table = self.table or choice.table
        if kind == "table" and table not in arrival.listing.tables:
            what = f"table {table!r}" if table else "table that lists its images"
            there = ", ".join(arrival.listing.tables) or "none"
            raise DatasetError(f"{arrival.listing.name} has no {what}. Tables that can be read: {there}.")
        said = {"pattern": self.pattern, "per_class": self.per_class, "table": self.table, **columns}
        if self.probability_column:  # then the most likely class is meant, unless a column was named
            choice = replace(choice, label_column="")
        return replace(choice, **{key: value for key, value in said.items() if value})

    def _classes(self, proposal: Proposal) -> dict[str, str]:
        names: dict[str, str] = {}
        for pair in self.classes or []:
            old, sign, new = pair.partition("=")
            if not sign or not new.strip():
                raise DatasetError(f"--class {pair!r} is not of the form OLD=NEW.")
            if old not in proposal.counts:
                raise DatasetError(f"There is no class {old!r}. There are: {', '.join(filter(None, proposal.counts))}.")
            names[old] = new
        return names

    @staticmethod
    def _renamed(arrival: Arrival, proposal: Proposal, names: Mapping[str, str]) -> Proposal:
        if not names:
            return proposal
        earlier = {found: names.get(kept, kept) for found, kept in proposal.choice.classes.items()}
        return preview(arrival.listing, replace(proposal.choice, classes={**names, **earlier}))


def _merged(proposal: Proposal) -> dict[str, str]:
    """Of classes that look alike, each smaller one → the one with the most images."""
    names: dict[str, str] = {}
    for alike in proposal.merges:
        most = max(alike, key=lambda name: sum(proposal.counts[name].values()))
        names |= {name: most for name in alike if name != most}
    return names


def with_layout_options(command: Callable) -> Callable:
    """Gives a command the options of `LayoutOptions` in place of its parameter `wanted`."""
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name != "wanted":
            parameters.append(parameter)
            continue
        parameters += [
            inspect.Parameter(one.name, parameter.kind, annotation=one.type, default=one.default)
            for one in fields(LayoutOptions)
        ]

    @wraps(command)
    def with_options(**given):
        said = {one.name: given.pop(one.name) for one in fields(LayoutOptions)}
        return command(**given, wanted=LayoutOptions(**said))

    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # `inspect` looks for it
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


def options_for(choice: Choice) -> list[str]:
    """The words that choose `choice` on the command line."""
    words = ["--layout", choice.kind]
    if choice.pattern:
        words += ["--pattern", choice.pattern]
    if choice.per_class:
        words += ["--per-class", str(choice.per_class)]
    if choice.table:
        words += ["--table", choice.table]
    return words
