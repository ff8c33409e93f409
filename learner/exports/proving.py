"""Open an export in a fresh process that has nothing of Thaw, and compare its answers with the run's."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from learner.errors import ModelError
from learner.exports.contents import Contents, GoldenPhoto
from learner.exports.formats import FORMATS, MOST_ACCURACY_LOST, PROVERS, TOLERANCE, Format
from learner.exports.litert_converter import CONVERTER
from learner.exports.measured import Measured, points
from learner.exports.measuring import Answers, RunImages, measure
from learner.exports.proofs import figure
from learner.jobs.process import PATIENT_THREADS, Tell

LONGEST_S = 1800
OURS = ["learner", "ui", "pages", "streamlit_app"]
REFUSED = {
    "learner": ["onnxruntime", "onnx", "streamlit"],
    "safetensors": ["fastai", "onnxruntime", "onnx", "streamlit"],
    "onnx": ["torch", "torchvision", "timm", "fastai", "onnx", "streamlit"],
    "openvino": ["torch", "torchvision", "timm", "fastai", "onnx", "onnxruntime", "streamlit"],
    "litert": ["torch", "torchvision", "timm", "fastai", "onnx", "onnxruntime", "streamlit"],
    "coreml": ["torch", "torchvision", "timm", "fastai", "onnx", "onnxruntime", "streamlit"],
    "hf": ["fastai", "onnxruntime", "onnx", "streamlit"],
    "web": ["torch", "torchvision", "timm", "fastai", "onnx", "streamlit"],
}
"""What each prover must do without, although it may be installed here."""


@dataclass(frozen=True)
class Finding:
    """What a prover found, compared with the run."""

    largest: float
    versions: dict[str, str]
    note: str
    did_run: bool = True
    """Whether it could be asked here at all."""
    measured: Measured | None = None
    """On the validation images, where it was asked about them."""


def prove(
    kind: str, path: Path, contents: Contents, images: RunImages | None = None, tell: Tell = lambda text: None
) -> Finding:
    """Raises ModelError that names the kind, the largest difference and its photo, or what else is wrong.

    With `images` it is asked about these, too, and refused where its accuracy falls by more than `MOST_ACCURACY_LOST`.
    """
    format_ = FORMATS[kind]
    told, answers = _ask(kind, path, images)
    if told["classes"] != contents.spec.classes:
        raise ModelError(f"{_not_proven(format_.name)}: it names other classes than the run, or in another order.")
    if "threshold" in told and told["threshold"] != contents.threshold:
        raise ModelError(f'{_not_proven(format_.name)}: its limit for "none of these" is not the run\'s.')
    photos = {photo["file"]: photo for photo in told["photos"]}
    if not contents.golden or photos.keys() != {photo.file for photo in contents.golden}:
        raise ModelError(f"{_not_proven(format_.name)}: it holds other photos to check it by than the run.")
    largest = max(_compare(format_, golden, photos[golden.file], contents) for golden in contents.golden)
    if told.get("wrongly_known"):
        raise ModelError(
            f'{_not_proven(format_.name)}: it says "none of these" where it must not, or the other way round.'
        )
    measured = None
    if images is not None and answers is not None:
        measured = measure(images, contents, told, answers, tell)
        _check_accuracy(format_, measured)
    return Finding(largest, told["versions"], told.get("note", ""), not told.get("did_not_run"), measured)


def _compare(format_: Format, golden: GoldenPhoto, answer: dict[str, Any], contents: Contents) -> float:
    """The largest difference of a probability on that photo."""
    where = f"{_not_proven(format_.name)}: on photo {golden.file} ({golden.label})"
    said = answer.get("probs", golden.probs)  # of what was only read, nothing is said
    differs = _largest_difference(said, golden.probs)
    exact = max(_largest_difference(answer["expected"], golden.probs), answer.get("apart", 0.0))
    for worst, most in ((exact, TOLERANCE), (differs, format_.tolerance)):
        if not worst <= most:  # true of what is not a number, too
            raise ModelError(
                f"{where} a probability differs by {figure(worst)}, and at most {figure(most)} is allowed."
            )
    first, *others = sorted(golden.probs, reverse=True)
    is_sure = not others or first - others[0] > format_.tolerance
    if is_sure and np.argmax(said) != np.argmax(golden.probs):
        raise ModelError(f"{where} it names another class.")
    if contents.threshold is not None and answer.get("distance") is not None:
        _compare_distance(format_, golden, answer, contents.threshold)
    return max(exact, differs)


def _largest_difference(some: list[float], others: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(some, others, strict=True))


def _compare_distance(format_: Format, golden: GoldenPhoto, answer: dict[str, Any], threshold: float) -> None:
    assert golden.distance is not None  # as the run has a threshold
    apart = abs(answer["distance"] - golden.distance)
    if not apart <= format_.tolerance:
        raise ModelError(
            f"{_not_proven(format_.name)}: on photo {golden.file} ({golden.label}) the distance from the training "
            f"photos differs by {figure(apart)}, and at most {figure(format_.tolerance)} is allowed."
        )
    if answer["none"] != (golden.distance > threshold) and abs(golden.distance - threshold) > format_.tolerance:
        photo = f"photo {golden.file} ({golden.label})"
        raise ModelError(f'{_not_proven(format_.name)}: of {photo} it says "none of these" wrongly.')


def _check_accuracy(format_: Format, measured: Measured) -> None:
    lost = -measured.discordance.difference
    if lost > MOST_ACCURACY_LOST:
        before, now = measured.accuracies
        raise ModelError(
            f"{format_.name} was not written, as it is too much less accurate than the run's model: {100 * now:.1f} % "
            f"instead of {100 * before:.1f} % of {measured.images} validation photos, {points(lost)[1:]} points less, "
            f"and at most {100 * MOST_ACCURACY_LOST:.0f} are allowed. Take a format that rounds less."
        )


def _ask(kind: str, path: Path, images: RunImages | None) -> tuple[dict[str, Any], Answers | None]:
    """What the prover prints, and what it answers for the validation images, where it could be asked."""
    extra = [str(CONVERTER.folder)] if kind == "litert" and CONVERTER.folder.is_dir() else []
    if images is None:
        return _run(kind, path, *extra), None
    with tempfile.TemporaryDirectory() as folder:
        pixels, said = Path(folder) / "pixels.npy", Path(folder) / "answers.npz"
        np.save(pixels, images.valid)
        told = _run(kind, path, str(pixels), str(said), *extra)
        if not said.exists():
            return told, None
        with np.load(said) as arrays:
            return told, Answers(arrays["probs"], arrays["distances"])


def _run(kind: str, path: Path, *more: str) -> dict[str, Any]:
    """What the prover of that kind prints. It starts in an empty folder, and its Python sees no paths of ours."""
    prover = FORMATS[kind].prover
    program = [str(PROVERS / "alone.py"), ",".join(OURS + REFUSED[prover]), str(PROVERS / f"{prover}.py")]
    with tempfile.TemporaryDirectory() as elsewhere:
        process = subprocess.Popen(
            [sys.executable, "-I", *program, str(path.resolve()), *more],
            cwd=elsewhere,
            env={**PATIENT_THREADS, **os.environ, "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            said, trouble = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            raise ModelError(f"{_not_proven(FORMATS[kind].name)}: it did not answer within 30 minutes.") from None
        finally:  # whoever stops this process stops that one, too, which then ends its browser
            process.terminate()
            process.wait()
    with suppress(IndexError, ValueError):
        if process.returncode == 0:
            return json.loads(said.splitlines()[-1])
    reason = (trouble.strip().splitlines() or ["no reason given"])[-1]
    raise ModelError(f"{_not_proven(FORMATS[kind].name)}: it could not be opened there. {reason}")


def _not_proven(name: str) -> str:
    return f"{name} was not written, as a fresh process did not find the run's answers in it"
