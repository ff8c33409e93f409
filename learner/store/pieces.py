"""Pieces of files, each in the object store under its SHA-256, and which of them are there: sent once, cleared up."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from sqlalchemy import Engine, delete, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from learner.errors import FilesAway
from learner.store.clock import now
from learner.store.objects import PATIENCE_S, Objects
from learner.store.tables import Image, Piece, RunFile

PIECE_BYTES = 8 * 1024 * 1024
"""Files are cut into pieces of so many bytes; what was sent of a larger one need not be sent again."""
THREADS = 8
"""So many pieces are on their way at a time: a store answers late, not slowly."""
SAFE_AGE_S = 24 * 3600.0
"""What nothing names is removed once it is so old: until then an import or a run that sends it may come to its end."""
_NOTE_EVERY_S = 0.5
_AT_ONCE = 500

Sent = Callable[[int, int], None]
"""Takes the bytes that were sent, and all that are to be."""


class Pieces:
    """What of a workspace the object store holds."""

    def __init__(self, engine: Engine, objects: Objects):
        self._engine, self.objects = engine, objects

    def keep(
        self,
        pieces: Mapping[str, tuple[int, Callable[[], bytes]]],
        sent: Sent = lambda done, total: None,
        patience_s: float = PATIENCE_S,
        over: threading.Event | None = None,
    ) -> int:
        """Send those that the store does not have; returns how many that were.

        `pieces` holds the size of each, and what reads it, by SHA-256. Raises StoreError; what was sent until then
        is not sent again.
        """
        missing = self._begin({sha256: size for sha256, (size, _) in pieces.items()})
        total, done, noted_at = sum(pieces[sha256][0] for sha256 in missing), 0, time.monotonic()
        waiting: dict[Future[None], str] = {}
        whole: list[str] = []

        def send(sha256: str) -> None:
            data = pieces[sha256][1]()
            if hashlib.sha256(data).hexdigest() != sha256:
                raise FilesAway("A file was changed while it was sent, or its disk damaged it. Try again.")
            self.objects.put(sha256, data, patience_s, over)

        with ThreadPoolExecutor(THREADS, thread_name_prefix="keep") as pool:
            try:
                for sha256 in [*missing, None]:
                    if sha256 is not None:
                        waiting[pool.submit(send, sha256)] = sha256
                    while waiting and (sha256 is None or len(waiting) >= THREADS):
                        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                            one = waiting.pop(future)
                            future.result()
                            whole.append(one)
                            done += pieces[one][0]
                        sent(done, total)
                        if time.monotonic() - noted_at > _NOTE_EVERY_S:
                            self._note_whole(whole)
                            whole, noted_at = [], time.monotonic()
            finally:
                pool.shutdown(cancel_futures=True)
                whole += [one for future, one in waiting.items() if not future.cancelled() and not future.exception()]
                self._note_whole(whole)
        return len(missing)

    def fetch(self, sha256: str) -> bytes:
        """Raises StoreError."""
        return self.objects.get(sha256)

    def clear_up(self) -> int:
        """Remove what nothing names any more and is old enough; returns how many that were. Raises StoreError."""
        old = [Piece.at < now() - SAFE_AGE_S, ~exists().where(Image.sha256 == Piece.sha256)]
        removed = 0
        with Session(self._engine) as session:  # who names one says so first (`_begin`): then it is not old any more
            named = {sha256 for pieces in session.scalars(select(RunFile.pieces)) for sha256 in pieces}
            candidates = [sha256 for sha256 in session.scalars(select(Piece.sha256).where(*old)) if sha256 not in named]
        for sha256 in candidates:
            # First nobody may rely on it any more, which is written down before the object goes.
            with Session(self._engine) as session, session.begin():
                session.execute(
                    update(Piece).where(Piece.sha256 == sha256, *old).values(whole=False),
                    execution_options={"synchronize_session": False},
                )
            with Session(self._engine) as session, session.begin():
                mine = select(Piece).where(Piece.sha256 == sha256, Piece.whole.is_(False), *old).with_for_update()
                if session.scalar(mine) is None:  # somebody sends it again
                    continue
                self.objects.remove(sha256)
                session.execute(delete(Piece).where(Piece.sha256 == sha256))
                removed += 1
        return removed

    def _begin(self, sizes: Mapping[str, int]) -> list[str]:
        """Write down that these are about to be named; returns those that the store does not have."""
        there: set[str] = set()
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        for some in _some(sorted(sizes)):
            with Session(self._engine) as session, session.begin():
                # In one order, or two that send the same wait for each other.
                known = select(Piece.sha256).where(Piece.sha256.in_(some)).order_by(Piece.sha256).with_for_update()
                session.scalars(known).all()
                touched = update(Piece).where(Piece.sha256.in_(some)).values(at=now())
                rows = session.execute(
                    touched.returning(Piece.sha256, Piece.whole), execution_options={"synchronize_session": False}
                ).all()
                there |= {sha256 for sha256, whole in rows if whole}
                new = set(some) - {sha256 for sha256, _ in rows}
                for sha256 in sorted(new):
                    row = {"sha256": sha256, "bytes": sizes[sha256], "whole": False, "at": now()}
                    session.execute(insert(Piece).values(row).on_conflict_do_nothing())
        return [sha256 for sha256 in sizes if sha256 not in there]

    def _note_whole(self, whole: list[str]) -> None:
        for some in _some(whole):
            with Session(self._engine) as session, session.begin():
                session.execute(
                    update(Piece).where(Piece.sha256.in_(some)).values(whole=True, at=now()),
                    execution_options={"synchronize_session": False},
                )


def _some(values: list[str]) -> Iterator[list[str]]:
    """Databases limit how many values one statement may carry."""
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
