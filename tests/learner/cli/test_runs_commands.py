"""Runs are controlled and compared from a shell, in the same words and with the same effect as on the page."""

from dataclasses import replace

import pytest

from learner.recipe import Recipe
from learner.store import Store
from learner.workspace import Workspace
from tests.learner.cli.shell import ONE_EPOCH, shell
from tests.patience import GIVE_UP_S
from tests.samples import TWO_PHASES

NO_WORKER = "No worker is running. Start one: python -m learner worker\n"


def add_epochs(
    store: Store, run_id: int, *accuracies: float, phases: tuple[int, ...] = (), seconds: float = 10
) -> None:
    for number, accuracy in enumerate(accuracies, start=1):
        store.runs.add_epoch(
            run_id,
            accuracy == max(accuracies[:number]),
            epoch=number,
            phase=phases[number - 1] if phases else 0,
            train_loss=1 / number,
            valid_loss=1 / number,
            accuracy=accuracy,
            error_rate=1 - accuracy,
            lrs=[],
            seconds=seconds,
            samples=[],
        )


@pytest.fixture
def running(pets) -> int:
    return pets.submit(TWO_PHASES, running=True)


@pytest.fixture
def finished(pets, running) -> int:
    add_epochs(pets, running, 0.5, 0.75, phases=(0, 1))
    pets.runs.end(running, "finished")
    return running


def test_a_run_is_shown_with_how_its_head_was_solved_and_what_a_phase_brought(pets, finished, thaw):
    row = {"strength": 0.1, "log_loss": 0.5, "accuracy": 0.8, "images": 100, "log_loss_error": 0.1}
    tried = [{"point": point, "loss": 0.5 + point, "accuracy": 0.8} for point in (0.0, 1.0)]
    taken = {"point": 0.0, "tried": tried, "images": 40, "gain": 0.0, "gain_interval": [0.0, 0.0]}
    taken |= {"accuracy_gain": 0.0, "accuracy_gain_interval": [-0.1, 0.1]}
    pets.runs.add_facts(finished, solved={"0": {"strength": 0.1, "checked": [row]}}, interpolated={"1": taken})
    said = thaw("runs", "show", finished).out
    assert "Warm-up: Strength of regularisation: 0.1, the best of 1 tried" in said
    assert "Fine-tuning: It brought nothing sure: at none of 2 points" in said


def test_a_running_run_is_asked_to_stop_now_or_after_its_epoch(pets, running, thaw):
    assert thaw("runs", "stop", running, "--after-epoch").out == "Run 1 stops when its present epoch is done.\n"
    assert pets.runs.get(running).asked == "stop_after_epoch"
    assert thaw("runs", "stop", running).out == "Run 1 stops after checking what it has learnt so far.\n"
    assert pets.runs.get(running).asked == "stop"


def test_a_running_run_pauses_after_its_epoch_and_a_waiting_one_at_once(pets, running, thaw):
    waiting = pets.submit(TWO_PHASES)
    go_on = "Go on with: python -m learner runs resume"
    assert thaw("runs", "pause", running).out == f"Run 1 pauses when its present epoch is done. {go_on} 1\n"
    assert thaw("runs", "pause", waiting).out == f"Run 2 is paused. {go_on} 2\n"
    assert (pets.runs.get(running).asked, pets.runs.get(waiting).status) == ("pause", "paused")


def test_a_paused_run_is_left_to_a_worker_again(pets, running, thaw):
    pets.runs.end(running, "paused")
    said = thaw("runs", "resume", running)
    assert said.out == "Run 1 goes on when a worker takes it. Watch it: python -m learner runs show 1\n"
    assert said.err == NO_WORKER
    assert pets.runs.get(running).status == "queued"
    pets.workers.start()
    pets.runs.claim()
    pets.runs.end(running, "interrupted")
    assert thaw("runs", "resume", running).err == ""


def test_a_finished_run_gets_more_epochs(pets, finished, thaw):
    said = thaw("runs", "more", finished, 4)
    assert said.out.startswith("Run 1 is queued again, for 4 more epochs.")
    run = pets.runs.get(finished)
    assert run.status == "queued"
    assert [(phase["name"], phase["epochs"], phase["lr"]) for phase in run.recipe["phases"][2:]] == [
        ("More epochs", 4, [1e-5, 1e-4])
    ]


