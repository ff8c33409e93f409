"""From what a person names to the ONNX file that is served. A run's is made and proven first, in another process."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from learner.errors import ModelError
from learner.exports.proofs import download_file, fits, read_proof
from learner.jobs.process import Tell, environment
from learner.store import Store
from learner.store.files import is_of_model

KIND = "onnx"


@dataclass(frozen=True)
class Opened:
    """What is served."""

    file: Path
    name: str


def onnx_of(model: str, coverage: float, tell: Tell) -> Opened:
    """`model` is a run's id, or a `model.onnx`. Raises ModelError, and what the store raises."""
    if not model.isdecimal():
        return Opened(Path(model).expanduser(), Path(model).name)
    store, run_id = Store(), int(model)
    store.checkpoint(run_id)
    store.files.bring(run_id, is_of_model)
    file = download_file(store.workspace, run_id, KIND)
    proof = read_proof(store.workspace, run_id, KIND)
    if proof is None or proof.coverage != coverage or not fits(store.workspace, run_id, proof):
        tell("Exporting the model as ONNX, and proving it")
        _prepare(store, run_id, coverage)
    return Opened(file, f"run {run_id} on {store.runs.get(run_id).recipe['dataset']}")


def _prepare(store: Store, run_id: int, coverage: float) -> None:
    """In a process of its own, as it loads torch."""
    program = [sys.executable, "-m", "learner.serving", str(run_id), str(coverage)]
    done = subprocess.run(
        program, env=environment(store.workspace), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise ModelError(json.loads(done.stdout)["error"] if done.stdout.startswith("{") else lines[-1])
