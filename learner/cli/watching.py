"""`watch`: a row in a table for every picture that comes into a folder, and a warning when pictures begin to differ."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from learner.cli.printing import check_target, out
from learner.errors import ModelError
from learner.exports import USUAL_COVERAGE
from learner.terminal import err, telling
from learner.wording import count

if TYPE_CHECKING:
    from learner.serving.watching import Watch


def watch(
    model: Annotated[str, typer.Argument(metavar="RUN_OR_FILE", help="A run's id, or an exported model.onnx.")],
    folder: Annotated[Path, typer.Argument(help="Where pictures come in, folders in it too.")],
    csv_file: Annotated[Path, typer.Option("--csv", help="The table; rows are added, and known pictures stay.")],
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to write.")] = 3,
    every: Annotated[float, typer.Option(min=0.1, max=86400, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    coverage: Annotated[
        float,
        typer.Option(min=0.5, max=1, help='Share of images like the validation images that is not "none of these".'),
    ] = USUAL_COVERAGE,
) -> None:
    """Say what is on pictures as they come into a folder, until Ctrl-C; a restart goes on where it was.

    Warns when 50 pictures in turn lie further from the training photos than the validation photos did. Of such groups
    without any change, one in 1,000 is warned of by chance.
    """
    check_target(csv_file)
    if not folder.is_dir():
        raise ModelError(f"There is no folder {folder}.")
    from learner.serving.model import ServedModel
    from learner.serving.opening import onnx_of
    from learner.serving.watching import Watch

    with telling("Opening the model") as tell:
        served = ServedModel(onnx_of(model, coverage, tell).file)
    with Watch(served, folder, csv_file, top_k) as watching:
        if not watching.tells_drift:
            err.print("Whether pictures differ from the training photos is not told: the model knows too few of them.")
        if not once:
            err.print(f"Watching {folder}; {count(watching.rows, 'picture')} known. Ctrl-C ends it.", markup=False)
        try:
            _look_until_told(watching, every, once)
        except KeyboardInterrupt:
            err.print(f"{csv_file} has {count(watching.rows, 'picture')}.", markup=False)


def _look_until_told(watching: "Watch", every: float, once: bool) -> None:
    from learner.serving.watching import FolderAway

    trouble = ""
    while True:
        try:
            seen = watching.look()
            trouble = ""
        except FolderAway as error:
            if once:
                raise
            if str(error) != trouble:
                trouble = str(error)
                err.print(f"{trouble} Trying again.", markup=False)
        else:
            for warning in seen.warnings:
                err.print(warning, markup=False)
            if seen.pictures:
                unread = f", {count(seen.unread, 'picture')} not read" if seen.unread else ""
                out.print(f"{count(seen.pictures, 'new picture')}{unread}")
        if once:
            return
        time.sleep(every)


def add_to(app: typer.Typer) -> None:
    """Make the command `app`'s."""
    app.command()(watch)
