"""Measuring this machine for the Train page: one process at a time, shared by every tab and kept over reloads."""

import subprocess
import threading
import time
from dataclasses import dataclass

import streamlit as st

from learner.planning.estimate import expected_plan, start_measuring
from learner.recipe import Recipe
from learner.store import Store

USUAL_S = 15
LIMIT_S = 180
"""A measurement that takes longer never ends by itself."""


@dataclass
class _UnderWay:
    process: subprocess.Popen
    settings: str
    began: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


class Measuring:
    """Starts measurements and remembers how they ended; two at once would slow each other and both be wrong."""

    def __init__(self):
        self._lock = threading.Lock()
        self._under_way: _UnderWay | None = None
        self._ended: dict[str, str] = {}
        """By settings: why nothing was measured, empty where something was."""

    def failure(self, recipe: Recipe) -> str:
        """Why this machine could not be measured for a settled recipe; empty where nothing speaks against it."""
        with self._lock:
            self._look()
            return self._ended.get(_settings(recipe), "")

    def advance(self, store: Store, recipe: Recipe) -> str:
        """Start measuring for a settled recipe as soon as nothing is in its way; returns where that stands, in words.

        To be called again and again while there is no plan for the recipe.
        """
        settings = _settings(recipe)
        with self._lock:
            self._look()
            if self._ended.get(settings) == "" and expected_plan(store, recipe) is None:
                self._ended[settings] = "The measurement of this machine ended, but left nothing behind."
            if settings in self._ended:
                return self._ended[settings] or "This machine is measured."
            if self._under_way is None:
                store.runs.requeue_silent()
                if any(run.status == "running" for run in store.runs.all()):
                    return (
                        "A run is training. This machine is measured once that has ended, because the two would slow "
                        "each other."
                    )
                self._under_way = _UnderWay(start_measuring(store, recipe), settings, time.monotonic())
            left = USUAL_S - round(self._under_way.seconds)
            what = "" if self._under_way.settings == settings else " for other settings first"
            how_long = f"about {left} s" if left > 0 else "longer than usual: it is busy"
            return f"Measuring this machine{what}, {how_long}"

    def try_again(self, recipe: Recipe) -> None:
        """Forget how the last measurement for a settled recipe ended."""
        with self._lock:
            self._ended.pop(_settings(recipe), None)

    def _look(self) -> None:
        """Note how the process ended, if it has; end it when it takes too long."""
        if self._under_way is None:
            return
        code = self._under_way.process.poll()
        if code is None and self._under_way.seconds < LIMIT_S:
            return
        if code is None:
            self._under_way.process.kill()
            self._under_way.process.wait()
            why = f"Measuring this machine took longer than {LIMIT_S // 60} minutes and was ended."
        elif code < 0:
            why = "The process that measures this machine was ended from outside, perhaps for lack of memory."
        elif code == 2:
            why = self._under_way.process.stderr.read().strip().splitlines()[-1]
        else:
            why = "This machine could not be measured with these settings." if code else ""
        if why and code != 2:
            why += " The training can start without it: only the forecast is missing."
        self._ended[self._under_way.settings] = why
        self._under_way = None


@st.cache_resource
def get_measuring() -> Measuring:
    """This server's one."""
    return Measuring()


def _settings(recipe: Recipe) -> str:
    return f"{recipe.backbone} {recipe.image_size} {recipe.batch_size} {recipe.precision}"
