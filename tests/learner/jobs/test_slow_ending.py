"""A run that does not end in time when its worker is told to."""

import subprocess
import sys
import threading

from learner.datasets import add_dataset
from learner.jobs import worker as jobs
from tests.patience import GIVE_UP_S
from tests.samples import make_photos, small_recipe

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"


def test_it_is_killed_and_waits_for_the_next_worker_as_one_that_has_not_died(store, tmp_path, monkeypatch):
    add_dataset(store, make_photos(tmp_path / "pets"), "pets")
    run_id = store.submit(small_recipe())
    started = []
    begun = threading.Event()

    def start(*_):
        process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
        started.append(process)
        process.stdout.readline()
        begun.set()
        return process

    monkeypatch.setattr(jobs, "start_run", start)
    monkeypatch.setattr(jobs, "GRACE_S", 0.2)
    worker = jobs.Worker(store, jobs.Helpers(lambda _: None, lambda _: None, lambda *_: None))
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert begun.wait(GIVE_UP_S)
    worker.stop()
    thread.join(GIVE_UP_S)
    assert started[0].returncode == -9
    run = store.runs.get(run_id)
    assert (run.status, run.deaths, run.reason) == ("queued", 0, jobs.WORKER_ENDED)
