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

from learner.errors import ModelError
from learner.exports.contents import Contents
from learner.exports.formats import FORMATS, PROVERS
from learner.exports.proofs import TOLERANCE, figure
from learner.jobs.process import PATIENT_THREADS

LONGEST_S = 900
OURS = ["learner", "ui", "pages", "streamlit_app"]
REFUSED = {
    "learner": ["onnxruntime", "onnx", "streamlit"],
    "safetensors": ["fastai", "onnxruntime", "onnx", "streamlit"],
    "onnx": ["torch", "torchvision", "timm", "fastai", "onnx", "streamlit"],
    "web": ["torch", "torchvision", "timm", "fastai", "onnx", "streamlit"],
}
"""What each kind must do without, although it may be installed here."""


@dataclass(frozen=True)
class Finding:
    """What a prover found, compared with the run."""

    largest: float
    versions: dict[str, str]
    note: str


def prove(kind: str, path: Path, contents: Contents) -> Finding:
    """Raises ModelError that names the kind, the largest difference and its photo, or what else is wrong."""
    name = FORMATS[kind].name
    told = _run(kind, path)
    if told["classes"] != contents.spec.classes:
        raise ModelError(f"{_not_proven(name)}: it names other classes than the run, or in another order.")
    if "threshold" in told and told["threshold"] != contents.threshold:
        raise ModelError(f'{_not_proven(name)}: its limit for "none of these" is not the run\'s.')
    answers = {photo["file"]: photo for photo in told["photos"]}
    if not contents.golden or answers.keys() != {photo.file for photo in contents.golden}:
        raise ModelError(f"{_not_proven(name)}: it holds other photos to check it by than the run.")
    largest = 0.0
    for golden in contents.golden:
        answer = answers[golden.file]
        differences = [abs(a - b) for a, b in zip(answer["probs"], golden.probs, strict=True)]
        differences += [abs(a - b) for a, b in zip(answer["expected"], golden.probs, strict=True)]
        differences.append(answer.get("apart", 0.0))
        worst = max(differences)
        if not worst <= TOLERANCE:  # true of what is not a number, too
            raise ModelError(
                f"{_not_proven(name)}: on photo {golden.file} ({golden.label}) a probability differs by "
                f"{figure(worst)}, and at most {figure(TOLERANCE)} is allowed."
            )
        largest = max(largest, worst)
        if contents.threshold is not None and answer.get("distance") is not None:
            _compare_distance(name, golden, answer, contents.threshold)
    if told.get("wrongly_known"):
        raise ModelError(f'{_not_proven(name)}: it says "none of these" where it must not, or the other way round.')
    return Finding(largest, told["versions"], told.get("note", ""))


def _compare_distance(name: str, golden: Any, answer: dict[str, Any], threshold: float) -> None:
    apart = abs(answer["distance"] - golden.distance)
    if not apart <= TOLERANCE:
        raise ModelError(
            f"{_not_proven(name)}: on photo {golden.file} ({golden.label}) the distance from the training photos "
            f"differs by {figure(apart)}, and at most {figure(TOLERANCE)} is allowed."
        )
    if answer["none"] != (golden.distance > threshold) and abs(golden.distance - threshold) > TOLERANCE:
        photo = f"photo {golden.file} ({golden.label})"
        raise ModelError(f'{_not_proven(name)}: of {photo} it says "none of these" wrongly.')


def _run(kind: str, path: Path) -> dict[str, Any]:
    """What the prover of that kind prints. It starts in an empty folder, and its Python sees no paths of ours."""
    program = [str(PROVERS / "alone.py"), ",".join(OURS + REFUSED[kind]), str(PROVERS / f"{kind}.py")]
    with tempfile.TemporaryDirectory() as elsewhere:
        process = subprocess.Popen(
            [sys.executable, "-I", *program, str(path.resolve())],
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
            raise ModelError(f"{_not_proven(FORMATS[kind].name)}: it did not answer within 15 minutes.") from None
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
