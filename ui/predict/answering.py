"""Models answer for batches in a thread of the web process: one batch at a time, whichever tabs look on."""

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from learner.errors import ImportCancelled, ThawError
from learner.inference import batch_work
from learner.inference.batches import Batch
from learner.store import Store

if TYPE_CHECKING:
    from learner.inference.predictor import Predictor

log = logging.getLogger(__name__)

MODELS_KEPT = 2
RATE = "60/minute"
"""How often a model may begin to answer for one space: a batch at a time, however many pictures it has."""
TOO_OFTEN = "Models were asked very often within a minute. Wait a minute, and try again."


@dataclass(frozen=True)
class HowFar:
    """How far the work on a batch is."""

    done: int
    total: int
    """0 while that is not known."""
    what: str
    seconds_left: float | None = None


@dataclass(frozen=True)
class _Work:
    store: Store
    batch: Batch
    run_id: int
    model: str

    @property
    def key(self) -> tuple[str, str]:
        return self.batch.id, self.model


class Asker:
    """Keeps a few models and lets them answer. Nothing is lost with it: answers are on disk as they come."""

    def __init__(self):
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._predictors: dict[str, Predictor] = {}
        self._waiting: list[_Work] = []
        self._how_far: dict[tuple[str, str], HowFar] = {}
        self._failures: dict[tuple[str, str], str] = {}
        self._thread: threading.Thread | None = None
        self._limiter, self._rate = MovingWindowRateLimiter(MemoryStorage()), parse(RATE)

    def predictor(self, store: Store, run_id: int, model: str) -> "Predictor":
        """The run's model, loaded at its first use; `model` is its `batches.model_key`. Raises ModelError."""
        with self._loading:
            if model not in self._predictors:
                from learner.inference.predictor import Predictor  # brings torch, for which a page must not wait before

                loaded = Predictor.open(str(run_id), store)
                self._predictors = dict([*self._predictors.items(), (model, loaded)][-MODELS_KEPT:])
            return self._predictors[model]

    def begin(self, store: Store, batch: Batch, run_id: int, model: str) -> None:
        """Let the model answer for what it has not answered for yet, unless it is at that already or failed at it."""
        work = _Work(store, batch, run_id, model)
        with self._lock:
            if work.key in self._how_far or work.key in self._failures:
                return
            if not self._limiter.hit(self._rate, str(store.workspace.root)):
                self._failures[work.key] = TOO_OFTEN
                return
            self._how_far[work.key] = HowFar(0, 0, "Waiting for other pictures" if self._waiting else "Starting")
            self._waiting.append(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="predict", daemon=True)
                self._thread.start()

    def how_far(self, batch: Batch, model: str) -> HowFar | None:
        """None where nothing is under way."""
        return self._how_far.get((batch.id, model))

    def failure(self, batch: Batch, model: str) -> str:
        """Why it could not go on; empty where it could."""
        return self._failures.get((batch.id, model), "")

    def forget_failure(self, batch: Batch, model: str) -> None:
        self._failures.pop((batch.id, model), None)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                work = self._waiting[0]
            try:
                self._do(work)
            except ImportCancelled:
                pass
            except ThawError as error:
                self._failures[work.key] = str(error)
            except Exception:
                if work.batch.folder.exists():  # otherwise it was deleted while it was asked about
                    log.exception("A batch of pictures could not be asked about")
                    self._failures[work.key] = (
                        "Something went wrong inside Thaw. What was answered is kept; the server's log has the details."
                    )
            with self._lock:
                self._waiting.pop(0)
                self._how_far.pop(work.key, None)

    def _do(self, work: _Work) -> None:
        def tell(done: int, total: int, what: str, left: float | None) -> None:
            self._how_far[work.key] = HowFar(done, total, what, left)

        def stopped() -> bool:
            return work.batch.is_stopped or not work.batch.folder.exists()

        if stopped():
            return
        if not work.batch.is_ingested:
            batch_work.ingest(work.batch, tell, stopped)
        tell(0, 0, "Loading the model; the first time takes some seconds", None)
        predictor = self.predictor(work.store, work.run_id, work.model)
        batch_work.predict_batch(work.batch, predictor, work.run_id, work.model, tell, stopped)


@st.cache_resource(show_spinner=False)
def get_asker() -> Asker:
    """This server's one."""
    return Asker()
