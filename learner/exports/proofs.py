"""What is kept of a proof, and what the page may offer because of it. Needs no torch."""

import hashlib
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from learner.exports.formats import FORMATS
from learner.exports.measured import Measured
from learner.questions.answers import keep_answer, read_answer
from learner.wording import count
from learner.workspace import Workspace


@dataclass(frozen=True)
class Proof:
    """An export gave the same answers as the run on the photos that travel in it."""

    kind: str
    photos: int
    largest: float
    """Difference of a probability, 0 to 1."""
    versions: dict[str, str]
    """Of what opened it, by name."""
    coverage: float
    threshold: float | None
    """The distance beyond which it says "none of these"; None where it cannot."""
    note: str
    """What the proof leaves open, a sentence; empty where nothing."""
    checkpoint: str
    """SHA-256 of the run's model that it was made of."""
    sealed: str
    """Name of the file that `sha256` and `bytes` are of."""
    sha256: str
    bytes: int
    at: float
    """When, in seconds since 1970."""
    did_run: bool = True
    """Whether it could be run here; where not, it was only read."""
    measured: dict[str, Any] | None = None
    """A `learner.exports.measured.Measured` as plain values, where it was measured."""

    @property
    def on_validation(self) -> Measured | None:
        """How it does on the validation images beside the run's own model; None where that was not measured."""
        return None if self.measured is None else Measured.from_dict(self.measured)

    @property
    def sentence(self) -> str:
        """For a person."""
        format_ = FORMATS[self.kind]
        used = " and ".join(", ".join(f"{name} {version}" for name, version in self.versions.items()).rsplit(", ", 1))
        if not self.did_run:
            return (
                f"Not proven here: only a Mac runs {format_.name}. A fresh process read it by {used}, and found the "
                f"classes, the input, the outputs and {count(self.photos, 'photo')} in it. Export it again on a Mac to "
                "have it proven."
            )
        same = "named the same classes" if format_.is_reduced else "gave the same answers"
        text = (
            f"Proven: opened in a fresh process by {used}, it {same} on {count(self.photos, 'photo')}; "
            f"the largest difference of a probability was {figure(self.largest)}."
        )
        return f"{text} {self.note}" if self.note else text


def figure(difference: float) -> str:
    """`0.0002`; below what is worth telling, `less than 0.00001`."""
    if difference < 1e-5:
        return "less than 0.00001"
    return f"{difference:.5f}".rstrip("0")


def sha256_of(path: Path) -> str:
    """In hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download_file(workspace: Workspace, run_id: int, kind: str) -> Path:
    """Where what the page offers of that kind stands."""
    return workspace.run_folder(run_id) / "exports" / kind / FORMATS[kind].download


def proof_file(workspace: Workspace, run_id: int, kind: str) -> Path:
    """Where its proof stands; it is written last."""
    return download_file(workspace, run_id, kind).with_name("proof.json")


def keep_proof(workspace: Workspace, run_id: int, proof: Proof) -> None:
    """Beside the file."""
    keep_answer(proof_file(workspace, run_id, proof.kind), proof)


def read_proof(workspace: Workspace, run_id: int, kind: str) -> Proof | None:
    """The proof that was kept; None where there is none. It may be of another file or model: see `fits`."""
    return read_answer(proof_file(workspace, run_id, kind), Proof)


def fits(workspace: Workspace, run_id: int, proof: Proof, digest=sha256_of) -> bool:
    """Whether file and checkpoint are still those that were proven; `digest` gives the SHA-256 of a file."""
    file = download_file(workspace, run_id, proof.kind)
    try:
        return digest(file) == proof.sha256 and digest(workspace.checkpoint(run_id)) == proof.checkpoint
    except OSError:
        return False


def read_loading_lines(archive: Path) -> str:
    """The lines of Python that load the model in a packed safetensors export."""
    with zipfile.ZipFile(archive) as packed:
        return packed.read("model.py").decode()


def remove_export(workspace: Workspace, run_id: int, kind: str) -> None:
    """Take file and proof away, the proof first."""
    for file in (proof_file(workspace, run_id, kind), download_file(workspace, run_id, kind)):
        file.unlink(missing_ok=True)


def proof_dict(proof: Proof) -> dict:
    """For JSON."""
    return asdict(proof)
