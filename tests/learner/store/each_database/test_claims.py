"""A run belongs to one process at a time, whatever its host is called and whatever the clocks of machines say."""

import os
import socket
import time

import pytest
from sqlalchemy import select

from learner.errors import RunTakenOver
from learner.store import Store
from learner.store.claims import SILENT_AFTER_S
from learner.store.clock import now
from tests.learner.store.writing import in_processes, let_pass, submit
from tests.patience import until

FIGURES = {"train_loss": 1.0, "valid_loss": 1.0, "accuracy": 0.9, "error_rate": 0.1, "lrs": [0.1], "seconds": 1.0}

# Who may write


def all_of(store: Store, run_id: int) -> list:
    """Everything that the store knows of the run."""
    rows = [store.runs.get(run_id), *store.runs.epochs(run_id), *store.runs.steps(run_id)]
    plain = [{key: value for key, value in vars(row).items() if key[0] != "_"} for row in rows]
    return [plain, store.searches.entries(run_id), len(store.workers.alive())]


REFUSED = {
    "taking it": lambda store, run: store.runs.take(run),
    "taking it by its claim": lambda store, run: store.runs.take(run, store.claim),
    "handing it on": lambda store, run: store.runs.claim_of(run),
    "replacing a file": lambda store, run: store.runs.require(run),
    "a step": lambda store, run: store.runs.add_step(run, at=1.5, train_loss=9.0, lrs=[]),
    "an epoch": lambda store, run: store.runs.add_epoch(run, True, epoch=2, phase=0, samples=[], **FIGURES),
    "facts": lambda store, run: store.runs.add_facts(run, backbone="other"),
    "a recipe": lambda store, run: store.runs.decide_recipe(run, {}),
    "a rewind": lambda store, run: store.runs.rewind(run, 0, None, None),
    "a search": lambda store, run: store.searches.add(run, [{"op_code": 0}]),
}
WITHOUT_EFFECT = {
    "a report": lambda store, run: store.runs.report(run, {"done": 0.9}),
    "a heartbeat": lambda store, run: store.runs.beat(run),
    "its end": lambda store, run: store.runs.end(run, "finished"),
    "the end of all that it has": lambda store, run: store.runs.end_own("interrupted", "Ctrl-C"),
    "queueing it": lambda store, run: store.runs.requeue(run, "The worker was ended.", died=False),
}

CLAIM = """
import socket
os.getpid, socket.gethostname = lambda: {pid}, lambda: {host!r}
store = Store()
print(store.runs.requeue_silent(), store.runs.claim())
store.runs.report({run}, {{"done": 0.5}})
store.runs.add_epoch({run}, True, epoch=1, phase=0, samples=[], **{figures})
"""


@pytest.mark.parametrize("by", ["another process", "nobody yet"])
def test_a_process_that_comes_back_late_changes_nothing_of_a_run_that_was_taken(store, by):
    """The other one even has the same number on a host of the same name, as two containers may."""
    run_id = submit(store, running=True)
    store.claim = store.runs.claim_of(run_id)
    let_pass(store, SILENT_AFTER_S + 1)
    if by == "another process":
        code = CLAIM.format(pid=os.getpid(), host=socket.gethostname(), run=run_id, figures=FIGURES)
        assert in_processes(1, code) == [f"[{run_id}] {run_id}\n"]
    else:
        assert store.runs.requeue_silent() == [run_id]
    before = all_of(store, run_id)
    for name, write in REFUSED.items():
        with pytest.raises(RunTakenOver, match=f"Run {run_id} is not this process's any more"):
            write(store, run_id)
        assert all_of(store, run_id) == before, name
    for name, write in WITHOUT_EFFECT.items():
        assert write(store, run_id) is None, name
        assert all_of(store, run_id) == before, name


def test_what_the_late_one_is_refused_the_holder_may_do(store):
    for name, write in REFUSED.items():
        if name != "taking it by its claim":
            run_id = submit(store, running=True)
            store.runs.add_facts(run_id, backbone="vgg16")
            write(store, run_id)


WORK = """
store = Store()
store.runs.take({run}, {claim!r})
print(store.runs.report({run}, {{}}), os.getpid())
"""


def test_a_process_may_do_the_work_of_the_one_that_claimed_and_that_one_sees_to_its_end(store):
    run_id = submit(store)
    assert store.runs.claim() == run_id
    claim = store.runs.claim_of(run_id)
    [said] = in_processes(1, WORK.format(run=run_id, claim=claim))
    assert said == f" {store.runs.get(run_id).pid}\n"
    store.runs.requeue(run_id, "The training process was killed.")
    assert store.runs.get(run_id).status == "queued"


def test_a_process_that_holds_a_run_anew_is_not_disturbed_by_the_end_of_its_work_before(store):
    run_id = submit(store)
    store.runs.claim()
    before = store.runs.claim_of(run_id)
    store.runs.requeue(run_id, "It was silent.", died=False)
    store.runs.claim()
    store.runs.requeue(run_id, "The first one is gone.", claim=before)
    assert store.runs.get(run_id).status == "running"
    store.runs.requeue(run_id, "The second one is gone.", claim=store.runs.claim_of(run_id))
    assert store.runs.get(run_id).status == "queued"


CLAIM_ONE = "print(Store().runs.claim())"


def test_processes_that_claim_one_run_at_once_get_it_once(store):
    run_id = submit(store)
    assert sorted(in_processes(4, CLAIM_ONE)) == sorted([f"{run_id}\n", *["None\n"] * 3])


# Clocks

WRONG_CLOCK = """
really = time.time
time.time = lambda: really() + {off}
store = Store()
store.workers.start()
print(store.runs.requeue_silent(), store.runs.claim(), len(store.workers.alive()))
"""


@pytest.mark.parametrize("off", [-60, 60])
def test_a_machine_whose_clock_is_a_minute_off_loses_no_run_and_takes_none_away(store, off):
    here, waiting = submit(store, running=True), submit(store)
    store.workers.start()
    assert in_processes(1, WRONG_CLOCK.format(off=off)) == [f"[] {waiting} 2\n"]
    assert store.runs.requeue_silent() == []
    assert [store.runs.get(run_id).status for run_id in (here, waiting)] == ["running"] * 2
    assert len(store.workers.alive()) == 2


def test_time_passes_within_a_transaction_too(store):
    run_id, waiting = submit(store, running=True), submit(store)
    with store.runs.session() as session, session.begin():
        first = session.scalar(select(now()))
        assert first == pytest.approx(time.time(), abs=30)
        until(lambda: session.scalar(select(now())) > first)
    until(lambda: store.runs.seconds_since_start(run_id) > 0)
    assert store.runs.seconds_since_start(waiting) == 0
