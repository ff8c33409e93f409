"""`export`: a run's model as a file or folder to carry away, written only once it has proved itself."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from learner.api import export_with_progress
from learner.cli.printing import AsJson, check_target, out, print_json
from learner.errors import ThawError
from learner.exports import USUAL_COVERAGE, Export
from learner.exports.formats import FORMATS
from learner.exports.proofs import proof_dict
from learner.store import Store
from learner.terminal import err, telling
from learner.wording import file_size

ExportFormat = StrEnum("ExportFormat", {kind.upper().replace("-", "_"): kind for kind in FORMATS})  # type: ignore[misc]  # as for `Kind`
USUAL = ExportFormat("learner")


def export(
    run: Annotated[int, typer.Argument(metavar="RUN", help="A run's id.")],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="A file, or a folder to put it in. A name ending in .zip packs several files.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[ExportFormat, typer.Option("--format", help="What to write.")] = USUAL,
    coverage: Annotated[
        float,
        typer.Option(
            min=0.5, max=1, help='Share of images like the validation images that are not called "none of these".'
        ),
    ] = USUAL_COVERAGE,
    push_to: Annotated[
        str | None,
        typer.Option("--push", metavar="OWNER/NAME", help="Put it on the Hugging Face hub, with a model card."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="With --push: for its owner's eyes only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's model: for fastai, as safetensors, as ONNX, or as a web demo. It is proven before it is written."""
    if (to is None) == (push_to is None):
        raise ThawError("Say where it goes: --to FILE_OR_FOLDER, or --push OWNER/NAME for the Hugging Face hub.")
    if push_to is not None:
        _push(run, push_to, str(format_), coverage, private, as_json)
        return
    assert to is not None
    check_target(to)
    store = Store()
    made = export_with_progress(store, run, format_, to, coverage, quiet=as_json)
    if format_ == "hf" and made.path.is_dir():
        from learner.report.hub import write_card

        write_card(store, run, made.path, "hf")
    if as_json:
        told = {"path": str(made.path), "bytes": made.bytes, "sha256": made.sha256, "proof": proof_dict(made.proof)}
        print_json({"run": run, "format": str(format_)} | told)
        return
    print_export(made)


def _push(run: int, repository: str, kind: str, coverage: float, private: bool, as_json: bool) -> None:
    from learner.report.hub import push

    with telling("Loading", as_json) as tell:
        made, address = push(Store(), run, repository, kind, coverage, private, tell)
    if as_json:
        print_json({"run": run, "format": kind, "address": address, "proof": proof_dict(made.proof)})
        return
    out.print(address, markup=False)
    out.print(made.proof.sentence, markup=False)


def print_export(made: Export, beginning: str = "") -> None:
    """Path and size, the proof in a sentence, the SHA-256."""
    out.print(f"{beginning}{made.path} ({file_size(made.bytes)})", markup=False)
    out.print(made.proof.sentence, markup=False)
    if measured := made.proof.on_validation:
        out.print(measured.sentence, markup=False)
        out.print(f"Speed: {measured.speed_sentence}", markup=False)
        if measured.warning:
            err.print(f"[yellow]Warning:[/] {measured.warning}")
    if made.proof.kind == "learner":
        out.print("It is a pickle, which can run any program hidden in it: open only those you trust.", markup=False)
    out.print(f"SHA-256 of {made.proof.sealed}: {made.sha256}", markup=False)


def add_to(app: typer.Typer) -> None:
    """Make the command `app`'s."""
    app.command()(export)
