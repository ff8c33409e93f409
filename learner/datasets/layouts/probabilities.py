"""Probabilities of classes, where a table gives one for each: which columns they are, and what a row of them says."""

import re
from collections.abc import Mapping

from learner.datasets.layouts.tables import Table, weight_of
from learner.datasets.names import label_of

MOST_OFF = 0.01
"""By which the probabilities of a row may miss 1, for those that were rounded."""
_PREFIX = re.compile(r"(?:probability|prob|p)\s*(?::|_(?!\d+$))\s*(?=\S)", re.IGNORECASE)
"""`prob_1`, `prob_2` … are of the first, the second answer, as `predict` writes them: the number is no class."""


def probability_columns(table: Table, others: set[str]) -> list[str]:
    """The columns headed `probability:cat`, `prob_cat`, `p:cat` and so on; none where few of their rows add up to 1.

    `others` are the columns that are something else.
    """
    columns = [column for column in table.columns if column not in others and _PREFIX.match(column)]
    return columns if _share_that_adds_up(table, columns) >= 0.5 else []


def plain_probability_columns(table: Table, others: set[str]) -> list[str]:
    """All columns of numbers from 0 to 1, which are headed by classes then; none where any row does not add up to 1."""
    columns = [
        column
        for column in table.columns
        if column not in others and all(_is_share(cell) for cell in table.column(column))
    ]
    return columns if _share_that_adds_up(table, columns) == 1 else []


def class_of(column: str) -> str:
    """The class whose probability a column gives: `cat` for `probability:cat` and for `cat`."""
    prefix = _PREFIX.match(column)
    return label_of(column[prefix.end() :] if prefix else column)


def probabilities_in(table: Table, columns: list[str]) -> list[dict[str, float] | None]:
    """For each row those above 0, in the order of the columns, made to add up to 1; an empty cell is 0.

    A row of empty cells gives none. None where a cell is no number from 0 up, or they miss 1 by more than `MOST_OFF`.
    Raises DatasetError when there is no such column.
    """
    if not columns:
        return [{} for _ in table.rows]
    classes = [class_of(column) for column in columns]
    return [_probabilities(cells, classes) for cells in zip(*map(table.column, columns), strict=True)]


def _probabilities(cells: tuple[str, ...], classes: list[str]) -> dict[str, float] | None:
    if not any(cells):
        return {}
    given: dict[str, float] = {}
    for name, cell in zip(classes, cells, strict=True):
        number = weight_of(cell or "0")
        if number is None:
            return None
        if number:
            given[name] = given.get(name, 0.0) + number
    total = sum(given.values())
    if abs(total - 1) > MOST_OFF + 1e-9:  # 0.99 in binary is a little below
        return None
    return {name: number / total for name, number in given.items()}


def most_likely(probabilities: Mapping[str, float]) -> str:
    """The class with the highest, the first of several; empty for none."""
    return max(probabilities, key=probabilities.__getitem__, default="")


def renamed(probabilities: Mapping[str, float] | None, names: Mapping[str, str]) -> dict[str, float] | None:
    """The same with classes renamed, old name → new; those of one name are added up."""
    if not probabilities:
        return None
    new: dict[str, float] = {}
    for name, number in probabilities.items():
        kept = names.get(name, name)
        new[kept] = new.get(kept, 0.0) + number
    return new


def _is_share(cell: str) -> bool:
    number = weight_of(cell or "0")
    return number is not None and number <= 1 + MOST_OFF


def _share_that_adds_up(table: Table, columns: list[str]) -> float:
    """Of the rows that hold anything in these columns; 0 where there are none, or not two columns."""
    said = [one for one in probabilities_in(table, columns) if one != {}] if len(columns) > 1 else []
    return sum(one is not None for one in said) / len(said) if said else 0.0
