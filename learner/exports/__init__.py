"""Models to carry away. Each is opened in a fresh process without Thaw before it is offered.

Needs no torch until one is made.
"""

import importlib
import shutil
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from learner.errors import ModelError, is_disk_full
from learner.exports.formats import FORMATS
from learner.exports.proofs import Proof, download_file, keep_proof, remove_export, sha256_of
from learner.jobs.process import Tell
from learner.store import Store

if TYPE_CHECKING:
    from learner.exports.contents import Contents
    from learner.exports.measuring import RunImages

USUAL_COVERAGE = 0.95
WRITERS = {
    "learner": "learner.exports.learner_pkl:write_learner",
    "safetensors": "learner.exports.safetensors:write_safetensors",
    "onnx": "learner.exports.onnx:write_onnx",
    "onnx-fp16": "learner.exports.onnx_reduced:write_fp16",
    "openvino": "learner.exports.openvino:write_openvino",
    "litert": "learner.exports.litert:write_litert",
    "coreml": "learner.exports.coreml:write_coreml",
    "hf": "learner.exports.hf:write_hf",
    "web": "learner.exports.web:write_web",
}
"""The function that writes each kind, by name, as its module loads torch. int8 takes images besides."""


@dataclass(frozen=True)
class Export:
    """Something written and proven."""

    path: Path
    """The file, or the web demo's folder; of safetensors the file beside which the others lie."""
    bytes: int
    """Of all that was written."""
    sha256: str
    """Of `proof.sealed`."""
    proof: Proof


def export(
    store: Store,
    run_id: int,
    kind: str,
    target: Path,
    coverage: float = USUAL_COVERAGE,
    tell: Tell = lambda text: None,
) -> Export:
    """Write a run's best model as `kind` (of `FORMATS`), prove it, and only then put it at `target`.

    `target` is a file, or a folder to put it in; of several files, a name that ends in `.zip` packs them. `coverage`
    (0 to 1) is the share of images like the validation images that is still answered. Raises ModelError, and what
    `learner.evaluation.inspect.complete` raises for a run of an older Thaw; then nothing is left at `target`.
    """
    checkpoint = store.checkpoint(run_id)
    folder = store.run_folder(run_id)
    target = _full_name(FORMATS[kind].file, target)
    if FORMATS[kind].missing:
        raise ModelError(f"{FORMATS[kind].name} cannot be written. {FORMATS[kind].missing}")
    if FORMATS[kind].holds == "folder" and target.suffix != ".zip" and target.exists():
        raise ModelError(f"{target} is already there. Name another folder, or remove it first.")
    tell("Loading the model")
    from learner.evaluation.results import is_complete

    if not is_complete(folder):
        from learner.evaluation.inspect import complete

        complete(store, run_id, tell)

    from learner.exports.contents import Contents

    before = sha256_of(checkpoint)
    contents = Contents.read(checkpoint, coverage)
    images = _images(store, run_id, kind, contents, before, tell)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".thaw-") as temporary:
            written = write(contents, kind, Path(temporary), target.name, tell, images)
            proven = _unpacked(kind, written)
            tell("Opening it in a fresh process without Thaw, to compare its answers")

            from learner.exports.proving import prove

            finding = prove(kind, proven, contents, images, tell)
            sealed = written if written.is_file() else written / FORMATS[kind].sealed
            proof = Proof(
                kind,
                len(contents.golden),
                finding.largest,
                finding.versions,
                coverage,
                contents.threshold,
                finding.note,
                before,
                sealed.name,
                sha256_of(sealed),
                sealed.stat().st_size,
                time.time(),
                finding.did_run,
                None if finding.measured is None else finding.measured.to_dict(),
            )
            size = _put(written, target)
    except OSError as error:
        reason = "the disk is full" if is_disk_full(error) else error.strerror or str(error)
        raise ModelError(f"{target} cannot be written: {reason}. Name another place, or make room.") from error
    return Export(target, size, proof.sha256, proof)


