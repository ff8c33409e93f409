"""Where images come from: a folder, an archive or a web address, seen as a list of entries that can be read one by one.

No archive is unpacked to disk, so no name inside one ever reaches the file system. `web` downloads; it is imported by
its own name.
"""

from learner.datasets.sources.entries import Cancelled, Entry, Progress, Source, describe_kinds
from learner.datasets.sources.opening import open_source

__all__ = ["Cancelled", "Entry", "Progress", "Source", "describe_kinds", "open_source"]
