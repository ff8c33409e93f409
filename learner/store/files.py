"""Files of runs and data sets in the object store that `$THAW_FILES` names; the workspace's folder is a working copy.

Where that is not set, `files.is_on` is false and everything here returns at once: the workspace holds all.
"""

import logging
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from filelock import FileLock
from sqlalchemy import Engine, delete, exists, insert, select, update
from sqlalchemy.orm import Session

from learner.atomic import written_whole
from learner.errors import DatabaseAway, StoreError
from learner.store.claims import change_held
from learner.store.copies import NOTE, Kept, Noted, files_in, piece_sizes, reader
from learner.store.image_cache import ImageCache
from learner.store.keeping import Keeper
from learner.store.objects import PATIENCE_S, Objects, address
from learner.store.pieces import THREADS, Pieces
from learner.store.tables import Dataset, DatasetVersion, Image, Piece, Run, RunFile, WorkspaceId
from learner.wording import file_size
from learner.workspace import Workspace

log = logging.getLogger(__name__)

LIGHT_BYTES = 2_000_000
"""Files up to this size are fetched where a run is listed or shown: figures, predictions, example photos."""
END_PATIENCE_S = 600.0
"""How long a run that is done waits for a store that does not answer."""

Tell = Callable[[str], None]


def is_light(name: str, kept: Kept) -> bool:
    """What lists and results show."""
    return kept.bytes <= LIGHT_BYTES and not is_for_training(name)


def is_of_model(name: str, kept: Kept) -> bool:
    """What predictions and exports need, too."""
    return not is_for_training(name)


def is_any(name: str, kept: Kept) -> bool:
    """What training needs."""
    return True


def is_for_training(name: str) -> bool:
    """Whether only what trains needs the file: resume points, and the ends of phases."""
    top = name.partition("/")[0]
    return top in ("phases", "refit", "resume.pt") or top.startswith("best-")


Wanted = Callable[[str, Kept], bool]
"""Which files are to be here."""


