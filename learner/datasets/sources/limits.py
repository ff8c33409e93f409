"""How much an archive may hold. Sizes in its headers are claims; what counts is measured while reading."""

import shutil
import threading
from pathlib import Path

from learner.datasets.names import plural
from learner.errors import DatasetError, ImageError

MAX_FILE_BYTES = 512 * 2**20
"""One image file; it is held in memory while it is checked."""
MAX_ENTRIES = 500_000
"""Files in one archive."""
MAX_TOTAL_BYTES = 100 * 2**30
"""What one archive may unpack to."""
MAX_RATIO = 200
"""Unpacked size over packed size; photos stay under 2, and only a trap unpacks to hundreds of times its size."""
RATIO_COUNTS_FROM = 16 * 2**20
"""Unpacked bytes below which the ratio does no harm: a small plain drawing may well shrink a thousandfold."""
MAX_HEADER_BYTES = 2**20
"""What a .tar file may say about one file before it comes; long names and time stamps need a few hundred bytes."""
MAX_DIRECTORY_BYTES = 256 * 2**20
"""The list of files at the end of a .zip file: `MAX_ENTRIES` of them with names of 500 bytes."""
SPARE_DISK_BYTES = 512 * 2**20
"""Left free on a disk that something is unpacked or downloaded to."""
CHUNK_BYTES = 2**20


class Meter:
    """Adds up what an archive unpacks to and refuses to go on beyond the limits. Thread-safe."""

    def __init__(self, name: str, packed_bytes: int):
        self._name = name
        self._packed_bytes = packed_bytes
        self._unpacked_bytes = 0
        self._counting = threading.Lock()

    def add(self, size: int) -> None:
        """Raises DatasetError when `size` more bytes are more than an honest archive of photos holds."""
        with self._counting:
            self._unpacked_bytes += size
            total = self._unpacked_bytes
        if total > MAX_TOTAL_BYTES:
            raise DatasetError(
                f"{self._name} unpacks to more than {MAX_TOTAL_BYTES / 2**30:.0f} GB, the most taken in at once. "
                "Split it into several archives, or save the images smaller."
            )
        if total > 4 * RATIO_COUNTS_FROM and total > MAX_RATIO * self._packed_bytes:
            raise DatasetError(
                f"{self._name} unpacks to more than {MAX_RATIO} times its size, which photos never do. "
                "Make the archive again from the images themselves."
            )


def check_count(name: str, count: int) -> None:
    """Raises DatasetError when an archive holds more than `MAX_ENTRIES` files."""
    if count > MAX_ENTRIES:
        raise DatasetError(
            f"{name} holds {plural(count, 'file')}; at most {MAX_ENTRIES:,} can be taken in at once. "
            "Split it into several archives."
        )


def check_size(size: int) -> None:
    """Raises ImageError for a file that is too large to be held in memory."""
    if size > MAX_FILE_BYTES:
        raise ImageError(f"It is larger than {MAX_FILE_BYTES // 2**20} MB. Save the image smaller.")


def check_ratio(size: int, packed: int) -> None:
    """Raises ImageError for an entry that unpacks to what no photo does."""
    if size > RATIO_COUNTS_FROM and size > MAX_RATIO * max(packed, 1):
        raise ImageError(f"It unpacks to more than {MAX_RATIO} times its size, which no photo does. Leave it out.")


def check_disk(folder: Path, size: int, what: str) -> None:
    """Raises DatasetError when `folder`'s disk has no room for `size` bytes more; `what` begins the sentence."""
    if shutil.disk_usage(folder).free < size + SPARE_DISK_BYTES:
        raise DatasetError(
            f"{what} does not fit on the disk that holds {folder}. Free some space there, or set THAW_HOME to a folder "
            "on a larger disk, and try again."
        )
