"""Sends a run's files to the object store while the run goes on: training never waits for a store."""

import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from learner.errors import RunTakenOver, StoreError
from learner.store.copies import snapshot
from learner.workspace import Workspace

log = logging.getLogger(__name__)

KEEP_EVERY_S = 30.0
"""Between the beginnings of two times that a run's files are sent; another try after a failure waits as long."""


class Keeper:
    """One thread, which sends the newest snapshot that it was asked for."""

    patience_s = 20.0
    """How long it tries before it says with the run that the store does not answer, and tries again later."""

    def __init__(
        self,
        workspace: Workspace,
        run_id: int,
        keep: Callable[[int, Path, "Keeper"], None],
        note_failure: Callable[[int, str], None],
    ):
        self._folder, self._run_id = workspace.run_folder(run_id), run_id
        self._snapshots = workspace.on_their_way / str(run_id)
        shutil.rmtree(self._snapshots, ignore_errors=True)  # of a process that was killed
        self._keep, self._note_failure = keep, note_failure
        self._newest: Path | None = None
        self._changed = threading.Condition()
        self._has_failed = False
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"keep-{run_id}")
        self._thread.start()

    def ask(self) -> None:
        """Send the files as they are now; costs a second name for each."""
        taken = self._snapshots / uuid.uuid4().hex
        try:
            snapshot(self._folder, taken)
        except OSError as error:
            log.warning("The run's files could not be put aside for the store: %s", error)
            shutil.rmtree(taken, ignore_errors=True)
            return
        with self._changed:
            before, self._newest = self._newest, taken
            self._changed.notify()
        if before:
            shutil.rmtree(before, ignore_errors=True)

    def end(self) -> None:
        """Stop soon, whatever is on its way; returns when nothing is."""
        self.over.set()
        with self._changed:
            self._changed.notify()
        self._thread.join()
        shutil.rmtree(self._snapshots, ignore_errors=True)

    def _work(self) -> None:
        while not self.over.is_set():
            with self._changed:
                while self._newest is None and not self.over.is_set():
                    self._changed.wait()
                taken, self._newest = self._newest, None
            if taken is None or self.over.is_set():
                return
            began = time.monotonic()
            try:
                self._keep(self._run_id, taken, self)
                if self._has_failed:
                    self._say("")
            except RunTakenOver:
                return
            except (StoreError, OSError) as error:
                if not self.over.is_set():
                    log.warning("%s", error)
                    self._say(f"{error} Training goes on, and it is tried again.")
                    self._put_back(taken)
            except Exception:
                log.exception("The files of run %d could not be kept", self._run_id)
            if taken != self._newest:
                shutil.rmtree(taken, ignore_errors=True)
            self.over.wait(max(0.0, KEEP_EVERY_S - (time.monotonic() - began)))

    def _put_back(self, taken: Path) -> None:
        with self._changed:
            if self._newest is None:
                self._newest = taken

    def _say(self, told: str) -> None:
        self._has_failed = bool(told)
        try:
            self._note_failure(self._run_id, told)
        except (StoreError, RunTakenOver) as error:
            log.warning("%s", error)