class Files:
    """The files of one workspace. Nothing is asked of the store before something is kept or missing here."""

    def __init__(self, engine: Engine, workspace: Workspace):
        self.is_on = bool(address())
        self._engine, self._workspace = engine, workspace
        self._keepers: dict[int, Keeper] = {}
        """Of the runs that this process trains."""

    @cached_property
    def pieces(self) -> Pieces:
        with Session(self._engine) as session:
            prefix = session.scalar(select(WorkspaceId.id)) or ""
        return Pieces(self._engine, Objects(prefix))

    @cached_property
    def images(self) -> ImageCache:
        return ImageCache(self._workspace, self.pieces)

    # A run that this process trains

    def begin(self, run_id: int, tell: Tell) -> None:
        """Have all of a run here that this process holds, as it was kept last or is newer here. Raises StoreError."""
        if not self.is_on or run_id in self._keepers:
            return
        folder = self._workspace.run_folder(run_id)
        with self._lock(run_id):
            noted = self._bring(run_id, is_any, tell, begins=True) or Noted()
            self._change(folder, noted, run_id, None, is_held=True)  # what other machines have is old from now on
        self._keepers[run_id] = Keeper(self._workspace, run_id, self._keep_snapshot, self._note_failure)

    def keep_soon(self, run_id: int) -> None:
        """Keep a run's files as they are now, while it goes on; of several such wishes the newest counts."""
        if keeper := self._keepers.get(run_id):
            keeper.ask()

    def keep(self, run_id: int, tell: Tell, patience_s: float | None = None) -> None:
        """Keep a run's files as they are now, and wait for that. Raises StoreError, and RunTakenOver."""
        if (keeper := self._keepers.get(run_id)) is None:
            return
        keeper.end()
        tell("Sending the run's files to the store")

        def sent(done: int, total: int) -> None:
            if total:
                tell(f"Sending the run's files to the store: {file_size(done)} of {file_size(total)}")

        patience_s = END_PATIENCE_S if patience_s is None else patience_s
        try:
            self._keep(run_id, self._workspace.run_folder(run_id), patience_s, sent=sent)
        except DatabaseAway:
            raise
        except StoreError as error:
            way_out = f"python -m learner runs resume {run_id}"
            raise type(error)(
                f"{error} The run's files are on this machine; from here, this sends what is missing: {way_out}"
            ) from error

    def let_go(self, run_id: int) -> None:
        """This process does not train the run any more."""
        if keeper := self._keepers.pop(run_id, None):
            keeper.end()

    # A run that somebody looks at

    def bring(self, run_id: int, wanted: Wanted = is_light, tell: Tell = lambda text: None) -> None:
        """Have those files of a run here that the store has and this machine does not. Raises StoreError."""
        if not self.is_on or run_id in self._keepers or not (state := self._state(run_id)):
            return
        folder = self._workspace.run_folder(run_id)
        noted = Noted.read(folder)
        if state in noted.states and not noted.absent:
            return
        with self._lock(run_id):
            self._bring(run_id, wanted, tell)

    def has(self, file: Path) -> bool:
        """Whether a file of a run is here or in the store."""
        if file.exists() or not self.is_on or not file.is_relative_to(self._workspace.runs):
            return file.exists()
        number, _, name = file.relative_to(self._workspace.runs).as_posix().partition("/")
        with Session(self._engine) as session:
            return number.isdecimal() and session.get(RunFile, (int(number), name)) is not None

    def keep_changes(self, run_id: int) -> None:
        """Keep what was made of a run that has ended, such as an export. Raises StoreError."""
        if self.is_on and run_id not in self._keepers:
            self._keep(run_id, self._workspace.run_folder(run_id), PATIENCE_S, is_held=False)

    # The whole workspace

    def keep_all(self) -> None:
        """Send what lies here only: of a time before there was an object store, or when that did not answer."""
        if not self.is_on:
            return
        with Session(self._engine) as session:
            unkept = select(Run.id).where(Run.files == "", Run.status.in_(("finished", "stopped")))
            run_ids = [run_id for run_id in session.scalars(unkept) if self._workspace.run_folder(run_id).is_dir()]
        for run_id in run_ids:
            self.keep_changes(run_id)

    def unkept_images(self) -> dict[str, list[str]]:
        """Paths in a data set's folder of the images that the store does not have, by the data set's name."""
        found: dict[str, list[str]] = {}
        if self.is_on:
            there = exists().where(Piece.sha256 == Image.sha256, Piece.whole)
            query = select(Dataset.name, Image.file).join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
            query = query.join(Image, Image.version_id == DatasetVersion.id).where(~there).distinct()
            with Session(self._engine) as session:
                for name, file in session.execute(query):
                    found.setdefault(name, []).append(file)
        return found

    def clear_up(self) -> None:
        """Remove what nothing names any more, here and in the store, and hold the cache of images in its bound."""
        if not self.is_on:
            return
        self.images.make_room()
        with Session(self._engine) as session:
            known = set(session.scalars(select(Run.id)))
        for note in self._workspace.runs.glob(f"*/{NOTE}"):
            if note.parent.name.isdecimal() and int(note.parent.name) not in known:  # purged by another machine
                shutil.rmtree(note.parent, ignore_errors=True)
        self.pieces.clear_up()

    def bring_all(self) -> None:
        """Have every file of every run here, as for a backup. Raises StoreError."""
        if not self.is_on:
            return
        with Session(self._engine) as session:
            run_ids = list(session.scalars(select(Run.id).where(Run.files != "")))
        for run_id in run_ids:
            self.bring(run_id, is_any)

    # Keeping and bringing

    def _keep_snapshot(self, run_id: int, folder: Path, keeper: Keeper) -> None:
        self._keep(run_id, folder, keeper.patience_s, keeper=keeper)

    def _keep(
        self,
        run_id: int,
        source: Path,
        patience_s: float,
        sent: Callable[[int, int], None] = lambda done, total: None,
        keeper: Keeper | None = None,
        is_held: bool = True,
    ) -> None:
        """Send the files below `source`, the run's folder or a snapshot of it, and write down that they are there."""
        folder = self._workspace.run_folder(run_id)
        noted = Noted.read(folder)
        kept: dict[str, Kept] = {}
        pieces: dict[str, tuple[int, Callable[[], bytes]]] = {}
        for name, file in files_in(source).items():
            found = noted.pieces_of(name, file)
            kept[name] = Kept(noted.files[name][0], found)
            sizes = piece_sizes(kept[name].bytes, len(found))
            pieces |= {one: (size, reader(file, at)) for at, (one, size) in enumerate(zip(found, sizes, strict=True))}
        noted.files = {name: noted.files[name] for name in kept}
        self.pieces.keep(pieces, sent, patience_s, keeper.over if keeper else None)
        self._change(folder, noted, run_id, kept, is_held)

    def _change(self, folder: Path, noted: Noted, run_id: int, kept: dict[str, Kept] | None, is_held: bool) -> None:
        """Write down what the store has of a run (None: as before), as a new state, which is that of this machine."""
        state, before = uuid.uuid4().hex, noted.states
        noted.states = [*before, state]
        noted.write(folder)  # before the row says so: who looks from now on knows either
        with Session(self._engine) as session, session.begin():
            if is_held:
                change_held(session, run_id, files=state)
            elif not self._change_ended(session, run_id, before, state):
                raise StoreError(f"Run {run_id} was changed on another machine meanwhile. Do it again.")
            if kept is not None:
                gone = delete(RunFile).where(RunFile.run_id == run_id, RunFile.path.not_in(noted.absent))
                session.execute(gone, execution_options={"synchronize_session": False})
                rows = [{"run_id": run_id, "path": name, **vars(one)} for name, one in kept.items()]
                if rows:
                    session.execute(insert(RunFile), [row for row in rows if row["path"] not in noted.absent])
        noted.states = [state]
        noted.write(folder)

    @staticmethod
    def _change_ended(session: Session, run_id: int, before: list[str], state: str) -> bool:
        change = update(Run).where(Run.id == run_id, Run.files.in_([*before, ""]), Run.status != "running")
        found = session.scalar(change.values(files=state).returning(Run.id))
        return found is not None

    def _bring(self, run_id: int, wanted: Wanted, tell: Tell, begins: bool = False) -> Noted | None:
        """For the holder of the lock. What is newer here stays."""
        folder, state = self._workspace.run_folder(run_id), self._state(run_id)
        noted, rows = Noted.read(folder), self._rows(run_id)
        if not state or (not rows and not begins):
            return noted
        if state in noted.states:
            missing = [name for name in noted.absent if name in rows and wanted(name, rows[name])]
        else:
            here, missing = files_in(folder), []
            noted.absent = []
            for name in here.keys() - rows.keys():
                here[name].unlink()
            for name, kept in rows.items():
                if name in here and noted.pieces_of(name, here[name]) == kept.pieces:
                    continue
                if wanted(name, kept):
                    missing.append(name)
                else:
                    noted.absent.append(name)
                    if name in here:
                        here[name].unlink()
            noted.files = {name: one for name, one in noted.files.items() if name in rows}
        if missing:
            tell(f"Fetching {file_size(sum(rows[name].bytes for name in missing))} of run {run_id} from the store")
            with ThreadPoolExecutor(THREADS, thread_name_prefix="fetch") as pool:
                for name in missing:
                    self._fetch(folder / name, rows[name], pool)
                    noted.pieces_of(name, folder / name)
        noted.absent = [name for name in noted.absent if name not in missing]
        noted.states = [state]
        folder.mkdir(parents=True, exist_ok=True)
        noted.write(folder)
        return noted

    def _fetch(self, file: Path, kept: Kept, pool: ThreadPoolExecutor) -> None:
        with written_whole(file) as temporary, temporary.open("wb") as opened:
            waiting = list(kept.pieces)
            while waiting:  # a few at a time: memory does not grow with the file
                some, waiting = waiting[:THREADS], waiting[THREADS:]
                for data in pool.map(self.pieces.fetch, some):
                    opened.write(data)

    def _rows(self, run_id: int) -> dict[str, Kept]:
        with Session(self._engine) as session:
            rows = session.scalars(select(RunFile).where(RunFile.run_id == run_id))
            return {row.path: Kept(row.bytes, row.pieces) for row in rows}

    def _state(self, run_id: int) -> str:
        with Session(self._engine) as session:
            return session.scalar(select(Run.files).where(Run.id == run_id)) or ""

    def _lock(self, run_id: int) -> FileLock:
        locks = self._workspace.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / f"run-{run_id}.lock")

    def _note_failure(self, run_id: int, told: str) -> None:
        """Say with the run that its files could not be kept so far, or (empty) that they are by now."""
        with Session(self._engine) as session, session.begin():
            change_held(session, run_id)
            run = session.get_one(Run, run_id)
            run.facts = run.facts | {"files": told}
