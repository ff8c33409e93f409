"""Layouts in a person's words."""

from learner.datasets.layouts.choice import KINDS, Choice, Proposal
from learner.datasets.layouts.numbers import KNOWN_COUNTS
from learner.datasets.layouts.patterns import INNERMOST_FOLDER
from learner.datasets.names import joined, plural

_NO_TABLES = {
    "Parquet": "A column of the Parquet file tells the classes",
    "files beside the images": "Files beside the images tell the classes",
    "COCO": "COCO files list the classes",
}
"""What is read as a table but is none to people, by the name it has among tables."""
_SPLITS = {"train": "training", "valid": "validation", "test": "test"}


def title_of(choice: Choice) -> str:
    """What the choice takes for the class, as a heading."""
    if choice.kind == "names" and choice.pattern == INNERMOST_FOLDER:
        return "The innermost folder is the class"
    if choice.kind == "numbered":
        return f"Numbered files, {choice.per_class} for each class"
    if choice.table.rpartition("/")[2] in _NO_TABLES:
        return _NO_TABLES[choice.table.rpartition("/")[2]]
    if choice.kind == "table":
        return f"The table {choice.table.rpartition('/')[2]} lists the classes"
    return KINDS[choice.kind]


def reason_for(proposal: Proposal, seen: str) -> str:
    """A sentence that says what was seen; `seen` begins the one about split folders."""
    choice = proposal.choice
    labels = [label for label in proposal.counts if label]
    classes = f"{plural(len(labels), 'class', 'classes')}{_such_as(labels)}"
    images = plural(proposal.images, "image")
    found = {split for counts in proposal.counts.values() for split in counts}
    splits = [word for split, word in _SPLITS.items() if split in found]
    if choice.kind == "folders" and len(labels) == 1:
        return f"The images lie in one folder, {labels[0]}."
    if choice.kind == "folders":
        return f"The images lie in one folder for each of {classes}."
    if choice.kind == "splits":
        return f"{seen} tell which images are for {joined(splits)}; {classes}."
    if choice.kind == "names" and choice.pattern == INNERMOST_FOLDER:
        return f"The folder that an image lies in tells its class: {classes}."
    if choice.kind == "names":
        return f"The names tell {classes}."
    if choice.kind == "numbered":
        known = ", as in Oxford Flowers 17" if KNOWN_COUNTS.get(proposal.images) == choice.per_class else ""
        return f"{images} numbered in a row, {choice.per_class} for each of {classes}{known}."
    if choice.kind == "setid":
        also = ", setid.mat what they are for" if splits else ""
        return f"imagelabels.mat lists the classes of numbered images{also}, as in Oxford Flowers 102; {classes}."
    if choice.kind == "table":
        return f"{choice.table} names {_columns(choice)}; {classes}."
    return f"Nothing tells the classes of {images}; they come in to be labelled here."


def _columns(choice: Choice) -> str:
    parts = [f"the files in {choice.file_column}"]
    optional = {
        choice.label_column: "classes",
        choice.split_column: "splits",
        choice.group_column: "groups",
        choice.weight_column: "weights",
    }
    parts += [f"the {what} in {column}" for column, what in optional.items() if column]
    if choice.probability_columns:
        columns = choice.probability_columns
        number = plural(len(columns), "class", "classes")
        parts.append(f"the probabilities of {number} in {columns[0]} to {columns[-1]}")
    return joined(parts)


def _such_as(labels: list[str]) -> str:
    return f" ({', '.join(labels[:3])}{' …' if len(labels) > 3 else ''})" if labels else ""
