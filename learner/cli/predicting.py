"""`predict`: what a model says of images, of one as of thousands; rows are written as they come."""

import csv
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TextIO

import typer

from learner.cli.asking import image_files
from learner.cli.printing import AsJson, check_target, out, print_json, telling_about
from learner.errors import ModelError, ThawError
from learner.store import Store
from learner.terminal import err, progress_bar
from learner.wording import count, percent

if TYPE_CHECKING:
    from learner.inference.predictor import Prediction, Predictor

UNREAD_LISTED = 20
"""Unreadable files that are named at the end; the table names them all."""

Take = Callable[["Prediction"], None]


def predict(
    model: Annotated[str, typer.Argument(help="A run's id or an exported model.safetensors.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.", metavar="IMAGE_OR_FOLDER...")],
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 3,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a table here, row by row.")] = None,
    jsonl: Annotated[Path | None, typer.Option("--jsonl", help="Write a line of JSON for each image here.")] = None,
    as_json: AsJson = False,
    coverage: Annotated[
        float,
        typer.Option(
            min=0.5,
            max=1.0,
            help="What share of known images shall still be answered; the rest, and what lies as far from the training "
            "images, is none of the classes.",
        ),
    ] = 0.95,
    tta: Annotated[
        int,
        typer.Option(
            "--tta", min=0, max=64, help="Average over so many changed views of each image, drawn as in training."
        ),
    ] = 0,
    trust_pickle: Annotated[bool, typer.Option(help="Open a learner.pkl, which can run any program.")] = False,
    attention: Annotated[
        Path | None, typer.Option(help="Draw where a model with an attention head looked, as PNGs in this folder.")
    ] = None,
    heat_maps: Annotated[
        Path | None, typer.Option(help="Draw what spoke for each answer (Grad-CAM), as PNGs in this folder.")
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="The stage that heat maps are of, such as block5.", show_default="the last")
    ] = None,
) -> None:
    """Say what is on images."""
    paths = list(image_files(images))
    for target in (csv_file, jsonl, attention, heat_maps):
        if target is not None:
            check_target(target)
    if stage is not None and heat_maps is None:
        raise ThawError("--stage says which stage heat maps are of: name a folder for them too, --heat-maps FOLDER")

    from learner.inference.predictor import Predictor

    predictor = Predictor.open(model, Store(), trust_pickle)
    if attention is not None and not predictor.shows_attention:
        raise ModelError(
            "This model has no attention head, so it cannot show where it looked. Train one: --set head.kind=attention"
        )
    if stage is not None and stage not in predictor.spec.stages:
        raise ModelError(f"This model has no stage {stage!r}. Its stages are {', '.join(predictor.spec.stages)}.")
    predictions = predictor.predict(paths, top_k, tta)
    threshold = predictor.spec.threshold(coverage)
    if not predictor.spec.neighbours:
        err.print("This model cannot say “none of these”: it was made without reference images. Train it again.")
    kept: list[dict[str, Any]] = []
    written = read = 0
    unread: list[Path | BinaryIO] = []
    with ExitStack() as stack:
        takers = list(_takers(stack, predictor, threshold, top_k, csv_file, jsonl, attention, heat_maps, stage))
        if as_json:
            takers.append(lambda prediction: kept.append(_as_dict(prediction, threshold)))
        elif csv_file is None and jsonl is None:
            takers.append(lambda prediction: _tell(prediction, threshold))
        for prediction in _watched(stack, predictions, len(paths)):
            for take in takers:
                take(prediction)
            written += 1
            read += not prediction.error
            if prediction.error:
                unread.append(prediction.source)
    if as_json:
        print_json({"model": model, "coverage": coverage, "predictions": kept})
    else:
        for file in filter(None, (csv_file, jsonl)):
            out.print(f"Wrote {count(written, 'row')} to {file}", markup=False)
        for folder in filter(None, (attention, heat_maps)):
            out.print(f"Wrote {count(read, 'picture')} to {folder}", markup=False)
    if not read:
        raise ModelError(f"None of the {count(written, 'file')} could be read as an image.")
    if unread:
        for source in unread[:UNREAD_LISTED]:
            err.print(f"Not read: {source}", markup=False)
        if len(unread) > UNREAD_LISTED:
            err.print(f"… and {len(unread) - UNREAD_LISTED:,} more")
        err.print(f"{count(len(unread), 'file')} could not be read; the output says why.")


