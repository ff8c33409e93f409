"""What a page asks of torch: the processes, shared by every tab, and how a question is shown busy, failed or open."""

import math
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from learner.questions.answers import forget_progress, read_progress
from learner.questions.process import why_it_failed
from ui.frame import telling_errors
from ui.names import plain

LOOK_AGAIN_S = 1.0
"""How often a page looks whether it is done."""
GRACE_S = 10
"""How long a process that is to end may take for that."""
NOTHING_LEFT = "It ended, but left nothing behind."


@dataclass
class _Asked:
    """A question under way."""

    process: subprocess.Popen
    is_answered: Callable[[], object]
    alone: bool
    """It takes this machine for itself; two such would slow each other."""
    limit_s: float
    otherwise: str
    """What a person is told when it fails without a reason of its own."""
    began: float


class Questions:
    """Starts the processes that each leave an answer in a file, and remembers why one failed.

    Of those that take the machine for themselves one runs at a time.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._asked: dict[Path, _Asked] = {}
        self._failures: dict[Path, str] = {}

    def start(
        self,
        file: Path,
        ask: Callable[[], subprocess.Popen],
        alone: bool = True,
        limit_s: float = math.inf,
        otherwise: str = "It ended before it had found anything.",
        is_answered: Callable[[], object] | None = None,
    ) -> None:
        """Begin what leaves its answer in `file`, unless that, or another that needs the machine, is under way.

        `is_answered` says whether it did, where that is not just whether the file is there.
        """
        with self._lock:
            self._look()
            if file not in self._asked and not (alone and self._is_busy()):
                self._failures.pop(file, None)
                self._asked[file] = _Asked(
                    ask(), is_answered or file.exists, alone, limit_s, otherwise, time.monotonic()
                )

    def stop(self, file: Path) -> None:
        """End it; nothing of it is kept."""
        with self._lock:
            if asked := self._asked.pop(file, None):
                asked.process.terminate()
                try:  # not for the end of its output, which a process that it started may hold open
                    asked.process.wait(GRACE_S)
                except subprocess.TimeoutExpired:  # the exception that ends it was lost in what it did just then
                    asked.process.kill()
                    asked.process.wait()
                    forget_progress(file)
                for pipe in (asked.process.stdout, asked.process.stderr):
                    if pipe:
                        pipe.close()

    def seconds(self, file: Path) -> float | None:
        """For how long it has been under way; None where it is not."""
        with self._lock:
            self._look()
            return time.monotonic() - self._asked[file].began if file in self._asked else None

    def is_asked(self, file: Path) -> bool:
        return self.seconds(file) is not None

    @property
    def is_busy(self) -> bool:
        """Whether something under way takes this machine for itself."""
        with self._lock:
            self._look()
            return self._is_busy()

    def failure(self, file: Path) -> str:
        """Why the last try failed; empty where it did not."""
        with self._lock:
            self._look()
            return self._failures.get(file, "")

    def forget(self, file: Path) -> None:
        """That it failed."""
        with self._lock:
            self._failures.pop(file, None)

    def _is_busy(self) -> bool:
        return any(asked.alone for asked in self._asked.values())

    def _look(self) -> None:
        """Note how those ended that have; end those that take too long."""
        for file, asked in list(self._asked.items()):
            process, why = asked.process, ""
            if process.poll() is None:
                if time.monotonic() - asked.began < asked.limit_s:
                    continue
                process.kill()
                process.communicate()
                why = f"It took longer than {asked.limit_s / 60:.0f} minutes and was ended."
            elif process.returncode < 0:
                why = "Its process was ended from outside, perhaps for lack of memory."
            else:
                why = why_it_failed(process, asked.otherwise) or ("" if asked.is_answered() else NOTHING_LEFT)
            del self._asked[file]
            if why:
                self._failures[file] = why


@st.cache_resource
def get_questions() -> Questions:
    """This server's one."""
    return Questions()


def show_question(
    file: Path,
    ask: Callable[[], subprocess.Popen],
    label: str,
    *,
    key: str,
    again: str = "",
    doing: str = "",
    begins: str = "Loading, about 10 s",
    primary: bool = False,
    help: str | None = None,
) -> None:
    """A button that asks; while an answer is looked for, how far that is and a way to stop; after a failure, why.

    `doing` and `begins` say what is done, and what is done first. The page is drawn anew when it is over.
    """
    questions = get_questions()
    if questions.is_asked(file):
        st.fragment(_watch, run_every=LOOK_AGAIN_S)(file, doing, begins, key)
        return
    failure = questions.failure(file)
    if failure:
        st.warning(plain(failure))
    busy = questions.is_busy
    st.button(
        again if again and failure else label,
        on_click=questions.start,
        args=(file, ask),
        type="primary" if primary else "secondary",
        key=key,
        disabled=busy,
        help="Something else is being measured or prepared; this can begin after it." if busy else help,
    )


def show_at_once(file: Path, ask: Callable[[], subprocess.Popen], *, key: str, begins: str, failed: str) -> None:
    """As `show_question`, for what takes seconds: it is asked without a button, and again only by one.

    `failed` is said before the reason.
    """
    questions = get_questions()
    if not questions.failure(file):
        questions.start(file, ask, alone=False, otherwise="The log has the details.")
        st.fragment(_watch, run_every=LOOK_AGAIN_S)(file, "", begins, "")
        return
    st.warning(f"{failed} {plain(questions.failure(file))}")
    st.button("Try again", on_click=questions.forget, args=(file,), key=key)


def _watch(file: Path, doing: str, begins: str, key: str) -> None:
    """Without a `key` there is no way to stop."""
    with telling_errors():
        if not get_questions().is_asked(file):
            st.rerun()
        said = " ".join(filter(None, [doing, plain(read_progress(file)) or begins]))
        if not key:
            st.caption(said)
            return
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.markdown(said)
        right.button("Stop", on_click=get_questions().stop, args=(file,), key=f"stop-{key}", width="stretch")
