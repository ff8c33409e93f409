"""`data split`: which images are learnt from, which check, which test; and what fixes that for good."""

from pathlib import Path
from typing import Annotated, Any

import typer

from learner.cli.data.showing import Name
from learner.cli.data.working import Working, tell_how_to_save, working_on
from learner.cli.printing import AsJson, check_target, out, print_json, table_of, write_csv
from learner.datasets import natural_key
from learner.datasets.editing import Edit, add_edit, edited, keep_split
from learner.datasets.exclusions import ImageRow
from learner.datasets.grouping import components
from learner.datasets.splits import Split, describe_split, draw_test_set, has_own_split
from learner.errors import DatasetError
from learner.recipe import Recipe
from learner.store import Store
from learner.wording import count

commands = typer.Typer()
_USUAL = Recipe("any")


@commands.command("split")
def split(
    name: Name,
    valid: Annotated[float, typer.Option(help="Share of the images for validation.")] = _USUAL.valid_fraction,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Another seed draws another split.")] = _USUAL.seed,
    folds: Annotated[int, typer.Option(min=0, max=20, help="Every image validates in one of so many folds.")] = 0,
    test: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Draw a test set of this share into the edits.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Write train and valid into the edits.")] = False,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write path, label and side of each image here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the split that a recipe would get. It says how many leaks grouping prevents."""
    if csv_file is not None:
        check_target(csv_file)
    store = Store()
    work = working_on(store, name)
    rows, edits = work.rows, []
    if test is not None:
        drawn = draw_test_set(rows, seed, test)
        edits.append(Edit("move", tuple(row.path for row in drawn), to="test"))
        rows = edited(rows, edits)
    fixed = has_own_split(row for row in rows if not row.excluded)
    if keep and (folds or fixed):
        why = "--folds draws several" if folds else f"{name} has validation images of its own already"
        raise DatasetError(f"--keep writes one split down, but {why}.")
    numbers = range(1, max(folds, 1) + 1) if not fixed else [1]
    splits = [describe_split(rows, seed, valid, folds=0 if fixed else folds, fold=number) for number in numbers]
    if keep:
        edits.append(keep_split(splits[0]))
    if csv_file is not None:
        write_csv(csv_file, ["path", "label", "side"], _sides(splits))
    if not as_json:
        _print_split(work, rows, splits, fixed)
    if edits:
        add_edit(store, name, *edits)
    if as_json:
        told = {
            "name": name,
            "version": work.version.number,
            "fixed": fixed,
            "edits": [one.in_words() for one in edits],
        }
        print_json(told | {"splits": [_split_dict(one) for one in splits]})
        return
    if not fixed and not edits:
        out.print(f"In a recipe: {_in_a_recipe(valid, seed, folds)}")
    for edit in edits:
        out.print(f"{edit.in_words()}.", markup=False)
    if edits:
        tell_how_to_save(name)
    if csv_file is not None:
        out.print(f"Wrote {csv_file}", markup=False)


def _print_split(work: Working, rows: list[ImageRow], splits: list[Split], fixed: bool) -> None:
    out.print(work.title, markup=False)
    if fixed:
        out.print("It has validation images of its own, so every recipe uses those, whatever its seed and folds.")
    headings = ("Images", "Classes")
    table = table_of("Side", *headings, right=headings)
    for number, split in enumerate(splits, start=1):
        for side, images in (("train", split.train), ("valid", split.valid), ("test", split.test)):
            if images or side != "test":
                fold = f"fold {number} " if len(splits) > 1 else ""
                table.add_row(f"{fold}{side}", f"{len(images):,}", str(len({image.label for image in images})))
    out.print(table)
    together = [group for group in components(row for row in rows if not row.excluded) if len(group) > 1]
    if not together:
        out.print("No near duplicates and no declared groups: every image is drawn by itself.")
        return
    told = f"{count(sum(map(len, together)), 'image')} in {count(len(together), 'group')}"
    out.print(f"{told} stay together (near duplicates or declared).")
    prevented, torn = (sum(getattr(split, name) for split in splits) for name in ("prevented", "torn"))
    if prevented:
        out.print(
            f"Grouping prevents {count(prevented, 'leak')}: so many validation images would have had a near twin in "
            "training."
        )
    if torn:
        out.print(
            f"{count(torn, 'validation image')} still with a near twin in training: a class that is little more than "
            "one burst, or the folders that came in say so."
        )


def _in_a_recipe(valid: float, seed: int, folds: int) -> str:
    if folds:
        return f"--set seed={seed} --set folds={folds} --set fold=1, and a run for each fold up to {folds}"
    return f"--set seed={seed} --set valid_fraction={valid:g}"


def _sides(splits: list[Split]) -> list[tuple[str, str, str]]:
    """(path, label, side); with several folds the side is the fold in which an image validates."""
    several = len(splits) > 1
    rows = [] if several else [(image.path, image.label, "train") for image in splits[0].train]
    for number, split in enumerate(splits, start=1):
        rows += [(image.path, image.label, f"fold {number}" if several else "valid") for image in split.valid]
    rows += [(image.path, image.label, "test") for image in splits[0].test]
    return sorted(rows, key=lambda row: natural_key(row[0]))


def _split_dict(split: Split) -> dict[str, Any]:
    sides = {side: [image.path for image in getattr(split, side)] for side in ("train", "valid", "test")}
    return sides | {"prevented": split.prevented, "torn": split.torn}
