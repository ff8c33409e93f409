"""A data set on the Hugging Face hub: `hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION/FOLDER`, or the address of its page.

Only images, tables, lists of labels and archives are brought; a program in the repository is not, and none is run.
"""

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learner.datasets.images import IMAGE_SUFFIXES
from learner.datasets.names import shown, suffix_of
from learner.datasets.sources import limits
from learner.datasets.sources.entries import Cancelled, Progress
from learner.datasets.sources.entry_names import ARCHIVE_SUFFIXES
from learner.errors import DatasetError, ImportCancelled

PREFIX = "hf:"
_PAGE = re.compile(r"https?://[^/]+/datasets/([^/]+/[^/?#]+)(?:/(?:tree|blob)/([^/?#]+)(?:/([^?#]*))?)?/?(?:[?#].*)?")
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/(.+))?")
_WANTED = IMAGE_SUFFIXES | ARCHIVE_SUFFIXES | {".parquet", ".csv", ".tsv", ".xlsx", ".json", ".jsonl", ".cls", ".txt"}
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Repository:
    """What an address names."""

    name: str
    """`OWNER/NAME`."""
    revision: str | None
    folder: str
    """Only what lies below it is wanted; empty for all."""

    @property
    def address(self) -> str:
        """Its page."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/datasets/{self.name}"


def named(source: str) -> Repository | None:
    """The repository that `source` names; None of other kinds of sources. Raises DatasetError for a bad name."""
    if source.startswith(PREFIX):
        match = _NAME.fullmatch(source.removeprefix(PREFIX).strip().strip("/"))
        if match is None:
            raise DatasetError(f"{shown(source)} names no data set on the hub. Write hf:OWNER/NAME, as its page says.")
    else:
        match = _PAGE.fullmatch(source.strip()) if _is_hub(source) else None
    return Repository(match[1], match[2], (match[3] or "").strip("/")) if match else None


def _is_hub(source: str) -> bool:
    if "/datasets/" not in source:
        return False
    from huggingface_hub import constants

    return source.strip().startswith((f"{constants.ENDPOINT}/datasets/", "https://huggingface.co/datasets/"))


def fetch(repository: Repository, folder: Path, progress: Progress | None, cancelled: Cancelled | None) -> Path:
    """Bring its files into a folder of its name in `folder`; returns that. Raises DatasetError and ImportCancelled."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise DatasetError("The hub was not asked, because HF_HUB_OFFLINE is set. Take it away, or add a local copy.")
    folder = folder / repository.name.rpartition("/")[2]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        files, revision = _files(repository)
        total = sum(files.values())
        limits.check_count(repository.name, len(files))
        limits.check_disk(folder, total, repository.name)
        telling, done = _Telling(total, progress, cancelled), 0
        for file, size in files.items():
            telling.at(done)
            _bring(repository, revision, file, folder, telling)
            done += size
            telling.before = done
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes
    return folder


def _files(repository: Repository) -> tuple[dict[str, int], str]:
    """Sizes in bytes by path, and the revision that they are of."""
    from huggingface_hub import HfApi

    with _told(repository):
        about = HfApi().dataset_info(
            repository.name, revision=repository.revision, files_metadata=True, timeout=_PATIENCE_S
        )
    inside = f"{repository.folder}/" if repository.folder else ""
    found = {one.rfilename: one.size or 0 for one in about.siblings or []}
    files = {
        path: size
        for path, size in found.items()
        if path.startswith(inside)
        and suffix_of(path) in _WANTED
        and not any(part in ("..", "") or part.startswith(".") for part in path.split("/"))
    }
    if not files:
        where = f"below {repository.folder}" if inside else f"in {repository.name}"
        raise DatasetError(
            f"There are no images, archives or Parquet files {where}; it holds {len(found):,} other files. Look at its "
            f"page: {repository.address}"
        )
    return files, about.sha or repository.revision or "main"


def _bring(repository: Repository, revision: str, file: str, folder: Path, telling: "_Telling") -> None:
    from huggingface_hub import hf_hub_download
    from tqdm import tqdm

    class Bar(tqdm):
        """What the client tells of its progress, passed on."""

        def __init__(self, *words: Any, **options: Any):
            super().__init__(*words, **{**options, "disable": True})
            self.arrived = 0

        def update(self, n: float | None = 1) -> bool | None:
            self.arrived += int(n or 0)
            telling.at(telling.before + self.arrived)
            return None

    with _told(repository):
        hf_hub_download(repository.name, file, repo_type="dataset", revision=revision, local_dir=folder, tqdm_class=Bar)


class _told:
    """What the client raises, as a sentence; its network, disk and checksum errors have no common class."""

    def __init__(self, repository: Repository):
        self._repository = repository

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, DatasetError | ImportCancelled):
            return
        from huggingface_hub import constants
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

        name = self._repository.name
        if isinstance(error, GatedRepoError):
            said = f"{name} is given only to those who accepted its terms. Do so on {self._repository.address}, and set"
            said += " HF_TOKEN to a token of yours."
        elif isinstance(error, RepositoryNotFoundError):
            said = f"There is no data set {name} at {constants.ENDPOINT}, or it is a private one: then set HF_TOKEN."
        elif isinstance(error, RevisionNotFoundError):
            said = f"{name} has no revision {self._repository.revision}."
        else:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            said = f"{name} could not be fetched from {constants.ENDPOINT}: {line}. Try again later."
        raise DatasetError(said) from error


class _Telling:
    """Says how far it is, a few times a second, and asks whether to go on."""

    def __init__(self, total: int, progress: Progress | None, cancelled: Cancelled | None):
        self._total, self._progress, self._cancelled = total, progress, cancelled
        self._started, self._last = time.monotonic(), 0.0
        self.before = 0
        """Bytes of the files that are here whole."""

    def at(self, done: int) -> None:
        if self._cancelled is not None and self._cancelled():
            raise ImportCancelled("The import was stopped; nothing of it was kept. Start it again whenever you like.")
        now = time.monotonic()
        if self._progress is not None and now - self._last > 0.2:
            self._last = now
            left = (now - self._started) / done * (self._total - done) if done else None
            self._progress(done, self._total, left)
