"""What a name inside an archive may be. No such name ever reaches the file system, but pages and tables show it."""

import re
from pathlib import PurePosixPath

from learner.datasets.names import first_free, shown, suffix_of

MAX_PART_BYTES = 255
"""What file systems hold as the name of one file or folder, in UTF-8."""
MAX_PATH_BYTES = 4096
MAX_FOLDERS = 100
"""Within each other; every layout looks at all folders around an image."""
EMPTY = "The file is empty. Copy it again from where it came."

ARCHIVE_SUFFIXES = frozenset(
    {".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".tbz2", ".xz", ".txz", ".lzma", ".zst", ".tzst", ".7z", ".rar"}
    | {".cab", ".iso", ".jar"}
)


TOO_DEEP = f"It lies more than {MAX_FOLDERS} folders deep. Put it into fewer folders."


def read_name(name: str) -> tuple[str, str]:
    """(path, reason) for the name of an entry: `path` is relative, parted by `/`, and fit to be shown.

    `reason` says why the entry is set aside; it is empty when nothing speaks against the name. Without a reason, no
    part of `path` is empty, `.` or `..`, and it holds no control characters.
    """
    name = name.replace("\\", "/")
    if name.count("/") > MAX_FOLDERS:
        return f"{shown(name[:100])}…", TOO_DEEP
    parts = [part for part in name.split("/") if part not in ("", ".")]
    path = shown("/".join(parts))
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in parts:
        return shown(name), "Its name points to a place outside the archive. Make the archive again from one folder."
    if not parts:
        return shown(name) or "(no name)", "It has no name. Make the archive again from one folder."
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return path, "Its name holds control characters, which not every computer can keep. Give it a plain name."
    sizes = [len(part.encode("utf-8", "surrogateescape")) for part in parts]
    if max(sizes) > MAX_PART_BYTES or sum(sizes) + len(sizes) > MAX_PATH_BYTES:
        return (
            f"{path[:100]}…",
            f"Its name is longer than computers can keep ({MAX_PART_BYTES} bytes). Give it a shorter name.",
        )
    return path, ""


def is_archive_name(path: str) -> bool:
    """Whether the name ends as that of an archive does which can be read."""
    return suffix_of(path) in ARCHIVE_SUFFIXES


def stem_of(file_name: str) -> str:
    """`pets` for `pets.zip`, `pets.tar.gz` and `pets`."""
    path = PurePosixPath(file_name)
    while path.suffix.lower() in ARCHIVE_SUFFIXES | {".parquet"} and path.stem:
        path = path.with_suffix("")
    return path.name or file_name


class Places:
    """The paths that are taken in one source; says which entries have to stay out."""

    NESTED = (
        "It is an archive inside an archive, which is not opened. Unpack it on your computer and add what is in it."
    )
    TWICE = "The archive holds this name twice; the first one was taken. Give each file its own name."

    def __init__(self):
        self._taken: set[str] = set()

    def reason_against(self, path: str) -> str:
        """Empty, and `path` is taken from now on, when nothing speaks against it."""
        if is_archive_name(path):
            return self.NESTED
        if path in self._taken:
            return self.TWICE
        self._taken.add(path)
        return ""

    def free(self, path: str) -> str:
        """`path`, or one of `1 (2).jpg`, `1 (3).jpg` … that is not taken; it is taken from now on."""
        pure = PurePosixPath(path)

        def numbered(number: int) -> str:
            return path if number == 1 else str(pure.with_name(f"{pure.stem} ({number}){pure.suffix}"))

        free = first_free(numbered, self._taken.__contains__)
        self._taken.add(free)
        return free