def test_a_run_starts_again_from_the_end_of_a_phase_with_changes(pets, finished, thaw):
    kept = pets.workspace.phase_end(finished, 0)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"a model")
    said = thaw("runs", "restart", finished, "--after-phase", 1, "--set", "phases.1.epochs=7")
    assert said.out.startswith("Run 2 is queued. It begins from the end of phase 1 of run 1.")
    run = pets.runs.get(2)
    assert (run.parent, run.parent_phase) == (1, 0)
    phases = [TWO_PHASES.phases[0], replace(TWO_PHASES.phases[1], epochs=7)]
    assert Recipe.from_dict(run.recipe).phases == phases
    assert [epoch.epoch for epoch in pets.runs.epochs(2)] == [1]
    assert "It began from the end of phase 1 of run 1." in thaw("runs", "show", 2).out


def test_a_waiting_run_is_moved_both_ways(pets, thaw):
    first, second, third = (pets.submit(TWO_PHASES) for _ in range(3))
    assert thaw("runs", "move", third, -2).out == "Run 3 is number 1 of 3 in the queue.\n"
    assert thaw("runs", "move", third, 1).out == "Run 3 is number 2 of 3 in the queue.\n"
    assert [run.id for run in pets.queue.waiting()] == [first, third, second]


def test_a_deleted_run_can_be_had_back(pets, finished, thaw):
    assert thaw("runs", "delete", finished).out == (
        "Run 1 was deleted. Bring it back: python -m learner runs undelete 1\n"
    )
    assert thaw("runs", "--json").json == {"runs": []}
    assert thaw("runs", "undelete", finished).out == "Run 1 is back.\n"
    assert [run["run"] for run in thaw("runs", "--json").json["runs"]] == [1]


def test_runs_are_compared_by_the_accuracy_that_all_of_them_reached(pets, finished, thaw):
    second = pets.submit(TWO_PHASES, running=True)
    add_epochs(pets, second, 0.25, 0.5, 0.625, phases=(0, 0, 1), seconds=20)
    heading, *rows = thaw("runs", "compare", finished, second).out.splitlines()
    assert "Until 62.5 %" in heading
    assert [" ".join(row.split()) for row in rows] == [
        "1 75.0 % 2 20 s epoch 2, 20 s +25.0",
        "2 62.5 % 3 1 min epoch 3, 1 min +12.5",
    ]
    said = thaw("runs", "compare", finished, second, "--json").json
    assert said["common_accuracy"] == 0.625
    assert said["runs"][1] == {
        "run": 2, "best_accuracy": 0.625, "epochs": 3, "seconds": 60.0, "epochs_until": 3, "seconds_until": 60.0,
        "phase_gains": [None, 0.125],
    }  # fmt: skip


def test_show_says_what_the_coach_reads_in_the_curves(pets, thaw):
    run_id = pets.submit(replace(TWO_PHASES, phases=TWO_PHASES.phases[:1]), running=True)
    add_epochs(pets, run_id, 0.5, 0.625, 0.75)
    pets.runs.end(run_id, "finished")
    said = thaw("runs", "show", run_id)
    assert said.code == 0, said.err
    assert "Coach: It was still getting better when it ended" in said.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stop 1", "Run 1 is not under way (finished); there is nothing to stop."),
        ("pause 1", "Run 1 is not under way (finished); there is nothing to pause."),
        ("resume 1", "Run 1 is finished. Only a run that is paused, stopped, interrupted or failed can go on."),
        ("resume 9 --here", "There is no run 9"),
        ("more 1 0", "'EPOCHS'"),
        ("more 2 3", "Run 2 is queued. Only a finished run can be given more epochs."),
        ("restart 1 --after-phase 1", "Run 1 has kept nothing from the end of phase 1, so none can begin there."),
        ("restart 1 --after-phase 0", "'--after-phase'"),
        ("restart 1 --after-phase 1 --set epochs", "'epochs' is not of the form key=value"),
        ("move 1 1", "Run 1 does not wait in the queue (finished), so it has no place."),
        ("undelete 1", "Run 1 is not deleted."),
        ("delete 9", "There is no run 9"),
        ("compare 1", "Name at least two runs to compare"),
        ("compare 1 9", "There is no run 9"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(pets, finished, thaw, words, said):
    pets.submit(TWO_PHASES)
    answer = thaw("runs", *words.split())
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1


def test_a_run_is_resumed_in_the_foreground(tmp_path, photos):
    home = tmp_path / "thaw"
    out, err = shell(home, "train", "--dataset", photos, "--queue", *ONE_EPOCH).communicate(timeout=GIVE_UP_S)
    assert "is queued" in out, err
    store = Store(Workspace(home))
    store.runs.ask(1, "pause")
    process = shell(home, "runs", "resume", 1, "--here")
    out, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 0, err
    assert "Accuracy" in out
    assert store.runs.get(1).status == "finished"
