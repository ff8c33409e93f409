"""Make archives entry by entry, and read what can be read of one."""

import io
import tarfile
from contextlib import closing
from pathlib import Path

from learner.datasets.sources import open_source

GOOD = b"good bytes"


def opened(file: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """What can be read of `file`, and the reasons of the rest."""
    with closing(open_source(file)) as source:
        return {entry.path: source.read(entry) for entry in source.entries}, dict(source.set_aside)


def tar_of(file: Path, *members: tarfile.TarInfo, mode: str = "w", **options) -> Path:
    with tarfile.open(file, mode, **options) as archive:
        for member in [*members, regular("good.jpg", len(GOOD))]:
            archive.addfile(member, io.BytesIO((GOOD * 10)[: member.size]) if member.isreg() else None)
    return file


def regular(name: str, size: int = len(GOOD)) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info