def _takers(
    stack: ExitStack,
    predictor: "Predictor",
    threshold: float,
    top_k: int,
    csv_file: Path | None,
    jsonl: Path | None,
    attention: Path | None,
    heat_maps: Path | None,
    stage: str | None,
) -> Iterator[Take]:
    """What is done with each prediction as it comes; files are closed with `stack`."""
    if csv_file is not None:
        yield _into_table(_opened(stack, csv_file), csv_file, threshold, min(top_k, len(predictor.spec.classes)))
    if jsonl is not None:
        yield _into_lines(_opened(stack, jsonl), jsonl, threshold)
    if attention is not None:
        yield _into_folder(attention, lambda prediction: prediction.attention)
    if heat_maps is not None:
        yield _into_folder(heat_maps, lambda prediction: _heat_map(predictor, prediction, stage))


def _opened(stack: ExitStack, path: Path) -> TextIO:
    with telling_about(path):
        return stack.enter_context(path.open("w", newline="", encoding="utf-8", buffering=1))


def _into_lines(file: TextIO, path: Path, threshold: float) -> Take:
    """A line of JSON for each prediction."""

    def take(prediction: "Prediction") -> None:
        with telling_about(path):
            file.write(json.dumps(_as_dict(prediction, threshold), ensure_ascii=False) + "\n")

    return take


def _into_table(file: TextIO, path: Path, threshold: float, ranks: int) -> Take:
    """Rows of a CSV file, `ranks` classes and probabilities each."""
    writer = csv.writer(file)
    headings = [f"{what}_{rank}" for rank in range(1, ranks + 1) for what in ("class", "prob")]
    with telling_about(path):
        writer.writerow(["file", *headings, "none_of_these", "distance", "error"])

    def take(prediction: "Prediction") -> None:
        cells = [cell for pair in zip(prediction.classes, prediction.probs, strict=True) for cell in pair]
        cells += [""] * (2 * ranks - len(cells))
        none = prediction.is_none_of_these(threshold)
        known = "" if none is None else "yes" if none else "no"
        distance = "" if prediction.distance is None else prediction.distance
        with telling_about(path):
            writer.writerow([prediction.source, *cells, known, distance, prediction.error])

    return take


def _into_folder(folder: Path, weights_of: Callable[["Prediction"], Any]) -> Take:
    """Each picture that could be read under its weights, as numbered PNGs."""
    from learner.datasets.images import read_image
    from learner.evaluation.overlay import overlay

    drawn = 0

    def take(prediction: "Prediction") -> None:
        nonlocal drawn
        if prediction.error:
            return
        drawn += 1
        assert isinstance(prediction.source, Path)
        file = folder / f"{drawn:04}_{prediction.source.stem}.png"
        with telling_about(folder):
            folder.mkdir(exist_ok=True)
            overlay(read_image(prediction.source), weights_of(prediction)).save(file)

    return take


def _heat_map(predictor: "Predictor", prediction: "Prediction", stage: str | None):
    from learner.evaluation.grad_cam import heat_maps

    answer = predictor.spec.classes.index(prediction.classes[0])
    return heat_maps(predictor, predictor.read(prediction.source)[None], [answer], stage)[0]


def _watched(stack: ExitStack, predictions: Iterator["Prediction"], total: int) -> Iterator["Prediction"]:
    """The same, while a bar shows how far it is and how long still."""
    bar = stack.enter_context(progress_bar(transient=True, disabled=total < 2))
    task, began = bar.add_task("Predicting", total=total), time.monotonic()
    for done, prediction in enumerate(predictions, start=1):
        left = (time.monotonic() - began) / done * (total - done)
        bar.update(task, completed=done, seconds_left=left)
        yield prediction


def _tell(prediction: "Prediction", threshold: float) -> None:
    answer = ", ".join(f"{name} {percent(p)}" for name, p in zip(prediction.classes, prediction.probs, strict=True))
    if prediction.is_none_of_these(threshold):
        answer = f"none of these (nearest: {answer})"
    out.print(f"{prediction.source}: {answer or 'not read. ' + prediction.error}", markup=False)


def _as_dict(prediction: "Prediction", threshold: float) -> dict[str, Any]:
    none = {"none_of_these": prediction.is_none_of_these(threshold)}
    return asdict(prediction) | {"source": str(prediction.source)} | none


def add_to(app: typer.Typer) -> None:
    """Make this command `app`'s."""
    app.command()(predict)
