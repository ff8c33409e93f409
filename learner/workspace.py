"""Where files live: one folder, `$THAW_HOME`, holds everything Thaw keeps."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """The folder that holds data sets, runs, weights, uploads and the database."""

    root: Path

    @classmethod
    def current(cls) -> "Workspace":
        """The workspace that `$THAW_HOME` names, `./workspace` when it names none."""
        return cls(Path(os.environ.get("THAW_HOME") or "workspace").expanduser().resolve())

    @property
    def spaces(self) -> Path:
        """A folder a space (`learner.people`), each a workspace of its own."""
        return self.root / "spaces"

    @property
    def top(self) -> "Workspace":
        """The workspace whose space this is; itself where it is none."""
        above = Workspace(self.root.parent.parent)
        return above if self.root.parent == above.spaces and above.people_file.exists() else self

    @property
    def people_file(self) -> Path:
        """Says who may do what, where pages ask people to sign in."""
        return self.root / "people.yaml"

    @property
    def api_keys(self) -> Path:
        """Hashes of the keys with which programs may ask served models."""
        return self.root / "api-keys.json"

    @property
    def datasets(self) -> Path:
        """One folder a data set, holding its images as they were imported."""
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        """One folder a run: log, checkpoint, predictions, result."""
        return self.root / "runs"

    @property
    def weights(self) -> Path:
        """Weight files that a person put here, named after the architecture: `vgg16.safetensors`. For all spaces."""
        return self.top.root / "weights"

    @property
    def thumbnails(self) -> Path:
        """Small JPEGs of data-set images, made once; safe to delete."""
        return self.root / "cache" / "thumbnails"

    @property
    def features(self) -> Path:
        """Decoded images and outputs of frozen stages, under a budget; safe to delete."""
        return self.root / "cache" / "features"

    @property
    def fetched_images(self) -> Path:
        """Images that came from an object store (`learner.store.image_cache`), for all spaces."""
        return Path(os.environ.get("THAW_CACHE_DIR") or self.top.root / "cache" / "images").expanduser().resolve()

    @property
    def on_their_way(self) -> Path:
        """Second names of files of runs that are being sent to an object store."""
        return self.root / "cache" / "on-their-way"

    @property
    def speeds(self) -> Path:
        """How fast this machine is with each backbone, for all spaces; safe to delete."""
        return self.top.root / "cache" / "speeds.json"

    @property
    def uploads(self) -> Path:
        """Files on their way in; emptied after each import."""
        return self.root / "uploads"

    @property
    def id_file(self) -> Path:
        """Tells this workspace from others, where the database lies outside of it; a copy of it has the same."""
        return self.root / "workspace.id"

    @property
    def unfinished_restore(self) -> Path:
        """What a restore keeps here until it is done; while it is there, nobody opens the workspace."""
        return self.root / ".restoring"

    @property
    def database_url(self) -> str:
        """`$DATABASE_URL`, or a SQLite file in the workspace; see `schema`."""
        return os.environ.get("DATABASE_URL") or f"sqlite:///{self.root / 'thaw.db'}"

    @property
    def schema(self) -> str:
        """The schema that a space's tables have in a PostgreSQL database that it shares; empty for the usual one."""
        return "" if self.top == self else f"space_{hashlib.sha256(self.root.name.encode()).hexdigest()[:24]}"

    def run_folder(self, run_id: int) -> Path:
        return self.runs / str(run_id)

    def checkpoint(self, run_id: int) -> Path:
        """The best checkpoint of a run so far; there is none before its first epoch has ended."""
        return self.run_folder(run_id) / "model.safetensors"

    def phase_end(self, run_id: int, phase: int) -> Path:
        """The model as it was when that phase (from 0) of a run was done; others can start again from there.

        Phase -1 ends where the first one begins.
        """
        return self.run_folder(run_id) / "phases" / f"{phase + 1}.safetensors"

    def refit_end(self, run_id: int, phase: int) -> Path:
        """The same of a phase of the refit, whose first one begins where the run's first one does."""
        return self.run_folder(run_id) / "refit" / f"{phase + 1}.safetensors"

    def checked_model(self, run_id: int) -> Path:
        """The model that the figures are of, where a refit made the one of `checkpoint`; else it is not there."""
        return self.run_folder(run_id) / "checked.safetensors"

    def resume_point(self, run_id: int) -> Path:
        """What an unfinished run needs to go on as if nothing had happened; gone once it has finished."""
        return self.run_folder(run_id) / "resume.pt"
