"""What an export needs and a dependency cannot bring: fetched once by pip or npm, and kept beside the environment.

Needs no torch.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from learner.errors import ModelError


@dataclass(frozen=True)
class Fetched:
    """A folder of files that a client brings."""

    package: str
    version: str
    client: str
    """The command that fetches it, as people name it."""
    error_mark: str
    """What this client begins its errors with."""
    needed_by: str
    """The export that is short of it, as a sentence begins."""
    longest_s: int
    files: tuple[str, ...] = ()
    """Those without which it is not whole."""

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return Path(sys.prefix) / "share" / "thaw" / f"{self.package}-{self.version}"

    def require(self, bring: Callable[[Path, Path], None]) -> Path:
        """The folder; `bring` fills it where it is missing.

        `bring` gets an empty folder to work in, and the path of the folder to make. Raises ModelError.
        """
        if self.folder.is_dir() and all((self.folder / name).is_file() for name in self.files):
            return self.folder
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder.parent) as temporary:
                ready = Path(temporary) / "ready"
                bring(Path(temporary), ready)
                shutil.rmtree(self.folder, ignore_errors=True)
                ready.replace(self.folder)
        except OSError as error:
            reason = error.strerror or error
            raise ModelError(f"{self.folder} cannot be written: {reason}. {self._ways_out}") from error
        return self.folder

    def run(self, command: Sequence[str], working: Path) -> None:
        """Run the client in `working`. Raises ModelError."""
        try:
            done = subprocess.run(
                command,
                cwd=working,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.longest_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            minutes = self.longest_s // 60
            raise ModelError(
                f"{self.client} did not bring {self.package} within {minutes} minutes. {self._ways_out}"
            ) from None
        if done.returncode:
            mark = self.error_mark
            lines = [line.removeprefix(mark).strip() for line in done.stderr.splitlines() if mark in line]
            reason = f" ({lines[0]})" if lines else ""
            raise ModelError(f"{self.client} could not bring {self.package} {self.version}{reason}. {self._ways_out}")

    @property
    def _ways_out(self) -> str:
        return f"{self.needed_by} needs it once; connect to the internet and try again, or export ONNX."
