"""Data sets: names, versions, images and what was set aside. Files are `learner.datasets`' business."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, Engine, Select, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from learner.errors import DatasetError
from learner.store.tables import Base, Content, Dataset, DatasetVersion, Draft, Image, SetAside

MIN_CLASSES = 2

Edits = list[dict[str, Any]]
"""As `Draft` keeps them."""


@dataclass(frozen=True)
class VersionInfo:
    """One version of a data set, with the name that people know it by."""

    id: int
    name: str
    number: int
    created_at: float
    note: str
    fingerprint: str
    parent: int | None = None
    """Number of the version it was made from; none where it came in whole."""


class Datasets:
    """Everything that is kept about data sets. Versions are only ever added."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def session(self) -> Session:
        """A session whose rows stay readable after it is closed."""
        return Session(self._engine, expire_on_commit=False)

    def add_version(
        self,
        name: str,
        images: list[dict[str, Any]],
        set_aside: list[tuple[str, str]],
        note: str,
        fingerprint: str,
        parent: int | None = None,
    ) -> VersionInfo:
        """Write the next version of `name` in one transaction; the data set is created where it is new.

        `images` are the columns of `Image` without ids; `set_aside` are (path, reason) pairs;
        `parent` is the number of the version that these came from.
        """
        now = time.time()
        with self.session() as session, session.begin():
            dataset = session.scalar(select(Dataset).where(Dataset.name == name))
            if dataset is None:
                dataset = Dataset(name=name, created_at=now)
                session.add(dataset)
                session.flush()
            last = session.scalar(
                select(func.max(DatasetVersion.number)).where(DatasetVersion.dataset_id == dataset.id)
            )
            version = DatasetVersion(
                dataset_id=dataset.id,
                number=(last or 0) + 1,
                created_at=now,
                note=note,
                fingerprint=fingerprint,
                parent=parent,
            )
            session.add(version)
            session.flush()
            if images:
                session.execute(insert(Image), [{**image, "version_id": version.id} for image in images])
            if set_aside:
                session.execute(
                    insert(SetAside),
                    [{"version_id": version.id, "path": path, "reason": reason} for path, reason in set_aside],
                )
        return self.version(name, version.number)

    def names(self) -> list[str]:
        """Newest first."""
        with self.session() as session:
            return list(session.scalars(select(Dataset.name).order_by(Dataset.created_at.desc(), Dataset.id.desc())))

    def version(self, name: str, number: int | None = None) -> VersionInfo:
        """Version `number` of `name`, or its newest. Raises DatasetError when there is none."""
        query = self._versions().where(Dataset.name == name).order_by(DatasetVersion.number.desc())
        if number is not None:
            query = query.where(DatasetVersion.number == number)
        with self.session() as session:
            row = session.execute(query).first()
        if row is None:
            what = f"data set {name!r}" if number is None else f"version {number} of data set {name!r}"
            known = ", ".join(self.names()) or "none yet"
            raise DatasetError(
                f"There is no {what}. Data sets here: {known}. Add one with `python -m learner data add`."
            )
        return VersionInfo(*row)

    def version_by_id(self, version_id: int) -> VersionInfo:
        with self.session() as session:
            return VersionInfo(*session.execute(self._versions().where(DatasetVersion.id == version_id)).one())

    def images(
        self, version_id: int, label: str | None = None, offset: int = 0, limit: int | None = None
    ) -> list[Image]:
        """Images in the order they were imported, excluded ones too."""
        query = select(Image).where(Image.version_id == version_id).order_by(Image.id).offset(offset).limit(limit)
        if label is not None:
            query = query.where(Image.label == label)
        with self.session() as session:
            return list(session.scalars(query))

    def images_by_id(self, ids: list[int]) -> dict[int, Image]:
        with self.session() as session:
            return {image.id: image for image in session.scalars(select(Image).where(Image.id.in_(ids)))}

    def counts(self, version_id: int) -> list[tuple[str, str, int]]:
        """(label, split, images) for every pair that occurs, excluded images left out."""
        query = (
            select(Image.label, Image.split, func.count())
            .where(Image.version_id == version_id, Image.excluded.is_(False))
            .group_by(Image.label, Image.split)
            .order_by(Image.label, Image.split)
        )
        with self.session() as session:
            return [(label, split, images) for label, split, images in session.execute(query)]

    def add_contents(self, contents: list[dict[str, Any]]) -> None:
        """Keep what was measured of pictures (columns of `Content`); those that are known stay as they are."""
        if not contents:
            return
        with self._engine.begin() as connection:
            for some in _pieces(contents):
                known = select(Content.sha256).where(Content.sha256.in_([row["sha256"] for row in some]))
                there = set(connection.scalars(known))
                new = list({row["sha256"]: row for row in some if row["sha256"] not in there}.values())
                if new:
                    statement = _insert_for(connection.dialect.name)(Content).on_conflict_do_nothing()
                    connection.execute(statement, new)

    def contents(self, version_id: int) -> dict[str, Content]:
        """What was measured of the pictures of a version, by sha256; those brought in before it was are missing."""
        query = select(Content).where(Content.sha256.in_(select(Image.sha256).where(Image.version_id == version_id)))
        with self.session() as session:
            return {content.sha256: content for content in session.scalars(query)}

    def versions(self, name: str) -> list[VersionInfo]:
        """Every version of `name`, newest first; empty where there is no such data set."""
        query = self._versions().where(Dataset.name == name).order_by(DatasetVersion.number.desc())
        with self.session() as session:
            return [VersionInfo(*row) for row in session.execute(query)]

    def require_trainable(self, version: VersionInfo) -> None:
        """Raise DatasetError, with reason and way out, when nothing could be learnt from `version`."""
        counts = self.counts(version.id)
        learnable = {label for label, split, _ in counts if split in ("", "train")}
        if len(learnable) < MIN_CLASSES:
            classes = "no class" if not learnable else f"only the class {next(iter(learnable))}"
            raise DatasetError(
                f"{version.name} (version {version.number}) has {classes} to learn from; it takes at least "
                f"{MIN_CLASSES}. Give images a class, take excluded ones back in, or add more."
            )
        unlearnable = sorted({label for label, split, _ in counts if split == "valid"} - learnable)
        if unlearnable:
            raise DatasetError(
                f"Class {unlearnable[0]} of {version.name} (version {version.number}) has validation images but none "
                "to learn from. Move some to train, or set them aside."
            )

    def draft(self, name: str) -> Draft:
        """The edits of `name` that are not yet a version; empty where there are none."""
        with self.session() as session:
            draft = session.scalar(select(Draft).join(Dataset).where(Dataset.name == name))
        return draft or Draft(edits=[], undone=[], revision=0)

    def change_draft(
        self,
        name: str,
        change: Callable[[Edits, Edits], tuple[Edits, Edits]],
    ) -> Draft:
        """Replace the edits and the undone ones of `name` by what `change` makes of them; one writer at a time."""
        with self.session() as session, session.begin():
            # Writing first takes SQLite's lock and PostgreSQL's row, so that nobody changes what is read next.
            dataset_id = select(Dataset.id).where(Dataset.name == name).scalar_subquery()
            touched = session.execute(
                update(Draft).where(Draft.dataset_id == dataset_id).values(revision=Draft.revision + 1)
            )
            if not cast("CursorResult[Any]", touched).rowcount:  # of an update it always is one
                row: dict[str, Any] = {
                    "dataset_id": session.scalar(select(dataset_id)),
                    "edits": [],
                    "undone": [],
                    "revision": 1,
                }
                session.execute(_insert_for(self._engine.dialect.name)(Draft).values(row).on_conflict_do_nothing())
            draft = session.scalars(select(Draft).where(Draft.dataset_id == dataset_id).with_for_update()).one()
            draft.edits, draft.undone = change(list(draft.edits), list(draft.undone))
        return draft

    def set_aside(self, version_id: int) -> list[SetAside]:
        with self.session() as session:
            return list(session.scalars(select(SetAside).where(SetAside.version_id == version_id)))

    @staticmethod
    def _versions() -> Select[int, str, int, float, str, str, int | None]:
        return select(
            DatasetVersion.id,
            Dataset.name,
            DatasetVersion.number,
            DatasetVersion.created_at,
            DatasetVersion.note,
            DatasetVersion.fingerprint,
            DatasetVersion.parent,
        ).join(Dataset, Dataset.id == DatasetVersion.dataset_id)


def _pieces(rows: list[dict[str, Any]], size: int = 500) -> Iterator[list[dict[str, Any]]]:
    """Databases limit how many values one statement may carry."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _insert_for(dialect: str) -> Callable[[type[Base]], postgresql.Insert | sqlite.Insert]:
    return postgresql.insert if dialect == "postgresql" else sqlite.insert
