"""Write runs into a store as pages, workers and training do, also from several processes at once."""

import ast
import os
import subprocess
import sys
import textwrap

from sqlalchemy import update

from learner.recipe import Recipe
from learner.store import Run, Store, Worker
from tests.patience import GIVE_UP_S
from tests.samples import ROOT

TWO_IMAGES = [
    {
        "path": label,
        "file": label,
        "label": label,
        "split": "",
        "sha256": label,
        "width": 9,
        "height": 9,
        "excluded": False,
    }
    for label in ("cat", "dog")
]


def submit(store: Store, running: bool = False) -> int:
    return store.submit(Recipe("pets"), running)


def add_epoch(store: Store, run_id: int, number: int, phase: int = 0, valid_loss: float = 1.0) -> None:
    figures = {
        "train_loss": 1.0,
        "valid_loss": valid_loss,
        "accuracy": 0.5,
        "error_rate": 0.5,
        "lrs": [0.1],
        "seconds": 1.0,
    }
    store.runs.add_epoch(run_id, True, epoch=number, phase=phase, samples=[], **figures)


def let_pass(store: Store, seconds: float) -> None:
    """Make all that the store has heard of so much older."""
    with store.runs.session() as session, session.begin():
        times = {"heartbeat_at": Run.heartbeat_at - seconds, "deleted_at": Run.deleted_at - seconds}
        session.execute(update(Run).values(times))
        session.execute(update(Worker).values(heartbeat_at=Worker.heartbeat_at - seconds))


def in_processes(count: int, code: str) -> list[str]:
    """What `count` processes print that execute `code` at the same moment; all must end well.

    They are forks of one fresh interpreter, so that they truly meet: none is still importing while others are done.
    """
    script = f"""
import os, sys, time
from learner.store import Store
begin, children = time.time() + 0.5, []
for number in range({count}):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        time.sleep(begin - time.time())
{textwrap.indent(code, " " * 8)}
        sys.stdout.flush()
        os._exit(0)
    os.close(writer)
    children.append((pid, reader))
for pid, reader in children:
    print(repr(open(reader).read()))
    assert os.waitpid(pid, 0)[1] == 0
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=GIVE_UP_S)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return [ast.literal_eval(line) for line in done.stdout.splitlines()]
