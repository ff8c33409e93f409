"""The layout in which a table says which class each file belongs to."""

from collections import defaultdict

from learner.datasets.images import IMAGE_SUFFIXES
from learner.datasets.layouts.choice import Choice, Found, Reading
from learner.datasets.layouts.folders import flat_splits, split_of
from learner.datasets.layouts.listing import Listing
from learner.datasets.layouts.probabilities import (
    class_of,
    most_likely,
    plain_probability_columns,
    probabilities_in,
    probability_columns,
)
from learner.datasets.layouts.tables import (
    FileIndex,
    Table,
    group_column,
    label_column,
    weight_column,
    weight_of,
)
from learner.datasets.names import label_of, plural, suffix_of
from learner.errors import DatasetError

_ROWS_TRIED = 2000
UNLISTED = "The table has no row for it, so its class is not known."
_ODD = "Its probabilities in the table do not add up to 1."


def read_listed(images: list[str], listing: Listing, choice: Choice) -> Reading:
    """Class, split, group, weight and probabilities of each image as the table's columns say."""
    table = listing.tables.get(choice.table)
    if table is None:
        raise DatasetError(f"{listing.name} holds no table {choice.table!r} that can be read.")
    if not choice.file_column or not (choice.label_column or choice.probability_columns):
        raise DatasetError(f"Say which column of {choice.table} names the files and which one their classes.")
    rows_of, unmatched = _rows_by_image(images, table, choice.file_column)
    labels, splits, groups, weights = (
        table.column(name)
        for name in (choice.label_column, choice.split_column, choice.group_column, choice.weight_column)
    )
    folder_splits = {} if choice.split_column else flat_splits([tuple(path.split("/")) for path in images])
    probable = probabilities_in(table, choice.probability_columns)
    reading = Reading(used={choice.table, *listing.parts.get(choice.table, [])})
    odd: list[str] = []
    for path in images:
        rows = rows_of.get(path, [])
        named = [label_of(labels[row]) if labels[row] else most_likely(probable[row] or {}) for row in rows]
        given = list(dict.fromkeys(filter(None, named)))
        split = folder_splits.get(path.split("/")[-2], "") if folder_splits else ""
        if not rows:
            reading.found[path] = Found("", split, reason=UNLISTED)
            continue
        row = rows[0]
        reason = ""
        if len(given) > 1:
            reason = f"The table puts it into {' and '.join(given[:3])}, so its class is not known."
        elif not given:
            reason = _ODD if probable[row] is None else "Its row in the table names no class."
        label = "" if reason else given[0]
        odd += [path] if probable[row] is None else []
        certain = not probable[row] or probable[row] == {label: 1.0}
        reading.found[path] = Found(
            label,
            split_of(splits[row]) or split,
            groups[row],
            weight_of(weights[row]),
            reason,
            None if certain else probable[row],
        )
    if odd:
        told = f"the probabilities of {plural(len(odd), 'image')} do not add up to 1, such as those of {odd[0]}"
        reading.notes.append(f"{choice.table}: {told}. Only a class that the table names counts there.")
    _tell(reading, choice, unmatched, table)
    return reading


def _rows_by_image(images: list[str], table: Table, file_column: str) -> tuple[dict[str, list[int]], list[int]]:
    """Image → the numbers of its rows, and the rows that name no image."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    unmatched: list[int] = []
    for row, path in enumerate(FileIndex(images).match(table.column(file_column))):
        if path:
            rows_of[path].append(row)
        else:
            unmatched.append(row)
    return rows_of, unmatched


def _tell(reading: Reading, choice: Choice, unmatched: list[int], table: Table) -> None:
    """Put down what of the table cannot be used."""
    if unmatched:
        name = table.column(choice.file_column)[unmatched[0]] or "an empty cell"
        told = (
            f"{plural(len(unmatched), 'row')} of it {'names' if len(unmatched) == 1 else 'name'} no image here, or "
            f"several, such as {name}."
        )
        reading.set_aside.append((choice.table, told))
        reading.notes.append(f"{choice.table}: {told}")
    unlisted = sum(found.reason == UNLISTED for found in reading.found.values())
    if unlisted:
        comes = "image has no row in it and comes" if unlisted == 1 else "images have no row in it and come"
        reading.notes.append(f"{choice.table}: {unlisted:,} {comes} in without a class.")
    odd = {cell for cell in table.column(choice.weight_column) if cell and weight_of(cell) is None}
    if odd:
        reading.notes.append(f"{choice.table}: {min(odd)!r} is no weight; such images count as 1.")
    strange = {cell for cell in table.column(choice.split_column) if cell and not split_of(cell)}
    if strange:
        reading.notes.append(f"{choice.table}: {min(strange)!r} is neither train, valid nor test; it is left open.")


def guess_columns(images: list[str], path: str, table: Table) -> tuple[Choice | None, bool]:
    """Which columns mean what, and whether a heading says which one tells classes; None where it lists no images."""
    step = max(len(table.rows) // _ROWS_TRIED, 1)
    index = FileIndex(images)
    rated = {}
    for column in table.columns:
        cells = table.column(column)[::step]
        named = {name for cell in cells if (name := index.contains_name(cell))}
        rated[column] = (len(named), sum(suffix_of(cell) in IMAGE_SUFFIXES for cell in cells))
    file_column = max(rated, key=rated.__getitem__, default="")
    if not file_column or not rated[file_column][0]:
        return None, False
    split_column = next((column for column in table.columns if _tells_splits(table.column(column))), "")
    used = {file_column, split_column}
    probable = probability_columns(table, used)
    used |= set(probable)
    weight = weight_column(table, used)
    group = group_column(table, used | {weight})
    used |= {weight, group}
    label, is_named = label_column(table, used)
    if not probable and not is_named:
        probable = plain_probability_columns(table, used)
    if probable:
        label, _ = label_column(table, used | set(probable) | _naming_other_things(table, probable))
    elif not label:
        return None, False
    choice = Choice(
        "table",
        table=path,
        file_column=file_column,
        label_column=label,
        split_column=split_column,
        group_column=group,
        weight_column=weight,
        probability_columns=probable,
    )
    return choice, is_named or bool(probable)


def _naming_other_things(table: Table, probable: list[str]) -> set[str]:
    """Columns with none of the classes whose probabilities the table gives: a `type` may be that of the camera."""
    classes = {class_of(column) for column in probable}
    return {column for column in table.columns if classes.isdisjoint(map(label_of, table.column(column)))}


def _tells_splits(cells: list[str]) -> bool:
    said = {cell for cell in cells if cell}
    return len(said) <= 10 and {"train"} < {split_of(cell) for cell in said} <= {"train", "valid", "test"}
