"""How a page asks what needs torch: `ask` starts a process, `python -m learner.questions`, that leaves the answer.

The process gives way to others, tells how far it is, and ends with exit code 2 and a line on stderr where a person can
put something right.
"""

import importlib
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal, cast

from learner.errors import ThawError
from learner.jobs.process import NICENESS, environment
from learner.questions.answers import forget_progress, say_progress
from learner.recipe import Recipe
from learner.store import Store

log = logging.getLogger(__name__)

Question = Literal[
    "layers",
    "previews",
    "speed",
    "rates",
    "strategy",
    "learning_curve",
    "results",
    "test",
    "export",
    "map",
    "pool",
    "import",
]

ANSWERED_BY: dict[Question, str] = {
    "layers": "learner.models.layers:list_layers",
    "previews": "learner.features.preview:make_preview",
    "speed": "learner.training.benchmark:measure_machine",
    "rates": "learner.training.lr_finder:find_rates",
    "strategy": "learner.advice.strategy:recommend",
    "learning_curve": "learner.advice.learning_curve:measure_curve",
    "results": "learner.evaluation.inspect:complete",
    "test": "learner.evaluation.inspect:look_at_test",
    "export": "learner.exports:prepare",
    "pool": "learner.advice.pool_order:order_pool",
    "map": "learner.evaluation.map_layout:make_map",
    "import": "learner.importing:import_uploaded",
}
"""The function that answers, by name, as the rooms that import torch lie above this one. It is called with the store,
what `ask` was given, and `tell`, which takes a sentence on how far it is; it keeps the answer itself."""


def ask(store: Store, question: Question, file: Path, *about: Recipe | str | int | float) -> subprocess.Popen[str]:
    """Start looking for an answer, whose progress stands beside `file`. Most take seconds to load torch."""
    forget_progress(file)
    said = [{"recipe": value.to_dict()} if isinstance(value, Recipe) else value for value in about]
    return subprocess.Popen(
        [sys.executable, "-m", "learner.questions", question, str(file), json.dumps(said)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(store.workspace),
    )


def why_it_failed(process: subprocess.Popen[str], otherwise: str) -> str:
    """Of a process of `ask` that has ended: the reason it gave, `otherwise` where it gave none; empty after success."""
    assert process.stderr is not None  # `ask` wants it
    said = process.stderr.read().strip()
    if not process.returncode:
        return ""
    if process.returncode == 2 and said:
        return said.splitlines()[-1]
    log.error("A question of a page failed with exit code %d: %s", process.returncode, said)
    return otherwise


def main() -> None:
    """Answer the question in the arguments, as `ask` writes them. Being stopped leaves nothing behind."""
    question, file, said = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.nice(NICENESS)
    module, _, function = ANSWERED_BY[cast(Question, question)].partition(":")
    about = [Recipe.from_dict(value["recipe"]) if isinstance(value, dict) else value for value in said]
    try:
        answer = getattr(importlib.import_module(module), function)
        answer(Store(), *about, tell=lambda text: say_progress(file, text))
    except ThawError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    finally:
        forget_progress(file)
