"""Processes beside a page are ended when nobody wants their answer any more."""

import subprocess
import sys

from tests.patience import until
from ui import questions
from ui.questions import Questions

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def test_one_that_does_not_hear_that_it_shall_end_is_ended_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(questions, "GRACE_S", 0.2)
    process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "deaf\n"
    asked, file = Questions(), tmp_path / "answer.json"
    asked.start(file, lambda: process)
    assert asked.is_asked(file)
    asked.stop(file)
    until(lambda: process.poll() is not None)
    assert not asked.is_asked(file) and not asked.failure(file)
