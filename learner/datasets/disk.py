"""Why files could not be kept, in words, and how much of the disk they take."""

import errno
import os
from collections import Counter
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


def is_full(error: OSError) -> bool:
    """Whether the disk, or what one user may have of it, is full."""
    return error.errno in _FULL


def why_not_kept(what: str, error: OSError, folder: Path) -> str:
    """What a person is told when `what` ("The upload") could not be written under `folder`."""
    begins = f"{what} could not be kept in {folder}"
    if is_full(error):
        return (
            f"{begins}: the disk is full. Free some space there, or set THAW_HOME to a folder on a larger disk, and "
            "try again."
        )
    if error.errno == errno.ENAMETOOLONG:
        return (
            f"{begins}: a name is longer than the disk can keep. Give the file and the folders around it shorter names "
            "and try again."
        )
    if error.errno in _CLOSED:
        return (
            f"{begins}: Thaw may not write there ({error.strerror}). Change that folder's permissions, or set "
            "THAW_HOME to a folder that can be written to, and try again."
        )
    return f"{begins}: {error.strerror or error}. Look at that folder and its disk, then try again."


def bytes_in(*paths: Path) -> int:
    """Bytes that removing these files, and folders with all in them, would free; 0 for what is not there.

    A file that also lies elsewhere under another name stays on the disk, so it does not count.
    """
    total, links = 0, Counter[tuple[int, int]]()
    for path in paths:
        files = [path] if path.is_file() else (Path(here, name) for here, _, names in os.walk(path) for name in names)
        for file in files:
            try:
                facts = file.lstat()
            except OSError:  # gone meanwhile
                continue
            seen = links[facts.st_dev, facts.st_ino] = links[facts.st_dev, facts.st_ino] + 1
            total += facts.st_size if seen == facts.st_nlink else 0
    return total
