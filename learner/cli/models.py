"""`python -m learner models …`: models that other programs trained."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from learner.cli.printing import AsJson, out, print_json, print_result, run_dict
from learner.importing import Asked, import_model
from learner.importing.pixels import PIXELS
from learner.store import Store
from learner.terminal import telling

models = typer.Typer(help="Models that other programs trained: import them as runs.", no_args_is_help=True)

PixelKind = StrEnum("PixelKind", {name.upper(): name for name in PIXELS})  # type: ignore[misc]  # as for `Kind`


@models.callback()
def models_group() -> None:
    """Models that other programs trained: import them as runs."""


@models.command("import")
def models_import(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Of Keras (.keras, .h5, .weights.h5: VGG16, VGG19, ResNet50), a checkpoint of timm or torchvision "
            "(.safetensors, .pth), or fastai's learner.pkl.",
        ),
    ],
    dataset: Annotated[str, typer.Option(help="The data set that it is checked on, with the same classes.")],
    classes: Annotated[
        str,
        typer.Option(
            help="Its classes in the order of its outputs, with commas between them.",
            show_default="the data set's, in the order of the alphabet",
        ),
    ] = "",
    pixels: Annotated[
        PixelKind | None,
        typer.Option(help="What it takes pixels for, where the file does not say it.", show_default=False),
    ] = None,
    arch: Annotated[
        str, typer.Option(help="timm's name of the network, for a checkpoint or a pickle.", show_default=False)
    ] = "",
    image_size: Annotated[
        int | None, typer.Option(min=32, max=1024, help="Side of images in pixels.", show_default="the file's")
    ] = None,
    trust_pickle: Annotated[bool, typer.Option(help="Open a learner.pkl, which can run any program.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a finished run of a model that another program trained, and check it on a data set's validation images."""
    store = Store()
    named = [name.strip() for name in classes.split(",")] if classes else None
    asked = Asked(dataset, named, pixels and str(pixels), arch or None, image_size, trust_pickle)
    with telling("Importing", quiet=as_json) as tell:
        run_id = import_model(store, file, asked, tell)
    run = store.runs.get(run_id)
    if as_json:
        print_json(run_dict(store, run, whole=True))
        return
    out.print(f"Run {run_id}: {run.facts['weights']['reason']}", markup=False)
    for note in run.notes:
        out.print(note, markup=False)
    print_result(store, run)
