"""Why files could not be kept, in words, and how much of the disk they take."""

import errno
import os
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


def folder_bytes(folder: Path) -> int:
    """What the files in `folder` take. Those that lie elsewhere too, under another name, take nothing here."""
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            try:
                facts = Path(here, name).lstat()
            except OSError:  # gone meanwhile
                continue
            total += facts.st_size if facts.st_nlink == 1 else 0
    return total
