"""What a page or command says about one version of a data set, counted by the database."""

from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from learner.datasets.names import natural_key
from learner.store import Image, SetAside, Store, VersionInfo


@dataclass(frozen=True)
class Summary:
    """Figures of one version; images that a person excluded are counted in `excluded` only."""

    version: VersionInfo
    classes: list[str]
    """In natural order: `class 2` before `class 10`."""
    counts: dict[str, dict[str, int]]
    """Images by label, then by split (`train`, `valid`, `test` or empty); only pairs that occur."""
    totals: dict[str, int]
    """Images by split."""
    images: int
    excluded: int
    median_width: int
    """Pixels, like `median_height`; 0 without images."""
    median_height: int
    set_aside: list[SetAside]
    has_own_split: bool
    """Whether it has validation images of its own, so that no seed splits it."""


@lru_cache(maxsize=8)  # a version never changes, and pages ask at every step
def summarize(store: Store, version: VersionInfo) -> Summary:
    """Reads no image rows, so it takes milliseconds whatever the size; the set-aside rows are read."""
    counts: dict[str, dict[str, int]] = {}
    totals: dict[str, int] = {}
    for label, split, number in store.datasets.counts(version.id):
        counts.setdefault(label, {})[split] = number
        totals[split] = totals.get(split, 0) + number
    classes = sorted(counts, key=natural_key)
    images = sum(totals.values())
    with store.datasets.session() as session:
        excluded = session.scalar(select(func.count()).where(Image.version_id == version.id, Image.excluded.is_(True)))
        median_width, median_height = (
            _median(session, version.id, column, images) for column in (Image.width, Image.height)
        )
    return Summary(
        version=version,
        classes=classes,
        counts={label: counts[label] for label in classes},
        totals=totals,
        images=images,
        excluded=excluded or 0,
        median_width=median_width,
        median_height=median_height,
        set_aside=store.datasets.set_aside(version.id),
        has_own_split="valid" in totals and bool(totals.keys() - {"valid", "test"}),
    )


def _median(session: Session, version_id: int, column: InstrumentedAttribute[int], images: int) -> int:
    """The lower median: a size that an image really has."""
    query = (
        select(column)
        .where(Image.version_id == version_id, Image.excluded.is_(False))
        .order_by(column)
        .offset(max(images - 1, 0) // 2)
        .limit(1)
    )
    return session.scalar(query) or 0