def export_learner(checkpoint: Path, target: Path) -> Path:
    """Write a checkpoint's `learner.pkl`, unproven: what a run leaves at its end. Returns its path. Raises ModelError.

    `target` is a file, or a folder to put it in.
    """
    from learner.exports.contents import Contents
    from learner.exports.learner_pkl import write_learner

    target = _full_name(FORMATS["learner"].file, target)
    write_learner(Contents.read(checkpoint), target)
    return target


def write(
    contents: "Contents",
    kind: str,
    folder: Path,
    name: str,
    tell: Tell = lambda text: None,
    images: "RunImages | None" = None,
) -> Path:
    """Write an export of that kind into the empty `folder`, unproven, under `name`. Returns its path.

    One in bytes needs `images` to know which ranges values take.
    """
    format_ = FORMATS[kind]
    tell(f"Writing {format_.name}")
    packs, path = name.endswith(".zip") and format_.holds != "file", folder / name
    if packs:
        path = folder / (Path(name).stem if kind == "web" else format_.file)
    if kind == "onnx-int8":
        from learner.exports.onnx_reduced import write_int8

        assert images is not None  # `export` reads them
        write_int8(contents, path, images.read_training())
    else:
        module, _, function = WRITERS[kind].partition(":")
        getattr(importlib.import_module(module), function)(contents, path)
    return _packed(path, folder / name) if packs else path


def _images(
    store: Store, run_id: int, kind: str, contents: "Contents", checkpoint_digest: str, tell: Tell
) -> "RunImages | None":
    """What an export of that kind is measured on; None where it is not."""
    if not FORMATS[kind].is_measured:
        return None
    from learner.exports.measuring import read_images

    return read_images(store, run_id, contents, checkpoint_digest, tell)


def _full_name(usual: str, target: Path) -> Path:
    target = target.expanduser()
    return target / usual if target.is_dir() else target


def _packed(path: Path, archive: Path) -> Path:
    """All that was written for `path`, in a zip, which a folder goes into whole. What was packed is removed."""
    files = sorted(path.rglob("*")) if path.is_dir() else _siblings(path)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for file in files:
            packed.write(file, file.relative_to(path.parent))
    if path.is_dir():
        shutil.rmtree(path)
    else:
        for file in files:
            file.unlink()
    return archive


def _unpacked(kind: str, written: Path) -> Path:
    """What is proven: the file or folder itself, or what comes out of the zip."""
    if written.suffix != ".zip":
        return written
    folder = written.with_name("unpacked")
    with zipfile.ZipFile(written) as packed:
        packed.extractall(folder)
    return folder / FORMATS[kind].file if FORMATS[kind].holds == "files" else next(folder.iterdir())


def _siblings(path: Path) -> list[Path]:
    """The file, and those that were written beside it under the same stem."""
    return sorted(path.parent.glob(f"{path.stem}.*"))


def _put(written: Path, target: Path) -> int:
    """Move it to its place; returns the bytes."""
    if written.is_dir():
        size = sum(file.stat().st_size for file in written.rglob("*"))
        written.replace(target)
        return size
    files = [written] if written.suffix == ".zip" else _siblings(written)
    size = sum(file.stat().st_size for file in files)
    for file in files:
        shutil.move(file, target.with_name(file.name))
    return size


def prepare(store: Store, run_id: int, kind: str, coverage: float, tell: Tell = lambda _: None) -> None:
    """Make and prove what the page offers, in place of what it offered before. Raises what `export` raises."""
    store.checkpoint(run_id)
    remove_export(store.workspace, run_id, kind)
    target = download_file(store.workspace, run_id, kind)
    target.parent.mkdir(parents=True, exist_ok=True)
    keep_proof(store.workspace, run_id, export(store, run_id, kind, target, coverage, tell).proof)
    store.files.keep_changes(run_id)
