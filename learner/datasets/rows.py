"""The images of a version as plain rows: what an import makes, an edit changes and a new version is written from."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields

from sqlalchemy import select

from learner.datasets.exclusions import ImageRow
from learner.datasets.names import natural_key
from learner.store import Image, Store, VersionInfo

COLUMNS = tuple(field.name for field in fields(ImageRow))


def rows_of(store: Store, version: VersionInfo) -> list[ImageRow]:
    """Every image of `version`, excluded ones too, in the order they came in; 25,000 take a fraction of a second."""
    query = select(*(getattr(Image, name) for name in COLUMNS)).where(Image.version_id == version.id).order_by(Image.id)
    with store.datasets.session() as session:
        return [ImageRow(**dict(zip(COLUMNS, row, strict=True))) for row in session.execute(query)]


def fingerprint_of(rows: Iterable[ImageRow]) -> str:
    """SHA-256 over what a person decides and sees of every image, in whatever order they come."""
    digest = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row.path):
        said: tuple = (row.path, row.label, row.split, row.sha256, row.group, row.weight, row.excluded)
        if row.probabilities:
            said += (sorted(row.probabilities.items()),)
        digest.update("\0".join(map(str, said)).encode())
        digest.update(b"\0\n")
    return digest.hexdigest()


def counts_of(rows: Iterable[ImageRow]) -> dict[str, dict[str, int]]:
    """Images in use by class, in natural order, then by split."""
    pairs = Counter((row.label, row.split) for row in rows if not row.excluded)
    counts: dict[str, dict[str, int]] = {}
    for (label, split), number in sorted(pairs.items(), key=lambda pair: (natural_key(pair[0][0]), pair[0][1])):
        counts.setdefault(label, {})[split] = number
    return counts
